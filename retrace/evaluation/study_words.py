"""What a study says, in plain words and numbers: for its run in MLflow and for the terminal alike."""

import math

from retrace.artifacts.dvc_lock import show
from retrace.artifacts.study import Candidate, Interval, Parameter, StudyResult

# A value in this share of a range from one of its ends may mean that the best lies beyond.
EDGE = 0.05
# A best trial among the last of them, by this share, may mean that more trials find a better one.
LATE = 0.75
MOST_FRESH_SEEDS = 256
MOST_TRIALS = 10_000


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
    """How much lower its log loss is than the present setting's."""
    found = candidate.improvement
    assert found
    return (
        f"{interval(found, result.confidence)} in log loss, with {result.fresh_seeds} fresh seeds on {result.rows:,}"
        " validation rows"
    )


def optimism(candidate: Candidate) -> str:
    numbers = f"log loss {candidate.search_score:.4f} in the search, {candidate.fresh_score:.4f} with fresh seeds"
    if candidate.optimism > 0:
        return f"{numbers}: it looked better by {candidate.optimism:.4f} than it is"
    return f"{numbers}: it did not look better than it is"


def costs(result: StudyResult, candidate: Candidate) -> str:
    """What else is another than with the present setting, which stands first among the candidates."""
    present = result.candidates[0]
    return (
        f"accuracy {candidate.accuracy:.4f} (now {present.accuracy:.4f}), calibration error"
        f" {candidate.calibration_error:.4f} (now {present.calibration_error:.4f}), {candidate.work:.2g} times the work"
        f" of a training run; the luck of a seed moves its log loss by {candidate.deviation:.4f} (standard deviation)"
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


def next_steps(result: StudyResult) -> list[str]:
    """What to try in the next study."""
    lead, steps = leading(result), []
    for each in result.parameters if lead else ():
        assert lead
        if each.low is not None and each.high is not None and each.name in lead.settings:
            steps += _beyond(each, float(lead.settings[each.name]))
    if result.winner is None and lead and lead.improvement and lead.improvement.value > 0:
        more = min(2 * result.fresh_seeds, MOST_FRESH_SEEDS)
        if more > result.fresh_seeds:
            steps.append(
                f"raise study.fresh_seeds to {more}: the difference may be real and too small for so few seeds"
            )
    if result.method != "grid" and result.best >= LATE * result.trials and 2 * result.trials <= MOST_TRIALS:
        steps.append(f"raise study.trials to {2 * result.trials:,}: the best one came late, as trial {result.best:,}")
    diverged = result.states.get("diverged", 0)
    if diverged > result.trials / 2:
        steps.append(f"{diverged:,} of {result.trials:,} trials diverged: leave out of study.space what they share")
    if not steps and result.winner is None:
        steps.append("search other parameters of section train (study.space): in these ones there is nothing to gain")
    return steps


def _beyond(each: Parameter, value: float) -> list[str]:
    assert each.low is not None
    assert each.high is not None
    low, high, at = ((math.log(number) if each.log else number) for number in (each.low, each.high, value))
    place = (at - low) / (high - low) if high > low else 0.5
    for end, near in (("low", place <= EDGE), ("high", place >= 1 - EDGE)):
        if near:
            limits = f"{show(each.low)} to {show(each.high)}"
            return [f"widen study.space.{each.name} ({limits}) at its {end} end, near which the best value lies"]
    return []
