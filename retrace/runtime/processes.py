"""Which processes run, and whether the one that started this still does."""

import os
from pathlib import Path


def lives(pid: int, since: str) -> bool:
    """Whether this very process still runs; `since` is what `born` said of it."""
    return since != "" and born(pid) == since


def born(pid: int) -> str:
    """When a process started, in the system's own count, or "" where none of this id runs: ids are used again."""
    fields = _fields(pid)
    if fields is None:
        return "running" if running(pid) else ""
    # A zombie has ended, and waits for its parent to ask how.
    return "" if not fields or fields[0] in "ZX" else fields[19]


def running(pid: int) -> bool:
    """Whether there is a process of this id, whichever it is."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def starter() -> int:
    """The process that started this one: its parent, or whose shell that is; DVC's own shell may stand between."""
    process = os.getppid()
    while (fields := _fields(process)) and _is_shell(process):
        process = int(fields[1])
    return process


def _is_shell(process: int) -> bool:
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"-c" in words and b" stages." in words[words.index(b"-c") + 1]


def orphaned() -> bool:
    """Whether who started this process was gone before it could look: it then has a parent of another session."""
    try:
        return os.getsid(os.getppid()) != os.getsid(0)
    except OSError:
        return True


def _fields(pid: int) -> list[str] | None:
    """Of /proc/PID/stat, from the third (state, parent, ...); [] where there is no such process, None without /proc."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The second field is the program's name, which may hold anything.
            return file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        return [] if Path("/proc/self/stat").exists() else None
    except ProcessLookupError:
        return []
