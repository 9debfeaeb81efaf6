"""Threads beside each other: answers and errors in the order of what was asked, and none of them left."""

import threading
import time

import pytest

from retrace.runtime.threads import side_by_side

THREADS = 2


def nothing() -> None:
    pass


@pytest.mark.parametrize("threads", [1, THREADS])
def test_answers_come_in_order_and_each_is_asked_of_any_thread(threads):
    def late(place: int, more: str) -> tuple[int, str, bool]:
        time.sleep(0.05 * (place == 0))
        return place, more, threading.current_thread() is threading.main_thread()

    before = threading.active_count()
    with side_by_side(threads, nothing) as each:
        assert list(each(late, range(5), "abcde")) == [(*pair, threads == 1) for pair in enumerate("abcde")]
    assert threading.active_count() == before


def test_no_more_is_read_ahead_than_threads_have_to_do():
    """A table that is larger than memory passes through."""
    read = 0

    def items():
        nonlocal read
        while read < 100:
            read += 1
            yield read

    with side_by_side(THREADS, nothing) as each:
        for done, answer in enumerate(each(lambda item: item, items()), 1):
            assert answer == done
            assert read <= done + THREADS


@pytest.mark.parametrize("threads", [1, THREADS])
def test_of_several_errors_the_first_one_is_told(threads):
    """The second item is bad, which is found when the source has already failed at the fourth one."""

    def items():
        yield from (1, 2, 3)
        raise OSError("the fourth cannot be read")

    def strict(item: int) -> int:
        time.sleep(0.05)
        if item == 2:
            raise ValueError("the second one is bad")
        return item

    with side_by_side(threads, nothing) as each:
        answers = iter(each(strict, items()))
        assert next(answers) == 1
        with pytest.raises(ValueError, match="the second one is bad"):
            next(answers)
    with side_by_side(threads, nothing) as each, pytest.raises(OSError, match="the fourth"):
        list(each(lambda item: item, items()))
