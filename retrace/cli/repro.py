"""`dvc repro` as a part of a command, which hears what it is asked to end with and ends as it does."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from retrace.runtime.signals import SIGNALS


def repro(*targets: str) -> int:
    """Run it and return its exit status, as a shell has it where a signal ended it.

    What asks this process to end is asked of it, and of all that it started: in a process group of its own, so that
    each of them hears it once, whether it came from a terminal or for this process alone.
    """
    process: subprocess.Popen[bytes] | None = None
    early = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        if process is None:
            early.append(number)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    # Some are ignored on purpose: in a job in the background, under nohup.
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in heeded}
    try:
        # `python` of the stages is this one, also where its environment is not activated.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        command = [sys.executable, "-m", "dvc", "repro", *targets]
        process = subprocess.Popen(command, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL, process_group=0)
        for number in early:
            pass_on(number, None)
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status
