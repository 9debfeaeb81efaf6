"""The stage `train` in several processes: what is told, and what is kept, where one of them or all are ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.faults.test_resume import FOLDER, Trainer, digests, make, saved, there, untrained, wait_for
from tests.project import environment
from tests.test_train import as_before  # noqa: F401 - a fixture

# As `python -m stages.train`, but with so many processes, however little there is to do.
CODE = """
import sys
from stages import train
from retrace.runtime.run import run
from retrace.training import checkpoint, pack_runner
checkpoint.SECONDS = checkpoint.TIMES_ITS_COST = 0.05
pack_runner.packs_worth_having = lambda *arguments: int(sys.argv[1])
run(train.main)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Trained in one process, which nothing ended."""
    folder = make(tmp_path_factory.mktemp("workers") / "whole", "mean", epochs=300, patience="null")
    trainer = Trainer()
    assert trainer.train(folder, seconds=1) == 0
    trainer.process.kill()
    trainer.process.communicate()
    return folder


def start(folder: Path, packs: int) -> subprocess.Popen:
    command = [sys.executable, "-c", CODE, str(packs)]
    return subprocess.Popen(
        command, cwd=folder, env={**environment(), "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    )


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def under_way(process: subprocess.Popen, folder: Path, packs: int) -> None:
    wait_for(lambda: list(folder.glob(f"{FOLDER}/*/last.checkpoint")), process)
    assert len(workers_of(process)) == packs


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_processes_give_the_bytes_of_one(whole, tmp_path):
    many = untrained(whole, tmp_path / "many")
    process = start(many, 3)
    assert process.wait(300) == 0
    assert digests(many) == digests(whole)


def test_m04_ctrl_c_in_a_terminal_goes_to_all_and_ends_after_the_epoch(whole, tmp_path):
    """The training goes on in another number of processes, and ends in the same bytes."""
    cut = untrained(whole, tmp_path / "cut")
    process = start(cut, 2)
    under_way(process, cut, 2)
    workers = workers_of(process)
    for each in (*workers, process):
        each.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[0] == "train: ends after this epoch, which is saved; again, and it ends at once"
    assert len(errors.splitlines()) == 2
    assert all(map(gone, workers))
    assert there(cut) == []
    assert 0 < saved(cut) < 300
    assert start(cut, 3).wait(300) == 0
    assert digests(cut) == digests(whole)


@pytest.mark.parametrize("victim", ["a worker", "the training"])
def test_a_killed_process_costs_what_came_after_the_last_checkpoint(victim, whole, tmp_path):
    cut = untrained(whole, tmp_path / "cut")
    process = start(cut, 2)
    under_way(process, cut, 2)
    workers = workers_of(process)
    os.kill(workers[1].pid if victim == "a worker" else process.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    if victim == "a worker":
        assert process.returncode == 4
        assert errors == (
            "train: replica 2: its process was killed by SIGKILL; the system kills what takes too much memory:"
            " free some, or set RETRACE_WORKERS to less, then: dvc repro\n"
        )
    else:
        assert process.returncode == -signal.SIGKILL
    wait_for(lambda: all(map(gone, workers)), seconds=60)
    assert there(cut) == []
    assert start(cut, 1).wait(300) == 0
    assert digests(cut) == digests(whole)
