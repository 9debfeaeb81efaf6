"""Memory and cores that Linux gives to a group of processes, such as a container, and no more. See system.py.

psutil knows of the machine's alone.
"""

import math
import sys
from pathlib import Path


def memory_left_to_group() -> float:
    """Bytes that the control group of this process (its container's, say), or one above it, has left."""
    free = math.inf
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return free
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        # Version 1 has a hierarchy for each controller, version 2 one without a name for all.
        root = Path("/sys/fs/cgroup", "memory" if controllers else "")
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        folder = root / path.lstrip("/")
        for each in (folder, *(above for above in folder.parents if above.is_relative_to(root))):
            try:
                limit, used = (int((each / name).read_text("utf-8")) for name in names)
                pairs = (line.split() for line in (each / "memory.stat").read_text("utf-8").splitlines())
                stat = {key: int(value) for key, value in pairs}
            except (OSError, ValueError):
                continue  # not there, or "max"
            # Pages of files go when the memory is wanted.
            total = "total_" if controllers else ""
            free = min(free, limit - used + stat[f"{total}inactive_file"] + stat[f"{total}active_file"])
    return free


def cores_of_group() -> int:
    """Rounded up; a container is often given fewer than there are."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError):  # none, or an older kernel's way of saying so
        return sys.maxsize
