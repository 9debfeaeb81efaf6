"""What the system gives a process, whichever system it is: the one place that knows of more than one.

The pipeline needs POSIX; on Windows that is WSL. `retrace predict` runs on Windows itself, too, so what it reaches asks
here, and nowhere else, for what there is on POSIX alone.
"""

import os

# By what is there and not by a name: that is what the modules below need, and a test can take it away.
if "fork" in vars(os):
    from retrace.runtime.control_group import memory_left_to_group
    from retrace.runtime.parent_watch import end_with_parent
    from retrace.runtime.posix import (
        MISSING,
        TERMINATING,
        address_space,
        address_space_taken,
        cores_granted,
        stream_is_open,
    )
else:
    from retrace.runtime.windows import (
        MISSING,
        TERMINATING,
        address_space,
        address_space_taken,
        cores_granted,
        end_with_parent,
        memory_left_to_group,
        stream_is_open,
    )

__all__ = [
    "MISSING",
    "TERMINATING",
    "address_space",
    "address_space_taken",
    "cores_granted",
    "end_with_parent",
    "memory_left_to_group",
    "running",
    "stream_is_open",
]


def running(pid: int) -> bool:
    """Whether there is a process of this id, whichever it is."""
    import psutil  # not above: that an environment lacks a library is reported by preflight, which imports this

    try:
        return bool(psutil.pid_exists(pid))
    except OverflowError:
        return False
