"""What every POSIX system gives a process: its standard streams, its limits, other processes. See system.py."""

import fcntl
import math
import os
import resource
import signal
import sys
from pathlib import Path

from retrace.runtime.control_group import cores_of_group

# Modules of Python's own that are not there.
MISSING: frozenset[str] = frozenset()
# What asks a process to end: `kill`, and a terminal that is closed.
TERMINATING: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGHUP)


def stream_is_open(number: int, mode: int) -> bool:
    """Whether a file stands behind this number that can be used in such a mode (os.O_RDONLY, os.O_WRONLY)."""
    try:
        return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE in (mode, os.O_RDWR)
    except OSError:
        return False


def cores_granted() -> int:
    """Those that this process may use; 1 where processes cannot be copied safely: on macOS."""
    return min(len(os.sched_getaffinity(0)), cores_of_group()) if sys.platform == "linux" else 1


def address_space() -> float:
    """Bytes of it that `ulimit -v` allows."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return math.inf if limit == resource.RLIM_INFINITY else limit


def address_space_taken() -> int | None:
    """Bytes of it that this process has; None where that is not known (psutil's import would take a stage's start)."""
    try:
        return int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
    except OSError:
        return None
