"""A fresh copy of the last commit, wherever the project lies and wherever DVC keeps its tables."""

import contextlib
import re
import shlex
import shutil
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest
from dvc.cli import main
from dvc.repo import Repo

from retrace.cli.repository import bring_sources, clone, sources
from retrace.runtime.errors import UserError
from stages import create
from tests.project import TINY, commit, copy_project, git, repro, run, turn

TABLE = "data/tables/table.csv"
# What a shell, git, SQLite, URLs and parsers of settings take for signs of their own.
ODD = "größe #1 50%20 'q' \"u\" $HOME;&?"


@pytest.fixture
def project(tmp_path) -> Path:
    """A tiny project whose table git has."""
    return copy_project(tmp_path / "tiny", {**TINY, "create.dataset": "table"})


def dvc(folder: Path, *arguments: str) -> None:
    """In this process: what takes time is to start another one."""
    with contextlib.chdir(folder):
        assert main([*arguments]) == 0


def give_to_dvc(project: Path, path: str) -> None:
    git(project, "rm", "-r", "--quiet", "--cached", path)
    dvc(project, "add", path)
    commit(project)


def brought(project: Path, folder: Path) -> Path:
    """The project in a clone, with what DVC had of it; DVC is content with that."""
    there = clone(project, folder / "clone")
    bring_sources(project, there)
    with contextlib.chdir(there), Repo() as repo:
        assert [repo.reproduce(source.addressing) for source in sources(repo)] == [[]] * len(sources(repo))
    return there


def empty_cache(project: Path) -> None:
    shutil.rmtree(project / ".dvc/cache/files")


# --- where tables are -----------------------------------------------------------------------------------------------


def test_an_added_table_comes_from_the_cache(project, tmp_path):
    before = (project / TABLE).read_bytes()
    give_to_dvc(project, TABLE)
    (project / TABLE).write_text("changed since\n")
    assert (brought(project, tmp_path) / TABLE).read_bytes() == before


def test_an_added_table_may_be_a_link_into_the_cache(project, monkeypatch):
    dvc(project, "config", "--local", "cache.type", "symlink")
    give_to_dvc(project, TABLE)
    assert (project / TABLE).is_symlink()
    monkeypatch.chdir(project)
    create.main()


def test_an_imported_table_comes_from_the_cache_though_its_source_is_gone(project, tmp_path):
    source = tmp_path / "source.csv"
    git(project, "rm", "--quiet", TABLE)
    shutil.copyfile(project / "data/tables/other.csv", source)
    dvc(project, "import-url", str(source), TABLE)
    commit(project)
    content = source.read_bytes()
    source.unlink()
    assert (brought(project, tmp_path) / TABLE).read_bytes() == content


def test_what_was_never_downloaded_is_left_to_dvc(project, tmp_path):
    give_to_dvc(project, TABLE)
    source = tmp_path / "source.csv"
    source.write_text("class\na\n")
    dvc(project, "import-url", "--no-download", str(source), "data/tables/later.csv")
    commit(project)
    there = brought(project, tmp_path)
    assert (there / TABLE).is_file()
    dvc(there, "repro", "data/tables/later.csv.dvc")
    assert (there / "data/tables/later.csv").read_text() == "class\na\n"


def test_a_folder_of_parts_comes_from_a_remote_that_git_does_not_know(project, tmp_path):
    """Named relative to the file that names it."""
    parts = project / "data/tables" / ODD
    for year in (2025, 2026):
        (parts / f"year={year}").mkdir(parents=True)
        table = pyarrow.csv.read_csv(project / TABLE)
        pyarrow.parquet.write_table(table, parts / f"year={year}/part.parquet")
    dvc(project, "add", str(parts))
    commit(project)
    dvc(project, "remote", "add", "--local", "--default", "elsewhere", "../a remote")
    dvc(project, "push")
    empty_cache(project)
    shutil.rmtree(parts)
    there = brought(project, tmp_path)
    assert len(list((there / "data/tables" / ODD).rglob("*.parquet"))) == 2


def test_all_tables_as_one_folder_of_dvcs(project, tmp_path):
    give_to_dvc(project, "data/tables")
    assert (brought(project, tmp_path) / TABLE).is_file()


def test_what_no_stage_reads_is_left_alone(project, tmp_path):
    (project / "film.bin").write_bytes(b"1")
    dvc(project, "add", "film.bin")
    commit(project)
    empty_cache(project)
    assert not (brought(project, tmp_path) / "film.bin").exists()


@pytest.mark.parametrize("remote", ["", "gs://nowhere/at-all"])
def test_what_nobody_has_is_a_line_and_its_advice_works(project, tmp_path, remote):
    """All that is missing at once; storage that this environment cannot speak to says so in its own words."""
    give_to_dvc(project, TABLE)
    source = tmp_path / "source.csv"
    source.write_text("class\na\n")
    dvc(project, "import-url", str(source), "data/tables/more of it.csv")
    commit(project)
    if remote:
        dvc(project, "remote", "add", "--local", "--default", "elsewhere", remote)
    empty_cache(project)
    there = clone(project, tmp_path / "first")
    with pytest.raises(UserError) as raised:
        bring_sources(project, there)
    more, table = str(raised.value).splitlines()
    reason = r" \(gs is supported, but requires 'dvc-gs' to be installed\)" if remote else ""
    advice = r"; put them in their place and run: (dvc commit \S+)"
    found = re.fullmatch(rf"{TABLE}.dvc: its data are neither in DVC's cache nor in a remote{reason}{advice}", table)
    assert found
    dvc(project, *found[1].split()[1:])
    assert more.startswith("data/tables/more of it.csv.dvc: its data are neither in DVC's cache nor in a remote")
    assert more.endswith(", or: dvc update 'data/tables/more of it.csv.dvc'")
    dvc(project, "update", "data/tables/more of it.csv.dvc")
    assert (brought(project, tmp_path) / TABLE).is_file()


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "copy"])
def test_a_clone_has_a_cache_of_its_own_whatever_the_settings_say(project, tmp_path, kind):
    shared = tmp_path / "#1 50%20 'q'"  # DVC writes no letters beyond ASCII into its settings
    dvc(project, "cache", "dir", str(shared))
    dvc(project, "config", "cache.type", kind)
    give_to_dvc(project, TABLE)
    before = sorted(shared.rglob("*"))
    assert before
    there = brought(project, tmp_path)
    (there / "data/made.csv").write_text("of the clone\n")
    dvc(there, "add", "data/made.csv")
    assert sorted(shared.rglob("*")) == before
    assert (there / ".dvc/cache/files").is_dir()
    assert (there / TABLE).stat().st_ino != (project / TABLE).stat().st_ino


@pytest.mark.parametrize("which", [0, 1])
def test_a_table_that_git_does_not_know_stops_an_experiment_elsewhere_with_what_helps(project, which):
    """Its folder has what git knows: the table must come there as a file of git's or of DVC's."""
    table = "data/tables/new 'one'.csv"
    shutil.copyfile(project / TABLE, project / table)
    turn(project, {"create.table.path": table})
    experiment = ("-m", "dvc", "exp", "run", "--temp", "create")
    done = run(project, *experiment)
    assert done.returncode
    (line,) = (line for line in done.stderr.splitlines() if line.startswith(table))
    advice = re.search(r"run: (git add .*), or: (dvc add .* && git add .*); then the same `dvc exp run` again$", line)
    assert advice
    for command in advice[which + 1].split(" && "):
        name, *arguments = shlex.split(command)
        {"git": git, "dvc": dvc}[name](project, *arguments)
    done = run(project, *experiment)
    assert done.returncode == 0, done.stdout + done.stderr


# --- where the project is -------------------------------------------------------------------------------------------


def bigger(project: Path, folder: Path) -> Path:
    """The project moved into a repository that holds other things, too."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "other.txt").write_text("of somebody else\n")
    shutil.rmtree(project / ".git")
    place = folder / "models" / ODD
    place.parent.mkdir()
    project.rename(place)
    commit(folder)
    return place


def test_the_project_in_a_bigger_repository(project, tmp_path):
    place = bigger(project, tmp_path / "big")
    there = clone(place, tmp_path / "clone")
    assert there.relative_to(tmp_path / "clone") == Path("models") / ODD
    assert (there / TABLE).read_bytes() == (place / TABLE).read_bytes()


def test_verify_and_history_in_a_bigger_repository(project, tmp_path):
    """With a table that git does not have, and a change elsewhere that is none of theirs."""
    place = bigger(project, tmp_path / "big")
    dvc(place, "cache", "dir", "../../shared")
    git(place, "rm", "--quiet", "--cached", TABLE)
    dvc(place, "add", TABLE)
    repro(place)
    commit(tmp_path / "big")
    (tmp_path / "big/other.txt").write_text("changed\n")
    (place / "LICENSE").write_text("changed\n")
    done = run(place, "-m", "retrace", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(
        "verify: 46 of 46 outputs reproduce; the same bytes come from every x86-64 processor with AVX2\n"
    )
    assert "uncommitted changes are not: LICENSE\n" in done.stderr
    (place / "mlflow.db").unlink()
    done = run(place, "-m", "retrace", "backfill")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" tiny: recorded\nbackfill: 1 recorded, 0 already there, 1 skipped\n")


@pytest.mark.parametrize("kind", ["worktree", "submodule"])
def test_git_elsewhere_than_in_the_project(project, tmp_path, kind):
    other = tmp_path / "other"
    if kind == "worktree":
        git(project, "worktree", "add", "--quiet", "--detach", str(other))
        (other / "README.md").write_text("of the worktree\n")
        commit(other)
    else:
        git(tmp_path, "init", "--quiet", "other")
        git(other, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(project), "tiny")
        other /= "tiny"
    assert (other / ".git").is_file()
    there = clone(other, tmp_path / "clone")
    assert git(there, "rev-parse", "HEAD") == git(other, "rev-parse", "HEAD")


def test_nothing_committed_is_a_line(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("a\n")
    with pytest.raises(UserError, match=r"nothing is committed yet; commit it after: git add --all$"):
        clone(tmp_path, tmp_path / "clone")
    commit(tmp_path)
    assert (clone(tmp_path, tmp_path / "clone") / "file").read_text() == "a\n"


def test_no_repository_has_gits_own_words(tmp_path):
    with pytest.raises(UserError, match=r"^git rev-parse failed in .*: fatal: not a git repository"):
        clone(tmp_path, tmp_path / "clone")
