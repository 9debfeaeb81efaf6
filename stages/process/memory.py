"""Whether something fits into memory, asked before it is tried: the kernel's own answer is to kill the process."""

import resource

import psutil

from stages.process.faults import MACHINE_FAULT, Fault


def available() -> int:
    """Bytes this process may still take: what the machine has free, or less where `ulimit -v` says so."""
    free = int(psutil.virtual_memory().available)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        free = min(free, limit - int(psutil.Process().memory_info().vms))
    return free


def need(needed: int, what: str, fix: str) -> None:
    """Raise Fault (status 4) where so many bytes are not to be had."""
    free = available()
    if needed > free:
        sizes = f"at least {needed / 2**30:.1f} GiB of memory, and {max(free, 0) / 2**30:.1f} GiB are free"
        raise Fault(MACHINE_FAULT, f"{what} takes {sizes}; {fix}")
