"""Figures that show rows as points in a plane: two features as they are, else the first two principal components."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from retrace.figures.columns import Floats, indices, numbers
from retrace.figures.inputs import Tables
from retrace.figures.style import BLACK, clean, colour, labels, legend, marker, new_figure
from retrace.params.plot import Plot

# Two axes whose ranges differ by less than this factor are drawn at one scale: circles stay round.
SAME_SCALE = 2.0
# How much of a class's colour its part of the plane gets where the network is sure, so that points stand out from it.
TINT = 0.5


def data(tables: Tables, section: Plot) -> Figure:
    """Training and test rows side by side, a colour a class."""
    schema = tables.schema
    features, classes = len(schema.features), len(schema.classes)
    noun = "feature" if features == 1 else "features"
    how = ", drawn along their first two principal components" if tables.plane.projected else ""
    figure = new_figure(8.6, 4.5, schema.dataset, f"{features:,} {noun}{how}")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    count = tables.plane.training_rows
    sides = (("training", tables.projection, count), ("test", tables.predictions, tables.predictions.num_rows))
    places = [_coordinates(tables, table.slice(0, section.points)) for _, table, _ in sides]
    size = _size(max(map(len, places)))
    for axes, place, (title, table, rows) in zip(panels, places, sides, strict=True):
        some = f"; the first {len(place):,} drawn" if len(place) < rows else ""
        axes.set_title(f"{rows:,} {title} rows{some}")
        _scatter(axes, place, indices(table, "actual")[: len(place)], classes, size, alpha=0.6)
        _name_axes(axes, tables)
        _scale(axes, np.concatenate(places))
    panels[1].set_ylabel("")
    legend(figure, [_dot(index, classes) for index in range(classes)], labels(schema.classes))
    return figure


def decision_boundary(tables: Tables, section: Plot) -> Figure:
    """What the model that ships predicts all over the plane, and the test rows that it got right and wrong."""
    schema, scores, predictions = tables.schema, tables.scores, tables.predictions
    names, classes = labels(schema.classes), len(schema.classes)
    figure = new_figure(7.6, 6.0, schema.dataset, f"decisions of {tables.ships}")
    axes = figure.subplots()
    axes.grid(False)
    _surface(axes, tables, names)

    place = _coordinates(tables, predictions)
    actual = indices(predictions, "actual")
    wrong = actual != indices(predictions, "predicted")
    # Of each kind as many as may be drawn: the few misclassified rows are what one looks for.
    right, missed = (np.flatnonzero(kind)[: section.points] for kind in (~wrong, wrong))
    _scatter(axes, place[right], actual[right], classes, _size(len(right)), alpha=0.5)
    for index in np.unique(actual[missed]):
        x, y = place[missed][actual[missed] == index].T
        axes.scatter(x, y, s=42, marker="X", color=colour(index, classes), edgecolors=BLACK, linewidths=0.9)

    notes = [f"{scores.rows - scores.correct:,} of {scores.rows:,} test rows are misclassified"]
    for kind, drawn, total in (("other", right, (~wrong).sum()), ("misclassified", missed, wrong.sum())):
        if len(drawn) < total:
            notes.append(f"the first {len(drawn):,} {kind} rows are drawn")
    if tables.plane.projected:
        notes.append("the surface is a cut through the mean of the training rows;\nrows lie before and behind it")
    axes.set_title("\n".join(notes))
    _name_axes(axes, tables)
    mark = Line2D([], [], linestyle="none", marker="X", markersize=7, color="white", markeredgecolor=BLACK)
    handles = [mark, *(_dot(index, classes) for index in range(classes))]
    legend(figure, handles, ["misclassified (fill: actual)", *names])
    return figure


def _surface(axes: Axes, tables: Tables, names: Sequence[str]) -> None:
    """Colours of the regular grid. Two classes: probability of the second; more: the class, lighter where unsure."""
    classes = len(names)
    side = math.isqrt(tables.boundary.num_rows)
    x, y, probability = (numbers(tables.boundary, name).reshape(side, side) for name in ("x", "y", "probability"))
    # A cell reaches half a step beyond its point.
    half_x, half_y = (x[0, 1] - x[0, 0]) / 2, (y[1, 0] - y[0, 0]) / 2
    extent = (x[0, 0] - half_x, x[0, -1] + half_x, y[0, 0] - half_y, y[-1, 0] + half_y)
    palette = np.array([to_rgb(colour(index, classes)) for index in range(classes)])
    if classes == 2:
        first, second = (to_hex(1 - (1 - rgb) * TINT) for rgb in palette)
        colours = LinearSegmentedColormap.from_list("classes", [first, "white", second])
        image = axes.imshow(
            probability, cmap=colours, vmin=0, vmax=1, extent=extent, origin="lower", interpolation="bilinear"
        )
        bar = axes.figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02, label=f"probability of {names[1]}")
        bar.outline.set_visible(False)
        threshold = tables.scores.threshold
        if probability.min() < threshold < probability.max():
            axes.contour(x, y, probability, levels=[threshold], colors=BLACK, linewidths=1.2)
            bar.ax.axhline(threshold, color=BLACK, linewidth=1.2)
    else:
        predicted = indices(tables.boundary, "predicted").reshape(side, side)
        # From pure chance, where all classes are equally likely, to certainty.
        sure = ((probability - 1 / classes) / (1 - 1 / classes)).clip(0, 1)[..., None]
        picture = 1 - (1 - palette[predicted]) * TINT * sure
        axes.imshow(picture, extent=extent, origin="lower", interpolation="bilinear")
    _scale(axes, np.reshape(extent, (2, 2)).T)


def _coordinates(tables: Tables, table: pa.Table) -> Floats:
    """Where rows stand in the plane, [rows, 2]."""
    return np.column_stack([numbers(table, "x"), _heights(tables, numbers(table, "y"))])


def _heights(tables: Tables, y: Floats) -> Floats:
    """y itself; with one feature, where it is zero, steps of the golden ratio that keep the points apart."""
    if tables.plane.y:
        return y
    return np.arange(float(len(y))) * ((1 + 5**0.5) / 2) % 1 * 1.6 - 0.8


def _name_axes(axes: Axes, tables: Tables) -> None:
    length = 48 if tables.plane.projected else 24
    axes.set_xlabel(clean(tables.plane.x, length))
    if not tables.plane.y:
        axes.set_ylabel("(no meaning: spread for the eye)")
        axes.set_yticks([])
    else:
        axes.set_ylabel(clean(tables.plane.y, length))


def _scale(axes: Axes, place: Floats) -> None:
    """One scale for both axes where their ranges in place [points, 2] are alike, else each its own."""
    span = np.ptp(place, axis=0)
    same = span.min() > 0 and span.max() / span.min() < SAME_SCALE
    axes.set_aspect("equal" if same else "auto")


def _scatter(axes: Axes, place: Floats, actual: NDArray[np.int64], classes: int, size: float, alpha: float) -> None:
    """All classes of one marker in one go, so that none hides the others."""
    colours = np.array([to_rgb(colour(index, classes)) for index in range(classes)])
    shapes = np.array([marker(index) for index in range(classes)])
    for shape in dict.fromkeys(shapes):
        chosen = shapes[actual] == shape
        x, y = place[chosen].T
        axes.scatter(x, y, s=size, marker=shape, c=colours[actual[chosen]], alpha=alpha, linewidths=0)


def _size(points: int) -> float:
    """Area of a point in square typographic points: the more, the smaller."""
    return float(np.clip(12_000 / max(points, 1), 5, 22))


def _dot(index: int, classes: int) -> Line2D:
    return Line2D([], [], linestyle="none", marker=marker(index), markersize=6, color=colour(index, classes))
