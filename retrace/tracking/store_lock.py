"""One recording at a time."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import psutil

from retrace.tracking.location import Store

# So long another recording may stand still: it waits for its server at most that long itself.
STILL_SECONDS = 7


def is_recording(database: Path) -> bool:
    """Whether another process records into it: it may then be locked, and is looked at when it is this one's turn."""
    try:
        with open(lock_file(database), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def lock_file(database: Path) -> Path:
    return database.with_name(f"{database.name}.lock")


@contextlib.contextmanager
def locked(store: Store) -> Iterator[None]:
    """One recording at a time: two would create the store, or the run of one state, twice.

    The lock is the SQLite file's, which several projects may share; at a server it is the project's own.
    """
    database = store.database
    path = lock_file(database) if database else store.root / ".retrace" / "record.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="ascii") as file:
        _take_turn(file, store)
        yield


def _take_turn(file: TextIO, store: Store) -> None:
    """Wait as long as the one whose turn it is does something; it may have been stopped, and would be waited for ever.

    It does something as long as its processor time grows. Raises UserError.
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
        pid, spent = file.read(), None
        # No such process: it is in another container, or gone by now.
        with contextlib.suppress(psutil.Error, ValueError):
            times = psutil.Process(int(pid)).cpu_times()
            spent = times.user + times.system
        if (now := f"{pid} {spent}") != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > STILL_SECONDS:
            process = "a process that cannot be seen here" if spent is None else f"process {pid}"
            raise store.unreachable(f"another recording ({process}) has begun and stands still; end it")
        time.sleep(0.05)
