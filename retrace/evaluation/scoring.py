"""Scores what ships on the test rows: every number of reports/scores.json, and how sure it is."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrace.artifacts.baseline import Other
from retrace.artifacts.evaluation import Slice
from retrace.artifacts.schema import Schema
from retrace.artifacts.scores import ClassScores, Comparison, Metric, Scores, ShippedTraining, ThresholdChoice
from retrace.artifacts.training import TrainingReport
from retrace.evaluation.all_cores import on_all_cores
from retrace.evaluation.comparisons import leads
from retrace.evaluation.intervals import wilson
from retrace.evaluation.metrics import Predictions, class_scores, log_losses, metrics
from retrace.evaluation.resampling import ARRAYS, Resamples, of_resamples
from retrace.networks.model import decide
from retrace.params.evaluate import Decided

# What `metrics` takes for a row of a class, about.
METRICS_SECONDS = 65e-9


class Evaluation(NamedTuple):
    """scores: not rounded yet; replicas: each replica's metrics by name, [replicas]."""

    scores: Scores
    replicas: dict[str, NDArray[np.float64]]


def evaluate(
    verdict: Predictions,
    replicas: list[Predictions],
    others: dict[str, Other],
    schema: Schema,
    section: Decided,
    training: TrainingReport,
    choice: ThresholdChoice | None = None,
) -> Evaluation:
    """Score what ships on the test rows, with intervals, beside single replicas and other classifiers.

    choice: how the threshold was found, where that was asked for.
    """
    rows = len(verdict.actual)
    once = np.ones((1, rows))
    values = {name: float(value[0]) for name, value in metrics(verdict, once, section.calibration_bins).items()}
    seconds = METRICS_SECONDS * rows * len(schema.classes)
    each = on_all_cores(
        lambda replica: metrics(replicas[replica], once, section.calibration_bins),
        range(len(replicas)),
        "evaluate: metrics of replicas",
        seconds * len(replicas),
        ARRAYS * 8 * rows,
    )
    spread = {name: np.array([scores[name][0] for scores in each]) for name in values}
    hit = (verdict.predicted == verdict.actual).astype(np.float64)
    losses = log_losses(verdict.probabilities, verdict.actual)
    gaps = {}
    for name, other in others.items():
        gaps[f"{name}.difference"] = hit - (other.predicted == verdict.actual)
        gaps[f"{name}.log_loss_difference"] = losses - other.losses

    def of_piece(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        of_gaps = {name: weights @ gap / rows for name, gap in gaps.items()}
        return metrics(verdict, weights, section.calibration_bins) | of_gaps

    drawn = of_resamples(of_piece, Resamples(rows, section.resamples, section.seed), seconds * section.resamples)
    tail = (1 - section.confidence) / 2
    bounds = {
        name: np.quantile(np.concatenate([samples[name] for samples in drawn]), [tail, 1 - tail]) for name in drawn[0]
    }
    # A proportion has an interval of its own, which also holds at the ends of the scale.
    correct = int(hit.sum())
    bounds["accuracy"] = np.array(wilson(correct, rows, section.confidence))

    errors = jackknife(replicas, section) if training.shipped is None and len(replicas) > 1 else {}
    headlines = {
        name: Metric(
            value=value,
            low=bounds[name][0],
            high=bounds[name][1],
            mean=spread[name].mean(),
            deviation=spread[name].std(ddof=1) if len(replicas) > 1 else None,
            jackknife=errors.get(name),
        )
        for name, value in values.items()
    }
    of_classes = {name: numbers[0] for name, numbers in class_scores(verdict, once).items()}
    classes = {
        name: ClassScores(
            of_classes["precision"][index],
            of_classes["recall"][index],
            of_classes["f1"][index],
            int(of_classes["rows"][index]),
        )
        for index, name in enumerate(schema.classes)
    }
    comparisons = {}
    for name, other in others.items():
        gap, log_loss_gap = gaps[f"{name}.difference"], gaps[f"{name}.log_loss_difference"]
        low, high = bounds[f"{name}.difference"]
        log_loss_low, log_loss_high = bounds[f"{name}.log_loss_difference"]
        comparisons[name] = Comparison(
            accuracy=values["accuracy"] - gap.mean(),
            correct=correct - round(gap.sum()),
            difference=gap.mean(),
            difference_low=low,
            difference_high=high,
            log_loss=other.losses.mean(),
            log_loss_difference=log_loss_gap.mean(),
            log_loss_difference_low=log_loss_low,
            log_loss_difference_high=log_loss_high,
        )
    chosen = training.of_shipped
    scores = Scores(
        **headlines,
        rows=rows,
        correct=correct,
        confidence=section.confidence,
        threshold=section.threshold,
        classes=classes,
        bayes=comparisons.pop("bayes", None),
        baseline=comparisons,
        training=ShippedTraining(
            len(training.replicas), training.shipped, chosen.best_epoch, chosen.best_validation_loss
        ),
        threshold_choice=choice,
    )
    return Evaluation(scores, spread)


def jackknife(replicas: list[Predictions], section: Decided) -> dict[str, float]:
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


def summary(scores: Scores, by_value: list[Slice]) -> list[str]:
    """Lines: the headline, the worst slice, and baselines that are better. by_value: slices, the worst first."""
    accuracy = scores.accuracy
    lines = [
        f"accuracy {accuracy.value:.4f} ({accuracy.low:.4f} to {accuracy.high:.4f}), macro-F1"
        f" {scores.macro_f1.value:.4f} on {scores.rows:,} test rows; {scores.correct:,} correct"
    ]
    if scores.threshold_choice:
        lines.append(f"threshold {scores.threshold_choice.words}")
    if by_value:
        worst = by_value[0]
        lines.append(
            f"worst of {len(by_value)} slices: {worst.column!r} is {worst.value!r}, accuracy {worst.accuracy:.4f}"
            f" ({worst.low:.4f} to {worst.high:.4f}) on {worst.rows:,} test rows"
        )
    return [*lines, *(lead.text for lead in leads(scores.baseline))]
