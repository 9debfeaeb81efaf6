"""How every stage and command runs: faults as one line each, an exit status that tells what happened."""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stages.process.alive import born, lives, orphaned, starter
from stages.process.faults import MACHINE_FAULT, Fault
from stages.process.ran import note_stage

LOOK_SECONDS = 0.5


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that no handler below takes it for a fault."""


def run(main: Callable[[], None]) -> None:
    """Call `main` and end the process: 0, a fault's own status, 4 (machine), 130 (Ctrl-C) or 143 (SIGTERM).

    An interrupted stage must never exit 0: DVC would take its outputs for finished ones.
    """

    def terminate(signum: int, frame: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    # A terminal that is closed; nohup asks to ignore that.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, terminate)
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_watch_starter, daemon=True).start()
    name = getattr(main, "__module__", "")
    if name == "__main__":
        name = Path(sys.argv[0]).stem
    status = 0
    try:
        main()
        note_stage()
    except Fault as fault:
        print(fault, file=sys.stderr)
        status = fault.status
    except MemoryError:
        print(f"{name}: out of memory; use fewer rows, fewer replicas or a smaller batch", file=sys.stderr)
        status = MACHINE_FAULT
    except OSError as error:
        # The files that people write are checked where they are read; what is left is the machine's own.
        print(f"{name}: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        status = MACHINE_FAULT
    except KeyboardInterrupt:
        print(f"{name}: interrupted; nothing half-written was left behind", file=sys.stderr)
        status = 130
    except Terminated:
        print(f"{name}: terminated; nothing half-written was left behind", file=sys.stderr)
        status = 143
    # Walking every object of torch or mlflow at exit costs up to a second and frees nothing that matters.
    gc.freeze()
    sys.exit(status)


def _watch_starter() -> None:
    """End this process, as SIGTERM does, when DVC is gone: it would train on, and the next `dvc repro` beside it."""
    process = starter()
    since = born(process)
    if not orphaned():
        while lives(process, since):
            time.sleep(LOOK_SECONDS)
    with suppress(OSError):  # whoever read this may be gone, too
        os.write(2, b"dvc, which started this stage, is gone; the stage ends\n")
    os.kill(os.getpid(), signal.SIGTERM)
