"""The statistics of a verdict, on made rows whose truth is known."""

import numpy as np
import pytest
from scipy.stats import t as student

from retrace.artifacts.study import Candidate, Interval
from retrace.study.verdict import decide, difference

FOLDS, SEEDS, ROWS = 5, 4, 60
WEIGHTS = [np.full(ROWS, 1 / ROWS)] * FOLDS


def made(random: np.random.Generator, gain: float, of_rows: float, of_seeds: float) -> tuple[list, list]:
    """Log-probabilities of two settings: the first one's are higher by `gain`, but for the luck of rows and seeds."""
    others = [-random.exponential(0.5, (SEEDS, ROWS)) - 1 for _ in range(FOLDS)]
    own = [
        each + gain + of_rows * random.normal(size=(1, ROWS)) + of_seeds * random.normal(size=(SEEDS, 1))
        for each in others
    ]
    return own, others


def test_it_is_the_mean_over_rows_and_seeds():
    own, others = made(np.random.default_rng(0), 0.1, 0.2, 0.1)
    found = difference(own, others, WEIGHTS, False, 0.95, 1)
    assert found.value == pytest.approx(np.mean(np.array(own) - np.array(others)))
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("of_rows", "of_seeds"), [(0.3, 0.0), (0.3, 0.3), (0.05, 0.3)])
def test_where_nothing_is_better_it_says_so_as_often_as_it_promises(of_rows, of_seeds):
    random = np.random.default_rng(1)
    found = [difference(*made(random, 0.0, of_rows, of_seeds), WEIGHTS, False, 0.9, 1) for _ in range(400)]
    wrong = sum(each.low > 0 or each.high < 0 for each in found)
    assert 8 <= wrong <= 56, "a tenth of 400, or fewer: the rows' variance holds a part of the seeds'"


def test_with_more_compared_it_must_be_surer():
    own, others = made(np.random.default_rng(2), 0.0, 0.2, 0.0)
    one, three = (difference(own, others, WEIGHTS, False, 0.95, compared) for compared in (1, 3))
    assert three.high - three.low == pytest.approx(
        (one.high - one.low) * student.ppf(1 - 0.05 / 6, 300) / 1.968, rel=0.02
    )


def test_of_the_mean_of_networks_it_is_the_mean_that_is_judged():
    """Two networks that are each right on one half of the rows are good together."""
    half = np.arange(ROWS) % 2 == 0
    own = [np.log(np.where(np.stack([half, ~half] * 2), 0.9, 0.1))] * FOLDS
    others = [np.log(np.full((SEEDS, ROWS), 0.3))] * FOLDS
    assert difference(own, others, WEIGHTS, True, 0.95, 1).value == pytest.approx(np.log(0.5 / 0.3))
    assert difference(own, others, WEIGHTS, False, 0.95, 1).value == pytest.approx(np.log(0.3 / 0.3), abs=1e-9)


def test_a_setting_against_itself_is_no_better():
    own, _ = made(np.random.default_rng(3), 0.0, 0.2, 0.1)
    assert difference(own, own, WEIGHTS, False, 0.95, 1) == Interval(0.0, 0.0, 0.0)


def candidate(trial: int, *interval: float) -> Candidate:
    improvement = Interval(*interval) if interval else None
    return Candidate(trial, {}, 0.1, 0.2 - trial / 100, None, 0.0, improvement, 0.9, 0.0, 10.0, 1.0)


def test_the_best_of_the_surely_better_ones_is_adopted():
    sure, better, vague = (
        candidate(4, 0.02, 0.01, 0.03),
        candidate(5, 0.03, 0.001, 0.06),
        candidate(6, 0.09, -0.01, 0.2),
    )
    assert decide([candidate(0), sure, better, vague], False, 0.95, 3)[0] == 5
    assert decide([candidate(0), sure, vague], False, 0.95, 3)[0] == 4
    adopted, reason = decide([candidate(0), vague], False, 0.95, 3)
    assert adopted is None
    assert reason == (
        "none is surely better; the best, trial 6, is better by 0.0900 (-0.0100 to +0.2000; 95%, for 3 compared);"
        " the present one stays"
    )
    assert decide([candidate(0)], False, 0.95, 1)[0] is None
    assert decide([vague, sure], True, 0.95, 3)[0] == 6, "where the present one diverges, the lowest log loss"
