"""What all cores share is what one finds alone."""

import os
import time

import numpy as np
import pytest

from retrace.evaluation import all_cores, resampling
from retrace.evaluation.all_cores import on_all_cores
from retrace.evaluation.importance import importance
from retrace.evaluation.resampling import Resamples
from tests.evaluation.test_importance import numeric, sample
from tests.evaluation.test_importance import section as of_importance
from tests.test_evaluate import scored, verdict

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=[2, 3])
def several(request, monkeypatch):
    """Processes, however little there is to do."""

    def begin() -> None:
        monkeypatch.setattr(all_cores, "cores", lambda: request.param)
        monkeypatch.setattr(all_cores, "WORTHWHILE_SECONDS", -np.inf)

    return begin


def test_answers_are_in_the_order_of_requests(several):
    """Also where the first one is the last to be found."""

    def late(request: int) -> tuple[int, int]:
        time.sleep(0.2 * (request == 0))
        return request, os.getpid()

    several()
    places, pids = zip(*on_all_cores(late, range(6), "a test", 0, 1), strict=True)
    assert places == (0, 1, 2, 3, 4, 5)
    assert len(set(pids)) > 1
    assert os.getpid() not in pids


@pytest.mark.parametrize(("seconds", "size", "alone"), [(100, 1, False), (0.5, 1, True), (100, 1 << 60, True)])
def test_little_work_and_little_memory_stay_in_this_process(seconds, size, alone, monkeypatch):
    monkeypatch.setattr(all_cores, "cores", lambda: 2)
    found = on_all_cores(lambda _: os.getpid(), range(2), "a test", seconds, size)
    assert (set(found) == {os.getpid()}) == alone


def test_an_evaluation_is_the_same(several, monkeypatch):
    """Of several pieces of resamples, and of replicas and another classifier beside the model."""
    monkeypatch.setattr(resampling, "PIECE", 5_000)
    each = [verdict(3, seed=seed) for seed in range(4)]
    alone = scored(each[0], each, {}, mean=True)
    several()
    assert scored(each[0], each, {}, mean=True) == alone


def test_importance_is_the_same(several):
    inputs, actual = sample(400, 5)
    model = numeric([2.0, 0.7, 0.0, 0.1, 0.0])
    alone = importance(model, inputs, actual, of_importance(permutations=4))
    several()
    assert importance(model, inputs, actual, of_importance(permutations=4)) == alone


def test_resamples_do_not_depend_on_which_of_them_are_asked_for(monkeypatch):
    monkeypatch.setattr(resampling, "PIECE", 100)
    in_order = list(Resamples(30, 10, 0))
    assert [len(piece) for piece in in_order] == [3, 3, 3, 1]
    some = Resamples(30, 10, 0)
    for place in (1, 3, 0, 0, 2):
        np.testing.assert_array_equal(some[place], in_order[place])
