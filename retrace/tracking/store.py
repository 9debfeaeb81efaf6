"""Where runs go, and how to get there in seconds or say in one line why not.

MLflow alone waits 247 s for a server that is down, migrates a store that another version made, and prints a traceback
for a damaged one; of four processes that first open a new SQLite store together three crash.
"""

import contextlib
import fcntl
import functools
import inspect
import logging
import os
import re
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import unquote

import psutil

from retrace.runtime.atomic import write
from retrace.runtime.errors import MACHINE_FAULT, Fault
from retrace.tracking import moved
from retrace.tracking.moved import BUSY_SECONDS
from retrace.tracking.points import safe_key

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# A server that is down, hangs or answers 500 costs at most the probe before and one such request within: 10 s in all.
PROBE_SECONDS = 3
REQUEST_SECONDS = 3
# So long another recording may stand still: it waits for its server at most that long itself.
STILL_SECONDS = 7
# An answer within this time, and what was sent at this speed, is in time; what answers in a row are late adds up.
ANSWER_SECONDS = 1
BYTES_A_SECOND = 100_000

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_SECONDS),
    # The next `dvc repro` is the retry, and looks first for what arrived; MLflow's own could make a second run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True)
class Store:
    """uri: what MLflow gets. database: the file, where it is SQLite. root: the project's folder."""

    uri: str
    experiment: str
    root: Path
    database: Path | None

    @property
    def artifacts(self) -> Path | None:
        """Beside the database; a server knows its own place."""
        return self.database.with_name("mlartifacts") if self.database else None

    @property
    def shown(self) -> str:
        """The file, or the URI without the name and password that it may carry."""
        return str(self.database) if self.database else _without_password(self.uri)

    def unreachable(self, reason: str) -> Fault:
        return Fault(
            MACHINE_FAULT,
            f"tracking store {self.shown}: {reason}; all results are safe, and {_RETRY[in_experiment()]}",
        )

    def unusable(self, reason: str) -> Fault:
        return Fault(MACHINE_FAULT, f"tracking store {self.shown}: {reason}; all results are safe in their files")

    def broken(self, error: sqlite3.Error) -> Fault:
        return _fault(error, self)


# DVC removes the folder of a queued or temporary experiment that failed; its run cache keeps what the stages made.
_RETRY = {
    False: "the next `dvc repro` (or make record) records them in their run",
    True: "the same `dvc exp run` again takes them from DVC's run cache and records them",
}


def in_experiment() -> bool:
    return bool(os.environ.get("DVC_EXP_NAME"))


def locate(experiment: str) -> Store:
    """The store that the environment names, else mlflow.db in the project's root; raises Fault for one of another kind.

    DVC runs queued and temporary experiments in another folder; DVC_ROOT then names the project's own.
    """
    root = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    uri, database = os.environ.get("MLFLOW_TRACKING_URI", "").strip(), root / "mlflow.db"
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or experiment
    if re.match("https?://", uri):
        return Store(uri, experiment, root, None)
    if uri:
        name = unquote(uri.removeprefix("sqlite:///").partition("?")[0])
        # SQLAlchemy takes the last two for a store that ends with the process, and for a URI of SQLite's own.
        if not uri.startswith("sqlite:///") or not name or name == ":memory:" or name.startswith("file:"):
            raise Store(uri, experiment, root, None).unusable(
                "MLFLOW_TRACKING_URI takes the address of a server (http://HOST:PORT), a SQLite file (sqlite:///FILE),"
                " or nothing for mlflow.db in the project"
            )
        # Without links and dots, so that a store has one name, whichever way leads to it.
        database = (root / name).parent.resolve() / Path(name).name
    return Store(sqlite_uri(database), experiment, root, database)


def sqlite_uri(database: Path) -> str:
    # SQLAlchemy decodes percents and takes what follows a question mark for options; all else may stand as it is.
    return "sqlite:///" + str(database).replace("%", "%25").replace("?", "%3F")


def probe(store: Store) -> None:
    """Raises Fault when the store surely cannot be used; cheap, so that nobody waits for an import to learn it."""
    if store.uri.startswith(("http://", "https://")):
        _ask(store)
    elif store.database and store.database.is_dir():
        raise store.unusable("is a folder, not a SQLite file")
    elif store.database and exists(store.database) and not _recording(store.database):
        _inspect(store, store.database)


def _recording(database: Path) -> bool:
    """Whether another process records into it: it may then be locked, and is looked at when it is this one's turn."""
    try:
        with open(_lock_file(database), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _lock_file(database: Path) -> Path:
    return database.with_name(f"{database.name}.lock")


def exists(database: Path) -> bool:
    """An empty file is what a killed process leaves, and what SQLite takes for a new store."""
    return database.is_file() and database.stat().st_size > 0


@contextlib.contextmanager
def locked(store: Store) -> Iterator[None]:
    """One recording at a time: two would create the store, or the run of one state, twice.

    The lock is the SQLite file's, which several projects may share; at a server it is the project's own.
    """
    database = store.database
    path = _lock_file(database) if database else store.root / ".retrace" / "record.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="ascii") as file:
        _take_turn(file, store)
        yield


def _take_turn(file: TextIO, store: Store) -> None:
    """Wait as long as the one whose turn it is does something; it may have been stopped, and would be waited for ever.

    It does something as long as its processor time grows. Raises Fault.
    """
    before, since = "", time.monotonic()
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return
        file.seek(0)
        pid, spent = file.read(), 0.0
        # No such process: it is in another container, or gone by now.
        with contextlib.suppress(psutil.Error, ValueError):
            times = psutil.Process(int(pid)).cpu_times()
            spent = times.user + times.system
        if (now := f"{pid} {spent}") != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > STILL_SECONDS:
            process = f"process {pid}" if spent else "a process that cannot be seen here"
            raise store.unreachable(f"another recording ({process}) has begun and stands still; end it")
        time.sleep(0.05)


@contextlib.contextmanager
def faults(store: Store) -> Iterator[None]:
    """Whatever the tracker raises within, as one line."""
    # Imported here: it costs seconds, and a store that cannot be used is found before.
    load()
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    if store.database:
        # Here, and not by the client, which has seconds to open the store: this alone takes so long on a busy machine.
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    try:
        yield
    except (MlflowException, SQLAlchemyError, RequestException, sqlite3.Error, OSError) as error:
        raise _fault(error, store) from None
    except Exception as error:
        # MLflow trips over an answer or a row that is not as it expects; all else is an error of this program.
        modules = {str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)}
        if not any(name.startswith("mlflow.") for name in modules):
            raise
        raise _fault(error, store) from None


def connect(store: Store) -> "MlflowClient":
    """A client; makes the store first where there is none. To be called within `locked` and `faults`."""
    import mlflow
    from mlflow.tracking import MlflowClient

    if store.database and store.artifacts:
        if exists(store.database):
            _inspect(store, store.database)
            match(store, store.database)
            mend(store)
        else:
            _create(store.database, store.artifacts)
    # The registry asks by the global one, whatever the client was given.
    mlflow.set_tracking_uri(store.uri)
    if store.database:
        _lose_patience_with_locks()
    else:
        _lose_patience()
    return MlflowClient(store.uri)


def mend(store: Store) -> None:
    """Make a store that was moved or copied with its artifacts name them where they are now."""
    if store.database and store.artifacts:
        try:
            former = moved.mend(store.database, store.artifacts)
        except sqlite3.Error as error:
            raise store.broken(error) from None
        if former:
            print(f"tracking store {store.shown}: came here from {former}, and so did its artifacts")


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises TimeoutError when it takes longer."""

    def late(signum: int, frame: object) -> None:
        raise TimeoutError(f"does not answer within {seconds:.3g} s")

    before = signal.signal(signal.SIGALRM, late)
    # Again and again, since the first one may be taken for one more failed try.
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def load() -> None:
    """Import MLflow, quiet and impatient."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow.tracking  # noqa: F401

    escape_percents()
    # Its own handlers print tracebacks of errors that are told in one line here.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL + 1)
    logging.getLogger("alembic").setLevel(logging.CRITICAL + 1)


def escape_percents() -> None:
    """Let MLflow open a SQLite store also where the folder that it lies in has a % in its name.

    It hands that folder to Alembic as it is, whose settings take a % for a sign of their own.
    """
    import mlflow

    if "%" not in mlflow.__file__:
        return
    from alembic.config import Config

    set_main_option = inspect.unwrap(Config.set_main_option)

    @functools.wraps(set_main_option)
    def escaped(self: Config, name: str, value: str) -> None:
        set_main_option(self, name, value.replace("%", "%%") if name == "script_location" else value)

    Config.set_main_option = escaped  # type: ignore[method-assign]


def open_experiment(client: "MlflowClient", store: Store) -> str:
    """The experiment's id; makes it where there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(store.experiment)
    if found is None:
        # As a URI: of a plain path MLflow would lose what follows a # and decode percents.
        place = (store.artifacts / safe_key(store.experiment)).as_uri() if store.artifacts else None
        try:
            return str(client.create_experiment(store.experiment, place, tags={"mlflow.note.content": _ABOUT}))
        except MlflowException as error:
            # Another machine may have made it in the meantime.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(store.experiment)
    if not found.experiment_id:
        raise store.unreachable(NO_SERVER)
    if found.lifecycle_stage == "deleted":
        raise store.unusable(
            f"experiment {store.experiment} is in the trash; bring it back with: mlflow experiments restore"
            f" --experiment-id {found.experiment_id}, or name another one in params.yaml (record.experiment)"
        )
    return str(found.experiment_id)


_ABOUT = (
    "One run for each state of the pipeline, recorded by its last stage. A run's name says what is special about it;"
    " its page says what changed against the run before."
)


def _ask(store: Store) -> None:
    import ssl
    import urllib.error
    import urllib.request

    answer: list[Any] = []

    def ask() -> None:
        try:
            # Without a password: whether it is the right one is for MLflow to find out.
            with urllib.request.urlopen(f"{store.shown.rstrip('/')}/health", timeout=PROBE_SECONDS) as response:
                answer.append(response.status)
        except urllib.error.HTTPError as error:
            answer.append(error.code)
        except urllib.error.URLError as error:
            # A certificate that this probe does not trust may be one that MLflow is told to trust.
            answer.append(200 if isinstance(error.reason, ssl.SSLError) else f"does not answer ({error.reason})")
        except TimeoutError:
            return  # as if it still waited
        except Exception as error:
            answer.append(f"does not answer ({error})")

    # In a thread, because looking up a name, or a server that trickles, heeds no timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    status = answer[0] if answer else f"does not answer within {PROBE_SECONDS} s"
    if isinstance(status, str):
        raise store.unreachable(status)
    if status >= 500 or status == 429:
        raise store.unreachable(f"answers with HTTP status {status}")


def _inspect(store: Store, database: Path) -> None:
    """Raises Fault when the file is no usable MLflow store; reads only."""
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
            # Asks for the right to write, and writes nothing; BEGIN IMMEDIATE is granted on a read-only file too.
            connection.execute("DELETE FROM alembic_version WHERE 0")
    except sqlite3.Error as error:
        raise store.broken(error) from None


def match(store: Store, database: Path) -> None:
    """Raises Fault when another version of MLflow made the store: MLflow would migrate an older one unasked."""
    import mlflow.store

    # Read as text: Alembic would run all sixty files, for a fifth of a second.
    before: dict[str, str | None] = {}
    for path in (Path(mlflow.store.__file__).parent / "db_migrations" / "versions").glob("*.py"):
        found = dict(re.findall(r"^(revision|down_revision) = [\"'](\w+)[\"']", path.read_text("utf-8"), re.MULTILINE))
        if "revision" in found:
            before[found["revision"]] = found.get("down_revision")
    newest = set(before) - set(before.values())
    with contextlib.closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as connection:
        versions = {row[0] for row in connection.execute("SELECT version_num FROM alembic_version")}
    if versions == newest:
        return
    if versions and versions <= set(before):
        raise store.unusable(
            f"an older MLflow made it; copy {database.name} as a backup, then run: mlflow db upgrade '{store.uri}'"
        )
    raise store.unusable(
        f"a newer MLflow than {mlflow.__version__} made it (schema {', '.join(sorted(versions)) or 'unknown'});"
        f" use that version, or move {database.name} away and run: make record"
    )


def _lose_patience_with_locks() -> None:
    """Let MLflow wait for a locked SQLite file no longer than BUSY_SECONDS; it asks for 20 s in each session.

    And open it once: it would try for 100 s. (An alarm after some seconds would also go off on a busy machine.)
    """
    from mlflow.store.db import utils
    from sqlalchemy import Engine, event

    utils.MAX_RETRY_COUNT = 1
    for name, listener, options in (
        ("connect", _set_limit, {}),
        ("before_cursor_execute", _keep_limit, {"retval": True}),
    ):
        if not event.contains(Engine, name, listener):
            event.listen(Engine, name, listener, **options)


def _set_limit(connection: sqlite3.Connection, _: object) -> None:
    connection.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS}").close()


def _keep_limit(_: object, __: object, statement: str, parameters: Any, ___: object, ____: bool) -> tuple[str, Any]:
    return re.sub(r"^(PRAGMA busy_timeout = )\d+", rf"\g<1>{1000 * BUSY_SECONDS}", statement), parameters


def _lose_patience() -> None:
    """Give a request less time after late answers: with MLflow's limit for each, fifty slow ones take minutes."""
    from requests import PreparedRequest, Response, Session

    send = inspect.unwrap(Session.send)
    nothing = contextlib.nullcontext()
    full = patience = float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) - ANSWER_SECONDS

    @functools.wraps(send)
    def timed(session: Session, request: PreparedRequest, **options: Any) -> Response:
        nonlocal patience
        in_time = ANSWER_SECONDS + int(request.headers.get("Content-Length", 0)) / BYTES_A_SECOND
        # None is left after a request that failed: MLflow swallows some errors and asks on.
        before, patience = patience, 0.0
        begin = time.monotonic()
        # The timeout is of each read: an answer that trickles would take any time. Signals reach the main thread only.
        whole = within(in_time + before + 0.5) if threading.current_thread() is threading.main_thread() else nothing
        with whole:
            response: Response = send(session, request, **{**options, "timeout": in_time + before})
        late = time.monotonic() - begin - in_time
        patience = max(before - late, 0) if late > 0 else full
        return response

    Session.send = timed  # type: ignore[method-assign, assignment]


def _create(database: Path, artifacts: Path) -> None:
    """Make the store in memory and move it into place: on a disk its sixty migrations wait for as many syncs."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        draft = Path(folder) / "draft.db"
        SqlAlchemyStore(sqlite_uri(draft), artifacts.as_uri()).engine.dispose()
        # What a deleted store left beside it would be taken for unfinished business of the new one.
        for suffix in ("-journal", "-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        with open(draft, "rb") as source:
            write(database, lambda target: shutil.copyfileobj(source, target))


def _fault(error: Exception, store: Store) -> Fault:
    """What is wrong and what to do, in one line."""
    # SQLAlchemy may say before it that this came out while it did something else.
    inner = re.search(r"\(sqlite3\.\w+\) (.*)", str(error))
    reason = _reason(inner[1] if inner else str(error), store)
    if isinstance(error, OSError) and error.strerror:
        # Of two files it names the one that it came from first.
        reason = ": ".join(str(part) for part in (error.strerror, error.filename2 or error.filename) if part)
    for pattern, fix in _FIXES.items():
        if (store.database or isinstance(error, OSError)) and re.search(pattern, reason):
            return store.unreachable(f"{reason}; {fix}")
    if store.database and not isinstance(error, OSError):
        return store.unusable(
            f"{reason}; mend or move the file, then run: make record (a store that is not there is made anew)"
        )
    return store.unreachable(reason)


def _reason(text: str, store: Store) -> str:
    """The first line of an error, without a password and at a length that a person reads."""
    line = " ".join((text.strip() or "unknown error").splitlines()[0].split())
    # The HTTP library says last, after two hundred characters, what happened.
    if found := re.search(r"\(Caused by (.*)\)", line):
        line = found[1]
    for pattern, words in _WORDS.items():
        if found := re.search(pattern, line):
            return words.format(*found.groups())
    line = _without_password(line.replace(store.uri, store.shown))
    return line if len(line) <= 200 else f"{line[:197]}..."


NO_SERVER = "does not answer as an MLflow server does; check its address"

# What the HTTP library says, in words.
_WORDS = {
    r"timed out": "timed out: it did not answer in time",
    r"RemoteDisconnected|Connection aborted|ConnectionResetError|IncompleteRead": "broke off while it answered",
    r"too many (\d+) error responses": "answers with HTTP status {0}",
    r"Connection refused": "does not answer (connection refused)",
    r"error code (401|403)": "answers with HTTP status {0}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    r"(PERMISSION_DENIED|UNAUTHENTICATED)": "answers {0}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    r"failed with error code (\d+)": "answers with HTTP status {0}, not as an MLflow server does; check its address",
    r"not in a valid JSON format|Exceeded \d+ redirects": NO_SERVER,
}

# What mends it.
_FIXES = {
    "is locked": "end the other program that keeps it to itself",
    "No space left|disk is full|quota exceeded": "make room there",
    "Read-only file system|readonly database|ermission denied|not permitted|unable to open": "make it writable",
}


def _without_password(text: str) -> str:
    return re.sub(r"(?<=://)[^/\s]*@", "", text)
