"""Threads of this process, for long operations that leave Python's lock to others: those of torch do."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
        yield pool.map
