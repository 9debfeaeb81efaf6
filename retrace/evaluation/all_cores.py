"""Work that all cores share where that is surely quicker; no byte of what is found tells how many there are."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

from retrace.runtime.cores import cores
from retrace.runtime.memory import available
from retrace.runtime.workers import shared_out

# That the stage is so much quicker by more processes is worth having them, and what each of them costs.
WORTHWHILE_SECONDS, WORKER_SECONDS = 0.5, 0.1
# Products of a weight and an input that one core computes in a second, about, where nothing is learned.
PRODUCTS_A_SECOND = 15e9


def on_all_cores(
    function: Callable[[Any], Any], requests: Sequence[Any], does: str, seconds: float, size: int
) -> list[Any]:
    """What the function says of each request, in their order.

    does: what it is about, for a message; seconds: what one core takes for all of it, about; size: bytes that a process
    takes for a request. Raises RuntimeError where it would take processes, and torch computes on several threads here.
    """
    # (Twice, since what they find is put together here.)
    most = max(1, min(cores(), len(requests), available() // max(2 * size, 1)))
    saved = seconds * (1 - 1 / most) - WORKER_SECONDS * most
    count = most if saved > WORTHWHILE_SECONDS else 1
    if count > 1 and torch.get_num_threads() > 1:  # the other threads are not copied, and would be waited for for ever
        raise RuntimeError("torch must compute on one thread (compute_as_in_training) where processes are copied")
    found: list[Any] = [None] * len(requests)
    # NumPy's BLAS would take all cores in each process, and adds in an order that depends on how many there are.
    with _blas().limit(limits=1, user_api="blas"):
        for place, answer in shared_out(function, requests, [does] * len(requests), count, "dvc repro"):
            found[place] = answer
    return found


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()
