"""Figures of a study by trial: its history, and how far each trial came."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from retrace.figures.study.inputs import STATES, StudyTables, Trial
from retrace.figures.study.marks import (
    DIVERGED,
    MOST_RANGES,
    PALE,
    STAR,
    draw_legend,
    draw_marked,
    draw_states,
    opacity,
    score_axis,
    size_of,
    special,
    style_of,
    thinned,
)
from retrace.figures.style import BLACK, BLUE, GREEN, ORANGE, new_figure


def history(tables: StudyTables) -> Figure:
    """Score of each trial by its number, and the best so far of those that trained to the end."""
    figure = new_figure(8.6, 4.4, tables.result.dataset, "trials of the study, one after the other")
    axes = figure.subplots()
    networks = f"mean of {tables.result.seeds} networks each" if tables.result.seeds > 1 else "one network each"
    axes.set_title(f"{tables.counted}; {networks}")
    trials = tables.trials
    number = np.array([float(each.number) for each in trials])
    if len(trials) <= MOST_RANGES:
        for each in trials:
            axes.vlines(each.number, each.low, each.high, color=PALE, linewidth=0.9, alpha=0.6, zorder=2)
    ranges = [end for each in trials for end in (each.low, each.high)] if len(trials) <= MOST_RANGES else []
    score_axis(axes, np.concatenate([tables.scores, ranges]), tables.any_diverged)
    draw_states(axes, tables, number)
    complete = np.array([each.score if each.state == "complete" else math.inf for each in trials])
    best = np.minimum.accumulate(complete)
    more = []
    if np.isfinite(best).any():
        known = np.isfinite(best)
        axes.step(
            np.append(number[known], number[-1] + 0.5),
            np.append(best[known], best[-1]),
            where="post",
            color=GREEN,
            linewidth=1.8,
            zorder=4,
        )
        more.append((Line2D([], [], color=GREEN, linewidth=1.8), "best so far"))
    for trial, kind in special(tables):
        draw_marked(axes, trial.number, trial.score, kind)
    if tables.present and math.isfinite(tables.present.score):
        axes.axhline(tables.present.score, color=BLACK, linewidth=0.9, linestyle=":", zorder=2)
    axes.set_xlim(-0.02 * len(trials) - 0.5, number[-1] + 0.02 * len(trials) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("trial")
    draw_legend(figure, tables, more=more)
    return figure


def rungs(tables: StudyTables) -> Figure:
    """Score of each trial at each rung, a line a trial; filled are those that went on from there."""
    budgets = sorted({budget for each in tables.trials for budget in each.budgets})
    figure = new_figure(
        8.6, 4.6, tables.result.dataset, "score by epochs" if len(budgets) == 1 else "halving: score by epochs"
    )
    axes = figure.subplots()
    trials = tables.trials
    places = _rung_places(budgets)
    counts = [sum(budget in each.budgets for each in trials) for budget in budgets]
    went_on = " to ".join(f"{count:,}" for count in counts)
    drawn, which = thinned(tables)
    hollow = "; hollow: stopped there, the better ones of its round went on"
    hollow *= any(each.state == "stopped" for each in trials)
    hollow = f"; {which}" if which else hollow
    axes.set_title(
        f"{went_on} trials, a line each{hollow}"
        if len(budgets) > 1
        else f"{counts[0]:,} trials, all with the same epochs: nothing was stopped early"
    )
    score_axis(axes, np.array([score for each in trials for score in each.scores]), tables.any_diverged)
    lines: dict[str, list[list[tuple[float, float]]]] = {state: [] for state in STATES}
    for each in drawn:
        known = [
            (places[budget] + _shift(each.number, len(budgets)), score)
            for budget, score in zip(each.budgets, each.scores, strict=True)
            if math.isfinite(score)
        ]
        if known:
            lines[each.state].append(known)
    alpha, size = opacity(len(drawn)), size_of(len(drawn))
    for state, tint in (("diverged", ORANGE), ("stopped", PALE), ("complete", BLUE)):
        layer = 4 if state == "complete" else 3
        axes.add_collection(
            LineCollection(lines[state], colors=tint, linewidths=0.9, alpha=alpha * 0.8, zorder=layer - 1)
        )
        points = np.array([point for line in lines[state] for point in line]).reshape(-1, 2)
        # The last point of one that was stopped is where it was stopped.
        lasts = np.array([index == len(line) - 1 for line in lines[state] for index in range(len(line))], dtype=bool)
        stopped = lasts if state == "stopped" else np.zeros(len(points), dtype=bool)
        x, y = points.T
        axes.scatter(x[~stopped], y[~stopped], s=size, alpha=alpha, zorder=layer, color=tint, linewidths=0)
        axes.scatter(x[stopped], y[stopped], s=size, alpha=alpha, zorder=layer, **style_of("stopped"))
    at = [places[each.budgets[-1]] + _shift(each.number, len(budgets)) for each in drawn if each.state == "diverged"]
    axes.scatter(
        at,
        np.full(len(at), DIVERGED),
        s=size,
        alpha=alpha,
        transform=axes.get_xaxis_transform(),
        **style_of("diverged"),
    )
    for trial, kind in special(tables):
        _draw_special(axes, trial, kind, places, len(budgets))
    axes.set_xticks(
        list(places.values()),
        [
            f"{budget:,}\n{count:,} {'trial' if count == 1 else 'trials'}"
            for budget, count in zip(places, counts, strict=True)
        ],
    )
    axes.set_xlim(-0.16, 1.16)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("epochs of a network, at most")
    draw_legend(figure, tables)
    return figure


def _draw_special(axes: Axes, trial: Trial, kind: str, places: dict[int, float], rungs: int) -> None:
    x = [places[budget] + _shift(trial.number, rungs) for budget in trial.budgets]
    axes.plot(x, trial.scores, color=BLACK if kind == "present" else STAR, linewidth=2.2, zorder=6)
    known = [pair for pair in zip(x, trial.scores, strict=True) if math.isfinite(pair[1])]
    if known:
        draw_marked(axes, *known[-1], kind)


def _rung_places(budgets: list[int]) -> dict[int, float]:
    """Between 0 and 1, by the logarithm of the epochs."""
    if len(budgets) == 1:
        return {budgets[0]: 0.5}
    first, last = math.log(budgets[0]), math.log(budgets[-1])
    return {budget: (math.log(budget) - first) / (last - first) for budget in budgets}


def _shift(number: int, rungs: int) -> float:
    """Steps of the golden ratio that keep the points of a rung apart."""
    width = 0.1 if rungs > 1 else 0.8
    return (number * (math.sqrt(5) - 1) / 2 % 1 - 0.5) * width
