"""What the figures are drawn from: the tables of the stages before, as they stand in their files."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from retrace.artifacts.evaluation import (
    BOUNDARY,
    CALIBRATION,
    IMPORTANCE,
    PRECISION_RECALL,
    PREDICTIONS,
    PROJECTION,
    REPLICAS,
    ROC,
)
from retrace.artifacts.plane import PlaneAxes, read_axes
from retrace.artifacts.schema import Schema, read_schema
from retrace.artifacts.scores import Scores, read_scores
from retrace.artifacts.training import HISTORY, STEPS, TrainingReport, read_training_report
from retrace.evaluation.comparisons import what_ships
from retrace.figures.columns import Floats, numbers


@dataclass(frozen=True)
class Tables:
    """schema, training, scores and plane: the contents of JSON files; the others: tables, named like their files.

    retrace/artifacts/ says what each holds.
    """

    schema: Schema
    training: TrainingReport
    scores: Scores
    plane: PlaneAxes
    projection: pa.Table
    history: pa.Table
    steps: pa.Table
    predictions: pa.Table
    boundary: pa.Table
    roc: pa.Table
    precision_recall: pa.Table
    calibration: pa.Table
    replicas: pa.Table
    importance: pa.Table

    @property
    def shipped(self) -> int | None:
        """The replica that ships, counted from 0; None where the mean of all does."""
        return self.training.shipped

    @property
    def ships(self) -> str:
        """What ships, in words."""
        return what_ships(self.shipped, self.count)

    @property
    def count(self) -> int:
        """How many replicas there are."""
        return len(self.training.replicas)


def read_tables() -> Tables:
    """Raises UserError for a file that is missing, damaged, or not what this code writes."""
    return Tables(
        schema=read_schema(),
        training=read_training_report(),
        scores=read_scores(),
        plane=read_axes(),
        projection=PROJECTION.read(),
        history=HISTORY.read(),
        steps=STEPS.read(),
        predictions=PREDICTIONS.read(),
        boundary=BOUNDARY.read(),
        roc=ROC.read(),
        precision_recall=PRECISION_RECALL.read(),
        calibration=CALIBRATION.read(),
        replicas=REPLICAS.read(),
        importance=IMPORTANCE.read(),
    )


def by_replica(history: pa.Table, name: str, count: int) -> tuple[Floats, Floats]:
    """A column of the history as (epochs [epochs], values [replicas, epochs]); NaN after a replica stopped early."""
    epoch = numbers(history, "epoch").astype(np.int64)
    replica = numbers(history, "replica").astype(np.int64)
    values = np.full((count, epoch.max()), np.nan)
    values[replica, epoch - 1] = numbers(history, name)
    return np.arange(1.0, epoch.max() + 1), values
