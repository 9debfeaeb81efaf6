"""A stage does not outlive the DVC that started it: it would train on, and the next `dvc repro` beside it."""

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

LOOK_SECONDS = 0.5


def end_with_parent() -> None:
    """End this process, as SIGTERM does, when DVC is gone; to be called in a thread of its own."""
    starter = _starter()
    if not _orphaned():
        while starter and _runs(starter):
            time.sleep(LOOK_SECONDS)
    with suppress(OSError):  # whoever read this may be gone, too
        os.write(2, b"dvc, which started this stage, is gone; the stage ends\n")
    os.kill(os.getpid(), signal.SIGTERM)


def _starter() -> "psutil.Process | None":
    """The process that started this one: its parent, or whose shell that is; DVC's own shell may stand between."""
    import psutil  # not above: that an environment lacks a library is reported by preflight, which imports this

    try:
        process = psutil.Process().parent()
        while process and _is_shell(process):
            process = process.parent()
        return process
    except psutil.NoSuchProcess:
        return None


def _is_shell(process: "psutil.Process") -> bool:
    words = process.cmdline()
    return "-c" in words[:-1] and " stages." in words[words.index("-c") + 1]


def _runs(process: "psutil.Process") -> bool:
    """Whether it is still this very one; a zombie has ended."""
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _orphaned() -> bool:
    """Whether who started this process was gone before it could look: it then has a parent of another session."""
    try:
        return os.getsid(os.getppid()) != os.getsid(0)
    except OSError:
        return True
