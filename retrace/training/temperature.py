"""One number that makes the model's probabilities softer or sharper, found on the validation rows.

Temperature scaling (Guo et al. 2017): logits are divided by T before they become probabilities; of several replicas
each one's, before their mean. T is kept only where it is surely better in log loss. The validation rows have chosen the
best epoch, and the replica, too, and T must not be what fits them by chance: each row is judged by a T that was found
without it (five folds), and the mean improvement must be 1.645 standard errors above 0, as it is by chance in one of
twenty cases at most.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrace.artifacts.training import TemperatureReport
from retrace.networks.model import Model
from retrace.networks.probabilities import class_probabilities
from retrace.training.rows import AnyRows

FOLDS = 5
ERRORS = 1.645
# With fewer validation rows than the first nothing is sure; more than the second would say the same. How sure the model
# may be is known from rows in which it is wrong: with 2 of 212 such rows a temperature of 0.1 looked surely better, and
# made the log loss of the test rows .060 and not .039.
FEWEST, MOST, FEWEST_WRONG = 100, 10_000, 10
LOWEST, HIGHEST = 0.25, 4.0
GOLDEN = (math.sqrt(5) - 1) / 2


def find_temperature(model: Model, validation: AnyRows, seed: int) -> TemperatureReport:
    """model: what ships, still without a temperature; seed: of the folds."""
    step = -(-len(validation.y) // MOST)
    x, y = validation.x[::step], validation.y[::step].long()
    logits = model.logits(x.numpy())
    rows, smoothing = len(y), model.description.label_smoothing
    before = row_losses(logits, y, smoothing, 1.0)
    likeliest = class_probabilities(logits, smoothing).mean(0).argmax(1)
    wrong = int((likeliest != y).sum())
    if rows < FEWEST or wrong < FEWEST_WRONG:
        return TemperatureReport(rows, 1.0, float(before.mean()), None, None)
    folds = np.random.default_rng(seed).permutation(rows) % FOLDS
    after = np.empty(rows)
    for fold in range(FOLDS):
        held, others = (torch.from_numpy(np.flatnonzero(part)) for part in (folds == fold, folds != fold))
        found = best_temperature(logits[:, others], y[others], smoothing)
        after[held.numpy()] = row_losses(logits[:, held], y[held], smoothing, found)
    gain = before - after
    low = float(gain.mean() - ERRORS * gain.std(ddof=1) / math.sqrt(rows))
    temperature = best_temperature(logits, y, smoothing) if low > 0 else 1.0
    return TemperatureReport(rows, temperature, float(before.mean()), float(gain.mean()), low)


def best_temperature(logits: Tensor, y: Tensor, smoothing: float) -> float:
    """The one with the lowest mean log loss, of three digits behind the point.

    logits [replicas, rows, outputs]; y [rows].
    """

    def loss(log: float) -> float:
        return float(row_losses(logits, y, smoothing, math.exp(log)).mean())

    grid = np.linspace(math.log(LOWEST), math.log(HIGHEST), 13)
    best = int(np.argmin([loss(each) for each in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return round(math.exp(_lowest(loss, low, high)), 3)


def row_losses(logits: Tensor, y: Tensor, smoothing: float, temperature: float) -> NDArray[np.float64]:
    """Log loss of each row [rows], of the mean of the replicas."""
    chances = class_probabilities(logits, smoothing, temperature).mean(0)
    own = chances.gather(1, y[:, None]).squeeze(1).clamp_min(1e-15)
    losses: NDArray[np.float64] = -own.log().numpy()
    return losses


def _lowest(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where it is lowest, to a thousandth, by golden section (Kiefer 1953)."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-3:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = loss(right)
    return (low + high) / 2
