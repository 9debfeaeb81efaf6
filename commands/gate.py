"""`make gate`: is the result surely good enough? One line; exit status 0, or 5 when it is not.

Reads reports/metrics.json and the section `gate`. The rule is written so that a comparison that cannot be made fails,
and on counts, not on rounded shares, so that the edge is exact. It is no DVC stage: a teaching configuration that fails
it must still run and be recorded.
"""

import json
import math
from pathlib import Path
from typing import Any

from stages.params.gate import Gate
from stages.params.reader import read
from stages.process.faults import GATE_FAILED, Fault
from stages.process.run import run
from stages.scoring.intervals import wilson

METRICS = Path("reports/metrics.json")
HEADLINES = (
    "accuracy",
    "balanced_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier_score",
    "calibration_error",
)


def gate(metrics: Any, section: Gate) -> str:
    """The line to print when the result passes; raises Fault (status 5) when it does not or cannot be judged."""
    for key, value in _leaves(metrics):
        if (isinstance(value, float) and not math.isfinite(value)) or (value is None and not _may_be_null(key)):
            raise failure(f"{key} is not a finite number; run: dvc repro")
    try:
        rows, correct = _count(metrics, "rows"), _count(metrics, "correct")
        majority = _count(metrics["baseline"]["majority"], "correct")
        low, high = wilson(correct, rows, metrics["confidence"])
        for name in HEADLINES:
            for part in ("value", "low", "high", "mean"):
                float(metrics[name][part])
        for name in ("logistic_regression", "gradient_boosting"):
            _count(metrics["baseline"][name], "correct")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise failure(f"a number is missing or wrong ({type(error).__name__}: {error}); run: dvc repro") from None
    interval = f"{correct:,} of {rows:,} test rows right, accuracy {correct / rows:.4f} ({low:.4f} to {high:.4f})"
    baseline = f"majority class {majority / rows:.4f}"
    if not low >= section.min_accuracy:
        raise failure(
            f"{interval}; the lower end must reach gate.min_accuracy {section.min_accuracy}; {baseline};"
            " improve the model or lower the bar in params.yaml"
        )
    if not correct > majority:
        raise failure(f"{interval}; it must beat the {baseline}")
    return f"gate: passed: {interval}; bar {section.min_accuracy}; {baseline}"


def failure(reason: str) -> Fault:
    return Fault(GATE_FAILED, f"gate: failed: {METRICS}: {reason}")


def _count(metrics: Any, key: str) -> int:
    value = metrics[key]
    if type(value) is not int:
        raise TypeError(f"{key} must be a whole number; got {value!r}")
    return value


def _may_be_null(key: str) -> bool:
    """The limit where no density is known, and the spread of one replica."""
    return key == "bayes" or key.endswith(".deviation")


def _leaves(content: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(content, dict):
        return [leaf for name, value in content.items() for leaf in _leaves(value, f"{key}.{name}" if key else name)]
    return [(key, content)]


def main() -> None:
    section = read(Gate)
    try:
        metrics = json.loads(METRICS.read_bytes())
    except FileNotFoundError:
        raise failure("not found; run: dvc repro") from None
    except ValueError as error:
        raise failure(f"is not valid JSON ({error}); run: dvc repro") from None
    print(gate(metrics, section))


if __name__ == "__main__":
    run(main)
