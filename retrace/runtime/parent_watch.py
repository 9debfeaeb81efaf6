"""A stage does not outlive the DVC that started it: it would train on, and the next `dvc repro` beside it."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from retrace.runtime.processes import born, fields_of, lives

LOOK_SECONDS = 0.5


def end_with_parent() -> None:
    """End this process, as SIGTERM does, when DVC is gone; to be called in a thread of its own."""
    process = _starter()
    since = born(process)
    if not _orphaned():
        while lives(process, since):
            time.sleep(LOOK_SECONDS)
    with suppress(OSError):  # whoever read this may be gone, too
        os.write(2, b"dvc, which started this stage, is gone; the stage ends\n")
    os.kill(os.getpid(), signal.SIGTERM)


def _starter() -> int:
    """The process that started this one: its parent, or whose shell that is; DVC's own shell may stand between."""
    process = os.getppid()
    while (fields := fields_of(process)) and _is_shell(process):
        process = int(fields[1])
    return process


def _is_shell(process: int) -> bool:
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"-c" in words and b" stages." in words[words.index(b"-c") + 1]


def _orphaned() -> bool:
    """Whether who started this process was gone before it could look: it then has a parent of another session."""
    try:
        return os.getsid(os.getppid()) != os.getsid(0)
    except OSError:
        return True
