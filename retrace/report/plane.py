"""The plane of the pictures: what the network decides where, and test rows on it."""

from itertools import pairwise

import numpy as np

from retrace.figures.columns import indices, numbers
from retrace.report.html import Html, element
from retrace.report.inputs import Result
from retrace.report.svg import LINE, Axis, across, box, chart, dot, drawing, key, mark, upwards
from retrace.report.words import plain

# Points a side of the field, test rows that are right and that are wrong, and classes that have a colour of their own.
MOST_CELLS, MOST_RIGHT, MOST_WRONG, MOST_CLASSES = 110, 500, 200, 10


def plane(result: Result) -> Html | None:
    """None where there is no plane: with one feature, or more classes than can be told apart; or where an axis is a
    column whose values the page must not show.
    """
    classes = [plain(each, 24) for each in result.schema.classes]
    private = not result.axes.projected and {result.axes.x, result.axes.y} & result.private
    if private or not result.axes.y or len(classes) > MOST_CLASSES or not result.boundary.num_rows:
        return None
    xs, ys = np.unique(numbers(result.boundary, "x")), np.unique(numbers(result.boundary, "y"))
    entries = [(dot(8, 0, 4, f"f{index}"), each) for index, each in enumerate(classes)]
    entries.append((dot(8, 0, 4.2, "wrong f9"), "wrong"))
    legend, lines = key(60, 10, entries, width=500)
    top = 50 + LINE * (lines - 1)
    x, y = Axis(float(xs[0]), float(xs[-1]), 60, 560), Axis(float(ys[0]), float(ys[-1]), top + 460, top)
    field = np.zeros((len(ys), len(xs)), np.int64)
    rows, columns = (
        np.searchsorted(ys, numbers(result.boundary, "y")),
        np.searchsorted(xs, numbers(result.boundary, "x")),
    )
    field[rows, columns] = indices(result.boundary, "predicted")
    parts = [element("g", *_field(field, x, y), kind="field"), upwards(y, x.start, x.end, plain(result.axes.y, 40))]
    parts.append(across(x, y.end, y.start, plain(result.axes.x, 40)))
    actual, predicted = indices(result.predictions, "actual"), indices(result.predictions, "predicted")
    across_, up = numbers(result.predictions, "x").tolist(), numbers(result.predictions, "y").tolist()
    right, wrong = np.flatnonzero(actual == predicted)[:MOST_RIGHT], np.flatnonzero(actual != predicted)[:MOST_WRONG]
    for place in right.tolist():
        parts.append(dot(x.at(across_[place]), y.at(up[place]), 2, f"f{actual[place]}"))
    for place in wrong.tolist():
        said = f"test row {place + 1:,}: {classes[actual[place]]}, taken for {classes[predicted[place]]}"
        here = x.at(across_[place]), y.at(up[place])
        parts.append(mark(said, dot(*here, 4.2, f"dot wrong f{actual[place]}"), dot(*here, 8, "hit")))
    parts.append(legend)
    alt = f"Test rows by {plain(result.axes.x, 40)} and {plain(result.axes.y, 40)}, over what the network decides there"
    alt += f"; {len(right):,} that are right and {len(wrong):,} that are wrong."
    kind = "The two directions in which training rows differ most. " if result.axes.projected else ""
    caption = (
        f"{kind}The field: what the network decides there. Dots: test rows in the colour of their own class; ringed"
    )
    caption += f" ones are wrong. Drawn are {len(right):,} rows that are right and {len(wrong):,} that are wrong."
    return chart(drawing(580, top + 502, parts, alt), caption, kind="square")


def _field(field: np.ndarray, x: Axis, y: Axis) -> list[Html]:
    """Boxes from change to change of each line."""
    rows = np.unique(np.linspace(0, len(field) - 1, min(len(field), MOST_CELLS)).round().astype(int))
    columns = np.unique(np.linspace(0, field.shape[1] - 1, min(field.shape[1], MOST_CELLS)).round().astype(int))
    high, wide = (y.start - y.end) / len(rows), (x.end - x.start) / len(columns)
    parts = []
    for place, cells in enumerate(field[np.ix_(rows, columns)]):
        starts = [0, *(np.flatnonzero(np.diff(cells)) + 1).tolist(), len(cells)]
        for start, end in pairwise(starts):
            top = y.start - (place + 1) * high
            width = (end - start) * wide
            parts.append(box(x.start + start * wide, top, width, high + 0.5, f"f{cells[start]}"))
    return parts
