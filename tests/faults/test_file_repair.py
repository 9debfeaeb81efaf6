"""What a message tells a person to do about a file, done to the letter: the fault is gone. Real processes, real DVC."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.project import TINY, commit, copy_project, environment, git, run, warm_environment

# All that `make gate` needs; the pictures and the record would only take time.
STAGES = ("validate", "create", "split", "baseline", "train", "evaluate")
TABLE = Path("data/tables/table.csv")
OWN = {
    "create.dataset": "table",
    "train.epochs": 30,
    "train.scaling": "standard",
    "gate.min_accuracy": 0.1,
    "gate.min_macro_f1": 0.1,
    "gate.margin": 0.0,
    "gate.beat_baselines": False,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A project of one's own table, which `dvc add` took in, run up to the metrics."""
    folder = copy_project(tmp_path_factory.mktemp("a project") / "own", {**TINY, **OWN})
    yaml = YAML()
    graph = yaml.load(folder / "dvc.yaml")
    graph["stages"] = {name: graph["stages"][name] for name in STAGES}
    del graph["plots"], graph["artifacts"]
    yaml.dump(graph, folder / "dvc.yaml")
    (folder / "dvc.lock").unlink()
    git(folder, "rm", "--quiet", "--cached", str(TABLE))
    run(folder, "-m", "dvc", "add", str(TABLE))
    done = run(folder, "-m", "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    # What `make setup` leaves behind; the python is that of the tests.
    (folder / ".venv").mkdir()
    (folder / ".venv/installed").touch()
    commit(folder)
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch) -> Path:
    """A copy of it, as the working directory."""
    folder = Path(shutil.copytree(made, tmp_path / "own", symlinks=True))
    monkeypatch.chdir(folder)
    shell("dvc repro")
    return folder


def shell(command: str) -> str:
    done = subprocess.run(command, shell=True, env=warm_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def refused(module: str) -> str:
    """The one line of a stage or command that is run by hand and stops."""
    done = run(Path(), "-m", *module.split())
    assert done.returncode in (3, 5), done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if ": warning: " not in line]
    return line


def follow(line: str) -> None:
    """What it says, in a shell."""
    found = re.search(r"(?:; |, )(?:run|bring it back with|restore it with): (.+)$", line)
    assert found, line
    shell(found[1])


def in_place(path: Path, content: bytes) -> None:
    """Other bytes, as a disk or a careful program leaves them: of the same file, and the same time."""
    before = path.stat()
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.write(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flip(path: Path) -> None:
    """A digit becomes another one; of what has none a bit of the last third."""
    content = bytearray(path.read_bytes())
    digits = [at for at, byte in enumerate(content) if path.suffix in (".json", ".csv") and chr(byte).isdigit()]
    at = digits[-1] if digits else 2 * len(content) // 3
    content[at] ^= 1
    in_place(path, bytes(content))


def contents() -> dict[str, bytes]:
    """Of all that the stages make."""
    lock = YAML(typ="safe").load(Path("dvc.lock"))
    return {out["path"]: Path(out["path"]).read_bytes() for stage in lock["stages"].values() for out in stage["outs"]}


def cached(path: Path) -> Path:
    lock = YAML(typ="safe").load(Path("dvc.lock"))
    digest = next(
        out["md5"] for stage in lock["stages"].values() for out in stage["outs"] if out["path"] == path.as_posix()
    )
    return Path(".dvc/cache/files/md5", digest[:2], digest[2:])


# --- a file that was damaged: DVC takes it for whole ------------------------------------------------------------------


def test_what_is_damaged_with_the_same_size_and_time_comes_back_by_what_the_line_says(project):
    """A table, a text and what is not in the cache; then a file and its object, which DVC would bring back as it is."""
    right = contents()
    for name, reader in (
        ("data/train.parquet", "stages.train"),
        ("data/schema.json", "stages.split"),
        ("reports/scores.json", "retrace gate"),
    ):
        flip(Path(name))
        line = refused(reader)
        assert name in line
        follow(line)
        assert contents() == right, name
    train = Path("data/train.parquet")
    flip(cached(train))
    flip(train)
    line = refused("stages.train")
    assert line.endswith(f"; bring it back with: rm -f {train} {cached(train)} && dvc repro")
    follow(line)
    assert contents() == right
    assert cached(train).read_bytes() == right[str(train)]


def test_so_it_does_where_the_file_is_a_link_into_the_cache_and_where_it_is_gone(project):
    right, train = contents(), Path("data/train.parquet")
    shell("dvc config cache.type symlink && dvc checkout --relink --force --allow-missing")
    flip(train.resolve())
    line = refused("stages.train")
    assert str(cached(train)) in line
    follow(line)
    train.unlink()
    train.mkdir()
    follow(refused("stages.train"))
    assert contents() == right


def test_make_run_looks_into_every_file(project):
    right = contents()
    for name in right:
        flip(Path(name))
    assert "up to date" in shell("dvc repro"), "or else this would show nothing"
    shell("make run")
    assert contents() == right


# --- a table that was edited with the same size and time --------------------------------------------------------------


def edit(path: Path = TABLE) -> None:
    content = path.read_bytes()
    other = content.replace(b",yes\n", b",no \n", 40)
    assert len(other) == len(content) != 0
    assert other != content
    in_place(path, other)


def test_a_table_edited_in_place_closes_the_gate_and_what_it_says_opens_it(project):
    assert "gate: passed" in shell("make gate")
    before = contents()
    edit()
    assert "up to date" in shell("dvc repro"), "or else DVC would have seen it"
    line = refused("retrace gate")
    assert line == (
        "gate: failed: reports/scores.json: data/tables was changed since this was made of it; run: dvc repro"
    )
    follow(line)
    assert contents()["data/dataset.parquet"] != before["data/dataset.parquet"]
    assert "gate: passed" in shell("make gate")


def test_make_run_notices_it_and_so_it_does_of_code(project):
    before = contents()
    edit()
    code = Path("stages/split.py")
    in_place(code, code.read_bytes().replace(b"Reads ", b"reads ", 1))
    said = shell("make run")
    assert "Running stage 'create'" in said
    assert "Running stage 'split'" in said
    assert contents()["data/dataset.parquet"] != before["data/dataset.parquet"]


# --- a machine that lacks something -----------------------------------------------------------------------------------


def test_with_the_limit_raised_it_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(copy_project(tmp_path / "tiny", TINY))
    command = "ulimit -v {}; python -m stages.validate"
    limited = subprocess.run(command.format(10**6), shell=True, env=environment(), capture_output=True, text=True)
    assert limited.returncode == 4
    assert limited.stderr.endswith("; free some, or raise the limit\n")
    assert "are sound" in shell(command.format("unlimited"))


def test_an_environment_that_is_not_complete_is_made_by_make_setup(tmp_path, monkeypatch):
    """Its one package, from a folder of packages, brings those that these tests run with."""
    folder = copy_project(tmp_path / "fresh", TINY)
    monkeypatch.chdir(folder)
    with zipfile.ZipFile(tmp_path / "libraries-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("libraries.pth", f"{Path(pytest.__file__).parents[1]}\n")
        wheel.writestr("libraries-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: libraries\nVersion: 1\n")
        wheel.writestr("libraries-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("libraries-1.dist-info/RECORD", "")
    Path("requirements.txt").write_text("libraries==1\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    done = run(folder, "-S", "-m", "stages.validate")
    assert done.returncode == 4
    assert done.stderr.endswith(
        "; the environment is not complete, or not active: run make setup, then use make or .venv/bin\n"
    )
    # Not through a link in an environment whose path may have a space, which make would split.
    # (The setuptools that requirements.txt would bring is lent to it: a fresh environment has an old one, or none.)
    lent = shlex.quote(str(Path(pytest.__file__).parents[1]))
    shell(f"PYTHONPATH={lent} make setup PYTHON={Path(sys.executable).resolve()}")
    assert "are sound" in shell(".venv/bin/python -m stages.validate")
