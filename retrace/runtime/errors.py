"""What a stage or a command says when it cannot go on, and the exit status that goes with it."""

import errno
import re

from retrace.runtime.text import shown

BAD_PARAMS = 2
BAD_DATA = 3
MACHINE_FAULT = 4
GATE_FAILED = 5
UNLIKE = 6  # new rows are unlike the training rows

# How libraries spell a MemoryError: torch on CPU and CUDA, the loader of shared libraries, threads, C++, the kernel.
_NO_MEMORY = re.compile(
    "out of memory|can.?t allocate memory|cannot allocate|unable to allocate|failed to map segment"
    "|can't start new thread|bad_alloc|static TLS block",
    re.IGNORECASE,
)


class UserError(Exception):
    """A fault the user can fix: one line for each, and the exit status of the process.

    Each line names the file, the key or column, the value, the rule and the fix. What it quotes may be a table's, which
    may hold anything: it stays on its line, and a terminal takes no orders from it.
    """

    def __init__(self, status: int, *lines: str):
        super().__init__("\n".join(map(shown, lines)))
        self.status = status

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:  # a worker's comes from another process
        return type(self), (self.status, *str(self).split("\n"))


def memory_reason(error: BaseException) -> str | None:
    """What an error says of memory that is not to be had, "" where it says nothing; None where it is of another kind.

    Errors that it came of are asked, too: a library wraps what kept a part of it from being loaded.
    """
    cause: BaseException | None = error
    while cause:
        text = str(cause).strip()
        if isinstance(cause, MemoryError) or getattr(cause, "errno", None) == errno.ENOMEM or _NO_MEMORY.search(text):
            return text.splitlines()[0] if text else ""
        cause = cause.__cause__ or cause.__context__
    return None


def out_of_memory(name: str, reason: str, fix: str) -> UserError:
    return UserError(MACHINE_FAULT, f"{name}: out of memory{reason and f' ({reason[:200]})'}; {fix}")
