"""Whether something fits into memory, asked before it is tried: the kernel's own answer is to kill the process."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from retrace.runtime.errors import MACHINE_FAULT, UserError, memory_reason, out_of_memory
from retrace.runtime.preflight import PER_CORE, threads_of_blas
from retrace.runtime.system import address_space, address_space_taken, memory_left_to_group

# Of address space, where `ulimit -v` limits it: for libraries that are still to be loaded, and PER_CORE for what BLAS
# takes when it is first used. For want of that scipy's was seen to try again for ever.
LIBRARIES = 256 << 20


def available() -> int:
    """Bytes this process may still take: of the machine, of its control group, and of what `ulimit -v` says."""
    free = min(int(psutil.virtual_memory().available), memory_left_to_group())
    return int(min(free, address_space() - (address_space_taken() or 0) - LIBRARIES - PER_CORE * threads_of_blas()))


def require_memory(needed: int, what: str, fix: str) -> None:
    """Raise UserError (status 4) where so many bytes are not to be had."""
    free = available()
    if needed > free:
        sizes = f"at least {_size(needed)} of memory, and {_size(max(free, 0))} are free"
        raise UserError(MACHINE_FAULT, f"{what} takes {sizes}; {fix}")


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{math.ceil(count / 2**20):,} MiB"


@contextmanager
def memory_errors(name: str, fix: str) -> Iterator[None]:
    """What runs out of memory inside ends with a UserError that says the fix."""
    try:
        yield
    except Exception as error:
        reason = memory_reason(error)
        if reason is None:
            raise
        raise out_of_memory(name, reason, fix) from None
