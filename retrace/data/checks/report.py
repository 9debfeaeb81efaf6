"""reports/data.md, for people, and reports/data.json, for programs."""

import re
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from retrace.artifacts.findings import FINDINGS, write_findings
from retrace.artifacts.paths import DATA
from retrace.artifacts.schema import Schema
from retrace.data.checks.examine import Examination
from retrace.data.groups import SplitRows, class_counts
from retrace.runtime.atomic import write_text
from retrace.runtime.markdown import table
from retrace.runtime.text import one_line

# So that a table with ten thousand columns is still a page; the JSON names them all.
MOST_NAMED, MOST_FINDINGS, LONGEST = 20, 200, 500


def write_report(
    schema: Schema, splits: SplitRows, target: NDArray[np.integer], method: str, examination: Examination
) -> None:
    write_text(DATA, report(schema, splits, target, method, examination))
    write_findings(examination.findings)


def plain(text: str) -> str:
    """Any text as words in a paragraph or a cell of Markdown, with no more signs in it than that takes."""
    line = " ".join(one_line(text, LONGEST).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", line)


def report(
    schema: Schema, splits: SplitRows, target: NDArray[np.integer], method: str, examination: Examination
) -> str:
    """Markdown; names from the data are escaped, whatever they hold."""
    lines = [
        "# The data",
        "",
        f"{plain(schema.dataset)}: {sum(schema.counts):,} rows, {_count(len(schema.features), 'feature')},"
        f" {len(schema.classes)} classes of {plain(schema.target)}; divided by split.method: {method}.",
        "",
        "## Findings",
        "",
        *_findings(examination),
        "",
        "## What was asked",
        "",
        *(f"- {plain(line)}" for line in examination.checked),
        "",
        "## Rows",
        "",
        table(["class", "training", "validation", "test", "all"], _rows(schema, splits, target)),
        "",
        "## Features",
        "",
        table(["kind", "columns", "which"], _features(schema), "---"),
    ]
    return "\n".join(lines) + "\n"


def _findings(examination: Examination) -> list[str]:
    if not examination.findings:
        return ["Nothing suspicious was found."]
    shown = [
        ["warning", plain(each.column) or "-", plain(each.text), plain(each.param)]
        for each in examination.findings[:MOST_FINDINGS]
    ]
    lines = [table(["severity", "column", "what", "settled by"], shown, "---")]
    if len(examination.findings) > len(shown):
        lines += ["", f"And {len(examination.findings) - len(shown):,} more, in {FINDINGS}."]
    return lines


def _rows(schema: Schema, splits: SplitRows, target: NDArray[np.integer]) -> list[list[str]]:
    counts = np.array([class_counts(target, len(schema.classes), rows) for rows in splits])
    columns = np.vstack([counts, counts.sum(0)]).T
    rows = [[plain(name), *_cells(row)] for name, row in zip(schema.classes, columns, strict=True)]
    return [*rows, ["all", *_cells(columns.sum(0))]]


def _cells(counts: NDArray[np.int64]) -> list[str]:
    total = int(counts[-1])
    return [f"{count:,} ({count / total:.1%})" if total else "0" for count in counts.tolist()[:-1]] + [f"{total:,}"]


def _features(schema: Schema) -> list[list[str]]:
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in schema.features:
        kinds[schema.kind(name)].append(name)
    if schema.carried:
        kinds["no feature"] = schema.carried
    return [[kind, f"{len(names):,}", _named(names)] for kind, names in sorted(kinds.items())]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(map(plain, names[:MOST_NAMED])) + more


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")
