"""A result as `evaluate` finds it, for tests of what reads it."""

from dataclasses import replace
from typing import Any

from retrace.artifacts.scores import HEADLINES, ClassScores, Comparison, Metric, Scores, ShippedTraining

METRIC = Metric(value=0.98, low=0.97, high=0.99, mean=0.98, deviation=None, jackknife=None)


def comparison(**changes: Any) -> Comparison:
    """A classifier to which the network is surely better."""
    accuracy, log_loss = (0.5, 1650, 0.1, 0.05, 0.2), (0.6, -0.5, -0.6, -0.4)
    return replace(Comparison(*accuracy, *log_loss), **changes)


def scores(**changes: Any) -> Scores:
    """A good one, but for the fields that are given."""
    correct = {"majority": 1635, "logistic_regression": 1566, "gradient_boosting": 3214}
    good: dict[str, Any] = dict.fromkeys(HEADLINES, METRIC)
    good |= {"rows": 3300, "correct": 3235, "confidence": 0.95, "threshold": 0.5, "bayes": None}
    good["classes"] = {"inner": ClassScores(0.98, 0.98, 0.98, 1665), "outer": ClassScores(0.98, 0.98, 0.98, 1635)}
    good["baseline"] = {name: comparison(correct=right, accuracy=right / 3300) for name, right in correct.items()}
    good["training"] = ShippedTraining(replicas=1, shipped=0, best_epoch=90, best_validation_loss=0.1)
    return Scores(**{**good, **changes})
