"""What the figures of a study have in common: an axis of scores, a colour a score, and marks of trials."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from retrace.figures.columns import Floats
from retrace.figures.study.inputs import STATES, StudyTables, Trial
from retrace.figures.style import BLACK, BLUE, ORANGE, text_width

SCORE = "validation log loss"
PALE, STAR = "#9aa3ab", "#E69F00"
WORDS = {"complete": "trained to the end", "stopped": "stopped early", "diverged": "diverged"}
# Scores that differ by more than this factor are drawn on a logarithmic axis.
LOGARITHMIC_FROM = 5.0
# Where on the height of an axis of scores those stand that have none.
DIVERGED = 0.955
# More trials than this are drawn without the range of their networks.
MOST_RANGES = 500
# More lines than this are a blot.
MOST_LINES = 600
# Dark is good, and the brightest end is left out, which white paper swallows.
COLOURS: Colormap = ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, 256)))


def is_logarithmic(values: Floats) -> bool:
    known = values[np.isfinite(values)]
    return bool(len(known) and known.min() > 0 and known.max() / known.min() > LOGARITHMIC_FROM)


def score_axis(axes: Axes, values: Floats, diverged: bool = False, label: bool = True) -> None:
    """The y axis for these scores; with room at the top for those that diverged."""
    known = values[np.isfinite(values)]
    logarithmic = is_logarithmic(known)
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    low, high = (math.log(low), math.log(high)) if logarithmic else (low, high)
    span = (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - 0.06 * span, high + (0.16 if diverged else 0.06) * span
    if logarithmic:
        low, high = math.exp(low), math.exp(high)
        axes.set_yscale("log")
        subs = (1, 2, 3, 5) if high / low < 30 else (1, 2, 5)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=9))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low, high)
    if label:
        axes.set_ylabel(f"{SCORE}{', log scale' if logarithmic else ''}")


def colours_of(scores: Floats, share: float = 0.75) -> ScalarMappable:
    """From the best score to the worst of so large a share: those above it have its colour."""
    known = scores[np.isfinite(scores)]
    low, high = (known.min(), np.quantile(known, share)) if len(known) else (0.0, 1.0)
    if high <= low:
        high = low + (0.1 * abs(low) or 1.0)
    norm = LogNorm(low, high) if is_logarithmic(np.array([low, high])) else Normalize(low, high)
    return ScalarMappable(norm, COLOURS)


def colour_bar(figure: Figure, colours: ScalarMappable, axes: Any, extend: str = "max") -> None:
    bar = figure.colorbar(colours, ax=axes, fraction=0.04, pad=0.02, label=f"{SCORE} (dark is good)", extend=extend)
    bar.outline.set_visible(False)
    if isinstance(colours.norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
        bar.ax.yaxis.set_minor_locator(NullLocator())
    else:
        bar.ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())


def size_of(trials: int) -> float:
    """Area of a trial's point in square typographic points: the more, the smaller."""
    return float(np.clip(2_600 / max(trials, 1), 4, 30))


def opacity(trials: int) -> float:
    return float(np.clip(300 / max(trials, 1), 0.25, 0.9))


def thinned(tables: StudyTables) -> tuple[list[Trial], str]:
    """As many trials as lines can be told apart, and what to say of that."""
    step = math.ceil(len(tables.trials) / MOST_LINES)
    ordinal = {2: "2nd", 3: "3rd"}.get(step, f"{step}th")
    return list(tables.trials[::step]), "" if step == 1 else f"every {ordinal} trial is drawn"


def style_of(state: str, tint: str | None = None) -> dict[str, Any]:
    """How points of trials in this state are drawn by `scatter`."""
    if state == "diverged":
        return {"marker": "x", "color": ORANGE, "linewidths": 1.2}
    if state == "stopped":
        return {"marker": "o", "facecolors": "white", "edgecolors": tint or PALE, "linewidths": 1.0}
    return {"marker": "o", "color": tint or BLUE, "linewidths": 0}


def draw_states(axes: Axes, tables: StudyTables, x: Floats) -> None:
    """A point a trial at its score, x [trials]; those that diverged in a line at the top. Complete ones lie on top."""
    for layer, state in enumerate(reversed(STATES)):
        chosen = np.array([each.state == state for each in tables.trials])
        # The few that trained to the end matter most.
        count = int(chosen.sum()) if state == "complete" else len(tables.trials)
        options: dict[str, Any] = {"s": size_of(count), "alpha": opacity(count), "zorder": 3 + layer, **style_of(state)}
        if state == "diverged":
            axes.scatter(x[chosen], np.full(chosen.sum(), DIVERGED), transform=axes.get_xaxis_transform(), **options)
        else:
            axes.scatter(x[chosen], tables.scores[chosen], **options)


def draw_marked(axes: Axes, x: float, y: float, kind: str) -> None:
    """kind: present or marked; with those that diverged where it has no score, nowhere without a value."""
    if not math.isfinite(x):
        return
    place: dict[str, Any] = {}
    if not math.isfinite(y):
        y, place = DIVERGED, {"transform": axes.get_xaxis_transform()}
    shape, size, tint, edge = ("D", 62, BLACK, "white") if kind == "present" else ("*", 190, STAR, BLACK)
    options: dict[str, Any] = {"linewidths": 1.0, "zorder": 8, "clip_on": False}
    axes.scatter(x, y, s=size, marker=shape, color=tint, edgecolors=edge, **options, **place)


def special(tables: StudyTables) -> list[tuple[Trial, str]]:
    """The trials that have a mark of their own, with its kind."""
    pairs = [(tables.present, "present"), (tables.marked, "marked")]
    return [(trial, kind) for trial, kind in pairs if trial is not None]


def draw_legend(
    figure: Figure,
    tables: StudyTables,
    states: bool = True,
    more: Sequence[tuple[Artist, str]] = (),
    marks: bool = True,
    tint: str | None = None,
) -> None:
    """States that some trial is in, what is added, and the two trials that have a mark of their own."""
    entries: list[tuple[Artist, str]] = []
    for state, word in WORDS.items() if states else ():
        if any(each.state == state for each in tables.trials):
            entries.append((_point(state, tint), word))
    entries += more
    for _, kind in special(tables) if marks else ():
        if kind == "present":
            mark = Line2D([], [], linestyle="none", marker="D", markersize=7, color=BLACK, markeredgecolor="white")
            entries.append((mark, tables.present_as))
        else:
            mark = Line2D([], [], linestyle="none", marker="*", markersize=13, color=STAR, markeredgecolor=BLACK)
            entries.append((mark, tables.marked_as))
    _legend_below(figure, entries)


def _legend_below(figure: Figure, entries: Sequence[tuple[Artist, str]]) -> None:
    """In as many rows as they take: beside the axes it would take room from panels that need it more."""
    inches = sum(text_width(name) + 0.42 for _, name in entries)
    columns = math.ceil(len(entries) / math.ceil(inches / figure.get_figwidth())) if entries else 0
    if columns:
        handles, names = [handle for handle, _ in entries], [name for _, name in entries]
        options: dict[str, Any] = {"handlelength": 1.5, "handletextpad": 0.4, "columnspacing": 1.4}
        figure.legend(handles, names, loc="outside lower center", ncols=columns, **options)


def _point(state: str, tint: str | None) -> Line2D:
    style = style_of(state, tint)
    face = style.get("facecolors", style.get("color"))
    edge = style.get("edgecolors", style.get("color"))
    options: dict[str, Any] = {"markeredgewidth": 1.2, "markersize": 6, "linestyle": "none"}
    return Line2D([], [], marker=style["marker"], markerfacecolor=face, markeredgecolor=edge, **options)


def note(axes: Axes, text: str) -> None:
    """In place of what cannot be drawn."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color="#555555")
