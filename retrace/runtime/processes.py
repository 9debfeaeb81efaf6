"""Which process it is that has an id: ids are used again."""

from pathlib import Path

from retrace.runtime.posix import running


def lives(pid: int, since: str) -> bool:
    """Whether this very process still runs; `since` is what `born` said of it."""
    return since != "" and born(pid) == since


def born(pid: int) -> str:
    """When a process started, in the system's own count, or "" where none of this id runs: ids are used again."""
    fields = fields_of(pid)
    if fields is None:
        return "running" if running(pid) else ""
    # A zombie has ended, and waits for its parent to ask how.
    return "" if not fields or fields[0] in "ZX" else fields[19]


def fields_of(pid: int) -> list[str] | None:
    """Of /proc/PID/stat, from the third (state, parent, ...); [] where there is no such process, None without /proc."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The second field is the program's name, which may hold anything.
            return file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        return [] if Path("/proc/self/stat").exists() else None
    except ProcessLookupError:
        return []
