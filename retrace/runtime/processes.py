"""Which process it is that has an id: ids are used again.

The start of a process is read here and not by psutil, whose create_time() moves with the system's clock: it is written
down, and another process compares it hours later. psutil itself compares one that the clock does not move, within a
process.
"""

from pathlib import Path

from retrace.runtime.system import running


def lives(pid: int, since: str) -> bool:
    """Whether this very process still runs; `since` is what `born` said of it."""
    return since != "" and born(pid) == since


def born(pid: int) -> str:
    """When a process started, in the system's own count, or "" where none of this id runs: ids are used again."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # From the third on (state, parent, ...): the second is the program's name, which may hold anything.
            fields = file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        return "running" if not Path("/proc/self/stat").exists() and running(pid) else ""
    except ProcessLookupError:
        return ""
    # A zombie has ended, and waits for its parent to ask how.
    return "" if fields[0] in "ZX" else fields[19]
