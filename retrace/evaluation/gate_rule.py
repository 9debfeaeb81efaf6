"""The gate: the rule by which a result is surely good enough, for `make gate` and for the registry's champion.

Written so that a comparison that cannot be made fails, and on counts, not on rounded shares, so that the edge is exact.
"""

from retrace.artifacts.scores import SCORES, Scores
from retrace.evaluation.comparisons import in_words, leads
from retrace.evaluation.intervals import wilson
from retrace.params.gate import Gate
from retrace.runtime.errors import GATE_FAILED, UserError
from retrace.runtime.integrity import restore

FAILED = f"gate: failed: {SCORES}: "
# Without one of them the network was not compared with what it must beat.
NEEDED = ("majority", "logistic_regression", "gradient_boosting")


def gate(scores: Scores, section: Gate) -> str:
    """The line to print when the result passes; raises UserError (status 5) when it does not or cannot be judged."""
    rows, correct, macro_f1 = scores.rows, scores.correct, scores.macro_f1
    for name in NEEDED:
        if name not in scores.baseline:
            raise failure(f"it has nothing of {in_words(name)}; {restore(SCORES)}")
    try:
        low, high = wilson(correct, rows, scores.confidence)
    except ValueError as error:
        raise failure(f"{error}; {restore(SCORES)}") from None
    majority, ahead = scores.baseline["majority"].correct, scores.baseline["majority"].difference_low
    interval = f"{correct:,} of {rows:,} test rows right, accuracy {correct / rows:.4f} ({low:.4f} to {high:.4f})"
    balance = f"macro-F1 {macro_f1.value:.4f} (from {macro_f1.low:.4f})"
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
    if not macro_f1.low >= section.min_macro_f1:
        raise failure(
            f"{balance}; the lower end must reach gate.min_macro_f1 {section.min_macro_f1}; see the rare classes in"
            " reports/classification_report.txt; train.class_weights: balanced helps them"
        )
    better = [lead.text for lead in leads(scores.baseline) if lead.surely]
    if section.beat_baselines and better:
        raise failure(
            f"{'; '.join(better)}; improve the model (train.ship: mean often does), use that baseline instead, or set"
            " gate.beat_baselines: false in params.yaml"
        )
    return f"gate: passed: {interval}, {balance}; bars {section.min_accuracy} and {section.min_macro_f1}; {baseline}"


def failure(reason: str) -> UserError:
    return UserError(GATE_FAILED, f"{FAILED}{reason}")
