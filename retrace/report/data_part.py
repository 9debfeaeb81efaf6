"""What the data look like, and what is suspicious about them."""

from retrace.report.charts import bars
from retrace.report.html import Html, element, joined, table
from retrace.report.inputs import MOST_COLUMNS, Result
from retrace.report.words import counted, name, percent

MOST_FINDINGS, MOST_CLASSES = 30, 100


def data_part(result: Result) -> list[Html]:
    schema, total = result.schema, int(result.rows.sum())
    kinds: dict[str, int] = {}
    for feature in schema.features:
        kinds[schema.kind(feature)] = kinds.get(schema.kind(feature), 0) + 1
    of = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    columns, classes = counted(len(schema.features), "column"), counted(len(schema.classes), "class", "classes")
    said = f"{counted(total, 'row')}, {columns} ({of}), {classes}."
    if schema.carried:
        said += f" {counted(len(schema.carried), 'other column is', 'other columns are')} no feature."
    return [element("p", said), *_findings(result), *_classes(result), *_columns(result)]


def _findings(result: Result) -> list[Html]:
    heading = element("h3", "What is suspicious")
    if not result.findings:
        return [heading, element("p", "Nothing suspicious was found; reports/data.md says what was asked.")]
    shown = result.findings[:MOST_FINDINGS]
    found = joined(element("li", each.text, f" ({each.param} settles it)") for each in shown)
    more = len(result.findings) - len(shown)
    parts = [heading, element("ul", found)]
    return [*parts, element("p", f"And {more:,} more, in reports/data.md.", kind="soft")] if more else parts


def _classes(result: Result) -> list[Html]:
    totals = result.rows.sum(1).tolist()
    rows = []
    for title, counts in zip(result.schema.classes, result.rows.T.tolist()[:MOST_CLASSES], strict=False):
        cells = (f"{count:,} ({percent(count / (whole or 1))})" for count, whole in zip(counts, totals, strict=True))
        rows.append([name(title), *cells])
    rows.append([element("strong", "all"), *(f"{count:,}" for count in totals)])
    caption = "Rows of each class, and their share of the part."
    if (more := len(result.schema.classes) - MOST_CLASSES) > 0:
        caption += f" {more:,} more classes are in reports/data.md."
    return [element("h3", "Classes"), table(["class", "training", "validation", "test"], rows, caption, named=True)]


def _columns(result: Result) -> list[Html]:
    rows = [
        [name(each.name), each.kind, percent(each.missing), each.about, bars(each.bars)] for each in result.profiles
    ]
    which = "Columns by training rows, those that the network needs most first."
    if hidden := len(result.schema.features) - len(rows):
        others = counted(hidden, "other one is", "other ones are")
        which += f" {others} not shown: private (report.private), or beyond the first {MOST_COLUMNS}."
    header = ["column", "kind", "missing", "values", "distribution"]
    return [element("h3", "Columns"), table(header, rows, which, kind="text", named=True)] if rows else []
