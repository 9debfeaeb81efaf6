"""One process at a time for what two would spoil."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from stages.process.faults import MACHINE_FAULT, Fault


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
