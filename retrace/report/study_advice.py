"""What to try after a study, each piece of advice with the numbers that it follows from."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from retrace.artifacts.study import Parameter
from retrace.figures.study.inputs import StudyTables, Trial
from retrace.params.space import faults_of
from retrace.report.study_words import best_trials, short
from retrace.report.words import counted, number, signed

# So near to an end of a range, in shares of it, a value counts as at the end.
AT_THE_END = 0.06
# A parameter whose share is surely below this one hardly matters.
HARDLY = 0.05
# More diverged trials than this share of all are wasted.
MANY_DIVERGED = 0.15
# Within so large a share of the trials, at the end, a new best one says that the search was not over.
LATE = 0.1
# A longer search, or more seeds, than so many times this one is not advised.
MOST_TIMES = 16


def advice(tables: StudyTables) -> list[str]:
    """Sentences, the most useful first; at least one."""
    found = [
        *_adopt(tables),
        *_more_certainty(tables),
        *_diverged(tables),
        *_ends(tables),
        *_longer(tables),
        *_late(tables),
        *_luck(tables),
        *_hardly(tables),
    ]
    return found or [
        "Nothing stands out: the best setting lies inside of what was searched, and every parameter mattered. Another"
        " parameter of section train may do more than a longer search."
    ]


def _adopt(tables: StudyTables) -> Iterator[str]:
    winner = tables.result.winner
    if winner:
        yield (
            f"Adopt trial {winner.trial}: retrace adopt writes its settings into params.yaml, and dvc repro then trains"
            " and tests it. The test rows were not read by this study, so that they still judge it fairly."
        )


def _more_certainty(tables: StudyTables) -> Iterator[str]:
    """Nothing was adopted: would a narrower interval have shown something?"""
    result = tables.result
    judged = [each for each in result.candidates if each.improvement]
    if result.adopted is not None or not judged:
        return
    best = max(judged, key=lambda each: each.improvement.value if each.improvement else -math.inf)
    assert best.improvement
    found = best.improvement
    if any(each.improvement and each.improvement.low > 0 for each in judged):
        yield (
            "What was better than the present setting did not surely learn more than the shares of the classes: other"
            " columns or more rows would help, and not other settings."
        )
        return
    if found.value <= 0:
        yield (
            "No setting that was trained again was better than the present one, not even by luck: search other"
            " parameters or other ranges, or keep what you have."
        )
        return
    # The width of an interval falls with the root of what it is made of.
    times = ((found.value - found.low) / found.value) ** 2
    if times > MOST_TIMES:
        yield (
            f"The best candidate, trial {best.trial}, was better by {number(found.value)} only, far less than the"
            f" interval is wide ({signed(found.low)} to {signed(found.high)}): a difference so small is hardly worth"
            " the search for it. Search other parameters or other ranges."
        )
        return
    times = max(2, math.ceil(times))
    seeds = min(256, times * result.fresh_seeds)
    ways = [f"fresh seeds (study.fresh_seeds: {seeds}, now {result.fresh_seeds})"] * (seeds > result.fresh_seeds)
    ways.append(f"rows (now {result.rows:,})")
    yield (
        f"Trial {best.trial} may be better, by {number(found.value)} ({signed(found.low)} to {signed(found.high)}), and"
        f" is not surely so. More {' or more '.join(ways)} make the interval narrower: about {times} times as many"
        " would do if the difference is real."
    )


def _diverged(tables: StudyTables) -> Iterator[str]:
    lost = [each for each in tables.trials if each.state == "diverged"]
    if len(lost) <= MANY_DIVERGED * len(tables.trials):
        return
    said = f"{len(lost):,} of {counted(len(tables.trials), 'trial')} diverged"
    for parameter in tables.result.parameters:
        if parameter.choices is not None or parameter.low is None:
            continue
        name = parameter.name
        own, others = (
            [each.settings[name] for each in some if name in each.settings]
            for some in (lost, [each for each in tables.trials if each.state != "diverged"])
        )
        if not own or not others:
            continue
        above = [value for value in own if value > max(others)]
        below = len(own) - len(above)
        seldom = below / (below + len(others)) < 0.5 * len(lost) / len(tables.trials)
        if len(above) >= max(2, 0.5 * len(lost)) and seldom:
            yield (
                f"{said}, {len(above):,} of them with {name} above {short(max(others))}, where none trained: lower"
                f" the high end of its range to about that."
            )
            return
    yield f"{said}: lower the learning rates that are searched, or set train.gradient_clip, so that fewer are wasted."


def _ends(tables: StudyTables) -> Iterator[str]:
    """The winner lies at an end of a range, and so do others of the best."""
    top = tables.marked
    if not top:
        return
    for parameter in tables.result.parameters:
        if parameter.choices is None:
            yield from _end_of_range(parameter, top, tables)
        else:
            yield from _end_of_list(parameter, top)


def _end_of_range(parameter: Parameter, top: Trial, tables: StudyTables) -> Iterator[str]:
    name, low, high = parameter.name, parameter.low, parameter.high
    if name not in top.settings or low is None or high is None or low >= high:
        return
    if all(isinstance(each.settings.get(name, 0), int) for each in tables.trials):
        low, high = int(low), int(high)
    own = _place(top.settings[name], low, high, parameter.log)
    best = [each.settings[name] for each in best_trials(tables) if name in each.settings]
    for end, near in (("low", own <= AT_THE_END), ("high", own >= 1 - AT_THE_END)):
        places = [_place(value, low, high, parameter.log) for value in best]
        # One trial may lie there by chance: half of the best have to lie on this side.
        side = [place < 0.5 if end == "low" else place > 0.5 for place in places]
        if not near or np.mean(side) <= 0.5:
            continue
        wider = _wider(low, high, parameter.log, end)
        if not list(faults_of({name: {"low": wider[0], "high": wider[1], "log": parameter.log}})):
            shown = f"{{low: {short(wider[0])}, high: {short(wider[1])}{', log: true' if parameter.log else ''}}}"
            yield (
                f"{name} of trial {top.number} is {short(top.settings[name])}, at the {end} end of what was searched"
                f" ({short(low)} to {short(high)}): widen it, for example to {shown}."
            )


def _place(value: float, low: float, high: float, log: bool) -> float:
    """0 at the low end, 1 at the high one."""
    if log:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low)) if value > 0 else -math.inf
    return (value - low) / (high - low)


def _wider(low: float, high: float, log: bool, end: str) -> tuple[float, float]:
    """Ten times as far on a logarithmic range, half as far again on another; whole numbers stay whole."""
    whole = isinstance(low, int) and isinstance(high, int)
    if log:
        moved = (low // 10 if whole else low / 10, high) if end == "low" else (low, high * 10)
    else:
        more = max(1, (high - low) // 2) if whole else (high - low) / 2
        moved = (low - more, high) if end == "low" else (low, high + more)
    return moved if whole else (float(f"{moved[0]:.4g}"), float(f"{moved[1]:.4g}"))


def _end_of_list(parameter: Parameter, top: Trial) -> Iterator[str]:
    """Of numbers, which have an order."""
    choices: list[Any] = parameter.choices or []
    value = top.settings.get(parameter.name)
    numeric = all(isinstance(each, int | float) and not isinstance(each, bool) for each in choices)
    if len(choices) < 3 or not numeric or value not in (min(choices), max(choices)):
        return
    end, other = ("smallest", "a smaller") if value == min(choices) else ("largest", "a larger")
    further = value / 2 if value == min(choices) else value * 2
    further = int(further) if all(isinstance(each, int) for each in choices) else further
    if further not in choices and not list(faults_of({parameter.name: [*choices, further]})):
        yield (
            f"{parameter.name} of trial {top.number} is {short(value)}, the {end} value of its list: add {other} one,"
            f" for example {short(further)}."
        )


def _longer(tables: StudyTables) -> Iterator[str]:
    """The networks were at their best at the end, and the last rung brought more than the luck of a seed does."""
    top = tables.marked or tables.present
    if not top or not top.late or top.state != "complete" or "epochs" in top.settings:
        return
    gained = ""
    if len(top.budgets) > 1:
        luck = next((each.deviation for each in tables.result.candidates if each.trial == top.number), 0.0)
        before, after = top.scores[-2:]
        if before - after <= luck:
            return
        gained = f", and from {top.budgets[-2]:,} to {top.budgets[-1]:,} epochs it went from {number(before)} to"
        gained += f" {number(after)}"
    name = f"trial {top.number}" if top.number else "the present setting"
    yield (
        f"The networks of {name} were at their best in the last of {top.budgets[-1]:,} epochs{gained}: more epochs"
        " (train.epochs, and study.epochs unless it is null) may help it."
    )


def _late(tables: StudyTables) -> Iterator[str]:
    result = tables.result
    if result.method == "grid" or len(tables.trials) < 20 or result.best < (1 - LATE) * len(tables.trials):
        return
    yield (
        f"The best trial is number {result.best} of {len(tables.trials):,}: the search was still finding better ones,"
        f" and more trials (study.trials: {2 * result.trials:,}) may find more."
    )


def _luck(tables: StudyTables) -> Iterator[str]:
    """What the search saw of its best candidate was mostly luck."""
    others = [each for each in tables.result.candidates if each.improvement and each.optimism is not None]
    if tables.result.adopted is not None or not others or tables.result.seeds >= 64:
        return
    best = others[0]
    assert best.improvement
    assert best.optimism is not None
    ahead = best.improvement.value + best.optimism
    if ahead > 0 and best.optimism > 0.5 * ahead:
        seeds = min(64, max(2, 2 * tables.result.seeds))
        yield (
            f"In the search trial {best.trial} was ahead by {number(ahead)}, and with fresh seeds by"
            f" {number(best.improvement.value)}: most of it was luck. More networks a trial"
            f" (study.seeds: {seeds}, now {tables.result.seeds}) make a search that is less easily deceived."
        )


def _hardly(tables: StudyTables) -> Iterator[str]:
    known = tables.result.importance
    names = [each.name for each in known if each.share.high < HARDLY]
    if not names or len(names) == len(known):
        return
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    yield (
        f"{shown} hardly mattered (each surely less than {HARDLY:.0%} of what decides): take "
        f"{'it' if len(names) == 1 else 'them'} out of study.space, and the others get more of the trials."
    )
