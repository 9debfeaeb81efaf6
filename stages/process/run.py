"""How every stage and command runs: faults as one line each, an exit status that tells what happened."""

import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from stages.process.damage import damaged, line
from stages.process.faults import BAD_DATA, BAD_PARAMS, MACHINE_FAULT, Fault
from stages.process.inputs import READ
from stages.process.ran import note_stage


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
    name = getattr(main, "__module__", "")
    if name == "__main__":
        name = Path(sys.argv[0]).stem
    status = 0
    try:
        main()
        note_stage()
    except Fault as fault:
        print(fault, file=sys.stderr)
        # The file that it names may be right, and the one that it was compared with damaged.
        for path in damaged(READ) if fault.status in (BAD_PARAMS, BAD_DATA) else ():
            if str(path) not in str(fault):
                print(line(path), file=sys.stderr)
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
    except Exception as error:
        if not (paths := damaged(READ)):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        print("\n".join(line(path, reason) for path in paths), file=sys.stderr)
        status = BAD_DATA
    # Walking every object of torch or mlflow at exit costs up to a second and frees nothing that matters.
    gc.freeze()
    sys.exit(status)
