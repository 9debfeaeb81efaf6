"""Writes what `evaluate` found: tables for people, for `plot` and for `dvc plots`."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import classification_report, confusion_matrix, precision_recall_curve, roc_curve

from retrace.artifacts.evaluation import (
    BOUNDARY,
    CALIBRATION,
    CLASSES,
    CLASSIFICATION_REPORT,
    CONFUSION_MATRIX,
    IMPORTANCE,
    PRECISION_RECALL,
    PREDICTIONS,
    PROJECTION,
    REPLICAS,
    ROC,
    SLICES,
    Slice,
)
from retrace.artifacts.paths import TRAIN
from retrace.artifacts.plane import PlaneAxes, write_axes
from retrace.artifacts.schema import Schema
from retrace.artifacts.tables import count_rows
from retrace.artifacts.training import TrainingReport
from retrace.evaluation import plane as planes
from retrace.evaluation.importance import importance
from retrace.evaluation.metrics import Predictions, calibration
from retrace.evaluation.plane import Plane, grid, plane, space
from retrace.networks.model import Model, decide
from retrace.params.evaluate import Decided
from retrace.runtime.atomic import write_text
from retrace.runtime.text import shown

LESS_THAN = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"


def write_curves(verdict: Predictions, schema: Schema, section: Decided) -> None:
    """The tables behind the confusion matrix, ROC, precision-recall and calibration figures, and the report."""
    indices = list(range(len(schema.classes)))
    matrix = confusion_matrix(verdict.actual, verdict.predicted, labels=indices)
    counts = ([schema.classes[i], *map(int, matrix[i])] for i in indices)
    CONFUSION_MATRIX.write(counts, [*CONFUSION_MATRIX.columns, *schema.classes])
    # `dvc plots show` writes these into the script of its page as they stand, where `</script>` would end it.
    names = np.array([shown(name).replace("<", LESS_THAN) for name in schema.classes])
    CLASSES.write(zip(names[verdict.actual], names[verdict.predicted], strict=True))
    roc, precision_recall = [], []
    # With two classes the second one's curves say all; with more, each class stands against the rest.
    for index in indices[1:] if len(indices) == 2 else indices:
        positive, score = verdict.actual == index, verdict.probabilities[:, index]
        false, true, _ = roc_curve(positive, score)
        roc += [(schema.classes[index], float(x), float(y)) for x, y in zip(false, true, strict=True)]
        precision, recall, _ = precision_recall_curve(positive, score, drop_intermediate=True)
        precision_recall += [
            (schema.classes[index], float(x), float(y)) for x, y in zip(recall, precision, strict=True)
        ]
    ROC.write(roc)
    PRECISION_RECALL.write(precision_recall)
    CALIBRATION.write(calibration(verdict, section.calibration_bins))
    write_text(
        CLASSIFICATION_REPORT,
        classification_report(
            verdict.actual,
            verdict.predicted,
            labels=indices,
            target_names=[shown(name) for name in schema.classes],
            digits=4,
            zero_division=0,
        ),
    )


def write_slices(found: list[Slice]) -> None:
    SLICES.write(found)


def write_importance(model: Model, inputs: NDArray[np.float32], actual: NDArray[np.int64], section: Decided) -> None:
    found, rows = importance(model, inputs, actual, section)
    IMPORTANCE.write([each.column, *each.accuracy, *each.log_loss, rows] for each in found)


def write_plane(
    model: Model,
    training: pa.Table,
    test: pa.Table,
    inputs: NDArray[np.float32],
    verdict: Predictions,
    section: Decided,
) -> None:
    """The surface, and the rows on it.

    training: the rows that are drawn; inputs: the test rows as the network sees them.
    """
    points, shown = space(model, training), space(model, test, inputs)
    surface = plane(points, model.description)
    write_boundary(model, surface, shown, section)
    write_predictions(verdict, surface.coordinates(shown))
    x, y = surface.coordinates(points).T
    actual = training.column(model.description.target)
    PROJECTION.write(pa.table({"actual": actual, "x": x.copy(), "y": y.copy()}))
    write_axes(PlaneAxes(surface.labels[0], surface.labels[1], surface.projected, count_rows(TRAIN)))


def write_boundary(model: Model, surface: Plane, test: NDArray[np.float64], section: Decided) -> None:
    points = grid(surface.coordinates(test), section.grid)
    chances = planes.probabilities(model, surface.points(points))
    predicted = decide(chances, section.threshold)
    shown = chances[:, 1] if chances.shape[1] == 2 else chances.max(1)
    table = {"x": points[:, 0], "y": points[:, 1], "predicted": predicted, "probability": shown.astype(np.float32)}
    BOUNDARY.write(pa.table(table))


def write_predictions(verdict: Predictions, coordinates: NDArray[np.float64]) -> None:
    columns: dict[str, NDArray[Any]] = {"actual": verdict.actual, "predicted": verdict.predicted}
    columns |= {f"probability_{index}": column for index, column in enumerate(verdict.probabilities.T)}
    columns |= {"x": coordinates[:, 0], "y": coordinates[:, 1]}
    PREDICTIONS.write(pa.table({name: np.ascontiguousarray(column) for name, column in columns.items()}))


def write_replicas(spread: dict[str, NDArray[np.float64]], training: TrainingReport) -> None:
    """A row for each replica. spread: its metrics by name, [replicas]."""
    rows = [
        [index, int(training.shipped in (index, None)), item.best_epoch, item.best_validation_loss, *map(float, values)]
        for index, (item, *values) in enumerate(zip(training.replicas, *spread.values(), strict=True))
    ]
    REPLICAS.write(rows, [*REPLICAS.columns, *spread])
