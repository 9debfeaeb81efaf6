"""A study in words: numbers, ranges, what a trial differs in, and what is seen on each figure."""

import json
import math
from collections import Counter

from retrace.artifacts.study import Candidate, Importance, Interval, Parameter, StudyResult
from retrace.figures.study.inputs import STATES, StudyTables, Trial, differing, show
from retrace.report.words import number, signed
from retrace.runtime.text import one_line

# Parameters that a sentence names.
MOST_NAMED = 6
# The best trials are this share of those with a score, and at least three.
BEST = 0.1


def interval(found: Interval) -> str:
    """`+0.0812 (+0.0732 to +0.0892)`."""
    return f"{signed(found.value)} ({signed(found.low)} to {signed(found.high)})"


def share(found: Interval) -> str:
    """`46% (37% to 57%)`."""
    return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%})"


def searched_over(parameter: Parameter) -> str:
    """What params.yaml says of it."""
    if parameter.choices is not None:
        return ", ".join(short(value) for value in parameter.choices)
    assert parameter.low is not None
    assert parameter.high is not None
    return f"{show(parameter.low)} to {show(parameter.high)}{', log' if parameter.log else ''}"


def short(value: object) -> str:
    return one_line(show(value), 60)


def name_of(candidate: Candidate, result: StudyResult) -> str:
    """`trial 21 (adopted)`."""
    if candidate.trial == 0:
        return "present setting"
    return f"trial {candidate.trial}{' (adopted)' if candidate.trial == result.adopted else ''}"


def settings_of(candidate: Candidate, result: StudyResult) -> list[str]:
    """What differs from the present setting: `init: normal`, `init_scale: 0.58`."""
    return [
        f"{one_line(name, 40)}: {one_line(show(value), 40)}" for name, value in differing(candidate, result).items()
    ]


def best_trials(tables: StudyTables) -> list[Trial]:
    count = max(3, math.ceil(BEST * len(tables.ranking)))
    return [tables.trials[place] for place in tables.ranking[:count]]


def good_values(parameter: Parameter, tables: StudyTables) -> str:
    """Where the best trials have this parameter: `0.3 to 1.2`, or the value that most of them have."""
    values = [each.settings[parameter.name] for each in best_trials(tables) if parameter.name in each.settings]
    if not values:
        return "not searched in the best trials"
    if parameter.choices is not None:
        text, count = Counter(json.dumps(value) for value in values).most_common(1)[0]
        return f"{short(json.loads(text))} in {count} of {len(values)} of the best trials"
    low, high = short(min(values)), short(max(values))
    return f"{low} to {high} in the best trials" if low != high else f"{low} in the best trials"


def alternatives(tables: StudyTables) -> dict[str, str]:
    """Name of each figure -> what is seen on it."""
    result, first = tables.result, tables.parameters[:MOST_NAMED]
    judged = [f"{name_of(each, result)} {interval(each.improvement)}" for each in result.candidates if each.improvement]
    promises = [
        f"{name_of(each, result)} {number(each.search_score)} in the search and {number(each.fresh_score)} with fresh"
        " seeds"
        for each in result.candidates
    ]
    top = tables.marked or tables.present
    best = f" The best score is {number(top.score)}, of {_title(top)}." if top else ""
    shares = [f"{each.name} {share(each.share)}" for each in _by_share(result)[:MOST_NAMED]]
    where = "; ".join(f"{each.name}: {good_values(each, tables)}" for each in first)
    two = " and ".join(each.name for each in tables.parameters[:2])
    reached = [
        f"{reached:,} trials at {name}{'' if 'rung' in name else ' epochs'}" for name, reached, _ in rungs(tables)
    ]
    return {
        "verdict": f"Improvement over the present setting, log loss less, with intervals: "
        f"{'; '.join(judged) or 'there is nothing to compare'}. Scores: {'; '.join(promises)}.",
        "history": f"Score of each trial by its number, with the best so far. {_upper(tables.counted)}.{best}",
        "importance": f"Share of each parameter in what tells good trials from others: {', '.join(shares)}."
        if shares
        else "The importance of the parameters is not known: too few trials trained to the end.",
        "slices": f"A panel for each parameter, score of each trial by its value. {where}.",
        "parallel": "A line for each trial through its values of the parameters to its score, the best ones in colour."
        f" {where}.",
        "contour": f"Trials by their values of {two}, in the colour of their score. Best: "
        f"{'; '.join(f'{each.name}: {good_values(each, tables)}' for each in tables.parameters[:2])}.",
        "rungs": f"Score of each trial by epochs, a line for each: {', '.join(reached)}.{best}",
    }


def rungs(tables: StudyTables) -> list[tuple[str, int, dict[str, int]]]:
    """Of each rung: its epochs, how many trials reached it, and how many ended there, by state."""
    found = []
    for rung, name in tables.rungs.items():
        here = [each for each in tables.trials if len(each.budgets) == rung + 1]
        ended = {state: sum(each.state == state for each in here) for state in STATES}
        found.append((name, sum(len(each.budgets) > rung for each in tables.trials), ended))
    return found


def _by_share(result: StudyResult) -> list[Importance]:
    return sorted(result.importance, key=lambda each: -each.share.value)


def _title(trial: Trial) -> str:
    return f"trial {trial.number}" if trial.number else "the present setting"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
