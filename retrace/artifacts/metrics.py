"""reports/metrics.json: the few numbers that DVC shows, in `dvc exp show`, `dvc metrics diff` and VS Code.

Each key is a column of these tables, so that there are ten at most; reports/scores.json has all numbers.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from retrace.artifacts.scores import Scores, rounded
from retrace.runtime.atomic import write_json

METRICS = Path("reports/metrics.json")


@dataclass(frozen=True)
class Metrics:
    """On the test rows.

    replicas_accuracy_mean, ..._deviation: of the single replicas; DVC leaves out the deviation that one has not.
    difference_to_best_baseline:           accuracy, the network's minus the best baseline's.
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float
    log_loss: float
    calibration_error: float
    replicas_accuracy_mean: float
    replicas_accuracy_deviation: float | None
    difference_to_best_baseline: float


def metrics_of(scores: Scores) -> Metrics:
    return Metrics(
        accuracy=scores.accuracy.value,
        accuracy_low=scores.accuracy.low,
        accuracy_high=scores.accuracy.high,
        macro_f1=scores.macro_f1.value,
        log_loss=scores.log_loss.value,
        calibration_error=scores.calibration_error.value,
        replicas_accuracy_mean=scores.accuracy.mean,
        replicas_accuracy_deviation=scores.accuracy.deviation,
        difference_to_best_baseline=min(each.difference for each in scores.baseline.values()),
    )


def write_metrics(metrics: Metrics) -> None:
    write_json(METRICS, rounded(asdict(metrics)))
