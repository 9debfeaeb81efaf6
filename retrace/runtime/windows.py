"""The same on Windows, where less is limited, and no stage of the pipeline runs. See system.py."""

import math
import os
import signal

# Modules of Python's own without which the pipeline does not run.
MISSING = frozenset({"fcntl", "resource"})
TERMINATING: tuple[signal.Signals, ...] = (signal.SIGTERM,)


def stream_is_open(number: int, mode: int) -> bool:
    """Whether a file stands behind this number; in which mode, nobody can be asked."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def address_space() -> float:
    return math.inf


def address_space_taken() -> int | None:
    return None


def cores_granted() -> int:
    """That processes can be made of by copying this one: none but its own."""
    return 1


def memory_left_to_group() -> float:
    return math.inf


def end_with_parent() -> None:
    """Of a stage, which DVC starts."""
