"""Threads of this process, for long operations that leave Python's lock to others: those of torch do."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any


@contextmanager
def side_by_side(threads: int, initializer: Callable[[], object]) -> Iterator[Callable[..., Iterable[Any]]]:
    """`map` whose calls so many threads share; 1: this one alone. Answers come in order, and an error is raised here.

    initializer: called in each of the threads, before anything else.

    The threads are gone afterwards: whoever copies this process later copies none.
    """
    if threads == 1:
        yield map
        return
    with ThreadPoolExecutor(threads, initializer=initializer) as pool:
        yield partial(_in_order, pool, threads)


def _in_order(
    pool: ThreadPoolExecutor, ahead: int, function: Callable[..., Any], *iterables: Iterable[Any]
) -> Iterator[Any]:
    """As the pool's own `map`, which takes all there is to do at once, and with it the memory.

    Where an iterable raises, answers to what came before it, or their error, come first.
    """
    waiting: deque[Future[Any]] = deque()
    items, failed = zip(*iterables, strict=False), None
    try:
        while failed is None:
            try:
                waiting.append(pool.submit(function, *next(items)))
            except Exception as error:
                failed = error
            if waiting and (failed or len(waiting) > ahead):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
    if not isinstance(failed, StopIteration):
        raise failed
