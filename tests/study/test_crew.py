"""Into which packs the trials of a study are cut."""

import pytest

from retrace.study.crew import WIDE, Kind, parts_of
from retrace.training.pack_runner import evenly


@pytest.mark.parametrize("count", [1, 2, 16, 64, 256])
@pytest.mark.parametrize("courses", [1, 5, 30, 57, 171, 512])
def test_each_worker_gets_as_many_packs_as_another(courses, count):
    [parts] = parts_of([Kind(courses, 3, 1.0)], count)
    assert parts % count == 0 or parts == courses
    widths = [3 * (part.stop - part.start) for part in evenly(courses, parts)]
    assert sum(widths) == 3 * courses
    assert max(widths) - min(widths) <= 3
    assert max(widths) <= 1.5 * WIDE
    # No more packs than that asks for: each one has its own steps.
    assert parts <= count * (1 + courses * 3 / WIDE / count)


def test_what_takes_longest_is_cut_most():
    assert parts_of([Kind(10, 1, 1.0), Kind(10, 1, 9.0)], 10) == [1, 9]
    assert parts_of([Kind(1, 1, 100.0), Kind(2, 1, 1.0)], 16) == [1, 2]
    assert parts_of([], 16) == []
