"""What is forked (tests/warm.py) is what a Python of its own would be."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests import warm_client
from tests.conftest import ROOT
from tests.project import TINY, cold, copy_project, run, turn


def test_a_forked_stage_ends_says_and_writes_as_one_of_its_own(tmp_path):
    said = {}
    for way in (run, cold):
        folder = copy_project(tmp_path / way.__name__, TINY)
        ways = [way(folder, "-m", f"stages.{stage}") for stage in ("validate", "create", "split")]
        turn(folder, {"train.epochs": 0})
        ways.append(way(folder, "-m", "stages.train"))
        files = {path.name: path.read_bytes() for path in (folder / "data").iterdir() if path.is_file()}
        said[way] = [(done.returncode, done.stdout, done.stderr) for done in ways], files
    assert said[run] == said[cold]
    assert [status for status, _, _ in said[run][0]] == [0, 0, 0, 2]


def test_code_that_was_changed_is_the_code_that_runs(tmp_path):
    folder = copy_project(tmp_path / "changed", TINY)
    (folder / "retrace/runtime/errors.py").write_text("raise SystemExit('the code of then')\n")
    done = run(folder, "-m", "stages.validate")
    assert (done.returncode, done.stderr) == (1, "the code of then\n")


def test_a_stage_that_dvc_runs_is_forked_too(tmp_path):
    """Or it would be slow, and nothing would say so: a fork has its libraries before its first line."""
    folder = copy_project(tmp_path / "traced", TINY)
    yaml = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(yaml.replace("cmd: python -m stages.validate", "cmd: which python && python -c 1"))
    done = run(folder, "-m", "dvc", "repro", "validate")
    assert "warm-" in done.stdout


@pytest.mark.parametrize("number", warm_client.SIGNALS)
def test_a_signal_that_comes_before_the_process_does_is_passed_on(tmp_path, number):
    with socket.socket(socket.AF_UNIX) as listener, subprocess.Popen(["sleep", "60"]) as process:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        asking = [sys.executable, "-I", "-S", warm_client.__file__, str(tmp_path / "socket"), "-m", "stages.validate"]
        # Where the tests run in the background of a shell, an interrupt is ignored, here too.
        asks = subprocess.Popen(asking, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
        try:
            connection, _ = listener.accept()
            with connection:
                for stream in warm_client.receive(connection)[1]:
                    os.close(stream)
                asks.send_signal(number)
                time.sleep(0.3)
                connection.sendall(b"%d\n" % process.pid)
                assert process.wait(timeout=20) == -number
                connection.sendall(b"%d\n" % -number)
            assert asks.wait(timeout=20) == -number
        finally:
            process.kill()
            asks.kill()
            asks.wait()


# What is said of a request before the connection ends.
CUT_OFF = {"nothing": "pass", "its length": "one.sendall(b'%12d' % 9)", "a part": "one.sendall(b'%12d{' % 9)"}


@pytest.mark.parametrize("said", CUT_OFF)
def test_a_request_that_breaks_off_is_forgotten(said):
    """And not waited for in a loop, by a process that nobody ends."""
    code = f"import socket; from tests import warm; one, other = socket.socketpair(); {CUT_OFF[said]}; one.close()"
    command = [sys.executable, "-c", f"{code}; warm.answer(other)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")
