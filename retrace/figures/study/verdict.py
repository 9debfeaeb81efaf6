"""Figures of what a study found: what decides on the score, and whether a setting is surely better."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from retrace.artifacts.study import Candidate, StudyResult
from retrace.figures.inputs import Floats
from retrace.figures.study.inputs import StudyTables, differing, show
from retrace.figures.study.marks import PALE, SCORE, note
from retrace.figures.study.scales import told_apart
from retrace.figures.style import BLACK, BLUE, GRAY, GREEN, ORANGE, clean, legend, new_figure

# Settings that stand beside a candidate; the page has all of them.
MOST_SETTINGS = 3


def importance(tables: StudyTables) -> Figure:
    """The share of each parameter in what makes a trial a good one, with its range over resampled trials."""
    known = {each.name: each.share for each in tables.result.importance}
    shown = [each.name for each in tables.parameters if each.name in known]
    figure = new_figure(8.6, 1.9 + 0.3 * max(len(shown), 2), tables.result.dataset, "which parameters matter")
    axes = figure.subplots()
    if not shown:
        note(axes, "not known: too few trials trained to the end")
        return figure
    names = told_apart(shown, 36)
    value, low, high = np.array([[known[name].value, known[name].low, known[name].high] for name in shown]).T
    axes.set_title("share of what tells good trials from others (PED-ANOVA),\nwith its range over resampled trials")
    places = np.arange(len(shown))
    axes.barh(places, value, height=0.62, color=BLUE, alpha=0.35, zorder=2)
    axes.hlines(places, low, high, color=BLUE, linewidth=2, zorder=3)
    axes.plot(value, places, linestyle="none", marker="o", markersize=6, color=BLUE, markeredgecolor="white", zorder=4)
    for place, ends in enumerate(zip(value, low, high, strict=True)):
        text = "{}  ({} to {})".format(*(f"{end:.0%}" if end >= 0.1 else f"{end:.1%}" for end in ends))
        options: dict[str, Any] = {"va": "center", "fontsize": 9, "annotation_clip": False}
        axes.annotate(text, (1.02, place), xycoords=("axes fraction", "data"), **options)
    axes.set_yticks(places, names)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, max(1e-3, high.max()) * 1.05)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("share")
    return figure


def verdict(tables: StudyTables) -> Figure:
    """Settings trained again with fresh seeds: how much better than the present one, and what the search promised."""
    result = tables.result
    rows = [_lines(each, result) for each in result.candidates]
    height = 1.7 + sum(0.22 + 0.17 * len(lines) for lines in rows)
    figure = new_figure(10.4, max(3.2, height), result.dataset, "is a setting surely better?")
    left, right = figure.subplots(1, 2, sharey=True)
    seeds = f"{result.fresh_seeds} fresh seeds"
    left.set_title(f"improvement with {seeds}\nand its {100 * result.confidence:g}% interval")
    right.set_title("search score and fresh score;\ngray: deviation of its networks")
    # Rows as high as their lines of text.
    heights = np.array([0.22 + 0.17 * len(lines) for lines in rows])
    places = np.cumsum(heights) - heights / 2
    _improvements(left, result, places)
    _promises(right, result.candidates, places)
    left.set_yticks(places, ["\n".join(lines) for lines in rows])
    left.set_ylim(heights.sum() + 0.05, -0.05)
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    right.tick_params(axis="y", length=0)
    judged = [each.improvement.low > 0 for each in result.candidates if each.improvement]
    entries: list[tuple[Line2D, str]] = []
    for sure, tint, text in ((True, GREEN, "surely better"), (False, BLUE, "not surely better")):
        if sure in judged:
            entries.append((_point(color=tint, linewidth=2.4), text))
    entries.append((_point(linestyle="none", markerfacecolor="white", markeredgecolor=ORANGE), "score in the search"))
    entries.append((_point(linestyle="none", color=BLACK), "score with fresh seeds"))
    legend(figure, [handle for handle, _ in entries], [text for _, text in entries])
    return figure


def _improvements(axes: Axes, result: StudyResult, places: Floats) -> None:
    axes.axvline(0, color=BLACK, linewidth=1.2, zorder=1)
    judged = [(place, each.improvement) for place, each in zip(places, result.candidates, strict=True)]
    intervals = [(place, found) for place, found in judged if found]
    for place, found in intervals:
        tint = GREEN if found.low > 0 else BLUE
        axes.hlines(place, found.low, found.high, color=tint, linewidth=2.6, zorder=2)
        axes.plot(found.value, place, marker="o", markersize=8, color=tint, markeredgecolor="white", zorder=3)
    ends = [0.0, *(end for _, found in intervals for end in (found.low, found.high))]
    span = (max(ends) - min(ends)) or 1.0
    axes.set_xlim(min(ends) - 0.08 * span, max(ends) + 0.08 * span)
    axes.set_xlabel("log loss less (right of 0 is better)")
    if not intervals:
        axes.set_xticks([0])
        axes.text(0.02, 0.04, "no other setting was trained again", transform=axes.transAxes, color="#555555")


def _promises(axes: Axes, candidates: Sequence[Candidate], places: Floats) -> None:
    for place, each in zip(places, candidates, strict=True):
        search, fresh = np.array([each.search_score, each.fresh_score], dtype=float)
        low, high = fresh - each.deviation, fresh + each.deviation
        axes.hlines(place, low, high, color=PALE, linewidth=6, alpha=0.45, zorder=1)
        axes.hlines(place, search, fresh, color=ORANGE, linewidth=1.6, zorder=2)
        axes.plot(fresh, place, marker="o", markersize=8, color=BLACK, markeredgecolor="white", zorder=4)
        axes.plot(search, place, marker="o", markersize=7, markerfacecolor="white", markeredgecolor=ORANGE, zorder=3)
        text = f"{each.optimism:+.4f}"
        options: dict[str, Any] = {"va": "center", "fontsize": 9, "annotation_clip": False}
        axes.annotate(text, (1.02, place), xycoords=("axes fraction", "data"), **options)
    axes.annotate("optimism", (1.02, 1.01), xycoords="axes fraction", fontsize=9, annotation_clip=False, color=GRAY)
    axes.margins(x=0.08)
    axes.set_xlabel(SCORE)


def _point(**options: Any) -> Line2D:
    return Line2D([], [], **{"marker": "o", "markersize": 7, "markeredgecolor": "white", **options})


def _lines(candidate: Candidate, result: StudyResult) -> list[str]:
    """What stands beside a candidate: its name, and where it differs from the present setting."""
    if candidate.trial == 0:
        return ["present setting"]
    changed = differing(candidate, result)
    lines = [f"trial {candidate.trial}{', adopted' if candidate.trial == result.adopted else ''}"]
    lines += [f"{clean(name, 23)}: {clean(show(value), 14)}" for name, value in list(changed.items())[:MOST_SETTINGS]]
    if len(changed) > MOST_SETTINGS:
        lines.append(f"and {len(changed) - MOST_SETTINGS} more")
    return lines
