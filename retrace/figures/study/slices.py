"""Score against the value of each parameter, by itself and all side by side."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrace.figures.columns import Floats
from retrace.figures.study.inputs import StudyTables
from retrace.figures.study.marks import (
    MOST_RANGES,
    PALE,
    SCORE,
    STAR,
    colour_bar,
    colours_of,
    draw_legend,
    draw_marked,
    draw_states,
    is_logarithmic,
    opacity,
    score_axis,
    special,
    thinned,
)
from retrace.figures.study.scales import BESIDE, Scale, scale_of, told_apart
from retrace.figures.style import BLACK, clean, new_figure, text_width

ACROSS = 3
# Letters of ticks that a panel has room for, by how many panels stand side by side.
LETTERS = {1: 106, 2: 64, 3: 42}
# Parallel axes that a figure has room for; the others matter less.
MOST_AXES = 8
# So many of the best trials have the colour of their score, the others are gray.
COLOURED = 24


def slices(tables: StudyTables) -> Figure:
    """A panel a parameter, those that matter most first: score of each trial by its value, and its networks' range."""
    parameters = tables.parameters
    across = {1: 1, 2: 2, 4: 2}.get(len(parameters), ACROSS)
    down = math.ceil(len(parameters) / across)
    scales = [scale_of(each, tables) for each in parameters]
    names = told_apart([each.name for each in parameters], 30 if across == 3 else 44)
    shares = {each.name: f" ({each.share.value:.0%})" for each in tables.result.importance}
    title = "score by the value of each parameter"
    if shares:
        title += ", in brackets its importance"
    letters = LETTERS[across]
    turned = sum(any(each.is_turned(letters) for each in scales[row * across :][:across]) for row in range(down))
    width, height = 8.6 if across == 1 else 10.4, 1.3 + 2.7 * down + 0.9 * turned
    figure = new_figure(width, height, tables.result.dataset, title)
    panels = figure.subplots(down, across, squeeze=False)
    ranged = len(tables.trials) <= MOST_RANGES
    ranges = [end for each in tables.trials for end in (each.low, each.high)] if ranged else []
    for index, axes in enumerate(panels.flat):
        if index >= len(parameters):
            axes.set_axis_off()
            continue
        score_axis(axes, np.concatenate([tables.scores, ranges]), tables.any_diverged, label=index % across == 0)
        if index % across:
            axes.tick_params(axis="y", labelleft=False, length=0)
        x = scales[index].places([each.settings for each in tables.trials])
        few = "" if np.isfinite(x).all() else f"\nsearched in {np.isfinite(x).sum():,} of {len(x):,} trials"
        axes.set_title(f"{names[index]}{shares.get(parameters[index].name, '')}{few}")
        _panel(axes, tables, scales[index], x, ranged)
        scales[index].name_x(axes, letters=letters)
    more = [(Line2D([], [], color=PALE), "range of its networks")] if ranged and tables.result.seeds > 1 else []
    if any(scale.categories is not None for scale in scales):
        more.append((Line2D([], [], color=BLACK, linewidth=1.4), "median of those trained to the end"))
    draw_legend(figure, tables, more=more)
    return figure


def _panel(axes: Axes, tables: StudyTables, scale: Scale, x: Floats, ranged: bool) -> None:
    trials, scores = tables.trials, tables.scores
    spread = _spread(tables, scale)
    if scale.categories is not None:
        axes.grid(axis="x", visible=False)
        width = 0.4 / len(scale.categories)
        for place in sorted(set(x[np.isfinite(x)])):
            complete = np.array([each.state == "complete" for each in trials]) & (x == place)
            if complete.any():
                axes.hlines(np.median(scores[complete]), place - width, place + width, color=BLACK, linewidth=1.4)
    if ranged:
        lines = [[(at, each.low), (at, each.high)] for at, each in zip(x + spread, trials, strict=True)]
        axes.add_collection(LineCollection(lines, colors=PALE, linewidths=0.9, alpha=0.6, zorder=2))
    draw_states(axes, tables, x + spread)
    for trial, kind in special(tables):
        at = trials.index(trial)
        draw_marked(axes, (x + spread)[at], trial.score, kind)


def _spread(tables: StudyTables, scale: Scale) -> Floats:
    """Steps of the golden ratio that keep trials of one category apart."""
    if scale.categories is None:
        return np.zeros(len(tables.trials))
    steps = np.array([each.number for each in tables.trials]) * (math.sqrt(5) - 1) / 2 % 1
    return (steps - 0.5) * 0.7 / len(scale.categories)


def parallel(tables: StudyTables) -> Figure:
    """A line a trial through its values: the best in the colour of their score and on top, the others gray."""
    parameters = tables.parameters[:MOST_AXES]
    scales = [scale_of(each, tables) for each in parameters]
    some = f"{len(parameters)} of {len(tables.parameters)} parameters, those that matter most; " * (
        len(parameters) < len(tables.parameters)
    )
    figure = new_figure(10.4, 5.0, tables.result.dataset, "settings of the trials, the best on top")
    axes = figure.subplots()
    best = tables.ranking[: min(COLOURED, max(1, len(tables.ranking) // 3))]
    drawn, which = thinned(tables)
    which_best = f"the best {len(best):,}" if len(best) != 1 else "the best one"
    which = f"of the others {which}" if which else "gray: the others"
    axes.set_title(f"{some}in colour: {which_best} of {len(tables.trials):,} trials; {which}")
    heights, ticks = _score_places(tables)
    columns = [_column(tables, scale) for scale in scales]
    lines = np.array([*columns, heights]).T
    x = np.arange(len(scales) + 1.0)
    colours = colours_of(tables.scores[best], 1.0)
    others = sorted({tables.trials.index(each) for each in drawn} - set(best))
    paths = [np.column_stack([x, lines[place]]) for place in others]
    axes.add_collection(LineCollection(paths, colors=PALE, linewidths=0.7, alpha=opacity(len(paths)) * 0.5, zorder=2))
    for layer, place in enumerate(reversed(best)):
        tint = colours.to_rgba(tables.scores[place])
        axes.plot(x, lines[place], color=tint, linewidth=1.5, alpha=0.95, zorder=3 + layer / 100)
    for trial, kind in special(tables):
        place = tables.trials.index(trial)
        if kind == "present":
            axes.plot(x, lines[place], color=BLACK, linewidth=2.2, linestyle=(0, (3, 1.4)), zorder=5)
        else:
            axes.plot(x, lines[place], color=STAR, linewidth=2.6, zorder=5)
        draw_marked(axes, x[-1], lines[place][-1], kind)
    _axes_side_by_side(axes, scales, ticks)
    colour_bar(figure, colours, axes, "neither")
    draw_legend(figure, tables, states=False)
    return figure


def _column(tables: StudyTables, scale: Scale) -> Floats:
    """Height of each trial on the axis of a parameter; those in which it was not searched, below."""
    places = scale.places([each.settings for each in tables.trials])
    places = np.where(np.isfinite(places), places, BESIDE)
    return places + (_spread(tables, scale) * 0.5 if scale.categories is not None else 0.0) * (places > BESIDE)


def _score_places(tables: StudyTables) -> tuple[Floats, list[tuple[float, str]]]:
    """Height of each trial on the axis of the score, the best at the top; and its ticks."""
    scores = tables.scores
    known = scores[np.isfinite(scores)]
    if not len(known):
        return np.full(len(scores), BESIDE), [(BESIDE, "diverged")]
    log = is_logarithmic(known)
    low, high = float(known.min()), float(known.max())
    high = high if high > low else low + (0.1 * abs(low) or 1.0)
    scale = Scale(SCORE, None, low, high, log, False, False, False)
    own = [BESIDE if not math.isfinite(score) else 1 - scale.place({SCORE: score}) for score in scores]
    ticks = [(1 - at, text) for at, text in scale.ticks(6, 8)]
    return np.array(own), ticks + [(BESIDE, "diverged")] * bool(len(known) < len(scores))


def _axes_side_by_side(axes: Axes, scales: list[Scale], ticks: list[tuple[float, str]]) -> None:
    room = 105 // (len(scales) + 1)  # letters between two axes
    names = told_apart([each.name for each in scales], 40)
    shown = [_two_lines(name, 7.8 / (len(scales) + 1)) for name in names]
    axes.set_xticks(range(len(scales) + 1), [*shown, "log loss,\nbest on top"])
    axes.tick_params(axis="x", length=0)
    beside, count = 0.006 * (len(scales) + 1), len(scales)
    axes.set_xlim(-0.1, count + 0.075 * (count + 1))
    axes.set_ylim(BESIDE - 0.06, 1.04)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.vlines(range(len(scales) + 1), -0.02, 1.02, color="#666666", linewidth=1.0, zorder=4.5)
    box: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
    options: dict[str, Any] = {"fontsize": 8, "va": "center", "ha": "left", "zorder": 7, "bbox": box}
    for index, scale in enumerate(scales):
        for at, text in scale.ticks(7, max(5, room - 2)):
            if at != BESIDE:
                axes.text(index + beside, at, text, **options)
        axes.text(index + beside, BESIDE, scale.beside, **options)
    for at, text in ticks:
        axes.text(count + beside, at, text, **options)


def _two_lines(text: str, inches: float) -> str:
    """Text that fits between two axes: in two lines where one is too long, the second one cut."""
    length = next((end for end in range(len(text), 1, -1) if text_width(text[:end]) <= inches), 1)
    if length == len(text):
        return text
    cut = max((place + 1 for place, sign in enumerate(text[:length]) if sign in "._ "), default=length)
    rest = text[cut:]
    shorter = (clean(rest, end) for end in range(len(rest), 1, -1))
    return f"{text[:cut]}\n{next((each for each in shorter if text_width(each) <= inches), '')}"
