"""Figures of a study by trial: its history, and how far each trial came."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from retrace.figures.columns import Floats
from retrace.figures.study.inputs import StudyTables, Trial
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
    single = len(tables.rungs) == 1
    title = "score by epochs" if single else "halving: score by epochs"
    figure = new_figure(8.6, 4.6, tables.result.dataset, title)
    axes = figure.subplots()
    trials = tables.trials
    counts = [sum(len(each.budgets) > rung for each in trials) for rung in tables.rungs]
    went_on = " to ".join(f"{count:,}" for count in counts)
    drawn, which = thinned(tables)
    hollow = "; hollow: stopped there, the better ones of its round went on"
    hollow *= any(each.state == "stopped" for each in trials)
    hollow = f"; {which}" if which else hollow
    axes.set_title(
        f"{went_on} trials, one rung: nothing was stopped early" if single else f"{went_on} trials, a line each{hollow}"
    )
    score_axis(axes, np.array([score for each in trials for score in each.scores]), tables.any_diverged)
    for state, tint in (("diverged", ORANGE), ("stopped", PALE), ("complete", BLUE)):
        _draw_lines(axes, [each for each in drawn if each.state == state], tint, len(drawn), single)
    for trial, kind in special(tables):
        _draw_special(axes, trial, kind, single)
    axes.set_xticks(
        list(tables.rungs),
        [
            f"{name}\n{count:,} {'trial' if count == 1 else 'trials'}"
            for name, count in zip(tables.rungs.values(), counts, strict=True)
        ],
    )
    axes.set_xlim(-0.5 if single else -0.2, len(counts) - 0.5 if single else len(counts) - 0.8)
    axes.grid(axis="x", visible=False)
    named = next(iter(tables.rungs.values()))
    axes.set_xlabel("epochs differ, since they are searched" if "rung" in named else "epochs of a network, at most")
    draw_legend(figure, tables)
    return figure


def _draw_lines(axes: Axes, trials: list[Trial], tint: str, count: int, single: bool) -> None:
    """Trials that ended in one state; count: of all that are drawn."""
    alpha, size = opacity(count), size_of(count)
    lines = [line for line in (_line(each, single) for each in trials) if len(line)]
    if lines:
        layer = 4 if trials[0].state == "complete" else 3
        options: dict[str, Any] = {"s": size, "alpha": alpha, "zorder": layer}
        paths = LineCollection(lines, colors=tint, linewidths=0.9, alpha=alpha * 0.8, zorder=layer - 1)
        axes.add_collection(paths)
        x, y = np.concatenate(lines).T
        # The last point of one that was stopped is where it was stopped.
        stopped = np.zeros(len(x), dtype=bool)
        if trials[0].state == "stopped":
            stopped[np.cumsum(list(map(len, lines))) - 1] = True
            axes.scatter(x[stopped], y[stopped], **options, **style_of("stopped"))
        axes.scatter(x[~stopped], y[~stopped], **options, color=tint, linewidths=0)
    lost = [len(each.budgets) - 1 + _shift(each.number, single) for each in trials if each.state == "diverged"]
    if lost:
        options = {"s": size, "alpha": alpha, "transform": axes.get_xaxis_transform(), **style_of("diverged")}
        axes.scatter(lost, np.full(len(lost), DIVERGED), **options)


def _line(trial: Trial, single: bool) -> Floats:
    """Its points, [rungs with a score, 2]."""
    scores = np.array(trial.scores)
    x = np.arange(len(scores)) + _shift(trial.number, single)
    points: Floats = np.column_stack([x, scores])[np.isfinite(scores)]
    return points


def _draw_special(axes: Axes, trial: Trial, kind: str, single: bool) -> None:
    line = _line(trial, single)
    axes.plot(line[:, 0], line[:, 1], color=BLACK if kind == "present" else STAR, linewidth=2.2, zorder=6)
    draw_marked(axes, len(trial.budgets) - 1 + _shift(trial.number, single), trial.score, kind)


def _shift(number: int, single: bool) -> float:
    """Steps of the golden ratio that keep the points of a rung apart."""
    return (number * (math.sqrt(5) - 1) / 2 % 1 - 0.5) * (0.9 if single else 0.2)
