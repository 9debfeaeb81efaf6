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
        return _there(pid)
    # A zombie has ended, and waits for its parent to ask how.
    return "" if not fields or fields[0] in "ZX" else fields[19]


def starter() -> int:
    """The process that started this one: its parent, or that one's where a shell stands between, as DVC's may."""
    parent = os.getppid()
    try:
        words = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return parent
    fields = _fields(parent)
    shell = b"-c" in words and b" stages." in words[words.index(b"-c") + 1]
    return int(fields[1]) if shell and fields else parent


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


def _there(pid: int) -> str:
    """Without /proc: whether there is such a process, and not since when."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"
