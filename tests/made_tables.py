"""What `create`, `train` and `evaluate` would have written, made up: for tests of what reads it."""

from dataclasses import replace

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
from retrace.artifacts.plane import PlaneAxes, write_axes
from retrace.artifacts.schema import Schema, write_schema
from retrace.artifacts.scores import ClassScores, write_scores
from retrace.artifacts.training import HISTORY, STEPS, Trained, TrainingReport, write_training_report
from retrace.evaluation.intervals import wilson
from retrace.figures.inputs import Tables
from tests.scores import METRIC, comparison
from tests.scores import scores as result_of

NASTY = [
    "$x^2$",
    r"$\frac{1}{$",
    "_hidden",
    "two\nlines\tand \x00\x1b[31mcontrol",
    "\u202eright to left\u202c",
    "\u732b\U0001f600",
    "W" * 60,
    "W" * 59 + "x",
    "",
    "NA",
    "e\u0301\u0301\u0301\u0301",
]


def tables_of(
    names: list[str] | None = None,
    features: int = 2,
    test: int = 60,
    epochs: int = 4,
    steps: int = 5,
    replicas: int = 3,
    health: str = "dead",
    errors: int = 6,
    stopped: int | None = None,
    dataset: str = "tiny",
    prefix: str = "x",
    ship: str = "best",
) -> Tables:
    """Tables such as earlier stages write: `errors` test rows misclassified, replica 0 stopped after `stopped`."""
    random = np.random.default_rng(7)
    names = names or ["left", "right"]
    classes = len(names)
    schema = Schema(dataset, [f"x{index}" for index in range(features)], "kind", names, [10] * classes, None)

    def side(count: int) -> tuple[np.ndarray, np.ndarray]:
        kind = np.arange(count) % classes
        x = random.normal(size=(count, features)) + kind[:, None]
        return x @ np.eye(2, features).T, kind

    (train_place, train_kind), (place, actual) = side(2 * test), side(test)
    predicted = np.where(np.arange(test) < errors, (actual + 1) % classes, actual)
    probabilities = np.full((test, classes), 0.2 / classes)
    probabilities[np.arange(test), predicted] += 0.8
    side_x, side_y = np.meshgrid(np.linspace(-3, 4, 12), np.linspace(-2, 3, 12))
    chance = 1 / (1 + np.exp(-side_x.ravel()))

    epochs_of = [stopped if stopped and replica == 0 else epochs for replica in range(replicas)]
    step_losses = 1 / (1 + np.arange(steps * epochs)[:, None] + random.random((steps * epochs, replicas)))
    for replica, last in enumerate(epochs_of):
        step_losses[steps * last :, replica] = np.nan
    history = [
        {
            "epoch": epoch,
            "replica": replica,
            "train_loss": 1 / epoch + 0.1 * replica,
            "validation_loss": 1.2 / epoch + 0.1 * replica,
            "gradient_norm_layer_1": 0.1 / epoch,
            "gradient_norm_layer_2": 0.0 if replica == 0 else 0.3 / epoch,
            **({f"{health}_layer_1": 0.1 * replica} if health else {}),
            **({"validation_loss_of_mean": 0.9 / epoch + 0.01 * epoch**2} if ship == "mean" else {}),
        }
        for epoch in range(1, epochs + 1)
        for replica in range(replicas)
        if epoch <= epochs_of[replica]
    ]
    correct = test - errors
    low, high = wilson(correct, test, 0.95)
    metric = replace(METRIC, value=0.75, low=0.7, high=0.8)
    curve = [
        (name, value / 4, (value / 4) ** 0.5) for name in (names[1:] if classes == 2 else names) for value in range(5)
    ]
    return Tables(
        schema=schema,
        training=TrainingReport(
            **{"device": "cpu", "device_reason": "auto", "precision": "float32"},
            shipped=None if ship == "mean" else replicas - 1,
            steps_per_epoch=steps,
            replicas=[Trained(last, 0.4, last) for last in epochs_of],
            mean=Trained(3, 0.35, epochs) if ship == "mean" else None,
        ),
        scores=result_of(
            rows=test,
            correct=correct,
            accuracy=replace(metric, value=correct / test, low=low, high=high),
            **dict.fromkeys(("roc_auc", "average_precision", "calibration_error"), metric),
            classes={
                name: ClassScores(0.8, 0.8, 0.8, int((actual == index).sum())) for index, name in enumerate(names)
            },
            bayes=comparison(accuracy=0.95),
            baseline={
                "majority": comparison(accuracy=30 / 60, correct=test // 2),
                "logistic_regression": comparison(accuracy=0.85, correct=round(0.85 * test)),
                "gradient_boosting": comparison(accuracy=0.9, correct=round(0.9 * test)),
            },
        ),
        plane=PlaneAxes("x0", "x1" if features > 1 else "", features > 2, 2 * test),
        projection=pa.table({"actual": train_kind, "x": train_place[:, 0], "y": train_place[:, 1]}),
        history=pa.Table.from_pylist(history),
        steps=pa.table({f"replica_{index}": column for index, column in enumerate(step_losses.astype(np.float32).T)}),
        predictions=pa.table(
            {"actual": actual, "predicted": predicted, "x": place[:, 0], "y": place[:, 1]}
            | {f"probability_{index}": column for index, column in enumerate(probabilities.T)}
        ),
        boundary=pa.table(
            {
                "x": side_x.ravel(),
                "y": side_y.ravel(),
                "predicted": np.arange(144) * classes // 144,
                "probability": chance.astype(np.float32),
            }
        ),
        roc=pa.table(
            dict(zip(("class", "false_positive_rate", "true_positive_rate"), zip(*curve, strict=True), strict=True))
        ),
        precision_recall=pa.table(dict(zip(("class", "recall", "precision"), zip(*curve, strict=True), strict=True))),
        calibration=pa.table(
            {
                "low": [0.5, 0.9],
                "high": [0.6, 1.0],
                "confidence": [0.55, 0.97],
                "accuracy": [0.5, 1.0],
                "rows": [4, test - 4],
            }
        ),
        replicas=pa.table(
            {name: range(replicas) for name in REPLICAS.columns}
            | {"accuracy": [0.9 - 0.01 * index for index in range(replicas)]}
        ),
        importance=importance_of([f"{prefix}{index}" for index in range(features)], test),
    )


def importance_of(columns: list[str], rows: int) -> pa.Table:
    drop = 0.3 * 0.7 ** np.arange(len(columns)) - 0.01
    names = [f"{name}{end}" for name in ("accuracy_drop", "log_loss_increase") for end in ("", "_low", "_high")]
    values = [drop, drop - 0.02, drop + 0.02]
    return pa.table({"column": columns, **dict(zip(names, values * 2, strict=True)), "rows": [rows] * len(columns)})


def write_all(tables: Tables) -> None:
    write_schema(tables.schema)
    write_training_report(tables.training)
    write_scores(tables.scores)
    write_axes(tables.plane)
    for file in (PROJECTION, STEPS, PREDICTIONS, BOUNDARY):
        file.write(getattr(tables, file.path.stem))
    for file in (HISTORY, ROC, PRECISION_RECALL, CALIBRATION, REPLICAS, IMPORTANCE):
        table = getattr(tables, file.path.stem)
        file.write(zip(*(column.to_pylist() for column in table.columns), strict=True), table.column_names)
