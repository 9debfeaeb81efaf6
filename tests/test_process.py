"""How every stage and command ends when it is asked to: real processes, real signals."""

import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

WAITING = "import time; from stages.process.run import run; run(lambda: (print('ready', flush=True), time.sleep(30)))"
IGNORANT = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {WAITING}"


def start(code: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 143, "terminated"),  # the terminal was closed
    ],
)
def test_a_signal_ends_it_with_one_line_and_never_with_0(number, status, word):
    process = start(WAITING)
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == status
    assert f": {word}; " in errors
    assert errors.count("\n") == 1


def test_under_nohup_a_closed_terminal_does_not_end_it():
    process = start(IGNORANT)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 143
