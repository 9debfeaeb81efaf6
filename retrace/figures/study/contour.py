"""Score over the two parameters that matter most."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from retrace.figures.columns import Floats
from retrace.figures.study.inputs import StudyTables
from retrace.figures.study.marks import (
    colour_bar,
    colours_of,
    draw_legend,
    draw_marked,
    note,
    opacity,
    size_of,
    special,
)
from retrace.figures.study.scales import BESIDE, Scale, scale_of, told_apart
from retrace.figures.style import BLACK, ORANGE, new_figure

# Points a side of the surface; none of it is drawn where less than so many trials are near.
SIDE, NEAR = 90, 1.6
# Decimals of it: sums of many numbers differ in the last digits from one processor to the next.
DECIMALS = 5


def contour(tables: StudyTables) -> Figure:
    """Trials as points in the colour of their score, over the mean of those nearby; lists side by side."""
    chosen = tables.parameters[:2]
    names = told_apart([each.name for each in chosen], 34)
    title = "the two parameters that matter most" if len(chosen) > 1 else "there is one parameter only"
    figure = new_figure(8.6, 5.6 if len(chosen) > 1 else 3.6, tables.result.dataset, title)
    axes = figure.subplots()
    if not tables.ranking:
        note(axes, "no trial has a score")
        return figure
    scales = [scale_of(each, tables) for each in chosen]
    if len(scales) == 2 and scales[0].categories is not None and scales[1].categories is None:
        scales.reverse()
        names.reverse()
    colours = colours_of(tables.scores)
    places = [_places(tables, scale) for scale in scales]
    x, y = places[0], places[1] if len(places) > 1 else np.full(len(places[0]), 0.5)
    if len(scales) == 2 and scales[0].categories is not None:
        axes.set_title("colour and number: median score of the trials there; below it: how many")
        _cells(axes, tables, scales, colours)
    else:
        axes.set_title(_surfaces(axes, tables, scales, x, y, colours))
        _points(axes, tables, scales, x, y, colours)
    axes.grid(visible=False)
    scales[0].name_x(axes, 8, 70)
    axes.set_xlabel(names[0])
    if len(scales) > 1:
        scales[1].name_y(axes)
        axes.set_ylabel(names[1])
        _name_beside(axes, scales)
    else:
        axes.set_ylim(0, 1)
        axes.set_yticks([])
    colour_bar(figure, colours, axes)
    draw_legend(figure, tables, states=False)
    return figure


def _places(tables: StudyTables, scale: Scale) -> Floats:
    places = scale.places([each.settings for each in tables.trials])
    return np.where(np.isfinite(places), places, BESIDE)


def _name_beside(axes: Axes, scales: list[Scale]) -> None:
    """Room for trials in which one of the two was not searched, where there are some."""
    for scale, axis in zip(scales, (axes.xaxis, axes.yaxis), strict=True):
        if scale.absent:
            span, limits = (axes.axvspan, axes.set_xlim) if axis is axes.xaxis else (axes.axhspan, axes.set_ylim)
            span(BESIDE - 0.08, -0.05, color="#f4f4f4", zorder=0, linewidth=0)
            limits(BESIDE - 0.08, scale.end)
            ticks = [(BESIDE, scale.beside), *(tick for tick in scale.ticks(6, 16) if tick[0] != BESIDE)]
            axis.set_ticks([at for at, _ in ticks], [text for _, text in ticks])


def _points(
    axes: Axes, tables: StudyTables, scales: list[Scale], x: Floats, y: Floats, colours: ScalarMappable
) -> None:
    count = len(tables.trials)
    steps = np.array([each.number for each in tables.trials]) * (math.sqrt(5) - 1) / 2 % 1 - 0.5
    if len(scales) == 1:
        y = y + 0.6 * steps
    elif scales[1].categories is not None:
        y = y + np.where(y > BESIDE, 0.7 / len(scales[1].categories), 0.05) * steps
    elif (y == BESIDE).any():
        y = np.where(y == BESIDE, y + 0.1 * steps, y)
    if len(scales) == 1 and scales[0].categories is not None:
        x = x + 0.5 / len(scales[0].categories) * (steps * 7 % 1 - 0.5)
    known = tables.ranking[::-1]
    tints = colours.to_rgba(tables.scores[known])
    size = max(9.0, 1.6 * size_of(count))
    edge: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.7 if count <= 300 else 0.3 if count <= 1500 else 0.0}
    axes.scatter(x[known], y[known], s=size, c=tints, zorder=3, **edge)
    lost = [place for place, each in enumerate(tables.trials) if each.state == "diverged"]
    if lost:
        axes.scatter(x[lost], y[lost], s=size, marker="x", color=ORANGE, linewidths=1.2, alpha=opacity(count), zorder=3)
    for trial, kind in special(tables):
        place = tables.trials.index(trial)
        draw_marked(axes, x[place], y[place], kind)


def _surfaces(
    axes: Axes, tables: StudyTables, scales: list[Scale], x: Floats, y: Floats, colours: ScalarMappable
) -> str:
    """Draw the mean of the trials nearby, of two ranges in both directions, beside a list for each of its values."""
    if scales[0].categories is not None:
        return f"{len(tables.ranking):,} trials, spread for the eye"
    inside = (x > BESIDE) & (y > BESIDE)
    grid = np.linspace(0, 1, SIDE)
    if len(scales) == 2 and scales[1].categories is None:
        drawn = _draw(axes, colours, _smooth(tables, [(x, grid), (y, grid)], inside), (0, 1, 0, 1))
    else:
        drawn = False
        rows = len(scales[1].categories or ()) if len(scales) == 2 else 1
        for row in range(rows):
            own = inside & (np.floor(y * rows) == row)
            ends = (0.0, 1.0, (row + 0.06) / rows, (row + 0.94) / rows)
            drawn |= _draw(axes, colours, _smooth(tables, [(x, grid)], own)[None], ends)
    some = f"each trial, in the colour of its score{' (cross: diverged)' if tables.any_diverged else ''}"
    return f"{some};\nbehind: mean of the trials nearby, blank where there are none" if drawn else some


def _smooth(tables: StudyTables, directions: list[tuple[Floats, Floats]], chosen: np.ndarray) -> Floats:
    """Mean score of the trials near each point of the grid, [y, x] or [x]; NaN where few are, or most diverged.

    Weights fall with the distance like a normal density, narrower the more trials there are.
    """
    scores = tables.scores[chosen]
    count = max(1, len(scores))
    width = float(np.clip(0.35 * count ** (-1 / (4 + len(directions))), 0.03, 0.12))
    known = np.isfinite(scores)
    near = [np.exp(-(((grid[:, None] - own[chosen]) / width) ** 2) / 2) for own, grid in directions]

    def summed(of: Floats) -> Floats:
        product: Floats = near[0] @ of if len(near) == 1 else (near[1] * of) @ near[0].T
        return product

    weight, lost = summed(known.astype(float)), summed((~known).astype(float))
    total = summed(np.where(known, scores, 0.0))
    mean: Floats = np.round(total / np.maximum(weight, 1e-12), DECIMALS)
    shown: Floats = np.where((weight > NEAR) & (weight > lost), mean, np.nan)
    return shown


def _draw(axes: Axes, colours: ScalarMappable, values: Floats, ends: tuple[float, float, float, float]) -> bool:
    """Whether there was anything to draw."""
    if not np.isfinite(values).any():
        return False
    half = 0.5 / (SIDE - 1)
    low, high, bottom, top = ends
    extent = (low - half, high + half, bottom, top)
    picture = colours.to_rgba(np.ma.masked_invalid(values))
    # Paler than the points that it is made of.
    picture[..., :3] = 1 - (1 - picture[..., :3]) * 0.55
    picture[..., 3] = np.isfinite(values)
    axes.imshow(picture, extent=extent, origin="lower", aspect="auto", interpolation="nearest", zorder=1)
    return True


def _cells(axes: Axes, tables: StudyTables, scales: list[Scale], colours: ScalarMappable) -> None:
    across, down = (len(scale.categories or ()) for scale in scales)
    x, y = (scale.places([each.settings for each in tables.trials]) for scale in scales)
    size = 9 if max(across, down) <= 6 else 7 if max(across, down) <= 12 else 0
    for column, row in np.ndindex(across, down):
        chosen = (np.floor(x * across) == column) & (np.floor(y * down) == row)
        scores = tables.scores[chosen & np.isfinite(tables.scores)]
        ends = (column / across, (column + 1) / across, row / down, (row + 1) / down)
        if not chosen.any():
            continue
        tint: Any
        if not len(scores):
            text, tint, tone = f"diverged\n{chosen.sum():,}", (1.0, 1.0, 1.0, 1.0), ORANGE
        else:
            median = float(np.median(scores))
            text, tint = f"{median:.4g}\n{chosen.sum():,}", colours.to_rgba(np.array([median]))[0]
            tone = "white" if np.dot(tint[:3], (0.3, 0.59, 0.11)) < 0.55 else BLACK
        low, high, bottom, top = ends
        axes.fill_between([low, high], bottom, top, color=tint, linewidth=0, zorder=1)
        if size:
            axes.text((low + high) / 2, (bottom + top) / 2, text, ha="center", va="center", fontsize=size, color=tone)
    for trial, kind in special(tables):
        place = tables.trials.index(trial)
        draw_marked(axes, x[place] - 0.32 / across, y[place] + 0.3 / down, kind)
