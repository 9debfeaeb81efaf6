"""Training and validation rows as tensors, read a column at a time: memory stays near one copy of the tensors."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.datasets.schema import Schema
from stages.files.tables import read_table
from stages.network.model import scale
from stages.process.faults import BAD_DATA, Fault


class Rows(NamedTuple):
    """x [rows, features] float32, scaled; y [rows] int64 class indices."""

    x: Tensor
    y: Tensor


def fit_scaling(path: Path, schema: Schema, scaling: str) -> tuple[list[float], list[float]]:
    """center and spread by feature: of the training rows only, so that nothing of the others leaks into the model."""
    centers, spreads = [0.0] * len(schema.features), [1.0] * len(schema.features)
    if scaling == "standard":
        for index, column in enumerate(_columns(path, schema)):
            centers[index] = float(column.mean())
            spreads[index] = float(column.std()) or 1.0  # a constant column carries nothing: any spread will do
    return centers, spreads


def read_rows(path: Path, schema: Schema, center: list[float], spread: list[float]) -> Rows:
    """The table as tensors; raises Fault for a value that is not a finite float32 or a class that does not exist."""
    scaled = []
    for index, column in enumerate(_columns(path, schema)):
        values = scale([column], center[index : index + 1], spread[index : index + 1])
        bad = ~torch.isfinite(values[:, 0])
        if bad.any():
            row = int(bad.int().argmax())
            raise Fault(
                BAD_DATA,
                f"{path}: column {schema.features[index]} must hold finite numbers below 3.4e38; row {row + 1} holds"
                f" {column[row]}",
            )
        scaled.append(values)
    y = torch.from_numpy(_column(path, schema.target).astype(np.int64))
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < len(schema.classes):
        raise Fault(BAD_DATA, f"{path}: column {schema.target} must hold class indices 0 to {len(schema.classes) - 1}")
    return Rows(torch.cat(scaled, 1), y)


def _columns(path: Path, schema: Schema) -> Iterator[NDArray[np.float64]]:
    for name in schema.features:
        yield _column(path, name)


def _column(path: Path, name: str) -> NDArray[np.float64]:
    table = read_table(path, [name])
    if name not in table.column_names:
        raise Fault(BAD_DATA, f"{path}: column {name} is missing; run: dvc repro")
    column: NDArray[np.float64] = table.column(name).to_numpy()
    return column
