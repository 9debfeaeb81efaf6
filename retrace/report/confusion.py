"""Which class is taken for which: all pairs as a table where classes are few, else as a map and the worst pairs."""

import numpy as np

from retrace.report.html import Cell, Html, element, table
from retrace.report.inputs import Result
from retrace.report.svg import Axis, box, chart, drawing, line, mark, words
from retrace.report.words import counted, name, percent, plain

# Classes of a matrix in numbers, pairs that are listed, pairs of a map, and classes that a map has names for.
MOST_CLASSES, MOST_PAIRS, MOST_MARKS, MOST_NAMES = 15, 25, 3000, 40
SHADES = 5
# Of a map, and of what stands at its left and above it.
SIDE, LEFT, TOP = 440.0, 110.0, 26.0


def pairs(result: Result) -> list[tuple[int, int, int]]:
    """(rows, actual, predicted) of each confusion that happened, the most frequent first."""
    found = [
        (int(result.confusion[actual, predicted]), int(actual), int(predicted))
        for actual, predicted in np.argwhere(result.confusion)
        if actual != predicted
    ]
    return sorted(found, key=lambda each: (-each[0], each[1:]))


def worst_pair(result: Result) -> list[str]:
    """The most frequent confusion, as parts of a sentence."""
    if not (found := pairs(result)):
        return ["No test row is wrong."]
    rows, actual, predicted = found[0]
    is_, taken_for = (name(result.schema.classes[index], 24) for index in (actual, predicted))
    return ["Most often ", is_, " taken for ", taken_for, f": {counted(rows, 'row')}."]


def confusion(result: Result) -> list[Html]:
    if len(result.schema.classes) <= MOST_CLASSES:
        return [element("h3", "Confusion matrix"), _matrix(result)]
    parts = [element("h3", "Confusions")]
    if len(result.schema.classes) <= SIDE / 4:
        parts.append(_map(result))
    return [*parts, _worst_pairs(result)]


def _matrix(result: Result) -> Html:
    classes, rows = result.schema.classes, []
    for index, (title, counts) in enumerate(zip(classes, result.confusion.tolist(), strict=True)):
        cells = (_cell(count, sum(counts), index == place) for place, count in enumerate(counts))
        rows.append([name(title, 24), *cells])
    header = ["actual \\ predicted", *(name(each, 24) for each in classes)]
    caption = (
        "Test rows of each actual class (a line) by what they were taken for (a column), as a count and as a share."
    )
    return table(header, rows, caption, kind="matrix", named=True)


def _cell(count: int, total: int, own: bool) -> Cell:
    shade = _shade(count, total)
    kinds = [f"h{shade}"] * bool(shade) + ["own"] * own
    said = [f"{count:,}", Html("<br>"), element("span", percent(count / total), kind="soft")] if count else ["0"]
    return Cell(element("td", *said, kind=" ".join(kinds)))


def _shade(count: int, total: int) -> int:
    return min(SHADES, 1 + int(SHADES * count / total)) if count else 0


def _map(result: Result) -> Html:
    """A square for each pair that happened, the darker the larger its share of the actual class."""
    classes, totals = [plain(each, 14) for each in result.schema.classes], result.confusion.sum(1).tolist()
    axis, size = Axis(0, len(classes), 0, SIDE), SIDE / len(classes)
    parts = [
        words(LEFT + SIDE / 2, 14, "predicted, in the same order", "t m"),
        words(8, TOP + SIDE + 18, "actual", "t"),
    ]
    for index, title in enumerate(classes):
        if len(classes) <= MOST_NAMES:
            parts.append(words(LEFT - 8, TOP + axis.at(index + 0.5) + 4, title, "t e"))
        own, place = int(result.confusion[index, index]), axis.at(index)
        said = f"{title}: {own:,} of {totals[index]:,} right"
        parts.append(mark(said, box(LEFT + place, TOP + place, size, size, f"d{_shade(own, totals[index])}")))
    for count, actual, predicted in pairs(result)[:MOST_MARKS]:
        said = f"{classes[actual]} taken for {classes[predicted]}: {count:,} of {totals[actual]:,}"
        shade = _shade(5 * count, totals[actual])
        square = box(LEFT + axis.at(predicted), TOP + axis.at(actual), size, size, f"p{shade}")
        parts.append(mark(said, square))
    for place in (0, len(classes)):
        parts += [line(LEFT + axis.at(place), TOP, LEFT + axis.at(place), TOP + SIDE, "axis")]
        parts += [line(LEFT, TOP + axis.at(place), LEFT + SIDE, TOP + axis.at(place), "axis")]
    alt = f"A square for each confusion of {len(classes)} classes; the most frequent ones are in the table below."
    caption = "Blue: right. Orange: taken for another class, the darker the larger the share of the actual class;"
    caption += " the darkest from 16% on."
    return chart(drawing(LEFT + SIDE + 10, TOP + SIDE + 26, parts, alt), caption, kind="square")


def _worst_pairs(result: Result) -> Html:
    classes, found = result.schema.classes, pairs(result)
    rows = [
        [
            name(classes[actual]),
            name(classes[predicted]),
            f"{count:,}",
            percent(count / int(result.confusion[actual].sum())),
        ]
        for count, actual, predicted in found[:MOST_PAIRS]
    ]
    caption = "Which class is taken for which, the most frequent confusions first."
    if len(found) > len(rows):
        caption += f" The first {len(rows)} of {len(found):,}; all are in reports/confusion_matrix.csv."
    header = ["actual class", "taken for", "test rows", "of the actual class"]
    return table(header, rows, caption, kind="sort text", named=True)
