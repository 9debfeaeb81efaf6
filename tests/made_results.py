"""What the page of a result is made from, made up, in the working directory; texts that it must not break on."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from retrace.artifacts.decisions import write_decisions
from retrace.artifacts.evaluation import CONFUSION_MATRIX, SLICES, Slice
from retrace.artifacts.findings import Finding, write_findings
from retrace.artifacts.paths import MODEL, TEST, TRAIN, VALIDATION
from retrace.artifacts.schema import write_schema
from retrace.artifacts.tables import write_table
from retrace.figures.columns import indices
from retrace.figures.inputs import Tables
from retrace.params.reader import leaves
from retrace.params.report import Report
from retrace.report.inputs import Result, read_result
from tests.conftest import VALUES
from tests.made_tables import NASTY, tables_of, write_all

SCRIPT = "</script><script>alert(1)</script>"
QUOTES = '"><img src=x onerror=alert(1)>'
HOSTILE = [SCRIPT, QUOTES, "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd", "W" * 300, "a b" * 40, "", *NASTY]
DECIDING = ("create", "split", "baseline", "train", "evaluate")

SHAPES: dict[str, dict[str, Any]] = {
    "as it should be": {},
    "hostile names": {"names": HOSTILE, "dataset": SCRIPT, "test": 4 * len(HOSTILE), "prefix": QUOTES, "features": 3},
    "two hostile classes": {"names": [SCRIPT, QUOTES], "prefix": SCRIPT},
    "a hundred classes": {"names": [f"class {index} {'W' * 40}" for index in range(100)], "test": 800, "errors": 500},
    "a thousand columns": {"features": 1000, "prefix": "a column with a long name " + "W" * 30},
    "one feature": {"features": 1},
    "one of everything": {"features": 1, "epochs": 1, "steps": 1, "replicas": 1, "errors": 0, "test": 30},
    "the mean of eight": {"ship": "mean", "replicas": 8},
    "a long training": {"epochs": 2000, "steps": 1, "replicas": 4, "stopped": 700},
    "forty classes, projected": {"names": [f"class {index}" for index in range(40)], "features": 9, "test": 400},
}


def write_result(shape: str = "as it should be", **changes: Any) -> Tables:
    """changes: of parameters, by dotted name."""
    tables = tables_of(**SHAPES[shape])
    schema, random = tables.schema, np.random.default_rng(1)
    actual, predicted = indices(tables.predictions, "actual"), indices(tables.predictions, "predicted")
    classes = len(schema.classes)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (actual, predicted), 1)
    importance = tables.importance
    schema = replace(schema, features=importance.column("column").to_pylist())
    if classes == 2 and shape == "two hostile classes":
        # A column of each kind, and two that are no features.
        others = ["when", "flag", "text", "rare"]
        kinds = {"when": "datetime", "flag": "boolean", "text": "categorical", "rare": "categorical"}
        schema = replace(schema, features=[*schema.features, *others], kinds=kinds, carried=["name", "note"])
        more = importance.slice(0, 1).to_pylist() * len(others)
        rows = [*importance.to_pylist(), *({**row, "column": name} for row, name in zip(more, others, strict=True))]
        importance = pa.Table.from_pylist(rows)
    tables = replace(tables, schema=schema, importance=importance)
    write_all(tables)
    write_schema(schema)
    sides = {TRAIN: np.arange(100 * classes) % classes, VALIDATION: np.arange(classes), TEST: actual}
    for path, target in sides.items():
        columns = {name: column(schema.kind(name), len(target), random) for name in schema.features}
        if schema.carried:
            columns |= {"name": [f"Person {row}" for row in range(len(target))], "note": ["secret"] * len(target)}
        write_table(path, pa.table({**columns, schema.target: target}))
    CONFUSION_MATRIX.write(
        ([name, *row] for name, row in zip(schema.classes, counts.tolist(), strict=True)),
        ["actual", *schema.classes],
    )
    first = schema.features[0]
    SLICES.write([Slice(first, SCRIPT, 20, 10, 0.5, 0.3, 0.7), Slice("note", "secret", 10, 9, 0.9, 0.6, 0.98)])
    constant = Finding("constant", first, f"column {SCRIPT} is the same in every row", "create.columns.ignored")
    quoting = Finding("looks_like", "name", "column name looks like persons: Person 1, Person 2", "create.columns")
    write_findings([quoting] * (shape == "two hostile classes") + [constant] * (40 * ("hostile" in shape)))
    values = dict(leaves({name: VALUES[name] for name in DECIDING}))
    write_decisions({**values, **changes})
    MODEL.parent.mkdir(exist_ok=True)
    MODEL.write_text('{"hidden": [10], "activation": "relu", "sha256": {"model.safetensors": "0123abcd"}}')
    return tables


def column(kind: str, rows: int, random: np.random.Generator) -> Any:
    if kind == "numeric":
        return random.normal(size=rows)
    if kind == "boolean":
        return [bool(row % 3) for row in range(rows)]
    if kind == "datetime":
        return pa.array([datetime(2026, 1, 1 + row % 28) for row in range(rows)], pa.timestamp("us"))
    texts = [f"only in row {row}" if row % 50 == 0 else [SCRIPT, "plain", None][row % 3] for row in range(rows)]
    return pa.array(texts).dictionary_encode()


def section(**changes: Any) -> Report:
    return Report.model_validate({**VALUES["report"], **changes})


def made(shape: str = "as it should be", **changes: Any) -> Result:
    write_result(shape, **changes)
    return read_result(section())
