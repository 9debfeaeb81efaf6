"""What a store or MLflow says when something is wrong, as one line with what fixes it."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from traceback import walk_tb

from retrace.runtime.errors import UserError
from retrace.tracking.location import Store, without_password
from retrace.tracking.mlflow_internals.buckets import bucket_reason
from retrace.tracking.mlflow_internals.loading import load


@contextlib.contextmanager
def translate_errors(store: Store) -> Iterator[None]:
    """Whatever the tracker raises within, as one line."""
    # Imported here: it costs seconds, and a store that cannot be used is found before.
    load(files=bool(store.database))
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, RequestException, sqlite3.Error, OSError) as error:
        raise store_error(error, store) from None
    except Exception as error:
        # MLflow trips over an answer or a row that is not as it expects; all else is an error of this program.
        modules = {str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)}
        if not any(name.startswith("mlflow.") for name in modules) and not bucket_reason(error):
            raise
        raise store_error(error, store) from None


def store_error(error: Exception, store: Store) -> UserError:
    """What is wrong and what to do, in one line."""
    if in_bucket := bucket_reason(error):
        return store.unreachable(in_bucket)
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
            f"{reason}; fix or move the file, then run: {store.again} (a store that is not there is made anew)"
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
    line = without_password(line.replace(store.uri, store.shown))
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

# What fixes it.
_FIXES = {
    "is locked": "end the other program that keeps it to itself",
    "No space left|disk is full|quota exceeded": "make room there",
    "Read-only file system|readonly database|ermission denied|not permitted|unable to open": "make it writable",
}
