"""From which probability on the second of two classes is predicted, decided on the validation rows by a stated aim.

best_f1: the highest F1 of the second class. Each row is judged by a threshold that was chosen without it (ten folds,
as in scikit-learn's TunedThresholdClassifierCV). cost_ratio R: the lowest cost of errors, where a missed row of the
second class costs R times as much as a false alarm. Of right probabilities that is 1 / (1 + R) (Elkan 2001), and what
rows say beside it is mostly chance: over eight tables and three splits of each, 1 / 6 was better than 0.5 on the test
rows in 23 of 24 cases for R = 5, and a threshold that was fitted to the validation rows in 20, by less.

Either is used only where it is surely better than 0.5: over bootstrap resamples of the validation rows the lower end
of what it gains, with the chance of `evaluate.confidence`, must be above 0. The test rows have no say.
"""

import numpy as np
from numpy.typing import NDArray

from retrace.artifacts.paths import VALIDATION
from retrace.artifacts.schema import Schema
from retrace.artifacts.scores import ThresholdChoice
from retrace.artifacts.tables import read_groups
from retrace.evaluation.resampling import Resamples, of_resamples
from retrace.evaluation.served_threshold import Aim, digest
from retrace.networks.model import Model
from retrace.params.evaluate import Costs, Decided, Evaluate
from retrace.params.reader import fault
from retrace.preprocessing.apply import sure
from retrace.preprocessing.description import Unusable
from retrace.runtime.errors import BAD_DATA, UserError

FOLDS = 10
SCORE_SECONDS = 15e-9  # what a resample of a row takes, about
FEWEST = 20  # rows of either class
DIGITS = 6  # that reports/scores.json keeps: what is tested is what is served

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]


def settle(model: Model, schema: Schema, section: Evaluate) -> tuple[Decided, ThresholdChoice | None]:
    """The section with a number as its threshold; and where that was an aim, how it was found on the validation rows.

    Raises UserError where there are not two classes, or for a row that the network cannot take.
    """
    if isinstance(section.threshold, float):
        return section.decided(section.threshold), None
    if len(schema.classes) != 2:
        raise fault(Evaluate, "threshold", f"must be a number with {len(schema.classes)} classes")
    chances, positive, start = [], [], 0
    for rows in read_groups(VALIDATION, [*schema.features, schema.target]):
        try:
            chances.append(sure(model.description.preprocessing, rows, model.probabilities(rows))[:, 1])
        except Unusable as error:
            raise UserError(
                BAD_DATA,
                f"{VALIDATION}: column {error.column}, row {start + error.row + 1:,}: {error.value} {error.rule}; fix"
                " it in the table, or leave the row out",
            ) from None
        positive.append(rows.column(schema.target).to_numpy() == 1)
        start += rows.num_rows
    choice = choose(np.concatenate(chances), np.concatenate(positive), section, section.threshold)
    return section.decided(choice.threshold), choice


def choose(chances: Floats, positive: Truths, section: Evaluate, wanted: str | Costs) -> ThresholdChoice:
    """chances [rows]: of the second class; positive [rows]: whether it is the row's."""
    aim, rows, count = Aim.of(wanted), len(chances), int(positive.sum())
    if min(count, rows - count) < FEWEST:
        return ThresholdChoice(aim.name, rows, 0.5, None, None, None, digest())
    alarm = _alarms_of_others(chances, positive, aim, section.seed)
    plain = chances >= 0.5
    drawn = of_resamples(
        lambda weights: _score(aim, weights, alarm, positive) - _score(aim, weights, plain, positive),
        Resamples(rows, section.resamples, section.seed),
        SCORE_SECONDS * rows * section.resamples,
    )
    once = np.ones((1, rows))
    before = float(_score(aim, once, plain, positive)[0])
    gain = float(_score(aim, once, alarm, positive)[0]) - before
    low = float(np.quantile(np.concatenate(drawn), 1 - section.confidence))
    threshold = best(chances, positive, aim) if low > 0 else 0.5
    return ThresholdChoice(aim.name, rows, threshold, before, gain, low, digest())


def _alarms_of_others(chances: Floats, positive: Truths, aim: Aim, seed: int) -> Truths:
    """Which rows are alarms [rows], each by a threshold that the other folds have chosen."""
    folds = np.empty(len(chances), dtype=np.int64)
    random = np.random.default_rng(seed)
    for of_class in (positive, ~positive):
        folds[of_class] = random.permutation(int(of_class.sum())) % FOLDS
    alarm = np.empty(len(chances), dtype=np.bool_)
    for fold in range(FOLDS):
        held = folds == fold
        alarm[held] = chances[held] >= best(chances[~held], positive[~held], aim)
    return alarm


def best(chances: Floats, positive: Truths, aim: Aim) -> float:
    """The threshold of a cost ratio; or the one with the best score, between the chances of two rows.

    Of several such the one closest to 0.5.
    """
    if aim.cost_ratio is not None:
        return round(1 / (1 + aim.cost_ratio), DIGITS)
    order = np.argsort(-chances, kind="stable")
    sorted_chances = chances[order]
    found = np.cumsum(positive[order], dtype=np.float64)
    alarms = np.arange(1.0, len(chances) + 1)
    below = np.append(sorted_chances[1:], 0.0)
    middles = ((sorted_chances + below) / 2).round(DIGITS)
    scores = aim.score(found, alarms, found[-1], len(chances))
    # Rows of the same chance are alarms together: nothing lies between them.
    possible = (middles > below) & (middles <= sorted_chances) & (middles > 0) & (middles < 1)
    if not possible.any():
        return 0.5
    tied = possible & (scores >= scores[possible].max() - 1e-12)
    return float(middles[tied][np.abs(middles[tied] - 0.5).argmin()])


def _score(aim: Aim, weights: Floats, alarm: Truths, positive: Truths) -> Floats:
    """weights: how often each row counts [resamples, rows]."""
    both = np.stack([alarm & positive, alarm, positive], 1).astype(np.float64)
    found, alarms, positives = (weights @ both).T
    return aim.score(found, alarms, positives, weights.shape[1])
