"""Scores what ships on the test rows: every number of reports/metrics.json, and how sure it is."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrace.artifacts.schema import Schema
from retrace.evaluation.comparisons import leads
from retrace.evaluation.intervals import wilson
from retrace.evaluation.metrics import Predictions, class_scores, log_losses, metrics, resamples
from retrace.evaluation.predictions import Other
from retrace.evaluation.slices import Slice
from retrace.networks.model import decide
from retrace.params.evaluate import Evaluate


class Evaluation(NamedTuple):
    """metrics: the content of metrics.json; replicas: each replica's metrics by name, [replicas]."""

    metrics: dict[str, Any]
    replicas: dict[str, NDArray[np.float64]]


def evaluate(
    verdict: Predictions,
    replicas: list[Predictions],
    others: dict[str, Other],
    schema: Schema,
    section: Evaluate,
    of_mean: bool = False,
) -> Evaluation:
    """Score what ships on the test rows, with intervals, beside single replicas and other classifiers.

    of_mean: what ships is the mean of the replicas.
    """
    rows = len(verdict.actual)
    once = np.ones((1, rows))
    values = {name: float(value[0]) for name, value in metrics(verdict, once, section.calibration_bins).items()}
    each = [metrics(replica, once, section.calibration_bins) for replica in replicas]
    spread = {name: np.array([scores[name][0] for scores in each]) for name in values}
    hit = (verdict.predicted == verdict.actual).astype(np.float64)
    losses = log_losses(verdict.probabilities, verdict.actual)
    gaps = {}
    for name, other in others.items():
        gaps[f"{name}.difference"] = hit - (other.predicted == verdict.actual)
        gaps[f"{name}.log_loss_difference"] = losses - other.losses
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in (*values, *gaps)}
    for weights in resamples(rows, section.resamples, section.seed):
        for name, sample in metrics(verdict, weights, section.calibration_bins).items():
            drawn[name].append(sample)
        for name, gap in gaps.items():
            drawn[name].append(weights @ gap / rows)
    tail = (1 - section.confidence) / 2
    bounds = {name: np.quantile(np.concatenate(samples), [tail, 1 - tail]) for name, samples in drawn.items()}
    # A proportion has an interval of its own, which also holds at the ends of the scale.
    correct = int(hit.sum())
    bounds["accuracy"] = np.array(wilson(correct, rows, section.confidence))

    content: dict[str, Any] = {
        "rows": rows,
        "correct": correct,
        "confidence": section.confidence,
        "threshold": section.threshold,
    }
    errors = jackknife(replicas, section) if of_mean and len(replicas) > 1 else {}
    for name, value in values.items():
        low, high = bounds[name]
        content[name] = {
            "value": value,
            "low": low,
            "high": high,
            "mean": spread[name].mean(),
            "deviation": spread[name].std(ddof=1) if len(replicas) > 1 else None,
            "jackknife": errors.get(name),
        }
    scores = class_scores(verdict, once)
    content["classes"] = {
        name: {
            "precision": scores["precision"][0, index],
            "recall": scores["recall"][0, index],
            "f1": scores["f1"][0, index],
            "rows": int(scores["rows"][0, index]),
        }
        for index, name in enumerate(schema.classes)
    }
    comparisons = {}
    for name, other in others.items():
        gap = gaps[f"{name}.difference"]
        comparisons[name] = {
            "accuracy": values["accuracy"] - gap.mean(),
            "correct": correct - round(gap.sum()),
            "log_loss": other.losses.mean(),
        }
        for key in ("difference", "log_loss_difference"):
            low, high = bounds[f"{name}.{key}"]
            comparisons[name] |= {key: gaps[f"{name}.{key}"].mean(), f"{key}_low": low, f"{key}_high": high}
    content["bayes"] = comparisons.pop("bayes", None)
    content["baseline"] = comparisons
    return Evaluation(content, spread)


def jackknife(replicas: list[Predictions], section: Evaluate) -> dict[str, float]:
    """Standard error of each metric of the replicas' mean, by leaving out one of them at a time (Efron 1982, ch. 3).

    It says how much of a metric is the luck of these seeds: about how far the mean of as many other replicas would be
    from this one, on the same rows. The interval beside it is about the luck of the rows.
    """
    count, actual = len(replicas), replicas[0].actual
    total = np.sum([replica.probabilities for replica in replicas], axis=0)
    left_out = []
    for replica in replicas:
        probabilities = ((total - replica.probabilities) / (count - 1)).clip(0, 1)
        rest = Predictions(actual, decide(probabilities, section.threshold), probabilities)
        left_out.append(metrics(rest, np.ones((1, len(actual))), section.calibration_bins))
    return {
        name: float(np.sqrt((count - 1) * np.var([scores[name][0] for scores in left_out]))) for name in left_out[0]
    }


def summary(content: dict[str, Any], by_value: list[Slice]) -> list[str]:
    """Lines: the headline, the worst slice, and baselines that are better. by_value: slices, the worst first."""
    accuracy = content["accuracy"]
    lines = [
        f"accuracy {accuracy['value']:.4f} ({accuracy['low']:.4f} to {accuracy['high']:.4f}), macro-F1"
        f" {content['macro_f1']['value']:.4f} on {content['rows']:,} test rows; {content['correct']:,} correct"
    ]
    if by_value:
        worst = by_value[0]
        lines.append(
            f"worst of {len(by_value)} slices: {worst.column!r} is {worst.value!r}, accuracy {worst.accuracy:.4f}"
            f" ({worst.low:.4f} to {worst.high:.4f}) on {worst.rows:,} test rows"
        )
    return [*lines, *(lead.text for lead in leads(content["baseline"]))]
