"""Every metric of a classifier, for weighted rows, for many weightings at once.

A weighting is how often each row counts. Ones give the metric itself; the counts of a resample with replacement give
one bootstrap replicate (Efron 1979). One definition serves both, and tests hold it against scikit-learn's.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class Predictions(NamedTuple):
    """actual, predicted [rows] class indices; probabilities [rows, classes], each row adding up to 1."""

    actual: Indices
    predicted: Indices
    probabilities: Floats


def metrics(verdict: Predictions, weights: Floats, bins: int) -> dict[str, Floats]:
    """Each metric for each weighting: weights [weightings, rows] -> name: [weightings].

    A class that a weighting leaves out counts 0 where the metric divides by its rows, as in scikit-learn.
    """
    actual, predicted, probabilities = verdict
    classes = probabilities.shape[1]
    total = weights.sum(1)
    hit = weights * (actual == predicted)
    per_class = class_scores(verdict, weights)
    one_hot = np.eye(classes)[actual]
    ranked = range(1, 2) if classes == 2 else range(classes)
    ranking = [_ranking(probabilities[:, index], actual == index, weights) for index in ranked]
    return {
        "accuracy": hit.sum(1) / total,
        "balanced_accuracy": _mean_over_present(per_class["recall"], per_class["rows"]),
        "macro_precision": per_class["precision"].mean(1),
        "macro_recall": per_class["recall"].mean(1),
        "macro_f1": per_class["f1"].mean(1),
        "roc_auc": np.mean([auc for auc, _ in ranking], axis=0),
        "average_precision": np.mean([precision for _, precision in ranking], axis=0),
        "log_loss": weights @ log_losses(probabilities, actual) / total,
        # As scikit-learn scales it: from 0 to 1 for two classes, to 2 for more (Brier 1950).
        "brier_score": weights @ ((probabilities - one_hot) ** 2).sum(1) / total / (2 if classes == 2 else 1),
        "calibration_error": _calibration_error(verdict, weights, bins),
    }


def log_losses(probabilities: Floats, actual: Indices) -> Floats:
    """Log loss of each row, in nats; a probability of 0 is taken for the smallest float64 above it."""
    losses: Floats = -np.log(probabilities[np.arange(len(actual)), actual].clip(np.finfo(np.float64).tiny))
    return losses


def class_scores(verdict: Predictions, weights: Floats) -> dict[str, Floats]:
    """precision, recall, f1 and rows of each class, each [weightings, classes]."""
    actual, predicted, probabilities = verdict
    classes = probabilities.shape[1]
    cells = actual * classes + predicted
    confusion = np.stack([weights[:, cells == cell].sum(1) for cell in range(classes**2)], 1)
    confusion = confusion.reshape(-1, classes, classes)
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    rows, guesses = confusion.sum(2), confusion.sum(1)
    return {
        "precision": _ratio(hits, guesses),
        "recall": _ratio(hits, rows),
        "f1": _ratio(2 * hits, rows + guesses),
        "rows": rows,
    }


def calibration(verdict: Predictions, bins: int) -> list[tuple[float, float, float, float, int]]:
    """Reliability of the predicted class by confidence: (low, high, mean confidence, accuracy, rows), no empty bin."""
    confidence, place = _confidence(verdict, bins)
    hit = verdict.actual == verdict.probabilities.argmax(1)
    return [
        (
            index / bins,
            (index + 1) / bins,
            float(confidence[place == index].mean()),
            float(hit[place == index].mean()),
            int((place == index).sum()),
        )
        for index in np.unique(place)
    ]


def _confidence(verdict: Predictions, bins: int) -> tuple[Floats, Indices]:
    confidence = verdict.probabilities.max(1)
    return confidence, np.minimum((confidence * bins).astype(np.int64), bins - 1)


def _calibration_error(verdict: Predictions, weights: Floats, bins: int) -> Floats:
    """Expected calibration error of the most likely class, equal-width bins (Guo et al. 2017)."""
    confidence, place = _confidence(verdict, bins)
    gap = confidence - (verdict.actual == verdict.probabilities.argmax(1))
    sums = [np.abs(weights[:, place == index] @ gap[place == index]) for index in np.unique(place)]
    error: Floats = np.sum(sums, axis=0) / weights.sum(1)
    return error


def _ranking(score: Floats, positive: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats]:
    """Area under the ROC curve (Mann-Whitney, ties count half) and average precision, each [weightings].

    A weighting without a positive or without a negative row has no ranking: 0.5 and the share of positives.
    """
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    sorted_weights = weights[:, order]
    hits = np.add.reduceat(sorted_weights * positive[order], starts, axis=1)
    misses = np.add.reduceat(sorted_weights * ~positive[order], starts, axis=1)
    all_hits, all_misses = hits.sum(1), misses.sum(1)
    beaten = all_misses[:, None] - misses.cumsum(1) + misses / 2
    pairs = all_hits * all_misses
    auc = np.where(pairs > 0, (hits * beaten).sum(1) / np.where(pairs > 0, pairs, 1), 0.5)
    found = hits.cumsum(1)
    precision = _ratio(found, found + misses.cumsum(1))
    share = all_hits / weights.sum(1)
    average = np.where(pairs > 0, (hits * precision).sum(1) / np.where(all_hits > 0, all_hits, 1), share)
    return auc, average


def _mean_over_present(scores: Floats, rows: Floats) -> Floats:
    mean: Floats = (scores * (rows > 0)).sum(1) / (rows > 0).sum(1)
    return mean


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator, dtype=np.float64), where=denominator > 0)
