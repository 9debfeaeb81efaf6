"""What is forked (tests/warm.py) is what a Python of its own would be; so are the tests' other short cuts."""

import io
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from dvc.utils.serialize import _yaml
from ruamel.yaml import YAML

from retrace.runtime.processes import born, lives
from tests import warm, warm_client, warm_dvc
from tests.conftest import PARAMS, ROOT
from tests.project import TINY, cold, copy_project, run, turn, turn_any


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
    assert "/warm/python" in done.stdout


@pytest.mark.parametrize("number", warm_client.PASSED_ON)
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
                for stream in warm_client.receive(connection)[1].values():
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
CUT_OFF = {"nothing": b"", "its length": b"%12d" % 9, "a part": b"%12d{" % 9}


@pytest.mark.parametrize("said", CUT_OFF)
def test_a_request_that_breaks_off_is_not_waited_for(said):
    one, other = socket.socketpair()
    with other:
        one.sendall(CUT_OFF[said])
        one.close()
        with pytest.raises(ValueError, match=r"whoever asked is gone|invalid literal"):
            warm_client.receive(other)


def test_a_signal_reaches_it_whenever_it_comes_and_where_nobody_waits_for_it_any_more_it_ends():
    said = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(60)"
    for number, status in ((signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)):
        process = subprocess.Popen([warm.forked(), "-c", said], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        forked = int(process.stdout.readline())
        since = born(forked)
        assert lives(forked, since)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == status
        deadline = time.monotonic() + 60
        while lives(forked, since):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_it_has_the_files_that_were_left_open_for_it(tmp_path):
    with open(tmp_path / "file", "w") as file:
        code = f"import os; os.write({file.fileno()}, b'here')"
        subprocess.run([warm.forked(), "-c", code], check=True, pass_fds=[file.fileno()])
    assert (tmp_path / "file").read_text() == "here"


def test_dvc_words_its_lock_as_ever(monkeypatch):
    dump, text = _yaml._dump, (ROOT / "dvc.lock").read_text()
    for name in ("_dump", "parse_yaml_for_update"):
        monkeypatch.setattr(_yaml, name, getattr(_yaml, name))  # so that it is put back
    warm_dvc.keep_what_is_dumped()
    for change in ({}, {"hidden": [1, 2]}, {"hidden": [1, 2.0]}, {"hidden": 1}, {"hidden": "1"}, {"seed": "26 " * 60}):
        data = _yaml.parse_yaml_for_update(text, "dvc.lock")
        data["stages"]["train"]["params"]["params.yaml"]["train"].update(change)
        expected, found = io.StringIO(), io.StringIO()
        dump(data, expected)
        _yaml._dump(data, found)
        assert found.getvalue() == expected.getvalue(), change
        assert _yaml.parse_yaml_for_update(found.getvalue(), "dvc.lock") == data


def test_a_parameter_is_turned_to_what_it_would_be_if_all_were_read_and_written(tmp_path):
    """Also where a value takes more than a part of its line."""
    values = ["moons", "1", "no", "größe x", 3, 0.25, -1, None, True, [], [1, 0.5], ["x1"], {"a": 1}]
    for key in ("create.dataset", "create.rows", "create.circles.noise", "create.columns.ignored", "train.hidden"):
        for value in values:
            read = []
            for change in (turn, lambda folder, changes: turn_any(folder / "params.yaml", changes)):
                (tmp_path / "params.yaml").write_text(PARAMS)
                change(tmp_path, {key: value})
                read.append(YAML(typ="safe").load(tmp_path / "params.yaml"))
            assert repr(read[0]) == repr(read[1]), (key, value)
