"""`retrace backfill` in a real project: what git and DVC still have is recorded, and nothing else is touched."""

import contextlib
import hashlib
import re
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML

from retrace.artifacts.dvc_lock import parse
from retrace.cli import backfill
from retrace.cli.backfill import record
from retrace.cli.main import invoke
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.tracking.location import locate
from stages import record as stage
from tests.conftest import ROOT
from tests.project import TINY, copy_project, git, run, turn
from tests.state import make_state

EXPERIMENT = "refs/exps/ab/" + "c" * 38 + "/fine-print"
DPI = ("plot", "params", "params.yaml", "plot", "dpi")


class Past(NamedTuple):
    """A project with three states that can be recorded, by commit, and what each lock says."""

    folder: Path
    revisions: list[str]
    locks: list[str]


def commit(folder: Path, message: str) -> tuple[str, str]:
    git(folder, "commit", "--quiet", "--all", f"--message={message}")
    return git(folder, "rev-parse", "HEAD"), (folder / "dvc.lock").read_text()


@pytest.fixture(scope="module")
def past(tmp_path_factory) -> Past:
    """Commits: one whose files nobody has, one of another kind, the first state, the second twice; an experiment.

    None of them is recorded yet.
    """
    folder = copy_project(tmp_path_factory.mktemp("a past") / "tiny one", TINY)
    lock, record = folder / "dvc.lock", folder / "stages" / "record.py"
    committed, code = lock.read_text(), record.read_text()
    lock.write_text("schema: '2.0'\nstages:\n  train:\n    cmd: python train.py\n")
    commit(folder, "of another kind")
    lock.write_text(committed)
    assert run(folder, "-m", "dvc", "repro", "plot", "report").returncode == 0
    (folder / ".retrace/recorded").write_text("as it was\n")
    # Its own `record` must not run.
    record.write_text("raise SystemExit('the code of then')\n")
    first = commit(folder, "first")
    record.write_text(code)
    turn(folder, {"plot.dpi": 60})
    assert run(folder, "-m", "dvc", "repro", "plot", "report").returncode == 0
    second = commit(folder, "second")
    # Of a line of params.yaml that no result depends on.
    edit(lock, ("validate", "deps", 0, "md5"), "0" * 32)
    commit(folder, "second again")
    # The same files under another setting, and a figure that there was or will be.
    git(folder, "checkout", "--quiet", "--detach")
    turn(folder, {"plot.dpi": 61})
    edit(lock, DPI, 61)
    figure = {"path": "reports/figures/another.png", "hash": "md5", "md5": digest(second[1], "data.png")}
    edit(lock, ("plot", "outs", 0), figure)
    third = commit(folder, "dvc: commit experiment")
    git(folder, "update-ref", EXPERIMENT, third[0])
    git(folder, "checkout", "--quiet", "main")
    return Past(folder, *map(list, zip(first, second, third, strict=True)))


def edit(lock: Path, key: tuple[str | int, ...], value: Any) -> None:
    content = YAML(typ="safe").load(lock)
    place = content["stages"]
    for part in key[:-1]:
        place = place[part]
    place[key[-1]] = value
    YAML().dump(content, lock)


def digest(lock: str, name: str) -> str:
    (found,) = (digest for path, digest in parse(lock).outs.items() if path.endswith(name))
    return found


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        return connection.execute(query).fetchall()


def runs(folder: Path) -> list[dict[str, str]]:
    """The tags of every run, in the order in which the runs were made."""
    order = [run_id for (run_id,) in rows(folder, "SELECT run_uuid FROM runs ORDER BY rowid")]
    tags: dict[str, dict[str, str]] = {run_id: {} for run_id in order}
    for run_id, key, value in rows(folder, "SELECT run_uuid, key, value FROM tags"):
        tags[run_id][key] = value
    return list(tags.values())


def forget(folder: Path) -> None:
    (folder / "mlflow.db").unlink()
    shutil.rmtree(folder / "mlartifacts")


def workspace(folder: Path) -> dict[str, tuple[int, str]]:
    """Time and content of all that is the user's: all but the store, DVC's and Python's caches, and the lock."""
    ours = re.compile(r"\.git/|\.dvc/|mlflow\.db|mlartifacts/|\.retrace/record\.lock|.*__pycache__/")
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: (path.stat().st_mtime_ns, hashlib.md5(path.read_bytes()).hexdigest())
        for name, path in files.items()
        if not ours.match(name)
    }


def history(folder: Path) -> list[str]:
    """The lines of the command, without the revisions that they start with."""
    done = run(folder, "-m", "retrace", "backfill")
    assert done.returncode == 0, done.stdout + done.stderr
    return [re.sub(r"^[0-9a-f]{8} ", "", line) for line in done.stdout.splitlines()]


def test_every_state_is_recorded_once_and_in_order(past):
    folder = past.folder
    before, status = workspace(folder), git(folder, "status", "--porcelain")
    assert ".retrace/recorded" in before
    unknown, foreign, *lines = history(folder)
    assert re.fullmatch(r"tiny: skipped: data/\S+ is neither in the commit nor in DVC's cache or remote", unknown)
    assert foreign == ("of another kind: skipped: today's `record` cannot read it: models/training.json not found")
    states = ["first", "second", "experiment fine-print"]
    assert lines == [*(f"{state}: recorded" for state in states), "backfill: 3 recorded, 0 already there, 2 skipped"]
    found = runs(folder)
    assert [tags["mlflow.source.git.commit"] for tags in found] == past.revisions
    assert [tags["retrace.fingerprint"] for tags in found] == [parse(lock).fingerprint for lock in past.locks]
    assert [tags.get("retrace.dvc_experiment") for tags in found] == [None, None, "fine-print"]
    assert [tags["mlflow.runName"].rpartition(",")[0] for tags in found] == [
        "circles",
        "dpi=60",
        "fine-print: dpi=61",
    ]
    for tags in found:
        assert tags["retrace.complete"] == "true"
        assert tags["retrace.uncommitted_changes"] == "false"
        assert tags["retrace.times"] == "of the recording"

    lines = history(folder)[2:]
    assert lines == [
        *(f"{state}: already there" for state in states),
        "backfill: 0 recorded, 3 already there, 2 skipped",
    ]
    assert runs(folder) == found
    assert (workspace(folder), git(folder, "status", "--porcelain")) == (before, status)


def test_what_the_cache_has_lost_comes_from_the_remote_or_is_skipped(past, tmp_path):
    folder, remote = past.folder, tmp_path / "remote"
    forget(folder)
    git(folder, "update-ref", "-d", EXPERIMENT)
    settings = f"[core]\n    remote = elsewhere\n['remote \"elsewhere\"']\n    url = {remote}\n"
    (folder / ".dvc/config.local").write_text(settings)
    assert run(folder, "-m", "dvc", "push").returncode == 0
    figures = [digest(lock, "data.png") for lock in past.locks[:2]]
    assert figures[0] != figures[1]
    # What `record` does not depend on need not be there.
    unneeded = digest(past.locks[1], "boundary.parquet")
    for each in (*figures, unneeded):
        (folder / ".dvc/cache/files/md5" / each[:2] / each[2:]).unlink()
    (remote / "files/md5" / unneeded[:2] / unneeded[2:]).unlink()
    edit(folder / "dvc.lock", DPI, 62)
    before = workspace(folder)
    assert history(folder)[2:] == [
        "first: skipped: reports/figures/data.png is neither in the commit nor in DVC's cache or remote",
        "second: recorded",
        "backfill: 1 recorded, 0 already there, 3 skipped",
        "backfill: the present state is not committed, so not among them; to record it: make record",
    ]
    assert [tags["mlflow.source.git.commit"] for tags in runs(folder)] == past.revisions[1:2]
    assert workspace(folder) == before


def test_a_remote_that_was_added_after_a_state_is_asked(past, tmp_path):
    folder = past.folder
    git(folder, "checkout", "--quiet", "--force", "main")
    (folder / ".dvc/config.local").unlink(missing_ok=True)
    forget(folder)
    settings = f"[core]\n    remote = later\n['remote \"later\"']\n    url = {tmp_path / 'remote'}\n"
    (folder / ".dvc/config").write_text(settings)
    commit(folder, "a remote")
    assert run(folder, "-m", "dvc", "push").returncode == 0
    lost = digest(past.locks[1], "schema.json")
    (folder / ".dvc/cache/files/md5" / lost[:2] / lost[2:]).unlink()
    assert "second: recorded" in history(folder)


class Silent:
    """A repository whose remote fails; how often it was asked."""

    def __init__(self, fail):
        self.fail, self.asked, self.path = fail, 0, "any"
        self.cloud = self.fs = self

    def get_remote_odb(self):
        return self

    def exists(self, path):
        self.asked += 1
        self.fail()


def refuse() -> None:
    raise OSError("refused\nwith more lines")


def test_a_remote_that_does_not_answer_is_asked_once_and_not_for_minutes(monkeypatch):
    repository = Silent(refuse)
    assert [backfill.unreachable(repository) for _ in range(3)] == [" (refused)"] * 3
    assert repository.asked == 1
    monkeypatch.setattr(backfill, "REMOTE_SECONDS", 0.2)
    assert backfill.unreachable(Silent(lambda: time.sleep(60))) == " (does not answer within 0.2 s)"
    assert backfill.unreachable(Silent(lambda: None)) == ""


def test_a_store_that_dies_in_the_middle_is_no_fault_of_the_state(past, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="does not answer") as raised:
        record(past.folder, past.folder, "", locate("retrace"))
    assert raised.value.status == MACHINE_FAULT


def test_a_store_that_cannot_be_used_ends_it_with_one_line(past):
    (past.folder / "mlflow.db").write_bytes(b"no database" * 100)
    done = run(past.folder, "-m", "retrace", "backfill")
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "file is not a database" in done.stderr


def test_a_state_that_is_not_committed_is_recorded_by_what_it_says(tmp_path, monkeypatch, capsys):
    make_state(tmp_path)
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message=nothing yet")
    Path(".dvc").mkdir()
    Path(".dvc/config").touch()
    shutil.copyfile(ROOT / "dvc.yaml", "dvc.yaml")
    for recorded in (False, True):
        if recorded:
            stage.main()
        invoke(["backfill"])
        assert ("to record it: make record" in capsys.readouterr().out) != recorded
