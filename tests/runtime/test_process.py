"""How every stage and command ends when it is asked to: real processes, real signals."""

import hashlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from retrace.runtime.errors import BAD_DATA
from tests.conftest import ROOT

WAITING = "import time; from retrace.runtime.run import run; run(lambda: (print('ready', flush=True), time.sleep(30)))"
# Another one comes while the first one is obeyed: as its line is written, and as the output is flushed.
HAILED = """
import os, signal, sys, time
from retrace.runtime.run import run

class Hail:
    def __init__(self, stream):
        self.stream = stream
    def write(self, text):
        os.kill(os.getpid(), SECOND)
        return self.stream.write(text)
    def flush(self):
        os.kill(os.getpid(), SECOND)
        self.stream.flush()

def main():
    try:
        print('ready', flush=True)
        sys.stdout, sys.stderr = Hail(sys.stdout), Hail(sys.stderr)
        time.sleep(30)
    finally:
        os.kill(os.getpid(), SECOND)
        time.sleep(0.01)
        os.write(2, b"cleaned up\\n")

run(main)
"""
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


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_more_signals_change_nothing(number, status, second):
    process = start(HAILED.replace("SECOND", f"signal.{second.name}"))
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert errors.startswith("cleaned up\n")
    assert errors.count("\n") == 2


def test_under_nohup_a_closed_terminal_does_not_end_it():
    process = start(IGNORANT)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143


# --- a file that was damaged, and a bug -----------------------------------------------------------------------------

# A stage writes a text, and one reads it: as processes, since only a stage leaves a note of what it wrote.
WRITES = """
from pathlib import Path
from retrace.runtime.atomic import write_json
from retrace.runtime.run import run
if __name__ == "__main__":
    run(lambda: write_json(Path("reports/a.json"), {"rows": 12}))
"""
READS = """
import sys
from pathlib import Path
from retrace.artifacts.tables import read_json
from retrace.runtime.errors import UserError
from retrace.runtime.run import run
def main():
    content = read_json(Path("reports/a.json"))
    if "fault" in sys.argv:
        raise UserError(3, "data/b.parquet: column x is missing; run: dvc repro")
    content["bug"]
if __name__ == "__main__":
    run(main)
"""
REPAIR = "bring it back with: rm -f reports/a.json && dvc repro"
DAMAGED = f"reports/a.json is neither what its stage wrote nor what dvc.lock describes; {REPAIR}"


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """A project of two stages; runs one of them, and gives what it says on stderr."""
    monkeypatch.chdir(tmp_path)
    for folder in ("stages", "retrace"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "stages/writes.py").write_text(WRITES)
    (tmp_path / "stages/reads.py").write_text(READS)
    describe(b"another")

    def act(stage: str, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", f"stages.{stage}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        ends = {"writes": 0, "reads": 1 if "Traceback" in done.stderr else BAD_DATA}
        assert done.returncode == ends[stage], done.stderr
        return done.stderr.splitlines()

    return act


def describe(content: bytes) -> None:
    """dvc.lock, as DVC writes it."""
    out = {"path": "reports/a.json", "hash": "md5", "md5": hashlib.md5(content).hexdigest(), "size": len(content)}
    with open("dvc.lock", "wb") as file:
        YAML().dump({"schema": "2.0", "stages": {"writes": {"cmd": "x", "outs": [out]}}}, file)


def is_bug(said: list[str]) -> bool:
    """The traceback, and nothing behind it."""
    return said[0].startswith("Traceback") and said[-1] == "KeyError: 'bug'"


def test_a_bug_after_a_stage_by_hand_has_its_traceback_and_no_file_is_blamed(stages):
    """What the stage wrote is not what dvc.lock describes, and right all the same."""
    stages("writes")
    assert is_bug(stages("reads"))


def test_so_it_has_where_dvc_brought_back_what_the_lock_describes(stages):
    stages("writes")
    describe(b'{"rows": 13}')
    Path("reports/a.json").write_bytes(b'{"rows": 13}')
    assert is_bug(stages("reads"))


def test_a_fault_of_the_data_is_told_alone(stages):
    stages("writes")
    assert stages("reads", "fault") == ["data/b.parquet: column x is missing; run: dvc repro"]


@pytest.mark.parametrize("content", [b'{"rows": 21}', b"{}", b'{"rows": 12}\n\n'])
@pytest.mark.parametrize("by_hand", [True, False])
def test_a_damaged_text_is_refused_by_name_before_anything_is_made_of_it(stages, content, by_hand):
    """Also where a number became another one, and nothing would fail over it."""
    stages("writes")
    if not by_hand:
        describe(Path("reports/a.json").read_bytes())
        shutil.rmtree(".retrace")
        assert is_bug(stages("reads"))
    Path("reports/a.json").write_bytes(content)
    assert stages("reads") == stages("reads", "fault") == [DAMAGED]


def test_where_nobody_knows_what_it_should_be_it_is_taken(stages):
    stages("writes")
    shutil.rmtree(".retrace")
    Path("dvc.lock").unlink()
    assert is_bug(stages("reads"))


def test_an_object_of_the_cache_that_is_damaged_too_goes_with_the_file(stages):
    """DVC would bring it back without a look."""
    stages("writes")
    right = Path("reports/a.json").read_bytes()
    describe(right)
    digest = hashlib.md5(right).hexdigest()
    cached = Path(".dvc/cache/files/md5", digest[:2], digest[2:])
    cached.parent.mkdir(parents=True)
    cached.write_bytes(right)
    Path("reports/a.json").write_bytes(b"{}")
    assert stages("reads") == [DAMAGED]
    cached.write_bytes(b"{}")
    assert stages("reads") == [DAMAGED.replace("a.json && dvc", f"a.json {cached} && dvc")]
