"""Figures of what a study found: what decides on the score, and whether a setting is surely better."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from retrace.artifacts.study import Candidate, StudyResult
from retrace.figures.columns import Floats
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
    axes.set_title(
        "share of what tells good trials from others (PED-ANOVA, by the\n"
        "score of the first rung), with its range over resampled trials"
    )
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
    # Rows as high as their lines of text.
    heights = np.array([0.22 + 0.17 * len(lines) for lines in rows])
    figure = new_figure(10.4, max(3.2, 1.7 + heights.sum()), result.dataset, "is a setting surely better?")
    if not rows:
        note(figure.subplots(), "every setting that was trained again diverged")
        return figure
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_title(f"better than the present setting by\n(with {100 * result.confidence:g}% interval)")
    right.set_title("log loss in the search and with\nfresh seeds; gray: deviation")
    places = np.cumsum(heights) - heights / 2
    _improvements(left, tables, places)
    _scores(right, result.candidates, places)
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
    entries.append((_point(linestyle="none", markerfacecolor="white", markeredgecolor=ORANGE), "in the search"))
    entries.append((_point(linestyle="none", color=BLACK), "with fresh seeds"))
    legend(figure, [handle for handle, _ in entries], [text for _, text in entries])
    return figure


def _improvements(axes: Axes, tables: StudyTables, places: Floats) -> None:
    """With the interval, and hollow what the search promised: the distance of the two is the optimism."""
    axes.axvline(0, color=BLACK, linewidth=1.2, zorder=1)
    ends = [0.0]
    for place, each in zip(places, tables.result.candidates, strict=True):
        found = each.improvement
        if not found:
            continue
        ends += [found.low, found.high]
        tint = GREEN if found.low > 0 else BLUE
        axes.hlines(place, found.low, found.high, color=tint, linewidth=2.6, zorder=3)
        axes.plot(found.value, place, marker="o", markersize=8, color=tint, markeredgecolor="white", zorder=5)
        if each.optimism is not None:
            promised = found.value + each.optimism
            ends.append(promised)
            hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": ORANGE, "zorder": 4}
            axes.plot(promised, place + 0.11, marker="o", markersize=6, **hollow)
    span = (max(ends) - min(ends)) or 1.0
    axes.set_xlim(min(ends) - 0.08 * span, max(ends) + 0.08 * span)
    axes.set_xlabel("log loss less (right of 0 is better)")
    if len(ends) == 1:
        axes.set_xticks([0])
        why = "no other setting was trained again" if tables.candidate else "the present setting diverged"
        box: dict[str, Any] = {"facecolor": "white", "edgecolor": "none"}
        axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", color="#555555", bbox=box)


def _scores(axes: Axes, candidates: Sequence[Candidate], places: Floats) -> None:
    """Beside each its optimism."""
    for place, each in zip(places, candidates, strict=True):
        low, high = each.fresh_score - each.deviation, each.fresh_score + each.deviation
        axes.hlines(place, low, high, color=PALE, linewidth=6, alpha=0.45, zorder=1)
        axes.plot(each.fresh_score, place, marker="o", markersize=8, color=BLACK, markeredgecolor="white", zorder=4)
        if each.search_score is not None:
            hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": ORANGE, "zorder": 3}
            axes.plot(each.search_score, place + 0.11, marker="o", markersize=6, **hollow)
        options: dict[str, Any] = {"va": "center", "fontsize": 9, "annotation_clip": False}
        text = "-" if each.optimism is None else f"{each.optimism:+.4f}"
        axes.annotate(text, (1.02, place), xycoords=("axes fraction", "data"), **options)
    axes.annotate("optimism", (1.02, 1.01), xycoords="axes fraction", fontsize=9, annotation_clip=False, color=GRAY)
    axes.margins(x=0.08)
    axes.set_xlabel(SCORE.replace("validation ", ""))


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
