"""All that touches the inside of MLflow and of the libraries under it: how long it waits, and what it trips over.

MLflow alone waits 247 s for a server that is down, migrates a store that another version made, and prints a traceback
for a damaged one.

Not a deadline around a process of its own: from outside, one that waits for a dead server looks like one that a slow
server answers, or that sends a large file (docs/LOG.md, 2026-11-30).
"""

import contextlib
import functools
import inspect
import logging
import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrace.tracking.relocation import BUSY_SECONDS

if TYPE_CHECKING:
    pass
from retrace.tracking.location import Store

REQUEST_SECONDS = 3
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


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError when it takes longer; one within another one may be shorter. For the main thread alone."""
    line = f"does not answer within {seconds:.0f} s"

    def late(signum: int, frame: object) -> None:
        raise TimeoutError(line)

    begin = time.monotonic()
    before = signal.signal(signal.SIGALRM, late)
    # Again and again, since the first one may be taken for one more failed try.
    left, again = signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
    try:
        yield
    except Exception as error:
        # An error that MLflow makes of it may not say what it was.
        if time.monotonic() - begin < seconds:
            raise
        raise TimeoutError(line) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - time.monotonic() + begin, 0.001), again)


def download_limit(uri: str, size: int) -> contextlib.AbstractContextManager[None]:
    """For the download of so many bytes from the tracking server `uri`; no limit where it is a file.

    MLflow downloads in a thread of its own, and `limit_request_time` sees no more of it than that an answer begins.
    """
    server = uri.startswith(("http://", "https://"))
    return time_limit(REQUEST_SECONDS + size / BYTES_A_SECOND) if server else contextlib.nullcontext()


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


def check_schema_version(store: Store, database: Path) -> None:
    """Raises UserError when another version of MLflow made the store: MLflow would migrate an older one unasked."""
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


def limit_lock_time() -> None:
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


def limit_request_time() -> None:
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
        whole = time_limit(in_time + before + 0.5) if threading.current_thread() is threading.main_thread() else nothing
        with whole:
            response: Response = send(session, request, **{**options, "timeout": in_time + before})
        late = time.monotonic() - begin - in_time
        patience = max(before - late, 0) if late > 0 else full
        return response

    Session.send = timed  # type: ignore[method-assign, assignment]
