"""The tracker cannot hurt a result: each way in which a store fails, and what the next recording makes of it.

In whole projects, through real `dvc repro`, with a real `mlflow server` behind a proxy that fails on command, and with
real SQLite files on mounts of their own. After each fault the store must come to hold what it holds of a project that
was never disturbed, once.
"""

import base64
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from retrace.cli import ui
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.tracking.environment import milliseconds
from retrace.tracking.location import locate
from tests import warm
from tests.conftest import ROOT
from tests.project import TINY, copy_project, environment, finished, forget, free_port, run, warm_environment
from tests.state import FORKS, logged, make_state, rows, runs, start, tags, write_lock
from tests.tracker import Tracker, assert_same, content

SECONDS_ADDED = 10
MARKER = Path(".retrace/recorded")
# In a folder that git ignores: what it does not know would be told of as uncommitted changes.
STORED = Path(".retrace/store/mlflow.db")
SAFE = "all results are safe"
# Said of a server that is late; on a busy machine the real one is late too, and what is recorded next goes on.
LATE, TRIES = re.compile("timed out|does not answer within"), 20
# A mount that only this process and its children see, and that ends with them.
PRIVATE = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))


def own_mounts() -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run([*PRIVATE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
    return False


needs_mounts = pytest.mark.skipif(not own_mounts(), reason="this machine lets nobody mount (unshare --mount)")


# --- a project that has run up to `record` ---------------------------------------------------------------------------


@dataclass
class Ended:
    status: int
    seconds: float
    out: str
    errors: str

    @property
    def ran(self) -> list[str]:
        return re.findall(r"^Running stage '(\w+)'", self.out, re.MULTILINE)

    @property
    def line(self) -> str:
        """The one line that `record` says; DVC's names the stage alone, and `train` warns after so few epochs."""
        assert "Traceback" not in self.errors, self.errors
        lines = filter(None, self.errors.splitlines())
        others = ("ERROR: failed to reproduce 'record'", "train: warning: the best epoch is the last one")
        own = [line for line in lines if not line.startswith(others)]
        assert len(own) == 1, self.errors
        return own[0]


def repro(root: Path, *before: str, **variables: str) -> Ended:
    begin = time.monotonic()
    command = ("-m", "dvc", "repro")
    if before:
        done = subprocess.run(
            [*before, sys.executable, *command],
            cwd=root,
            env={**environment(), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
    else:
        done = run(root, *command, **variables)
    return Ended(done.returncode, time.monotonic() - begin, done.stdout, done.stderr)


def results(root: Path) -> dict[str, str]:
    """SHA-256 of every file that the pipeline made, dvc.lock among them."""
    paths = [root / "dvc.lock", *(path for name in ("data", "models", "reports") for path in (root / name).rglob("*"))]
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file()
    }


@pytest.fixture(scope="module")
def ready(tmp_path_factory, cases) -> Path:
    """Where the whole pipeline ran while nobody listened at the tracker's address: all but the record is there.

    In the sample somebody listened at first, and of that nothing is left.
    """
    root, stages = tmp_path_factory.mktemp("ready") / "project", ["record"]
    if cases(True, False):
        finished(root)
        shutil.rmtree(root / "mlartifacts")
        for path in (root / "mlflow.db", root / MARKER):
            path.unlink()
        forget(root, "record")
    else:
        copy_project(root, TINY)
        stages = ["validate", "create", "split", "baseline", "train", "evaluate", "plot", "report", "record"]
    done = repro(root, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}")
    assert done.status, done.out
    assert re.search("does not answer .*; " + SAFE, done.line)
    assert done.ran == stages
    assert not (root / MARKER).exists()
    return root


def make_store(root: Path, uri: str = "") -> None:
    process = begin(root, STORE, MLFLOW_TRACKING_URI=uri)
    assert process.communicate()[1] == ""


STORE = """
from retrace.tracking.location import locate
from retrace.tracking.store import connect, open_experiment
from retrace.tracking.store_errors import translate_errors
from retrace.tracking.store_lock import locked
store = locate("retrace")
with translate_errors(store), locked(store):
    open_experiment(connect(store), store)
"""


def begin(root: Path, *code: str, **variables: str) -> "subprocess.Popen[str]":
    """`start`, but for the store that the tests have looked into last."""
    return start(root, *code, **{"MLFLOW_TRACKING_URI": "", **variables})


@pytest.fixture(scope="module")
def undisturbed(ready, tmp_path_factory) -> list[dict]:
    """What a store holds of a project that was recorded without any fault."""
    root = tmp_path_factory.mktemp("undisturbed") / "project"
    shutil.copytree(ready, root, symlinks=True)
    assert repro(root).status == 0
    return in_file(root)


def in_file(root: Path) -> list[dict]:
    return content("retrace", f"sqlite:///{root}/mlflow.db")


def assert_once(found: list[dict], undisturbed: list[dict]) -> None:
    """One run, its model and the aliases: parameters, every point, every file, as if nothing had been."""
    assert len(undisturbed) == 3
    assert undisturbed[0]["tags"]["retrace.complete"] == "true"
    assert_same(found, undisturbed)


def test_m18_a_whole_pipeline_gives_the_same_bytes_whatever_the_tracker_does(ready, tmp_path, cases):
    faults = {
        "nothing": (),
        "sqlite": (("MLFLOW_TRACKING_URI", "sqlite:///broken.db"),),
        "foreign": (("MLFLOW_TRACKING_URI", "ftp://nobody"),),
    }
    for name, variables in list(faults.items())[: cases(0, 3)]:
        root = copy_project(tmp_path / name, TINY)
        (root / "broken.db").write_text("no database\n")
        done = repro(root, **dict(variables))
        assert len(done.ran) == 9
        assert bool(done.status) == bool(variables), done.errors
        found, expected = results(root), results(ready)
        if not variables:
            # It has the stage's own entry.
            del found["dvc.lock"], expected["dvc.lock"]
        assert found == expected


# --- a server --------------------------------------------------------------------------------------------------------


class Proxy(ThreadingHTTPServer):
    """Stands before a server, and fails as it is told.

    fails: from the number of a request since `tell` and its path to how it fails: an HTTP status, a word of `Handler`,
    or None, which lets it pass.
    """

    daemon_threads = True

    def __init__(self, behind: str, port: int = 0):
        super().__init__(("127.0.0.1", port), Handler)
        self.behind = behind.removeprefix("http://")
        self.uri = f"http://127.0.0.1:{self.server_port}"
        self.closing = threading.Event()
        self.counting = threading.Lock()
        self.tell(lambda number, path: None)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def tell(self, fails: Callable[[int, str], int | str | None]) -> None:
        self.fails, self.seen = fails, 0

    def end(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


USER = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "word"}
PASSWORD = f"Basic {base64.b64encode(b'me:word').decode()}"


class Handler(BaseHTTPRequestHandler):
    server: Proxy

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.counting:
            self.server.seen += 1
            how = self.server.fails(self.server.seen, self.path)
        if how == "hang":
            self.server.closing.wait(60)
        elif how == "trickle":
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n")
            with contextlib.suppress(OSError):
                while not self.server.closing.wait(0.3):
                    self.wfile.write(b" ")
        elif how == "login":
            self.send(200, b"<html>\n<body>Please log in</body></html>")
        elif how in ("password", "denied") and self.headers.get("Authorization") != PASSWORD:
            # As a server does that asks for one, and as MLflow's own does to whom it does not let in.
            denied = b'{"error_code": "PERMISSION_DENIED", "message": "no"}'
            self.send(*((401, b"") if how == "password" else (403, denied)))
        elif how == "other":
            # Of another version, or another service.
            self.send(200, b'{"experiment": {"experiment_id": {"a": 1}}, "runs": "x", "run": [1]}')
        elif isinstance(how, int):
            self.send(how, b"", ("Retry-After", "30"))
        elif how != "drop":
            answer = self.forward(body)
            # Done there, and nobody is told.
            if how != "lose":
                self.send(*answer)

    def forward(self, body: bytes) -> tuple:
        connection = HTTPConnection(self.server.behind, timeout=60)
        hop = {"connection", "host", "transfer-encoding", "content-length"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in hop}
        connection.request(self.command, self.path, body, {**headers, "Host": self.server.behind})
        response = connection.getresponse()
        content = response.read()
        kept = [item for item in response.getheaders() if item[0].lower() not in {*hop, "date", "server"}]
        return response.status, content, *kept

    def send(self, status: int, content: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        # Whoever asked may have lost patience.
        with contextlib.suppress(OSError):
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def tracker(tmp_path_factory) -> Iterator[Tracker]:
    tracker = Tracker(tmp_path_factory.mktemp("server"))
    make_store(tracker.folder, f"sqlite:///{tracker.folder}/server.db")
    tracker.start()
    yield tracker
    tracker.kill()


@pytest.fixture
def proxy(tracker) -> Iterator[Proxy]:
    proxy = Proxy(tracker.uri)
    yield proxy
    proxy.end()


def at_once(how: int | str) -> Callable[[int, str], int | str | None]:
    return lambda number, path: how


def once_under_way(how: int | str) -> Callable[[int, str], int | str | None]:
    """Not when it is asked for its health, but at the tenth request of the recording."""
    return lambda number, path: how if number > 10 else None


@dataclass
class Served:
    """A fault of a server. fails: None refuses the connection."""

    name: str
    fails: Callable[[int, str], int | str | None] | None
    words: str


SERVED = [
    Served("hangs", at_once("hang"), "does not answer within 3 s"),
    Served("refuses", None, "does not answer .*refused"),
    Served("hangs later", once_under_way("hang"), "timed out: it did not answer in time"),
    Served("trickles", at_once("trickle"), "timed out|does not answer"),
    Served("trickles later", once_under_way("trickle"), "timed out"),
    Served("breaks off", once_under_way("drop"), "broke off while it answered"),
    *(Served(f"{status}", at_once(status), f"HTTP status {status}") for status in (500, 503, 429)),
    *(Served(f"{status} later", once_under_way(status), f"HTTP status {status}") for status in (500, 503, 429)),
    *(Served(f"{status}", at_once(status), f"HTTP status {status}, not as an MLflow") for status in (400, 404)),
    *(Served(f"{status}", at_once(status), f"{status}: set MLFLOW_TRACKING_USERNAME and") for status in (401, 403)),
    Served("login page", at_once("login"), "does not answer as an MLflow server does; check its address"),
    Served("other answers", at_once("other"), "parse"),
]


class Measured:
    """Seconds of `dvc repro` by fault; the figures of the campaign."""

    def __init__(self) -> None:
        self.good: dict[str, list[float]] = {"server": [], "file": []}
        self.bad: dict[str, list[float]] = {}

    def added(self, name: str, kind: str) -> float:
        return statistics.median(self.bad[name]) - statistics.median(self.good[kind])


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    measured = Measured()
    yield measured
    for name, seconds in measured.bad.items():
        print(f"\n{name}: {statistics.median(seconds):.1f} s of {len(seconds)}", end="")
    for kind, seconds in measured.good.items():
        if seconds:
            print(f"\na good {kind}: {statistics.median(seconds):.1f} s of {len(seconds)}", end="")


def fails_alone(root: Path, before: dict[str, str], words: str, *prefix: str, **variables: str) -> float:
    """`dvc repro` fails at `record` and nowhere else, says why in one line, and changes no result; its seconds."""
    done = repro(root, *prefix, **variables)
    assert done.status != 0, done.out
    assert done.ran == ["record"]
    assert re.search(f"tracking store .*(?:{words})", done.line), done.line
    assert SAFE in done.line
    assert f"exited with {MACHINE_FAULT}" in done.errors
    assert results(root) == before
    assert not (root / MARKER).exists()
    return done.seconds


def recovers(root: Path, before: dict[str, str], **variables: str) -> float:
    """The next `dvc repro` records, and changes no result either; its seconds."""
    for _ in range(TRIES):
        done = repro(root, **variables)
        if not LATE.search(done.errors):
            break
    assert done.status == 0, done.errors
    assert done.ran == ["record"]
    del before["dvc.lock"]
    assert {path: digest for path, digest in results(root).items() if path in before} == before
    return done.seconds


def test_m18_m21_m22_a_server_that_fails_hurts_no_result_and_gets_one_whole_run_later(
    ready, tracker, undisturbed, tmp_path, cases, measured, capsys
):
    """m18, m21, m22"""
    for fault in SERVED[: cases(0, len(SERVED))]:
        for repeat in range(cases(1, 3)):
            name = f"{fault.name}-{repeat}".replace(" ", "-")
            root = tmp_path / name
            shutil.copytree(ready, root, symlinks=True)
            before, port = results(root), free_port()
            variables = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "MLFLOW_EXPERIMENT_NAME": name}
            if fault.fails:
                failing = Proxy(tracker.uri, port)
                failing.tell(fault.fails)
            seconds = fails_alone(root, before, fault.words, **variables)
            if fault.fails:
                failing.end()
            passing = Proxy(tracker.uri, port)
            measured.good["server"].append(recovers(root, before, **variables))
            passing.end()
            measured.bad.setdefault(fault.name, []).append(seconds)
            assert_once(content(name, tracker.uri), undisturbed)
            shutil.rmtree(root)
        assert measured.added(fault.name, "server") < SECONDS_ADDED


ADDRESS, LOGIN = "; check its address", ": set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


@pytest.mark.parametrize(
    ("fails", "advice"),
    [
        (at_once("login"), ADDRESS),
        (lambda number, path: None if path == "/health" else 404, ADDRESS),
        (at_once("password"), LOGIN),
        (lambda number, path: None if path == "/health" else "denied", LOGIN),
    ],
    ids=["a login page", "404", "401", "PERMISSION_DENIED"],
)
def test_the_right_address_and_the_right_name_are_let_in(ready, tracker, proxy, tmp_path, request, fails, advice):
    root = Path(shutil.copytree(ready, tmp_path / "project", symlinks=True))
    proxy.tell(fails)
    variables = {"MLFLOW_TRACKING_URI": proxy.uri, "MLFLOW_EXPERIMENT_NAME": request.node.callspec.id.replace(" ", "-")}
    followed = USER if advice == LOGIN else {"MLFLOW_TRACKING_URI": tracker.uri}
    for told, right in ((variables, False), ({**variables, **followed}, True)):
        done = subprocess.run(
            [warm.forked(), "-m", "stages.record"],
            cwd=root,
            env={**environment(), **told},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == (0 if right else MACHINE_FAULT), done.stderr
        assert (advice in done.stderr) != right, done.stderr


def test_the_ui_of_a_server_is_where_the_line_says(ready, tracker):
    done = subprocess.run(
        [warm.forked(), "-m", "retrace", "ui"],
        cwd=ready,
        env={**environment(), "MLFLOW_TRACKING_URI": tracker.uri},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.fullmatch(r"ui: the runs are on the server (\S+); open that in a browser\n", done.stdout)
    assert found, done.stdout
    with urllib.request.urlopen(found[1]) as page:
        assert b"<title>MLflow</title>" in page.read()


@pytest.mark.parametrize("command", ["make run", "make record"])
def test_a_store_without_runs_has_some_after_what_the_ui_says(ready, tmp_path, monkeypatch, command):
    root = Path(shutil.copytree(ready, tmp_path / "project", symlinks=True))
    (root / ".venv").mkdir()
    (root / ".venv/installed").touch()
    monkeypatch.chdir(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    with pytest.raises(UserError, match=r"; run: make run, or make record where the pipeline has nothing to do$"):
        ui.find_experiment(locate("retrace"))
    done = subprocess.run(
        command.split(), cwd=root, env=warm_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ui.find_experiment(locate("retrace"))


def test_m19_a_server_that_is_killed_in_the_middle_and_comes_back_gets_one_whole_run(
    ready, tracker, proxy, undisturbed, tmp_path, cases, measured
):
    """m19"""
    seeds = random.Random(19)
    for trial in range(cases(0, 5)):
        name, last = f"killed-{trial}", seeds.randint(4, 60)
        root = tmp_path / name
        shutil.copytree(ready, root, symlinks=True)
        before = results(root)

        def kill(number: int, path: str, last: int = last) -> None:
            if number == last:
                tracker.kill()

        proxy.tell(kill)
        variables = {"MLFLOW_TRACKING_URI": proxy.uri, "MLFLOW_EXPERIMENT_NAME": name}
        try:
            seconds = fails_alone(root, before, "broke off|does not answer|HTTP status", **variables)
        finally:
            tracker.start()
        measured.bad.setdefault("killed in the middle", []).append(seconds)
        proxy.tell(lambda number, path: None)
        measured.good["server"].append(recovers(root, before, **variables))
        assert_once(content(name, tracker.uri), undisturbed)
    if cases(0, 1):
        assert measured.added("killed in the middle", "server") < SECONDS_ADDED


# A child records, as the stage does; its exit status says how that ended.
RECORDS = """
from retrace.runtime.run import run
def recorded():
    try:
        run(record.main)
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)
def status(experiment=""):
    os.environ["MLFLOW_EXPERIMENT_NAME"] = experiment
    return os.waitstatus_to_exitcode(ended(child(recorded)))
"""

EACH_REQUEST = """
for line in sys.stdin:
    print("ended", status(line.strip()), flush=True)
"""


class Recorder:
    """Records a state of a project again and again, each time in a process of its own that imports nothing anew."""

    def __init__(self, root: Path, **variables: str):
        self.root = root
        command = [warm.forked(), "-c", FORKS + RECORDS + EACH_REQUEST]
        self.process = subprocess.Popen(
            command,
            cwd=root,
            env={**environment(), "PYTHONPATH": str(ROOT), **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def begin(self, experiment: str = "retrace") -> None:
        self.process.stdin.write(f"{experiment}\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Exit status and all that was said."""
        lines = []
        for line in self.process.stdout:
            if line.startswith("ended "):
                return int(line.split()[1]), "".join(lines)
            lines.append(line)
        raise AssertionError("".join(lines))

    def record(self, experiment: str = "retrace") -> tuple[int, str]:
        self.begin(experiment)
        return self.end()

    def complete(self, experiment: str) -> None:
        for _ in range(TRIES):
            status, said = self.record(experiment)
            if not LATE.search(said):
                break
        assert status == 0, said


@pytest.fixture
def state(tmp_path) -> Path:
    """A small state; what ran for it is known to the first recording only."""
    make_state(tmp_path / "state")
    (tmp_path / "state/.retrace/ran").unlink()
    return tmp_path / "state"


def test_a_server_may_fail_at_any_request_and_gets_one_whole_run(state, tracker, proxy, cases):
    """m19: not answered, answered with an error, or done and the answer lost, for each request of a recording."""
    with Recorder(state, MLFLOW_TRACKING_URI=proxy.uri) as recorder:
        recorder.complete("whole")
        count, whole = proxy.seen, content("whole", tracker.uri)
        hows = {"lose": 1, 503: 5, "drop": 5}
        chosen = [(how, number) for how, step in hows.items() for number in range(2, count + 1, step)]
        if not cases(0, 1):
            chosen = [("lose", 12)]
        for how, number in chosen:
            name = f"request-{how}-{number}"
            (state / MARKER).unlink(missing_ok=True)
            proxy.tell(lambda seen, path, how=how, number=number: how if seen == number else None)
            status, said = recorder.record(name)
            proxy.tell(lambda seen, path: None)
            # MLflow asks on where an answer is a matter of taste, such as whether there is an alias.
            if status:
                assert (status, said.count("\n")) == (MACHINE_FAULT, 1), said
                recorder.complete(name)
            assert_same(content(name, tracker.uri), whole)
        print(f"\n{len(chosen)} of {count} requests in {len(hows)} ways", end="")


@pytest.mark.parametrize("asked", [False, True], ids=["by itself", "with Ctrl-C"])
def test_a_download_that_trickles_ends_in_seconds_and_so_does_the_process(state, tracker, proxy, asked):
    """MLflow downloads in a thread, which no timeout of a request ends, and which Python waits for at its end."""
    variables = {"MLFLOW_TRACKING_URI": proxy.uri, "MLFLOW_EXPERIMENT_NAME": f"download-trickles-{asked}"}
    first = begin(state, **variables)
    assert (first.communicate()[1], first.returncode) == ("", 0)
    write_lock(state, learning_rate=0.5)
    reached = threading.Event()

    def trickle(number: int, path: str) -> str | None:
        """Of the run before, its dvc.lock."""
        if re.search(r"artifacts/\d+/\w+/artifacts/dvc\.lock$", path):
            reached.set()
            return "trickle"
        return None

    proxy.tell(trickle)
    process = begin(state, **variables)
    assert reached.wait(60)
    since = time.monotonic()
    if asked:
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert time.monotonic() - since < SECONDS_ADDED
    words = "record: interrupted; " if asked else f"tracking store .*: timed out: it did not answer in time; {SAFE}, "
    assert re.fullmatch(f"{words}.*\n", errors), errors
    assert (process.returncode, out) == (130 if asked else MACHINE_FAULT, "")
    proxy.tell(lambda number, path: None)
    last = begin(state, **variables)
    assert (last.communicate()[1], last.returncode) == ("", 0)


# --- a SQLite file ---------------------------------------------------------------------------------------------------


@dataclass
class Filed:
    """A fault of a SQLite store. spoil: does it, and is undone by fix; mount: shell before `dvc repro`."""

    name: str
    words: str
    spoil: Callable[[Path], object] = field(default=lambda root: None)
    fix: Callable[[Path], object] = field(default=lambda root: None)
    mount: str = ""
    store: bool = True


HELD: dict[Path, sqlite3.Connection] = {}


def hold(root: Path) -> None:
    HELD[root] = sqlite3.connect(root / STORED, isolation_level=None)
    HELD[root].execute("BEGIN EXCLUSIVE")


def let_go(root: Path) -> None:
    HELD.pop(root).close()


def change(act: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Of the content of the file, of which a copy is kept."""

    def spoil(root: Path) -> None:
        database = root / STORED
        shutil.copyfile(database, root / ".retrace/copy.db")
        database.write_bytes(act(database.read_bytes()))

    return spoil


def back(root: Path) -> None:
    (root / ".retrace/copy.db").replace(root / STORED)


def move_away(root: Path) -> None:
    """As the line says."""
    (root / STORED).rename(root / ".retrace/store/moved.db")


def flip(content: bytes) -> bytes:
    """One bit in the page that says which tables there are."""
    return content[:100] + bytes([content[100] ^ 0x10]) + content[101:]


def newer(root: Path) -> None:
    shutil.copyfile(root / STORED, root / ".retrace/copy.db")
    with contextlib.closing(sqlite3.connect(root / STORED)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        connection.execute("DROP TABLE latest_metrics")


# The schema before the newest, made by MLflow's own migrations.
OLDER = """
import sys, sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
uri = "sqlite:///" + sys.argv[1]
config = utils._get_alembic_config(uri)
script = ScriptDirectory.from_config(config)
engine = sqlalchemy.create_engine(uri)
Base.metadata.create_all(engine)
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, script.get_revision(script.get_heads()[0]).down_revision)
"""


def older(root: Path) -> None:
    (root / STORED).unlink()
    subprocess.run([sys.executable, "-c", OLDER, root / STORED], check=True, capture_output=True)


def upgrade(root: Path) -> None:
    """As the line says."""
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{root / STORED}"]
    subprocess.run(command, check=True, capture_output=True)


READ_ONLY = "mount --bind {0} {0} && mount -o remount,bind,ro {0}"

FILED = [
    Filed("locked", "database is locked; end the other program", hold, let_go),
    Filed("file read-only", "readonly database; make it writable", mount=READ_ONLY.format(STORED)),
    Filed("folder read-only", "readonly database; make it writable", mount=READ_ONLY.format(STORED.parent)),
    Filed(
        "read-only, no store", "Read-only file system: .*; make it", mount=READ_ONLY.format(STORED.parent), store=False
    ),
    Filed(
        "artifacts read-only",  # m23
        "Read-only file system: .*mlartifacts/.*; make it writable",
        mount=f"mkdir .retrace/store/mlartifacts && {READ_ONLY.format('.retrace/store/mlartifacts')}",
    ),
    Filed(
        "artifacts full",
        "No space left on device: .*mlartifacts/.*; make room there",
        mount="mkdir .retrace/store/mlartifacts && mount -t tmpfs -o size=64k none .retrace/store/mlartifacts",
    ),
    Filed("flipped", "malformed.*; fix or move the file", change(flip), move_away),
    Filed("cut", "malformed.*; fix or move the file", change(lambda content: content[: len(content) // 2]), move_away),
    Filed("a text", "not a database; fix or move the file", change(lambda content: b"hello\n" * 999), move_away),
    Filed("zeros", "not a database; fix or move the file", change(lambda content: bytes(len(content))), move_away),
    Filed("schema newer", "a newer MLflow than .* move mlflow.db away", newer, back),
    Filed("schema older", "an older MLflow made it; .* mlflow db upgrade", older, upgrade),
]


@needs_mounts
def test_m23_m26_a_file_that_fails_hurts_no_result_and_gets_one_whole_run_later(
    ready, undisturbed, tmp_path, cases, measured
):
    """m23, m26"""
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{STORED}"}
    for fault in FILED[: cases(1, len(FILED))]:
        for repeat in range(cases(1, 3)):
            root = tmp_path / f"{fault.name} {repeat}"
            shutil.copytree(ready, root, symlinks=True)
            (root / STORED).parent.mkdir()
            if fault.store:
                make_store(root, variables["MLFLOW_TRACKING_URI"])
            before = results(root)
            fault.spoil(root)
            prefix = (*PRIVATE, "sh", "-c", f'{fault.mount} && exec "$@"', "-") if fault.mount else ()
            try:
                seconds = fails_alone(root, before, fault.words, *prefix, **variables)
            finally:
                fault.fix(root)
            measured.bad.setdefault(fault.name, []).append(seconds)
            measured.good["file"].append(recovers(root, before, **variables))
            assert_once(content("retrace", f"sqlite:///{root / STORED}"), undisturbed)
            shutil.rmtree(root)
        assert measured.added(fault.name, "file") < SECONDS_ADDED
    if cases(0, 1):
        # Nothing to be afraid of: an empty file is a new store.
        root = tmp_path / "empty"
        shutil.copytree(ready, root, symlinks=True)
        (root / "mlflow.db").touch()
        assert repro(root).status == 0
        assert_once(in_file(root), undisturbed)


@needs_mounts
def test_m11_a_disk_that_is_full_hurts_no_result_and_there_is_one_whole_run_when_there_is_room(
    ready, undisturbed, tmp_path, cases, measured
):
    """m11: too small for the store, for its first run, for the model, for the files."""
    command = f"{sys.executable} -m dvc repro"
    shell = (
        "mount -t tmpfs -o size={}k none .retrace/store && {{ {} ; echo status $? ;"
        " mount -o remount,size=64m .retrace/store ; {} >&2 ; echo status $? ; cp -a .retrace/store .retrace/kept ; }}"
    )
    for size in (400, 970, 1000, 1040, 1200)[: cases(0, 5)]:
        root = tmp_path / str(size)
        shutil.copytree(ready, root, symlinks=True)
        (root / STORED).parent.mkdir()
        done = subprocess.run(
            [*PRIVATE, "sh", "-c", shell.format(size, command, command.replace("dvc", "dvc --quiet"))],
            cwd=root,
            env={**environment(), "MLFLOW_TRACKING_URI": f"sqlite:///{STORED}"},
            capture_output=True,
            text=True,
            check=True,
        )
        first, second = re.findall(r"^status (\d+)", done.stdout, re.MULTILINE)
        assert (first != "0", second) == (True, "0"), done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("tracking store")]
        assert len(lines) == 1
        assert re.search(r"(No space left on device|database or disk is full).*; make room there; " + SAFE, lines[0])
        assert "Traceback" not in done.stderr
        expected = results(ready)
        del expected["dvc.lock"]
        assert {path: digest for path, digest in results(root).items() if path in expected} == expected
        (root / STORED).parent.rmdir()
        (root / ".retrace/kept").rename((root / STORED).parent)
        assert_once(content("retrace", f"sqlite:///{root / STORED}"), undisturbed)


def test_a_store_with_damage_anywhere_is_one_line_or_recorded_into(state, tmp_path, cases):
    """m26: some bytes of the file are others, anywhere; with the undamaged file the recording is as it should be."""
    seeds = random.Random(26)
    database, marker = state / "mlflow.db", state / MARKER
    with Recorder(state) as recorder:
        # Another state's run, a version and a champion are in it already.
        lock = (state / "dvc.lock").read_text()
        (state / "dvc.lock").write_text(lock.replace("learning_rate: 0.1\n", "learning_rate: 0.2\n"))
        assert recorder.record()[0] == 0
        (state / "dvc.lock").write_text(lock)
        intact = database.read_bytes()
        whole = tmp_path / "whole"
        shutil.copytree(state, whole)
        with Recorder(whole) as undamaged:
            assert undamaged.record()[0] == 0
        seen = {0: 0, MACHINE_FAULT: 0}
        for _ in range(cases(2, 300)):
            damaged = bytearray(intact)
            kind = seeds.choice(["flip", "flip", "zero", "noise", "cut"])
            at = seeds.randrange(len(damaged))
            if kind == "flip":
                for _ in range(seeds.choice([1, 8, 64])):
                    damaged[seeds.randrange(len(damaged))] ^= 1 << seeds.randrange(8)
            elif kind == "cut":
                del damaged[at:]
            else:
                length = seeds.choice([16, 512, 4096, 40_960])
                part = damaged[at : at + length]
                damaged[at : at + length] = bytes(len(part)) if kind == "zero" else seeds.randbytes(len(part))
            database.write_bytes(damaged)
            marker.unlink(missing_ok=True)
            status, said = recorder.record()
            assert status in seen, said
            assert "Traceback" not in said
            if status:
                (line,) = (line for line in said.splitlines() if "came here from" not in line)
                assert SAFE in line
                assert not marker.exists()
            seen[status] += 1
            for suffix in ("-journal", "-wal", "-shm"):
                database.with_name(f"mlflow.db{suffix}").unlink(missing_ok=True)
        database.write_bytes(intact)
        assert recorder.record()[0] == 0
        print(f"\ndamaged stores: {seen[MACHINE_FAULT]} refused, {seen[0]} recorded into", end="")
    assert_same(in_file(state), in_file(whole))


def test_a_recording_that_stands_still_is_not_waited_for(state):
    """Stopped by a terminal's Ctrl-Z, it keeps its turn for ever."""
    make_store(state)
    holds = "with store_lock.locked(location.locate('any')): print(os.getpid(), flush=True); input()"
    stopped = begin(state, FORKS + holds)
    holder = int(stopped.stdout.readline())
    since = time.monotonic()
    waiting = begin(state)
    try:
        _, errors = waiting.communicate(timeout=600)
        assert waiting.returncode == MACHINE_FAULT
        assert re.search(rf"another recording \(process {holder}\) has begun and stands still; end it; ", errors)
        assert errors.count("\n") == 1
        assert time.monotonic() - since < SECONDS_ADDED + 20  # of a busy machine
    finally:
        stopped.kill()
        stopped.communicate()
    # With its end its turn ends.
    last = begin(state)
    assert last.communicate(timeout=600)[1] == ""
    assert last.returncode == 0


# --- together, killed, and another time of day -----------------------------------------------------------------------


def test_m25_eight_that_start_together_on_a_missing_store_all_succeed_and_make_one_run(state, tmp_path, cases):
    """m25"""
    whole: list[dict] = []
    for trial in range(cases(1, 20)):
        root = tmp_path / f"trial {trial}"
        shutil.copytree(state, root)
        processes = [begin(root) for _ in range(8)]
        for process in processes:
            out, errors = process.communicate(timeout=600)
            assert process.returncode == 0, out + errors
            assert errors == ""
        found = in_file(root)
        assert len(found) == 3
        assert found[0]["tags"]["retrace.complete"] == "true"
        whole = whole or found
        assert_same(found, whole)


def test_a_recording_that_is_killed_at_any_time_is_completed_and_not_doubled(state, tmp_path, cases):
    """m27: SIGKILL at random times, of the first recording and of one that brings back files that were gone."""
    seeds = random.Random(27)
    trials = [(f"kill-{index}", "again" if index % 5 == 1 else "first") for index in range(cases(2, 50))]
    for name, _ in trials:
        shutil.copytree(state, tmp_path / name)
    process = begin(tmp_path, FORKS + RECORDS + KILLS)
    out, errors = process.communicate("".join(f"{name} {which} {seeds.random()}\n" for name, which in trials))
    assert process.returncode == 0, out + errors
    whole = in_file(tmp_path / "measured")
    for name, _ in trials:
        assert_same(in_file(tmp_path / name), whole)
    ends = [int(end) for end in re.findall(r"^killed (-?\d+)", out, re.MULTILINE)]
    print(f"\n{ends.count(-signal.SIGKILL)} of {len(ends)} were killed before their end", end="")
    assert len(ends) == len(trials)
    assert ends.count(-signal.SIGKILL) >= len(ends) // 2


# The time that a whole recording takes is measured on a copy, and the trial's is killed at a share of it.
KILLS = """
import shutil, time
def timed(folder):
    os.chdir(folder)
    begin = time.monotonic()
    assert status() == 0
    return time.monotonic() - begin
base = os.getcwd()
for line in sys.stdin:
    name, which, share = line.split()
    here, copy = (os.path.join(base, each) for each in (name, "measured"))
    if which == "first":
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(here, copy)
        whole = timed(copy)
    else:
        timed(here)
        shutil.rmtree("mlartifacts")
        whole = timed(here)
        shutil.rmtree("mlartifacts")
    os.chdir(here)
    pid = child(recorded)
    time.sleep(whole * float(share))
    os.kill(pid, signal.SIGKILL)
    print("killed", os.waitstatus_to_exitcode(ended(pid)), flush=True)
    assert status() == 0
"""


def test_m33_a_clock_that_is_wrong_or_set_back_gives_no_negative_times(state, cases):
    """m33: what the training wrote down, and the time of day while it is recorded."""
    year = 365 * 24 * 3600
    trials = [
        # The recording's clock, and where it jumps to once it was asked; when the training says that it began.
        ("0 -3600", ""),
        ("-3600 0", "2026-01-02T03:04:05+00:00"),
        ("1970 0", "2026-01-02T03:04:05+00:00"),
        ("1970 -3600", ""),
        (f"{10 * year} {-10 * year}", ""),
        ("0 -3600", "2036-01-02T03:04:05+00:00"),
        ("1970 0", "1970-01-01T00:00:01+00:00"),
        ("0 0", "1969-12-31T23:00:00+00:00"),
    ]
    clock = state / ".retrace/train.json"
    facts = json.loads(clock.read_text())
    process = begin(state, FORKS + RECORDS + CLOCKS)
    for index, (words, started) in enumerate(trials[: cases(3, len(trials))]):
        clock.write_text(json.dumps({**facts, "started": started} if started else {}))
        (state / MARKER).unlink(missing_ok=True)
        process.stdin.write(f"clock-{index} {words}\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert "recorded run" in line, (index, line, process.communicate())
        while not (line := process.stdout.readline()).startswith("ended"):
            assert "version 1 of" in line
        assert line == "ended 0\n"
        (run_id,) = runs(state, f"clock-{index}")
        ((status, first, last),) = rows(
            state, "SELECT status, start_time, end_time FROM runs WHERE run_uuid = ?", run_id
        )
        length = round(1000 * facts["seconds"]) if started else 0
        assert (status, last - first >= length) == ("FINISHED", True)
        if started:
            assert (first, last) == (milliseconds(started), milliseconds(started) + length)
        points = logged(state, run_id)
        assert len(points) > 50
        assert all(first <= timestamp <= last for *_, timestamp in points)
        assert tags(state, run_id)["retrace.complete"] == "true"
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")


# The clock of a child: some seconds off, or in 1970, and set back or forth when it was asked for the first time.
CLOCKS = """
import time
real, real_ns = time.time, time.time_ns
def recorded_at(shift, jump):
    off = [-real() + 1 if shift == "1970" else float(shift)]
    def now():
        return real() + off[0]
    def now_ns():
        answer = real_ns() + int(1e9 * off[0])
        off[0], jumps[0] = off[0] + jumps[0], 0
        return answer
    jumps = [float(jump)]
    time.time, time.time_ns = now, now_ns
    recorded()
for line in sys.stdin:
    os.environ["MLFLOW_EXPERIMENT_NAME"], shift, jump = line.split()
    print("ended", os.waitstatus_to_exitcode(ended(child(lambda: recorded_at(shift, jump)))), flush=True)
"""
