"""How every stage and command ends when it is asked to: real processes, real signals."""

import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

from stages.process.faults import BAD_DATA
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
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert f": {word}; " in errors
    assert errors.count("\n") == 1


def test_under_nohup_a_closed_terminal_does_not_end_it():
    process = start(IGNORANT)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143


# --- what a file may have to do with it -----------------------------------------------------------------------------

READS = """
from pathlib import Path
from stages.files.tables import read_json
from stages.process.faults import Fault
from stages.process.run import run
def main():
    content = read_json(Path("reports/a.json"))
    if "fault" in content:
        raise Fault(3, "data/b.parquet: column x is missing; run: dvc repro")
    content["key"]
run(main)
"""


@pytest.fixture
def read(tmp_path):
    """Run READS on a content that dvc.lock describes, or on another one; what it says."""

    def act(content: str, described: bool) -> list[str]:
        (tmp_path / "reports").mkdir()
        (tmp_path / "reports/a.json").write_text(content)
        digest = hashlib.md5(content.encode() if described else b"another").hexdigest()
        out = {"path": "reports/a.json", "hash": "md5", "md5": digest}
        (tmp_path / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"evaluate": {"outs": [out]}}}))
        done = subprocess.run(
            [sys.executable, "-c", READS],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == (1 if "Traceback" in done.stderr else BAD_DATA)
        return done.stderr.splitlines()

    return act


DAMAGED = "reports/a.json is not the file that dvc.lock describes"


def test_what_fails_over_a_damaged_file_names_the_file(read):
    assert read("{}", False) == [f"{DAMAGED} (KeyError: 'key'); bring it back with: dvc checkout, or: dvc repro"]


def test_a_fault_of_another_file_is_followed_by_the_damaged_one(read):
    first, second = read('{"fault": 1}', False)
    assert first == "data/b.parquet: column x is missing; run: dvc repro"
    assert second == f"{DAMAGED}; bring it back with: dvc checkout, or: dvc repro"


def test_a_fault_is_told_alone_where_nothing_is_damaged(read):
    assert len(read('{"fault": 1}', True)) == 1


def test_an_error_of_the_code_keeps_its_traceback(read):
    assert read("{}", True)[-1] == "KeyError: 'key'"
