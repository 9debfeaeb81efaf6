"""Figures of a lesson, a function for each kind: what variants did, with the range of their replicas."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from retrace.figures.columns import Floats, indices, numbers
from retrace.figures.lesson.inputs import LessonTables, finite_mean
from retrace.figures.pictures import png
from retrace.figures.style import FEW, GRAY, clean, legend, logarithmic, new_figure, styled
from retrace.params.lesson import Panel

AXES = {
    "accuracy": "accuracy on validation rows",
    "loss": "validation loss",
    "train_loss": "training loss",
    "start_loss": "loss before the first step",
    "gradient": "norm of the gradient",
    "activation": "deviation over the rows",
    "health": "share of hidden units",
}
LONGEST = 34
# A loss is not drawn above this: those of networks that diverge would flatten all others.
HIGHEST_LOSS = 30.0
COLUMNS = 4


def pictures(tables: LessonTables) -> dict[str, bytes]:
    """Name of a file -> PNG, in the lesson's order."""
    found = {}
    for place, panel in enumerate(tables.told.lesson.figures, start=1):
        with styled():
            figure = KINDS[panel.kind](tables, panel)
        found[f"{place}-{panel.kind}"] = png(figure)
    return found


def curves(tables: LessonTables, panel: Panel) -> Figure:
    """Over the epochs: mean and range of the replicas that are finite; a line ends where all have diverged."""
    figure = _figure(8.2, 4.2, tables, panel)
    axes = figure.subplots()
    assert panel.of
    for name in tables.chosen(panel.variants):
        if panel.of == "health":
            layers = [tables.by_replica(tables.history, name, each) for each in tables.columns("health_layer_")]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of layers that this variant does not have
                values = np.nanmean(np.stack(layers), 0)
        else:
            values = tables.by_replica(tables.history, name, panel.of)
        _band(axes, np.arange(1, values.shape[1] + 1), _bounded(values, panel), tables.colour(name), name)
    _y_axis(axes, panel)
    axes.set_xlabel("epoch")
    axes.set_xlim(0, axes.dataLim.x1 * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    legend(figure, *axes.get_legend_handles_labels())
    return figure


def dots(tables: LessonTables, panel: Panel) -> Figure:
    """A point for each replica, a column for each variant, and their mean."""
    chosen = tables.chosen(panel.variants)
    figure = _figure(8.2, 4.2, tables, panel)
    axes = figure.subplots()
    assert panel.of
    for place, name in enumerate(chosen):
        if panel.of == "start_loss":
            values = tables.by_replica(tables.start, name, "loss")[:, 0]
        else:
            values = tables.by_replica(tables.history, name, panel.of)[:, -1]
        values = _bounded(values, panel)
        # Side by side in the order of their values, so that none hides another.
        spread = np.linspace(-0.28, 0.28, len(values)) if len(values) > 1 else np.zeros(1)
        axes.scatter(place + spread, np.sort(values), s=26, color=tables.colour(name), alpha=0.75, linewidths=0)
        mean = finite_mean(values)
        axes.plot([place - 0.36, place + 0.36], [mean, mean], color="#222222", linewidth=1.6)
        lost = int((~np.isfinite(values)).sum())
        if lost:
            axes.annotate(f"{lost} diverged", (place, 0.97), xycoords=axes.get_xaxis_transform(), ha="center", size=8)
    _y_axis(axes, panel)
    axes.set_xticks(range(len(chosen)), [clean(name, LONGEST) for name in chosen])
    if max(len(name) for name in chosen) * len(chosen) > 90:
        axes.tick_params(axis="x", rotation=20)
    axes.set_xlim(-0.6, len(chosen) - 0.4)
    axes.grid(False, axis="x")
    mark = Line2D([], [], color="#222222", linewidth=1.6)
    point = Line2D([], [], linestyle="none", marker="o", markersize=5, color=GRAY)
    legend(figure, [point, mark], ["one network", "their mean"])
    return figure


def layers(tables: LessonTables, panel: Panel) -> Figure:
    """Before the first step, layer by layer: median and range of the replicas."""
    figure = _figure(8.2, 4.2, tables, panel)
    axes = figure.subplots()
    assert panel.of
    for name in tables.chosen(panel.variants):
        values = tables.by_replica(tables.start, name, panel.of)
        known = np.isfinite(values).all(0)
        values = values[:, known]
        if panel.log:
            values[values <= 0] = np.nan  # zero has no place on a logarithmic axis
        _band(
            axes,
            np.asarray(np.flatnonzero(known) + 1, np.float64),
            values,
            tables.colour(name),
            name,
            marker="o",
            middle=np.nanmedian,
        )
    _y_axis(axes, panel)
    axes.set_xlabel("layer, from the inputs to the logits")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, *axes.get_legend_handles_labels())
    return figure


def boundaries(tables: LessonTables, panel: Panel) -> Figure:
    """What one network of each variant says of the plane, and some validation rows: the network in the middle."""
    chosen = tables.chosen(panel.variants)
    columns = min(COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = _figure(max(4.6, 2.75 * columns), 2.9 * rows + 0.7, tables, panel)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, name in zip(grid.flat, chosen, strict=False):
        own = tables.plane.filter(pc.equal(tables.plane.column("variant"), name))
        last = int(pc.max(own.column("epoch")).as_py())
        draw_plane(axes, tables, name, last)
        accuracy = next(each.accuracy for each in tables.verdict.variants if each.name == name)
        told = "diverged" if accuracy is None else f"{accuracy:.0%} right on average"
        axes.set_title(f"{clean(name, LONGEST)}\n{told}")
    for axes in list(grid.flat)[len(chosen) :]:
        axes.set_visible(False)
    return figure


def draw_plane(axes: Axes, tables: LessonTables, name: str, epoch: int) -> None:
    """The probability all over the plane, from one class's colour to the other's, or the likeliest class of more."""
    keep = pc.and_(pc.equal(tables.plane.column("variant"), name), pc.equal(tables.plane.column("epoch"), epoch))
    own = tables.plane.filter(keep)
    x, y, value = (numbers(own, each) for each in ("x", "y", "value"))
    side = math.isqrt(len(x))
    points = tables.points.filter(pc.equal(tables.points.column("variant"), name))
    classes = indices(points, "class")
    count = int(classes.max()) + 1
    surface: Any = (
        LinearSegmentedColormap.from_list("classes", [_pale(FEW[0]), "#ffffff", _pale(FEW[1])])
        if count <= 2
        else ListedColormap([_pale(each) for each in FEW[:count]])
    )
    extent = (x.min(), x.max(), y.min(), y.max())
    high = 1 if count <= 2 else count - 1
    picture = value.reshape(side, side)
    axes.imshow(picture, origin="lower", extent=extent, cmap=surface, vmin=0, vmax=high, aspect="auto", zorder=0)
    if count <= 2 and value.min() < 0.5 < value.max():
        axes.contour(x.reshape(side, side), y.reshape(side, side), picture, [0.5], colors="#222222", linewidths=1.2)
    for index in range(count):
        kept = classes == index
        place = numbers(points, "x")[kept], numbers(points, "y")[kept]
        axes.scatter(*place, s=7, color=FEW[index % len(FEW)], alpha=0.75, linewidths=0)
    axes.set_aspect("equal" if 0.5 < (extent[1] - extent[0]) / (extent[3] - extent[2]) < 2 else "auto")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _pale(colour: str) -> str:
    red, green, blue = (1 - 0.55 * (1 - each) for each in to_rgb(colour))
    return to_hex((red, green, blue))


def _figure(width: float, height: float, tables: LessonTables, panel: Panel) -> Figure:
    figure = new_figure(width, height, tables.verdict.dataset, clean(panel.title, 100))
    figure.set_dpi(110)
    return figure


def _bounded(values: Floats, panel: Panel) -> Floats:
    if panel.of in ("loss", "train_loss", "start_loss"):
        return np.where(np.isfinite(values), np.minimum(values, HIGHEST_LOSS), np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _band(
    axes: Axes,
    x: Floats,
    values: Floats,
    tint: Any,
    name: str,
    marker: str | None = None,
    middle: Callable[..., Any] = np.nanmean,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of an epoch in which no replica is finite any more
        low, high, mean = np.nanmin(values, 0), np.nanmax(values, 0), middle(values, 0)
    axes.fill_between(x, low, high, color=tint, alpha=0.15, linewidth=0)
    shape = marker or ("o" if len(x) == 1 else None)
    axes.plot(x, mean, color=tint, label=clean(name, LONGEST), marker=shape, markersize=4)


def _y_axis(axes: Axes, panel: Panel) -> None:
    assert panel.of
    axes.set_ylabel(AXES[panel.of] + (", log scale" if panel.log else ""))
    if panel.log:
        logarithmic(axes)
    elif panel.of in ("accuracy", "health"):
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylim(top=min(1.02, axes.get_ylim()[1]))


KINDS: dict[str, Callable[[LessonTables, Panel], Figure]] = {
    "curves": curves,
    "dots": dots,
    "layers": layers,
    "boundaries": boundaries,
}
