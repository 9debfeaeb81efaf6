"""DVC's experiments, from the queue with two workers and in a temporary folder: all in the project's own store."""

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.project import commit, finished, git, run, warm_environment

RATES = ["0.01", "0.1", "1.0"]
# Of the whole queue; a tiny experiment takes ten seconds.
QUEUE_SECONDS = 300
STOP_SECONDS = 20


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Path]:
    """A tiny project that has run, so that an experiment has to train and no more; the store is to be theirs alone."""
    folder = finished(tmp_path_factory.mktemp("a queue") / "tiny one")
    (folder / "mlflow.db").unlink()
    shutil.rmtree(folder / "mlartifacts")
    commit(folder)
    try:
        yield folder
    finally:
        run(folder, "-m", "dvc", "queue", "stop", "--kill")
        end_workers(folder)


def end_workers(folder: Path) -> None:
    """DVC asks its workers to go, and does not wait until they have."""
    deadline = time.monotonic() + STOP_SECONDS
    while workers := [each for each in psutil.process_iter(["cwd"]) if str(each.info["cwd"]).startswith(str(folder))]:
        if time.monotonic() > deadline:
            for each in workers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        time.sleep(0.1)


def dvc(folder: Path, *arguments: str) -> str:
    done = run(folder, "-m", "dvc", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(folder: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        return connection.execute(query, values).fetchall()


def recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """Every run of the project's store by DVC's name for it: its tags, and what tells it apart."""
    found = {}
    for (run_id,) in rows(folder, "SELECT run_uuid FROM runs"):
        tags: dict[str, Any] = dict(rows(folder, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id))
        params = dict(rows(folder, "SELECT key, value FROM params WHERE run_uuid = ?", run_id))
        query = "SELECT value FROM latest_metrics WHERE key = 'test/accuracy' AND run_uuid = ?"
        ((accuracy,),) = rows(folder, query, run_id)
        assert (folder / "mlartifacts" / "retrace" / run_id / "artifacts" / "dvc.lock").is_file()
        assert tags["retrace.dvc_experiment"] not in found
        found[tags["retrace.dvc_experiment"]] = {**tags, **params, "accuracy": accuracy}
    return found


def experiments(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of `dvc exp show` by name."""
    shown = json.loads(dvc(folder, "exp", "show", "--json"))
    return {row["name"]: row["revs"][0]["data"] for part in shown for row in part["experiments"] or ()}


def elsewhere(folder: Path) -> list[Path]:
    """Stores that a worker made in its own folder."""
    return [path for name in ("mlflow.db*", "mlartifacts", "mlruns") for path in (folder / ".dvc").rglob(name)]


def test_the_queue_with_two_workers_makes_a_run_of_each_experiment(project):
    queued = dvc(project, "exp", "run", "--queue", "-S", f"train.optimizer.learning_rate={','.join(RATES)}")
    names = re.findall(r"Queued experiment '(\S+)'", queued)
    assert len(names) == len(set(names)) == 3
    start = [sys.executable, "-m", "dvc", "queue", "start", "--jobs", "2"]
    # Without a pipe: the workers would hold it open, and this would wait for them.
    subprocess.run(start, cwd=project, env=warm_environment(), check=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + QUEUE_SECONDS
    while re.search(r"Queued|Running", status := dvc(project, "queue", "status")):
        assert time.monotonic() < deadline, status
        time.sleep(2)
    assert status.count("Success") == 3, status + "".join(dvc(project, "queue", "logs", name) for name in names)

    runs, shown = recorded(project), experiments(project)
    assert set(runs) == set(shown) == set(names)
    for name, rate in zip(names, RATES, strict=True):
        assert runs[name]["mlflow.runName"].startswith(f"{name}: ")
        assert runs[name]["train.optimizer.learning_rate"] == rate
        assert runs[name]["retrace.complete"] == "true"
        assert runs[name]["retrace.times"] == "of the training"
        assert runs[name]["mlflow.source.git.commit"] == git(project, "rev-parse", "HEAD")
        assert shown[name]["params"]["params.yaml"]["data"]["train"]["optimizer"]["learning_rate"] == float(rate)
        metrics = shown[name]["metrics"]["reports/metrics.json"]["data"]
        assert metrics["accuracy"] == runs[name]["accuracy"]
    assert elsewhere(project) == []
    assert git(project, "status", "--porcelain") == ""


def test_an_experiment_in_a_temporary_folder_is_a_run_too(project):
    # The rate of one before, so that it has to plot and no more.
    changes = ["-S", "plot.dpi=60", "-S", f"train.optimizer.learning_rate={RATES[1]}"]
    dvc(project, "exp", "run", "--temp", "--name", "fine-print", *changes)
    found = recorded(project)["fine-print"]
    assert found["mlflow.runName"].startswith("fine-print: ")
    assert (found["plot.dpi"], found["retrace.complete"]) == ("60", "true")
    assert elsewhere(project) == []
    assert git(project, "status", "--porcelain") == ""
