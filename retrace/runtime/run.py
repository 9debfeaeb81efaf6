"""How every stage and command runs: faults as one line each, an exit status that tells what happened."""

import errno
import gc
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from retrace.runtime import preflight, system
from retrace.runtime.errors import MACHINE_FAULT, UserError, memory_reason, out_of_memory
from retrace.runtime.stage_log import note_stage
from retrace.runtime.text import shown

preflight.check()

BROKEN_PIPE = 141  # as a shell has it of SIGPIPE, which is not a signal everywhere
# Nothing here is pickled, and no loader of MLflow or torch is called. If one ever is, it must not unpickle, whatever
# arguments and environment say (torch.export unpickles some constants even so). Child processes inherit them.
REFUSE_PICKLES = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
STDOUT = "standard output"
# Without waiting for threads; named, since a test that runs a stage in its own process must not end with it.
leave_at_once = os._exit


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that no handler below takes it for a fault."""


def run(main: Callable[[], None], less: str = "free some, or use fewer rows") -> None:
    """Call `main` and end the process: 0, a fault's own status, 4 (machine), 130 (Ctrl-C) or 143 (SIGTERM).

    An interrupted stage must never exit 0: DVC would take its outputs for finished ones. less: the fix where memory is
    short.
    """
    os.environ.update(REFUSE_PICKLES)
    # Both at once are an error to torch.
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)

    ending = False

    def end(signum: int, frame: object) -> None:
        nonlocal ending
        # Only once: a second one, of DVC or of the shell beside it, must not cut off what the first one has begun.
        if not ending:
            ending = True
            raise KeyboardInterrupt if signum == signal.SIGINT else Terminated

    for number in (signal.SIGINT, *system.TERMINATING):
        # nohup asks to ignore a terminal that is closed, and a shell Ctrl-C for what runs in its background.
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=system.end_with_parent, daemon=True).start()
    name = preflight.started() or getattr(main, "__module__", "")
    if name == "__main__":
        name = Path(sys.argv[0]).stem
    try:
        status = _status(main, name, less)
        ending = True
    except KeyboardInterrupt:
        print(f"{name}: interrupted; nothing half-written was left behind", file=sys.stderr)
        status = 130
    except Terminated:
        print(f"{name}: terminated; nothing half-written was left behind", file=sys.stderr)
        status = 143
    with suppress(OSError, ValueError):
        _flush()
    # A thread of MLflow's may still read what a server sends drop by drop: Python would wait for it.
    if status and any(not each.daemon for each in threading.enumerate() if each is not threading.main_thread()):
        leave_at_once(status)
    # Walking every object of torch or mlflow at exit costs up to a second and frees nothing that matters.
    gc.freeze()
    sys.exit(status)


def _status(main: Callable[[], None], name: str, less: str) -> int:
    """Call `main`; a fault is printed as its line."""
    try:
        preflight.check_again(name)
        main()
        _flush()
        note_stage()
    except UserError as fault:
        print(fault, file=sys.stderr)
        return fault.status
    except BrokenPipeError:  # of `| head`, as the kernel ends a program then
        return BROKEN_PIPE
    except Exception as error:
        line = _machine_fault(name, error, less)
        # A bug, with its traceback: a file that was damaged is a UserError when it is read.
        if line is None:
            raise
        print(line, file=sys.stderr)
        return MACHINE_FAULT
    return 0


def _machine_fault(name: str, error: Exception, less: str) -> str | None:
    """What the machine lacks, in one line; None for an error of the program."""
    reason = memory_reason(error)
    if reason is not None:
        return str(out_of_memory(name, reason, less))
    if not isinstance(error, OSError):
        return None
    # The files that people write are checked where they are read; what is left is the machine's own.
    line = f"{name}: {error.filename or 'standard output or a file'}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename not in (None, STDOUT):
        free = shutil.disk_usage(Path(error.filename).parent).free
        line += f"; {free:,} bytes are free there; make room, and run it again"
    return shown(line)


def _flush() -> None:
    """Here, since a failure at the very end, by Python itself, comes with a status and lines of its own."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # What did not get out would be tried again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Nobody listens any more, and the work is done.
        if not isinstance(error, BrokenPipeError):
            raise OSError(error.errno, error.strerror, STDOUT) from None
