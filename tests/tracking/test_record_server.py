"""Stage `record` against a real `mlflow server`: the same run as in a SQLite file, and a server that dies or hangs."""

import gc
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.tracking import location, store
from retrace.tracking.mlflow_internals.loading import load
from stages import record
from tests.state import make_state, write_lock, write_scores
from tests.tracker import HANG_SECONDS, Tracker, assert_same, content


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    tracker = Tracker(tmp_path_factory.mktemp("server"))
    # Ten times faster than the server makes it.
    load(files=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tracker.folder}/server.db")
        store.connect(location.locate("any"))
    tracker.start()
    yield tracker
    tracker.kill()


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("state") / "project"
    make_state(root)
    # What ran is known to the first recording only.
    (root / ".retrace/ran").unlink()
    write_scores(root, [True] * 199 + [False])
    return root


@pytest.fixture
def project(state, tracker, tmp_path, monkeypatch, request) -> Path:
    """A project of one state that the gate passes, which records on the server into an experiment of its own."""
    root = tmp_path / "project"
    shutil.copytree(state, root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    for name in ("DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.setenv(name, "")
    yield root
    gc.enable()


def on_request(patch: pytest.MonkeyPatch, words: str, count: int, act: Callable[[], None], when: str) -> None:
    """Act once, when the client sends its n-th request with these words in the URL, or when it has the answer."""
    from requests import Session

    send, seen = Session.send, [0]

    def watched(session, request, **options):
        seen[0] += words in request.url
        now = words in request.url and seen[0] == count
        if now and when == "asked":
            act()
        response = send(session, request, **options)
        if now and when == "answered":
            act()
        return response

    patch.setattr(Session, "send", watched)


def fails(seconds: float) -> str:
    """Record, which fails in time and in one line; the line."""
    Path(".retrace/recorded").unlink(missing_ok=True)
    begin = time.monotonic()
    with pytest.raises(UserError) as caught:
        record.main()
    assert time.monotonic() - begin < seconds
    assert caught.value.status == MACHINE_FAULT
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(
        "all results are safe, and the next `dvc repro` (or make record) records them in their run"
    )
    assert not Path(".retrace/recorded").exists()
    return str(caught.value)


def test_a_server_gets_the_same_run_as_a_file_once(project, monkeypatch, capsys, request):
    record.main()
    write_lock(project, learning_rate=0.5)
    record.main()
    on_server = content(request.node.name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    write_lock(project)
    record.main()
    write_lock(project, learning_rate=0.5)
    record.main()
    assert_same(on_server, content(request.node.name))
    first, second, *models, aliases = on_server
    assert [run["tags"]["retrace.complete"] for run in (first, second)] == ["true", "true"]
    assert [len(model["metrics"]) > 0 for model in models] == [True, True]
    assert aliases == {"aliases": {"champion": "1", "challenger": "2"}}
    assert not (project / "mlruns").exists()


def test_a_server_that_dies_in_the_middle_gets_one_whole_run_when_it_is_back(project, tracker, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "whole-recording")
    record.main()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "cut-off-twice")
    # First over its work, which takes a moment to reach.
    for words, count, when, delay in (
        ("runs/log-batch", 2, "asked", 0.02),
        ("model-versions/create", 1, "answered", 0),
    ):
        with monkeypatch.context() as patch:
            act = threading.Timer(delay, tracker.kill).start if delay else tracker.kill
            on_request(patch, words, count, act, when)
            assert tracker.uri in fails(HANG_SECONDS)
        tracker.start()
    record.main()
    assert_same(content("cut-off-twice"), content("whole-recording"))


def test_a_server_that_hangs_in_the_middle_costs_seconds_and_gets_one_whole_run(project, tracker, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "steady-server")
    record.main()
    write_lock(project, learning_rate=0.5)
    record.main()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "hangs-twice")
    write_lock(project)
    for words, seconds in (("runs/create", 10), ("predictions.parquet", 4.5)):
        awake = threading.Timer(seconds, tracker.send, [signal.SIGCONT])

        def hang(awake=awake) -> None:
            tracker.send(signal.SIGSTOP)
            awake.start()

        try:
            with monkeypatch.context() as patch:
                on_request(patch, words, 1, hang, "asked")
                assert f"tracking store {tracker.uri}: " in fails(HANG_SECONDS)
        finally:
            tracker.send(signal.SIGCONT)
            awake.cancel()
        record.main()
        write_lock(project, learning_rate=0.5)
    # The second one hung over the champion's predictions, and woke up in time to be told that they are gone.
    assert_same(content("hangs-twice"), content("steady-server"))


def test_a_server_that_is_late_with_each_answer_costs_seconds_too(project, tracker, monkeypatch):
    def late() -> None:
        tracker.send(signal.SIGSTOP)
        threading.Timer(3, lambda: tracker.send(signal.SIGCONT)).start()

    from requests import Session

    send = Session.send

    def slow(session, request, **options):
        late()
        return send(session, request, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "send", slow)
        assert "timed out" in fails(HANG_SECONDS)
    time.sleep(3)
    record.main()


def test_what_another_run_lost_stops_no_recording(project, tracker, request):
    record.main()
    shutil.rmtree(tracker.folder / "artifacts")
    write_lock(project, learning_rate=0.5)
    record.main()
    first, second, *_ = content(request.node.name)
    assert first["files"] == {}
    assert "champion 1's predictions are gone" in second["versions"][0][3]
