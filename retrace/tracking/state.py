"""The state of the pipeline, read from its files and checked against dvc.lock."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from retrace.artifacts.baseline import BASELINE
from retrace.artifacts.dvc_lock import Lock, read_lock
from retrace.artifacts.evaluation import (
    CALIBRATION,
    CLASSES,
    CLASSIFICATION_REPORT,
    CONFUSION_MATRIX,
    IMPORTANCE,
    PRECISION_RECALL,
    PREDICTIONS,
    REPLICAS,
    ROC,
    SLICES,
)
from retrace.artifacts.findings import FINDINGS, Finding, Findings
from retrace.artifacts.metrics import METRICS
from retrace.artifacts.paths import DATA, FIGURES, MODEL, TEST, TRAIN, VALIDATION, WEIGHTS
from retrace.artifacts.result_page import RESULT_PAGE, with_commit
from retrace.artifacts.schema import SCHEMA, Schema, read_schema
from retrace.artifacts.scores import SCORES, Scores
from retrace.artifacts.tables import count_rows, read_bytes, read_first, read_table, read_types
from retrace.artifacts.training import HISTORY, LOSS, STEPS, TRAINING, TrainingReport
from retrace.artifacts.typed import decode
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import restore
from retrace.runtime.stage_log import stages_that_ran
from retrace.tracking.environment import Git, Times, read_git, read_times
from retrace.tracking.model import CODE, ENTRY, Served
from retrace.tracking.registry import hits
from retrace.tracking.sync import DataSet

TABLES = (
    HISTORY.path,
    LOSS.path,
    BASELINE,
    CLASSIFICATION_REPORT,
    CLASSES.path,
    CONFUSION_MATRIX.path,
    DATA,
    FINDINGS,
    CALIBRATION.path,
    PRECISION_RECALL.path,
    REPLICAS.path,
    ROC.path,
    SLICES.path,
    IMPORTANCE.path,
)
EXAMPLES = 5
T = TypeVar("T")


class State(NamedTuple):
    """The pipeline's state, from its files.

    hits: which test rows are right; history: rows of HISTORY; steps: losses of the replica that ships, or the mean of
    all; tables: files that go with the run as they are; page: of the result, None where there was none yet.
    """

    lock: Lock
    schema: Schema
    training: TrainingReport
    scores: Scores
    findings: list[Finding]
    hits: np.ndarray[Any, np.dtype[np.bool_]]
    served: Served
    header: list[str]
    history: np.ndarray[Any, np.dtype[np.float64]]
    steps: np.ndarray[Any, np.dtype[np.floating[Any]]]
    figures: list[Path]
    tables: list[Path]
    page: str | None
    datasets: list[DataSet]
    times: Times
    git: Git
    ran: list[str]


def read_state(now: int) -> State:
    """Read and check the files; raises UserError when one is not what dvc.lock describes."""
    lock = read_lock()
    training = _read(lock, TRAINING, TrainingReport)
    rows = list(csv.reader(io.StringIO(lock.check(HISTORY.path).decode())))
    lock.check(STEPS.path)
    lock.check(SCHEMA)
    for path in (TRAIN, VALIDATION, TEST):
        lock.check_large(path)
    shown = range(len(training.replicas)) if training.shipped is None else [training.shipped]
    losses = read_table(STEPS.path, [f"replica_{replica}" for replica in shown])
    steps = [column.to_numpy() for column in losses.columns]
    schema = read_schema()
    figures = sorted(Path(path) for path in lock.outs if Path(path).parent == FIGURES)
    # Before there was reports/scores.json, all of it stood in reports/metrics.json.
    of_scores = SCORES if SCORES.as_posix() in lock.outs else METRICS
    tables = [of_scores, *TABLES]
    for path in (*tables, *figures, ENTRY, *CODE):
        # What serves is this stage's own, and not in the lock until it is done.
        (read_bytes if path.parent == ENTRY.parent else lock.check)(path)
    weights, scores = lock.check(WEIGHTS), _read(lock, of_scores, Scores)
    description = _parsed(MODEL, lock.check(MODEL), json.loads)
    git = read_git(lock)
    # States that were made before there was such a page have none.
    page = lock.check(RESULT_PAGE).decode() if RESULT_PAGE.as_posix() in lock.outs else None
    page = page and with_commit(page, git.commit, git.uncommitted)
    # Some real rows of what the model takes.
    example = read_first(TEST, EXAMPLES, description["features"]).combine_chunks()
    return State(
        lock=lock,
        schema=schema,
        training=training,
        scores=scores,
        findings=_read(lock, FINDINGS, Findings).findings,
        hits=_parsed(PREDICTIONS.path, lock.check(PREDICTIONS.path), hits),
        served=Served(description, (MODEL, WEIGHTS), example, scores.threshold, page),
        header=rows[0],
        history=np.array([[float(cell or "nan") for cell in row] for row in rows[1:]]).reshape(-1, len(rows[0])),
        steps=np.mean(steps, 0),
        figures=figures,
        tables=tables,
        page=page,
        datasets=[
            _dataset(TRAIN, "training", schema, lock),
            _dataset(VALIDATION, "validation", schema, lock),
            _dataset(TEST, "test", schema, lock),
        ],
        times=read_times(weights, now),
        git=git,
        ran=stages_that_ran(),
    )


def _read(lock: Lock, path: Path, kind: type[T]) -> T:
    return _parsed(path, lock.check(path), lambda content: decode(kind, content))


def _parsed(path: Path, content: bytes, parse: Callable[[bytes], T]) -> T:
    """The lock may tell the truth of a file that this code did not write."""
    try:
        return parse(content)
    except ValueError as error:
        reason = str(error).split("\n")[0]
        raise UserError(BAD_DATA, f"{path} is not what this code writes ({reason}); {restore(path)}") from None


def _dataset(path: Path, context: Any, schema: Schema, lock: Lock) -> DataSet:
    columns = {field.name: _column_type(field.type) for field in read_types(path)}
    digest = lock.outs[path.as_posix()]
    return DataSet(f"{schema.dataset} {path.stem}", context, path, digest, count_rows(path), columns)


def _column_type(kind: pa.DataType) -> str:
    """As MLflow's schemas name it."""
    if pa.types.is_timestamp(kind):
        return "datetime"
    if pa.types.is_boolean(kind):
        return "boolean"
    return "long" if pa.types.is_integer(kind) else "double" if pa.types.is_floating(kind) else "string"
