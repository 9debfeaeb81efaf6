"""One process at a time for what two would spoil."""

import contextlib
import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path

from retrace.runtime.errors import MACHINE_FAULT, Fault


@contextlib.contextmanager
def alone(path: Path, line: str) -> Iterator[None]:
    """Hold the lock file; where another process does, Fault (status 4) with this line. It goes with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fault(MACHINE_FAULT, line) from None
        yield


def end_unless_alone(path: Path, line: str) -> None:
    """As `alone`, before there is a `run` around it that tells of a Fault; the lock is given back at once."""
    try:
        with alone(path, line):
            pass
    except Fault as fault:
        print(fault, file=sys.stderr)
        sys.exit(fault.status)
    except OSError:
        return  # whoever takes the lock says so
