"""A project whose study is a small script in the graph study/dvc.yaml, under real DVC: it writes what a study writes.

settings.json steers it: "trials" of the feed; "exit": its status; "seed": moves all scores; "steps": with it a trial
waits for the file `go`, which it takes away.
"""

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import psutil

from retrace.tracking.study_mirror import TRIAL
from tests.conftest import ROOT
from tests.project import environment

SCRIPT = """
import json, signal, sys, time
from datetime import UTC, datetime
from pathlib import Path
from tests.small_study import SCORES, feed_header, feed_line, write_example

heard = []
def interrupt(number, frame):
    heard.append(number)
    Path("heard").write_text(json.dumps(heard))
signal.signal(signal.SIGINT, interrupt)
signal.signal(signal.SIGTERM, interrupt)

settings = json.loads(Path("settings.json").read_text())
feed = Path(".retrace/study.jsonl")
feed.parent.mkdir(exist_ok=True)
scores = [tuple(score + settings["seed"] for score in some) for some in SCORES]
with open(feed, "w") as file:
    file.write(feed_header(datetime.now(UTC).isoformat()))
    for trial in range(settings["trials"]):
        while settings["steps"] and not Path("go").exists():
            time.sleep(0.02)
            if heard:
                time.sleep(0.5)  # a second one would come by then
                sys.exit(128 + heard[0])
        Path("go").unlink(missing_ok=True)
        file.write(feed_line(trial, scores=dict(zip(("4", "12"), scores[trial]))))
        file.flush()
if not settings["exit"]:
    write_example(scores=scores)
sys.exit(settings["exit"])
"""
GRAPH = """
stages:
  study:
    cmd: python study.py
    wdir: ..
    deps: [settings.json]
    outs: [reports/study/trials.parquet, reports/study/study.json]
"""
STARTED: list["subprocess.Popen[str]"] = []
PLAIN = {"trials": 8, "exit": 0, "seed": 0, "steps": False}


def make_project(folder: Path) -> Path:
    (folder / "study").mkdir(parents=True)
    (folder / "study/dvc.yaml").write_text(GRAPH)
    (folder / "study.py").write_text(SCRIPT)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    steer(folder)
    return folder


def steer(folder: Path, **changes: Any) -> None:
    (folder / "settings.json").write_text(json.dumps(PLAIN | changes))


def variables(**changes: str) -> dict[str, str]:
    given = environment()
    return {**given, "PYTHONPATH": f"{ROOT}:{given.get('PYTHONPATH', '')}", **changes}


def start(folder: Path, *arguments: str, **changes: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "retrace", "study", *arguments],
        cwd=folder,
        env=variables(**changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def end_started() -> None:
    """After a test that failed in the middle, say."""
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            for each in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            process.kill()
            process.communicate()


def study(folder: Path, *arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    process = start(folder, *arguments, **changes)
    out, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, out, errors)


def step(folder: Path, count: int = 1) -> None:
    """Let that many trials end."""
    for _ in range(count):
        (folder / "go").touch()
        until(lambda: not (folder / "go").exists(), "the trial")


def until(condition: Callable[[], Any], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)


def mirror_process(process: "subprocess.Popen[str]") -> psutil.Process:
    """The child that mirrors."""
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = [each for each in psutil.Process(process.pid).children() if "study_mirror" in str(each.cmdline())]
        return bool(found)

    until(look, "the process that mirrors")
    return found[0]


def storage_of(folder: Path, url: str) -> optuna.storages.BaseStorage:
    if url.endswith(".journal"):
        backend = optuna.storages.journal.JournalFileBackend(str(folder / url))
        return optuna.storages.JournalStorage(backend)
    return optuna.storages.RDBStorage(url.replace("sqlite:///", f"sqlite:///{folder}/"))


def is_made(database: Path) -> bool:
    """Whether Optuna has made all its tables: two that make them at the same time get in each other's way."""
    with contextlib.closing(sqlite3.connect(database)) as connection, contextlib.suppress(sqlite3.Error):
        return bool(connection.execute("select count(*) from alembic_version").fetchone()[0])
    return False


def mirrored(folder: Path, url: str) -> dict[str, list[int]]:
    """By study, the numbers of its trials as Retrace has them, sorted; nothing where there is no storage yet."""
    file = folder / url.removeprefix("sqlite:///")
    if "postgresql" not in url and not file.exists():
        return {}
    if url.startswith("sqlite") and not is_made(file):
        return {}
    storage = storage_of(folder, url)
    return {
        name: sorted(
            trial.user_attrs[TRIAL] for trial in optuna.load_study(study_name=name, storage=storage).get_trials()
        )
        for name in optuna.get_all_study_names(storage)
    }
