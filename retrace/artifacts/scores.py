"""reports/scores.json: every number of the result, and how sure it is. `evaluate` writes it.

To add a metric, add a field to `Headlines`, and compute it in retrace/evaluation/metrics.py: the tables of replicas,
the gate, the figures and the record take the names from here. (With `| None = None` for a type, `retrace backfill`
still records the states that were made before.)
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from retrace.artifacts.typed import read_typed
from retrace.runtime.atomic import write_json

SCORES = Path("reports/scores.json")
DIGITS = 6


@dataclass(frozen=True)
class Metric:
    """One metric of what ships on the test rows.

    low, high:  its interval, for the luck of the rows.
    mean:       of the single replicas; deviation: their standard deviation, None where there is but one.
    jackknife:  its standard error by the luck of the seeds, None where a single replica ships.
    """

    value: float
    low: float
    high: float
    mean: float
    deviation: float | None
    jackknife: float | None


@dataclass(frozen=True)
class ClassScores:
    """Of one class, against the rest; rows: how many test rows are of it."""

    precision: float
    recall: float
    f1: float
    rows: int


class Compared(NamedTuple):
    """What ships against another classifier in one metric.

    value:      the other's; difference: the network's minus it, with its paired interval low to high.
    worse:      the sign of a difference with which the network is the worse one.
    """

    metric: str
    value: float
    difference: float
    low: float
    high: float
    worse: int


@dataclass(frozen=True)
class Comparison:
    """Another classifier on the same test rows: its numbers, and what the network has more, with paired intervals."""

    accuracy: float
    correct: int
    difference: float
    difference_low: float
    difference_high: float
    log_loss: float
    log_loss_difference: float
    log_loss_difference_low: float
    log_loss_difference_high: float

    def compared(self) -> Iterator[Compared]:
        yield Compared("accuracy", self.accuracy, self.difference, self.difference_low, self.difference_high, worse=-1)
        yield Compared(
            "log_loss",
            self.log_loss,
            self.log_loss_difference,
            self.log_loss_difference_low,
            self.log_loss_difference_high,
            worse=1,
        )


@dataclass(frozen=True)
class ShippedTraining:
    """How what ships was trained. shipped: the replica, counted from 0; None where the mean of all ships."""

    replicas: int
    shipped: int | None
    best_epoch: int
    best_validation_loss: float


@dataclass(frozen=True)
class Headlines:
    """Every metric there is; retrace/evaluation/metrics.py defines them."""

    accuracy: Metric
    balanced_accuracy: Metric
    macro_precision: Metric
    macro_recall: Metric
    macro_f1: Metric
    roc_auc: Metric
    average_precision: Metric
    log_loss: Metric
    brier_score: Metric
    calibration_error: Metric


HEADLINES = tuple(field.name for field in fields(Headlines))


@dataclass(frozen=True)
class ThresholdChoice:
    """What was found where `evaluate.threshold` is an aim and no number.

    aim:       "best_f1" or "cost_ratio R"; rows: validation rows that were asked.
    threshold: 0.5 where none is surely better.
    score:     of 0.5: F1 of the second class, or minus the cost of a row; gain: what a threshold adds to it that was
               chosen without the row that it judges, and low: the lower end of that; None where there are too few rows.
    model:     SHA-256 of the models/model.json that it was chosen for.
    """

    aim: str
    rows: int
    threshold: float
    score: float | None
    gain: float | None
    low: float | None
    model: str

    @property
    def words(self) -> str:
        if self.score is None or self.gain is None or self.low is None:
            return f"{self.threshold:.4f} for {self.aim}: {self.rows:,} validation rows are too few for another one"
        what = "F1" if self.aim == "best_f1" else "gain a row"
        sure = "surely better" if self.low > 0 else "stays, since none is surely better"
        return (
            f"{self.threshold:.4f} for {self.aim}, {sure} than 0.5 on {self.rows:,} validation rows: {what}"
            f" {self.score:.4f} with 0.5, {self.score + self.gain:.4f} with one (by {self.low:+.4f} at least)"
        )


@dataclass(frozen=True)
class Scores(Headlines):
    """The whole.

    rows, correct: test rows, and how many of them are right.
    confidence:    of the intervals; threshold: from which on the second of two classes is predicted.
    classes:       by name.
    bayes:         the best that is possible, None where the density of the data is not known.
    baseline:      by name, as retrace/evaluation/baselines.py has them.
    threshold_choice: where `evaluate.threshold` is an aim: how the threshold was found.
    """

    rows: int
    correct: int
    confidence: float
    threshold: float
    classes: dict[str, ClassScores]
    bayes: Comparison | None
    baseline: dict[str, Comparison]
    training: ShippedTraining
    threshold_choice: ThresholdChoice | None = None

    @property
    def headlines(self) -> dict[str, Metric]:
        return {name: getattr(self, name) for name in HEADLINES}


def read_scores(root: Path = Path()) -> Scores:
    return read_typed(root / SCORES, Scores)


def write_scores(scores: Scores) -> None:
    content = asdict(scores)
    if scores.threshold_choice is None:
        del content["threshold_choice"]
    write_json(SCORES, rounded(content))


def rounded(content: Any) -> Any:
    """The same with every float at DIGITS decimals."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    return round(float(content), DIGITS) if isinstance(content, float) else content
