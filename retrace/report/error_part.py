"""Where a classifier is wrong: which classes for which, which parts of the rows, and which rows it was surest of."""

from retrace.report.confusion import confusion
from retrace.report.html import Html, element, table
from retrace.report.inputs import Result
from retrace.report.plane import plane
from retrace.report.words import counted, name, number, percent

MOST_SLICES = 40


def error_part(result: Result) -> list[Html]:
    parts = [*confusion(result), *_classes(result)]
    if drawn := plane(result):
        parts += [element("h3", "On a plane"), drawn]
    return [*parts, *_slices(result), *_wrong_rows(result)]


def _classes(result: Result) -> list[Html]:
    rows = [
        [name(title), f"{each.rows:,}", number(each.recall), number(each.precision), number(each.f1)]
        for title, each in result.scores.classes.items()
    ]
    rows.sort(key=lambda row: row[-1])
    caption = "The weakest first. Recall: the share of its rows that are found; precision: of rows that are called so."
    header = ["class", "test rows", "recall", "precision", "F1"]
    return [element("h3", "By class"), table(header, rows, caption, kind="sort", named=True)]


def _slices(result: Result) -> list[Html]:
    if not result.slices:
        return []
    rows = []
    for each in result.slices[:MOST_SLICES]:
        values = (number(value) for value in (each.accuracy, each.low, each.high))
        rows.append([name(each.column), name(each.value), f"{each.rows:,}", *values])
    caption = "Accuracy on parts of the test rows, the lowest first (evaluate.slices)."
    if len(result.slices) > len(rows):
        caption += f" The first {len(rows)} of {len(result.slices):,}; all are in reports/slices.csv."
    header = ["column", "value", "test rows", "accuracy", "from", "to"]
    return [element("h3", "By parts of the rows"), table(header, rows, caption, kind="sort", named=True)]


def _wrong_rows(result: Result) -> list[Html]:
    if not result.wrong:
        return []
    classes = result.schema.classes
    rows = [
        [
            f"{each.row:,}",
            name(classes[each.actual], 30),
            name(classes[each.predicted], 30),
            percent(each.chances[0]),
            percent(each.chances[1]),
            *(name(value, 40) for value in each.values),
        ]
        for each in result.wrong
    ]
    caption = (
        f"The {counted(len(rows), 'row')} where what is true had the least chance, by their place in data/test.parquet."
        " Identifiers, columns of report.private, and texts that fewer than ten training rows have are not shown."
    )
    header = ["test row", "is", "taken for", "sure of that", "chance of the truth"]
    header += [name(each, 30) for each in result.beside]
    return [element("h3", "The worst rows"), table(header, rows, caption, kind="sort text", named=True)]
