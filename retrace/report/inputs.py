"""What the page of a result is made from: files that earlier stages wrote, and of the rows no more than it shows."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from retrace.artifacts.decisions import as_written, read_decisions
from retrace.artifacts.evaluation import (
    BOUNDARY,
    CALIBRATION,
    CONFUSION_MATRIX,
    IMPORTANCE,
    PREDICTIONS,
    REPLICAS,
    SLICES,
    Slice,
)
from retrace.artifacts.findings import FINDINGS, Finding, Findings
from retrace.artifacts.paths import MODEL, TEST, TRAIN, VALIDATION
from retrace.artifacts.plane import PlaneAxes, read_axes
from retrace.artifacts.schema import Schema, read_schema
from retrace.artifacts.scores import SCORES, Scores, read_scores
from retrace.artifacts.tables import read_bytes, read_json, read_table
from retrace.artifacts.training import HISTORY, TrainingReport, read_training_report
from retrace.artifacts.typed import read_typed
from retrace.evaluation.comparisons import what_ships
from retrace.figures.columns import Floats, indices, numbers
from retrace.params.messages import suggest
from retrace.params.reader import fault
from retrace.params.report import Report
from retrace.params.shipped import shipped
from retrace.report.profile import Profile, profile, shown
from retrace.runtime.digest import md5
from retrace.runtime.text import listed

# Columns that the page describes, and those of them that stand beside a row that is wrong.
MOST_COLUMNS, MOST_BESIDE = 30, 5


@dataclass(frozen=True)
class WrongRow:
    """row: its place in data/test.parquet, from 1; chances: of what it was taken for, and of what it is."""

    row: int
    actual: int
    predicted: int
    chances: tuple[float, float]
    values: list[str]


@dataclass(frozen=True)
class Result:
    """schema to confusion: the contents of files; retrace/artifacts/ says what each holds.

    digest:    MD5 of reports/scores.json, by which dvc.lock knows this result.
    model:     models/model.json.
    rows:      rows of each class in training, validation and test [3, classes].
    profiles:  of the columns that are needed most and whose values may be shown.
    wrong:     the surest mistakes first; beside: the columns of their values.
    private:   columns whose values the page must not show.
    decisions: each parameter, as params.yaml has it; shipped: the same of the shipped one.
    """

    schema: Schema
    training: TrainingReport
    scores: Scores
    findings: list[Finding]
    model: Mapping[str, Any]
    axes: PlaneAxes
    boundary: pa.Table
    predictions: pa.Table
    calibration: pa.Table
    importance: pa.Table
    replicas: pa.Table
    history: pa.Table
    slices: list[Slice]
    confusion: np.ndarray[Any, np.dtype[np.int64]]
    digest: str
    rows: np.ndarray[Any, np.dtype[np.int64]]
    profiles: list[Profile]
    beside: list[str]
    wrong: list[WrongRow]
    private: frozenset[str]
    decisions: dict[str, str]
    shipped: dict[str, str]

    @property
    def ships(self) -> str:
        """What ships, in words."""
        return what_ships(self.training.shipped, len(self.training.replicas))


def read_result(section: Report) -> Result:
    """Raises UserError for a file that is missing, damaged, or not what this code writes; or a column that is none."""
    schema, importance, predictions = read_schema(), IMPORTANCE.read(), PREDICTIONS.read()
    there = [*schema.features, *schema.carried]
    for column in section.private:
        if column not in there:
            hint = suggest(column, there) or f" ({listed(there)})"
            raise fault(Report, "private", f"must name columns of the data set; {column!r} is none{hint}")
    # What names a row is no feature, and so is not among them.
    told = [column for column in importance.column("column").to_pylist() if column not in section.private]
    profiles = [profile(read_table(TRAIN, [name]).column(name), name, schema) for name in told[:MOST_COLUMNS]]
    beside, places = told[:MOST_BESIDE], surest_mistakes(predictions, section.worst_rows)
    hidden = {*section.private, *schema.carried}
    return Result(
        schema=schema,
        training=read_training_report(),
        scores=read_scores(),
        findings=[_quoting_nothing(each, hidden) for each in read_typed(FINDINGS, Findings).findings],
        model=read_json(MODEL),
        axes=read_axes(),
        boundary=BOUNDARY.read(),
        predictions=predictions,
        calibration=CALIBRATION.read(),
        importance=importance,
        replicas=REPLICAS.read(),
        history=HISTORY.read(),
        slices=[Slice(*row.values()) for row in SLICES.read().to_pylist() if row["column"] not in section.private],
        confusion=_counts(CONFUSION_MATRIX.read()),
        digest=md5(read_bytes(SCORES)).hexdigest(),
        rows=np.array([_classes(path, schema) for path in (TRAIN, VALIDATION, TEST)]),
        profiles=profiles,
        beside=beside,
        wrong=_wrong_rows(predictions, places, beside, profiles),
        private=frozenset(section.private),
        decisions=read_decisions(),
        shipped={key: as_written(value) for key, value in shipped().items()},
    )


def _quoting_nothing(finding: Finding, hidden: Container[str]) -> Finding:
    """What was found of a column may quote its values; of one whose values are not shown it is the kind alone."""
    if finding.column not in hidden:
        return finding
    text = f"column {finding.column}, whose values are not shown: {finding.kind.replace('_', ' ')}"
    return replace(finding, text=text)


def surest_mistakes(predictions: pa.Table, count: int) -> list[int]:
    """Places of test rows that are wrong, those first whose own class had the least chance."""
    actual = indices(predictions, "actual")
    wrong = np.flatnonzero(actual != indices(predictions, "predicted"))
    chances = np.zeros(len(actual))
    for index in np.unique(actual[wrong]):
        of_class = actual == index
        chances[of_class] = numbers(predictions, f"probability_{index}")[of_class]
    return [int(place) for place in wrong[np.argsort(chances[wrong], kind="stable")][:count]]


def _wrong_rows(
    predictions: pa.Table, places: Sequence[int], beside: Sequence[str], profiles: Sequence[Profile]
) -> list[WrongRow]:
    if not places:
        return []
    rows = predictions.take(places).to_pylist()
    columns = [read_table(TEST, [name]).column(name).take(places).to_pylist() for name in beside]
    values = [[shown(value, each) for value in column] for column, each in zip(columns, profiles, strict=False)]
    return [
        WrongRow(
            row=place + 1,
            actual=row["actual"],
            predicted=row["predicted"],
            chances=(row[f"probability_{row['predicted']}"], row[f"probability_{row['actual']}"]),
            values=[column[index] for column in values],
        )
        for index, (place, row) in enumerate(zip(places, rows, strict=True))
    ]


def _classes(path: Path, schema: Schema) -> list[int]:
    """Rows of each class there."""
    column = indices(read_table(path, [schema.target]), schema.target)
    return [int(count) for count in np.bincount(column, minlength=len(schema.classes))]


def _counts(table: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """By place, since classes may be called alike once they are written: [actual, predicted]."""
    return np.array([column.to_pylist() for column in table.columns[1:]], np.int64).reshape(-1, table.num_rows).T


def spread(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Least, mean and largest over the first axis; NaN where none is known."""
    known = np.isfinite(values)
    count = known.sum(0)
    filled = np.where(known, values, 0.0)
    mean = np.divide(filled.sum(0), count, out=np.full(values.shape[1], np.nan), where=count > 0)
    least, largest = np.where(known, values, np.inf).min(0), np.where(known, values, -np.inf).max(0)
    return np.where(count > 0, least, np.nan), mean, np.where(count > 0, largest, np.nan)
