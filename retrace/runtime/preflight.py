"""What goes wrong before the first line of a stage or command: when its libraries are loaded.

`run` imports this, and whoever loads large libraries imports `run` before them.
"""

import math
import os
import sys
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType

from retrace.runtime.errors import MACHINE_FAULT, memory_reason, out_of_memory
from retrace.runtime.system import MISSING, address_space, address_space_taken, stream_is_open

# Address space that torch and the like take before they do anything, and each core's threads of BLAS in two copies.
# With less, some were seen to end with a line of their own and status 1, and some to try again for ever.
LIBRARIES, PER_CORE = 5 << 28, 100 << 20
# And what must be left when they are there: stacks of threads, for want of which Arrow aborts the process.
BESIDE, STACK = 256 << 20, 16 << 20
RAISE = "free some, or raise the limit"
OURS = ("stages", "retrace")


def started() -> str:
    """Name of the stage or command that starts, "" in any other program."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    package, _, module = (spec.name if spec else "").rpartition(".")
    # The command that pip installs: a script, or on Windows retrace.exe, which holds an archive with a __main__.
    script = (not spec or spec.name == "__main__") and Path(sys.argv[0]).stem == "retrace"
    if (package, module) == ("retrace", "__main__") or script:
        return sys.argv[1] if sys.argv[1:] and not sys.argv[1].startswith("-") else "retrace"
    return module if package == "stages" else ""


def _say(name: str, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """In place of a traceback, which is left to what is an error of the program."""
    reason, status = memory_reason(error), MACHINE_FAULT
    if reason is not None:
        line = str(out_of_memory(name, reason, RAISE)).removeprefix(f"{name}: ")
    elif isinstance(error, ModuleNotFoundError) and error.name in MISSING:
        line = f"it needs {error.name}, which Windows does not have; run it in WSL"
    elif isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in OURS:
        line = f"{error}; the environment is not complete, or not active: run make setup, then use make or .venv/bin"
    elif isinstance(error, OSError):
        line = f"{error.filename or 'a library'}: {error.strerror or error}"
    elif isinstance(error, KeyboardInterrupt):
        line, status = "interrupted", 130
    else:
        sys.__excepthook__(kind, error, trace)
        return
    print(f"{name}: {line}", file=sys.stderr, flush=True)
    # A hook has no other way to set the status, and nothing was begun that would have to be ended.
    os._exit(status)


def _open_streams() -> None:
    """Where a standard stream was closed, the next file gets its number, and with it whatever a library prints; a
    child of such a process finds that file there. Python has None, with which libraries do not reckon.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        if not stream_is_open(number, mode):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:
            setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def check() -> None:
    """To be called before libraries are loaded; does nothing where it is not a stage or command that starts."""
    _open_streams()
    name = started()
    if not name:
        return
    sys.excepthook = partial(_say, name)
    # Names from a table are shown also where the encoding lacks some of their letters, as that of Windows does.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    limit, needed = address_space(), LIBRARIES + PER_CORE * threads_of_blas()
    if limit < needed:
        reason = f"ulimit -v allows {limit / 2**30:.1f} GiB, its libraries alone may take {needed / 2**30:.1f}"
        print(out_of_memory(name, reason, RAISE), file=sys.stderr)
        sys.exit(MACHINE_FAULT)


def check_again(name: str) -> None:
    """To be called when they are loaded."""
    limit = address_space()
    if limit == math.inf or (taken := address_space_taken()) is None:
        return
    needed = BESIDE + STACK * threads_of_blas()
    if limit - taken < needed:
        reason = (
            f"ulimit -v leaves {(limit - taken) / 2**20:.0f} MiB beside its libraries, and {needed >> 20} are needed"
        )
        raise out_of_memory(name, reason, RAISE)


def threads_of_blas() -> int:
    return os.cpu_count() or 1
