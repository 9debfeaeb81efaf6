"""What a study says, in plain words and numbers: for its run in MLflow and for the terminal alike."""

from retrace.artifacts.dvc_lock import show
from retrace.artifacts.study import Candidate, Interval, StudyResult


def leading(result: StudyResult) -> Candidate | None:
    """What is adopted, else the one with the highest improvement; None where only the present setting was judged."""
    others = {each.improvement.value: each for each in result.candidates if each.improvement}
    return result.winner or (others[max(others)] if others else None)


def settings(result: StudyResult, candidate: Candidate) -> str:
    """`init normal (now he_uniform), optimizer.learning_rate 0.3`; "now" is what is present, where it differs."""
    parts = []
    for each in result.parameters:
        if each.name in candidate.settings:
            new, now = show(candidate.settings[each.name]), show(each.present)
            parts.append(f"{each.name} {new}" + (f" (now {now})" if now != new else ""))
    return ", ".join(parts)


def interval(found: Interval, confidence: float, form: str = ".4f") -> str:
    return f"{found.value:{form}} ({100 * confidence:g} % interval {found.low:{form}} to {found.high:{form}})"


def improvement(result: StudyResult, candidate: Candidate) -> str:
    """How much lower its log loss is than the present setting's; where that diverged, its own."""
    found = candidate.improvement
    judged = f"{result.fresh_seeds} fresh seeds on {result.rows:,} rows"
    if found is None:
        return f"the present setting diverges; log loss {candidate.fresh_score:.4f} with {judged}"
    return f"{interval(found, result.confidence)} in log loss, with {judged}"


def optimism(candidate: Candidate) -> str:
    """How far the search was from what fresh seeds show; of a candidate that is not the present setting."""
    promised = candidate.optimism
    if candidate.search_score is None:
        return "it diverged in the search, which promised nothing of it"
    if promised is None:
        return "the search had no present setting to hold it against, which diverged"
    if promised > 0:
        return f"the search promised {promised:.4f} more of a gain in log loss than fresh seeds gave"
    return f"fresh seeds gave {-promised:.4f} more of a gain in log loss than the search promised"


def costs(result: StudyResult, candidate: Candidate) -> str:
    """What else is another than with the present setting, where that did not diverge."""
    luck = f"the luck of a seed moves its log loss by {candidate.deviation:.4f} (standard deviation)"
    present = next((each for each in result.candidates if each.trial == 0), None)
    if present is None:
        return f"accuracy {candidate.accuracy:.4f}, calibration error {candidate.calibration_error:.4f}; {luck}"
    return (
        f"accuracy {candidate.accuracy:.4f} (now {present.accuracy:.4f}), calibration error"
        f" {candidate.calibration_error:.4f} (now {present.calibration_error:.4f}), {candidate.work:.2g} times the work"
        f" of a training run; {luck}"
    )


def mattered(result: StudyResult) -> str:
    """Which parameters decide whether a trial is good, the first one the most."""
    ordered = sorted(result.importance, key=lambda each: -each.share.value)
    return ", ".join(
        f"{each.name} {each.share.value:.0%} ({each.share.low:.0%} to {each.share.high:.0%})" for each in ordered
    )


def procedure(result: StudyResult) -> str:
    """What the search itself is worth, "" where that was not asked."""
    if result.procedure is None:
        return ""
    found, folds = result.procedure.improvement, len(result.procedure.folds)
    return f"{interval(found, result.confidence)} in log loss on rows that the search never saw, over {folds} folds"
