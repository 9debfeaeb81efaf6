"""The gate: the rule by which a result is surely good enough, for `make gate` and for the registry's champion.

Written so that a comparison that cannot be made fails, and on counts, not on rounded shares, so that the edge is exact.
"""

import math
from typing import Any

from retrace.artifacts.paths import METRICS
from retrace.evaluation.comparisons import COMPARED, leads
from retrace.evaluation.intervals import wilson
from retrace.params.gate import Gate
from retrace.runtime.errors import GATE_FAILED, UserError
from retrace.runtime.integrity import restore

FAILED = f"gate: failed: {METRICS}: "
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
    """The line to print when the result passes; raises UserError (status 5) when it does not or cannot be judged."""
    for key, value in _leaves(metrics):
        if (isinstance(value, float) and not math.isfinite(value)) or (value is None and not _may_be_null(key)):
            raise failure(f"{key} is not a finite number; {restore(METRICS)}")
    try:
        rows, correct = _count(metrics, "rows"), _count(metrics, "correct")
        majority = _count(metrics["baseline"]["majority"], "correct")
        ahead = float(metrics["baseline"]["majority"]["difference_low"])
        macro_f1, macro_f1_low = float(metrics["macro_f1"]["value"]), float(metrics["macro_f1"]["low"])
        low, high = wilson(correct, rows, metrics["confidence"])
        for name in HEADLINES:
            for part in ("value", "low", "high", "mean"):
                float(metrics[name][part])
        for name in ("logistic_regression", "gradient_boosting"):
            _count(metrics["baseline"][name], "correct")
        if section.beat_baselines:
            for scores in metrics["baseline"].values():
                for key in COMPARED:
                    float(scores[key])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise failure(f"a number is missing or wrong ({type(error).__name__}: {error}); {restore(METRICS)}") from None
    interval = f"{correct:,} of {rows:,} test rows right, accuracy {correct / rows:.4f} ({low:.4f} to {high:.4f})"
    balance = f"macro-F1 {macro_f1:.4f} (from {macro_f1_low:.4f})"
    baseline = f"majority class {majority / rows:.4f}"
    if not low >= section.min_accuracy:
        raise failure(
            f"{interval}; the lower end must reach gate.min_accuracy {section.min_accuracy}; {baseline};"
            " improve the model or lower the bar in params.yaml"
        )
    if not (correct > majority and ahead >= section.margin):
        raise failure(
            f"{interval}; it must beat the {baseline} by gate.margin {section.margin} surely, and is {ahead:+.4f} from"
            " it at the lower end; train longer (train.epochs), or bring columns that tell more"
        )
    if not macro_f1_low >= section.min_macro_f1:
        raise failure(
            f"{balance}; the lower end must reach gate.min_macro_f1 {section.min_macro_f1}; see the rare classes in"
            " reports/classification_report.txt; train.class_weights: balanced helps them"
        )
    better = [lead.text for lead in leads(metrics["baseline"]) if lead.surely]
    if section.beat_baselines and better:
        raise failure(
            f"{'; '.join(better)}; improve the model (train.ship: mean often does), use that baseline instead, or set"
            " gate.beat_baselines: false in params.yaml"
        )
    return f"gate: passed: {interval}, {balance}; bars {section.min_accuracy} and {section.min_macro_f1}; {baseline}"


def failure(reason: str) -> UserError:
    return UserError(GATE_FAILED, f"{FAILED}{reason}")


def _count(metrics: Any, key: str) -> int:
    value = metrics[key]
    if type(value) is not int:
        raise TypeError(f"{key} must be a whole number; got {value!r}")
    return value


def _may_be_null(key: str) -> bool:
    """The limit where no density is known, the spread of one replica, and what a mean alone has, or lacks."""
    return key in ("bayes", "training.shipped") or key.endswith((".deviation", ".jackknife"))


def _leaves(content: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(content, dict):
        return [leaf for name, value in content.items() for leaf in _leaves(value, f"{key}.{name}" if key else name)]
    return [(key, content)]
