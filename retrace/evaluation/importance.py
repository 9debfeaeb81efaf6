"""How much the model needs each column: what it loses on the test rows when the column's values are shuffled."""

from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from retrace.evaluation.all_cores import PRODUCTS_A_SECOND, on_all_cores
from retrace.evaluation.intervals import quantile
from retrace.evaluation.metrics import log_losses
from retrace.networks.model import Model, decide
from retrace.params.evaluate import Decided
from retrace.preprocessing.apply import parts

Floats = NDArray[np.float64]

# A thousand columns on a million rows would take hours: fewer rows are looked at where there are many columns, or where
# the network is large. WORK: products of a weight and an input; a second or two on one core, if FEWEST_ROWS allow it.
MOST_ROWS, FEWEST_ROWS = 20_000, 500
WORK = 30_000_000_000


class Loss(NamedTuple):
    """A mean over test rows, and its interval."""

    mean: float
    low: float
    high: float


class Importance(NamedTuple):
    """Of a column: how much lower the accuracy is, and how much higher the log loss, when its values are shuffled."""

    column: str
    accuracy: Loss
    log_loss: Loss


def importance(
    model: Model, inputs: NDArray[np.float32], actual: NDArray[np.int64], section: Decided
) -> tuple[list[Importance], int]:
    """Permutation importance of each column (Breiman 2001; Fisher, Rudin and Dominici 2019), the largest first.

    inputs [rows, inputs]: what the network sees; actual [rows]: class indices. All inputs
    that come of a column are shuffled together. Also says how many rows were looked at, drawn at random where not all.

    A column's shuffles follow from the seed and its name: no other column has a say in them. A column that shares what
    it says with another one may look useless, as the other one stays as it is.
    """
    together: dict[str, list[int]] = {column: [] for column in model.description.features}
    for column, places, _ in parts(model.description.preprocessing):
        together[column] += places
    rows = rows_in_reach(model, len(together), section.permutations)
    if rows < len(actual):
        drawn = np.sort(np.random.default_rng(section.seed).choice(len(actual), rows, replace=False))
        inputs, actual = inputs[drawn], actual[drawn]
    hit, loss = _scores(model, inputs, actual, section.threshold)

    def of_column(column: str) -> Importance:
        places = together[column]
        random = np.random.default_rng([section.seed, crc32(column.encode())])
        donors = np.stack([random.permutation(len(actual)) for _ in range(section.permutations)])
        lost, gained = np.empty(donors.shape), np.empty(donors.shape)
        shuffled = inputs.copy()
        for index, donor in enumerate(donors):
            shuffled[:, places] = inputs[np.ix_(donor, places)]
            hit_now, loss_now = _scores(model, shuffled, actual, section.threshold)
            lost[index], gained[index] = hit - hit_now, loss_now - loss
        return Importance(
            column, mean_loss(lost, donors, section.confidence), mean_loss(gained, donors, section.confidence)
        )

    products = len(together) * section.permutations * len(actual) * _weights(model)
    size = 4 * inputs.nbytes + 2 * 8 * section.permutations * len(actual)
    found: list[Importance] = on_all_cores(
        of_column, list(together), "evaluate: importance", products / PRODUCTS_A_SECOND, size
    )
    return sorted(found, key=lambda each: (-each.accuracy.mean, -each.log_loss.mean, each.column)), len(actual)


def rows_in_reach(model: Model, columns: int, permutations: int) -> int:
    """How many test rows can be looked at within WORK."""
    return min(max(WORK // (columns * permutations * _weights(model)), FEWEST_ROWS), MOST_ROWS)


def _weights(model: Model) -> int:
    return model.network.replicas * model.network.weights


def mean_loss(losses: Floats, donors: NDArray[np.int64], confidence: float) -> Loss:
    """Mean of what each row loses in each permutation; a normal interval for the luck of rows and of permutations.

    losses [permutations, rows]: of row i in permutation p, when it has the value of row donors[p, i]. A row has a say
    twice, with its loss and with the value that it gives away, so that the mean is a U-statistic, whose variance
    follows from each row's part in it (Hoeffding 1948):

        part_i = mean over p of what row i loses + mean over p of what the row loses that has i's value - mean
        variance of the mean = variance of part over rows / rows

    With few permutations both means over p still hold their luck: then the interval is wider, never narrower.
    """
    permutations, rows = losses.shape
    given = np.zeros(rows)
    for donor, lost in zip(donors, losses, strict=True):
        given[donor] += lost / permutations
    mean = float(losses.mean())
    part = losses.mean(0) + given - mean
    half = quantile(confidence) * float(part.std(ddof=1)) / rows**0.5 if rows > 1 else 0.0
    return Loss(mean, mean - half, mean + half)


def _scores(
    model: Model, inputs: NDArray[np.float32], actual: NDArray[np.int64], threshold: float
) -> tuple[Floats, Floats]:
    """Of each row whether it is right, 1 or 0, and its log loss."""
    probabilities = model.of_inputs(inputs)
    return (decide(probabilities, threshold) == actual).astype(np.float64), log_losses(probabilities, actual)
