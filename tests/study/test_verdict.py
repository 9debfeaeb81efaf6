"""The statistics of a verdict, on made rows whose truth is known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from retrace.artifacts.schema import Schema
from retrace.artifacts.study import Candidate, Interval
from retrace.params.reader import read
from retrace.params.train import Train
from retrace.preprocessing.description import Number, Preprocessing
from retrace.study.measuring import Course, Task, train
from retrace.study.prepared import Prepared
from retrace.study.verdict import Judging, decide, difference
from retrace.training.pack import Data
from retrace.training.rows import Rows

SCHEMA = Schema("made", ["a", "b"], "class", ["no", "yes"], [200, 200], None)

FOLDS, SEEDS, ROWS = 5, 4, 60
WEIGHTS = [np.full(ROWS, 1 / ROWS)] * FOLDS
GROUPS = [np.arange(fold * ROWS, (fold + 1) * ROWS, dtype=np.uint64) for fold in range(FOLDS)]


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
    found = difference(own, others, WEIGHTS, GROUPS, False, 0.95, 1)
    assert found.value == pytest.approx(np.mean(np.array(own) - np.array(others)))
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("of_rows", "of_seeds"), [(0.3, 0.0), (0.3, 0.3), (0.05, 0.3)])
def test_where_nothing_is_better_it_says_so_as_often_as_it_promises(of_rows, of_seeds):
    random = np.random.default_rng(1)
    found = [difference(*made(random, 0.0, of_rows, of_seeds), WEIGHTS, GROUPS, False, 0.9, 1) for _ in range(400)]
    wrong = sum(each.low > 0 or each.high < 0 for each in found)
    assert 8 <= wrong <= 56, "a tenth of 400, or fewer: the rows' variance holds a part of the seeds'"


def test_with_more_compared_it_must_be_surer():
    own, others = made(np.random.default_rng(2), 0.0, 0.2, 0.0)
    one, three = (difference(own, others, WEIGHTS, GROUPS, False, 0.95, compared) for compared in (1, 3))
    assert three.high - three.low == pytest.approx(
        (one.high - one.low) * student.ppf(1 - 0.05 / 6, 300) / 1.968, rel=0.02
    )


def test_of_the_mean_of_networks_it_is_the_mean_that_is_judged():
    """Two networks that are each right on one half of the rows are good together."""
    half = np.arange(ROWS) % 2 == 0
    own = [np.log(np.where(np.stack([half, ~half] * 2), 0.9, 0.1))] * FOLDS
    others = [np.log(np.full((SEEDS, ROWS), 0.3))] * FOLDS
    assert difference(own, others, WEIGHTS, GROUPS, True, 0.95, 1).value == pytest.approx(np.log(0.5 / 0.3))
    assert difference(own, others, WEIGHTS, GROUPS, False, 0.95, 1).value == pytest.approx(np.log(0.3 / 0.3), abs=1e-9)


def test_a_setting_against_itself_is_no_better():
    own, _ = made(np.random.default_rng(3), 0.0, 0.2, 0.1)
    assert difference(own, own, WEIGHTS, GROUPS, False, 0.95, 1) == Interval(0.0, 0.0, 0.0)


LEARNED = Interval(0.3, 0.2, 0.4)


def candidate(trial: int, *interval: float, over_guess: Interval = LEARNED) -> Candidate:
    improvement = Interval(*interval) if interval else None
    return Candidate(trial, {}, 0.1, 0.2 - trial / 100, None, 0.0, improvement, 0.9, 0.0, 10.0, 1.0, over_guess)


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
    unlearned = candidate(7, 0.05, 0.01, 0.09, over_guess=Interval(-0.001, -0.002, 0.001))
    assert decide([candidate(0), sure, unlearned], False, 0.95, 3)[0] == 4
    adopted, reason = decide([candidate(0), unlearned], False, 0.95, 3)
    assert adopted is None
    assert reason == (
        "trial 7 is surely better than the present one, and not than a guess by the classes' shares"
        " (-0.0010; -0.0020 to +0.0010); the present one stays"
    )
    assert decide([vague, sure], True, 0.95, 3)[0] == 6, "where the present one diverges, the lowest log loss"


def test_rows_that_belong_together_are_one_row():
    """Ten times the same rows tell no more than one of them."""
    own, others = made(np.random.default_rng(4), 0.1, 0.3, 0.0)
    once = difference(own, others, WEIGHTS, GROUPS, False, 0.95, 1)
    tenfold = [np.repeat(each, 10, 1) for each in own], [np.repeat(each, 10, 1) for each in others]
    weights, groups = [np.repeat(each, 10) / 10 for each in WEIGHTS], [np.repeat(each, 10) for each in GROUPS]
    again = difference(*tenfold, weights, groups, False, 0.95, 1)
    assert (again.value, again.low, again.high) == pytest.approx((once.value, once.low, once.high))
    apart = [np.arange(10 * ROWS, dtype=np.uint64) + 10_000 * fold for fold in range(FOLDS)]
    narrower = difference(*tenfold, weights, apart, False, 0.95, 1)
    assert narrower.high - narrower.low < 0.5 * (once.high - once.low)


def test_no_network_judges_in_two_folds_or_was_in_the_search():
    """The luck of a seed would be the same in all folds, and the interval too narrow."""
    study = SimpleNamespace(seeds=3, fresh_seeds=4)
    judging = Judging(study, *[None] * 4, folders=[], weights=[], actual=[], guesses=[], groups=[])
    later = judging._replace(first=FOLDS)
    used = [set(range(3)), *(set(each.fresh(fold)) for each in (judging, later) for fold in range(FOLDS))]
    assert sum(map(len, used)) == len(set().union(*used)) == 3 + 2 * FOLDS * 4


def test_a_setting_against_itself_with_other_seeds_is_better_as_seldom_as_it_should(one_thread, project):
    """Real trainings: 64 networks of each fold; any four of them against any four others."""
    random = np.random.default_rng(0)
    present = read(Train)
    optimizer = present.optimizer.model_copy(update={"learning_rate": 1.0})
    section = present.model_copy(update={"epochs": 12, "optimizer": optimizer})
    folds, weights = [], [np.full(100, 0.01)] * FOLDS
    for fold in range(FOLDS):
        x = torch.randn(400, 2, generator=torch.Generator().manual_seed(fold))
        y = (x.norm(dim=1) + 0.3 * x[:, 0] > 1.1).to(torch.int16)
        data = Data(Rows(x[:300], y[:300]), Rows(x[300:], y[300:]), torch.bincount(y[:300].long()))
        prepared = Prepared(SCHEMA, Preprocessing([Number("a"), Number("b")]), data, weights[fold])
        course = Course(Task(section, range(64 * fold, 64 * (fold + 1)), 12, Path()))
        train([course], prepared, torch.device("cpu"))
        folds.append(course.right)
    groups = [np.arange(100, dtype=np.uint64) + 100 * fold for fold in range(FOLDS)]
    wrong = 0
    for _ in range(400):
        picked = [random.permutation(64)[:8] for _ in range(FOLDS)]
        own = [right[some[:4]] for right, some in zip(folds, picked, strict=True)]
        others = [right[some[4:]] for right, some in zip(folds, picked, strict=True)]
        found = difference(own, others, weights, groups, False, 0.9, 1)
        wrong += found.low > 0 or found.high < 0
    assert wrong <= 60, "a tenth of 400, and what luck there is"
