"""One process at a time for what two would spoil.

With flock itself: filelock would be as long here, and takes longer to import than the rest (docs/LOG.md, 2026-11-30).
"""

import contextlib
import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path

from retrace.runtime.errors import MACHINE_FAULT, UserError


@contextlib.contextmanager
def single_instance(path: Path, line: str) -> Iterator[None]:
    """Hold the lock file; where another process does, UserError (status 4) with this line. It goes with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(MACHINE_FAULT, line) from None
        yield


def end_unless_alone(path: Path, line: str) -> None:
    """As `single_instance`, before there is a `run` around it that prints a UserError. The lock is released at once."""
    try:
        with single_instance(path, line):
            pass
    except UserError as fault:
        print(fault, file=sys.stderr)
        sys.exit(fault.status)
    except OSError:
        return  # whoever takes the lock says so
