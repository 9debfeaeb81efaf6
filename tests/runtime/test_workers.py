"""Copies of a process that answer what they are asked, and leave nothing behind."""

import gc
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from retrace.runtime import posix
from retrace.runtime.cores import LIMIT, cores
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.workers import Workers, shared_memory
from tests.conftest import ROOT


def test_they_answer_and_see_the_same_memory():
    memory = shared_memory(2)

    def write(value):
        memory[0] = value
        return value + 1

    with Workers([write, lambda value: memory[0] * value], ["one", "two"]) as crew:
        assert crew.ask([7, None]) == [8, None]
        assert memory[0] == 7
        assert crew.ask([None, 3]) == [None, 21]
        pids = crew.pids
    assert not any(map(psutil.pid_exists, pids))


def test_an_error_comes_back_as_it_was_raised_and_the_others_go_on():
    def fail(lines):
        raise UserError(BAD_DATA, *lines)

    with Workers([fail, lambda lines: lines], ["one", "two"]) as crew:
        with pytest.raises(UserError, match=r"^a\nb$") as caught:
            crew.ask([["a", "b"], ["c"]])
        assert caught.value.status == BAD_DATA
        assert crew.ask([None, ["d"]]) == [None, ["d"]]


def test_what_a_worker_has_inherited_it_does_not_tidy_up():
    """A session of ONNX Runtime waits there for threads that were not copied."""
    memory = shared_memory(1)

    class Session:
        def __init__(self):
            self.circle = self

        def __del__(self):
            memory[0] = 1

    def tidy(_):
        gc.collect()
        return memory[0]

    gc.disable()
    try:
        Session()
        with Workers([tidy], ["one"]) as crew:
            assert crew.ask([0]) == [0]
    finally:
        gc.enable()
    gc.collect()
    assert memory[0] == 1


def test_a_bug_brings_the_place_where_it_happened():
    def buggy(value):
        return {}[value]

    with Workers([buggy], ["one"]) as crew, pytest.raises(RuntimeError, match="missing") as caught:
        crew.ask(["missing"])
    assert "in buggy" in "".join(caught.value.__notes__)


def test_where_no_further_process_can_be_made_none_is_left(monkeypatch):
    fork, made = os.fork, []

    def limited():
        if len(made) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        made.append(pid := fork())
        return pid

    monkeypatch.setattr(os, "fork", limited)
    line = f"^three: no further process can be made .Resource temporarily unavailable.; set {LIMIT} to less$"
    with pytest.raises(UserError, match=line), Workers([len] * 4, ["one", "two", "three", "four"]):
        pass
    assert not any(map(psutil.pid_exists, made))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_one_that_ends_is_told():
    line = "^sorting: its process ended with status 3; run dvc repro$"
    with Workers([lambda status: os._exit(status)], ["sorting"]) as crew, pytest.raises(UserError, match=line):
        crew.ask([3])


def test_none_outlives_the_process_that_made_it(tmp_path):
    code = (
        "import os, signal, time; from retrace.runtime.workers import Workers\n"
        "with Workers([time.sleep] * 2, ['a', 'b']) as crew:\n"
        "    print(*crew.pids, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL) if os.environ.get('IDLE') else crew.ask([600, 600])\n"
    )
    for idle in ("", "1"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "IDLE": idle}
        made = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        assert made.stdout is not None
        pids = [int(pid) for pid in made.stdout.readline().split()]
        assert len(pids) == 2
        made.kill()
        made.wait()
        for _ in range(600):
            if not any(map(psutil.pid_exists, pids)):
                break
            time.sleep(0.1)
        else:
            pytest.fail("a worker goes on alone")


def test_how_many(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(posix, "cores_of_group", lambda: 100)
    monkeypatch.delenv(LIMIT, raising=False)
    assert cores() == 8
    monkeypatch.setattr(posix, "cores_of_group", lambda: 3)
    assert cores() == 3
    for given, found in (("2", 2), ("50", 3), ("1", 1)):
        monkeypatch.setenv(LIMIT, given)
        assert cores() == found
    for given in ("0", "-1", "two", "1.5", "²"):
        monkeypatch.setenv(LIMIT, given)
        with pytest.raises(UserError, match=f"^{LIMIT}={given}: must be a whole number from 1 on; unset it"):
            cores()
    monkeypatch.delenv(LIMIT)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cores() == 1


def test_each_request_is_answered_once_whoever_is_free(one_thread):
    def work(request: int) -> int:
        time.sleep(0.05 if request == 0 else 0.001)
        return request * request

    with Workers([work] * 2, ["works"] * 2) as workers:
        found = list(workers.each(range(9), ["works"] * 9))
        assert sorted(found) == [(place, place * place) for place in range(9)]
        assert found[-1] == (0, 0) or found[0] != (0, 0), "nobody waits for the slow one"
        assert list(workers.each([], [])) == []


def test_a_killed_worker_is_replaced_once_for_each_request(one_thread, tmp_path):
    """The first time that request 3 is asked, its worker is killed; request 5 kills every one."""

    def work(request: int) -> int:
        if request == 3 and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if request == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return request

    with Workers([work] * 2, ["works"] * 2, "make study") as workers:
        assert sorted(workers.each([1, 2, 3, 4], ["a", "b", "c", "d"])) == [(0, 1), (1, 2), (2, 3), (3, 4)]
        with pytest.raises(UserError) as caught:
            list(workers.each([1, 5], ["a", "study: 3 networks"]))
    assert str(caught.value) == (
        "study: 3 networks: its process was killed by SIGKILL; the system kills what takes too much memory: free some,"
        " or set RETRACE_WORKERS to less, then: make study"
    )
