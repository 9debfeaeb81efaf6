"""Training and validation rows as tensors, read in pieces: memory stays near one copy of the tensors."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from stages.datasets.schema import Schema
from stages.files.tables import count_rows, read_pieces, read_table
from stages.network.model import scale
from stages.process.faults import BAD_DATA, Fault


class Rows(NamedTuple):
    """x [rows, features] float32, scaled; y [rows] int32 class indices."""

    x: Tensor
    y: Tensor


def fit_scaling(path: Path, schema: Schema, scaling: str) -> tuple[list[float], list[float]]:
    """center and spread by feature: of the training rows only, so that nothing of the others leaks into the model."""
    centers, spreads = [0.0] * len(schema.features), [1.0] * len(schema.features)
    if scaling == "standard":
        for index, name in enumerate(schema.features):
            column = read_table(path, [name]).column(name).to_numpy()
            centers[index] = float(column.mean())
            spreads[index] = float(column.std()) or 1.0  # a constant column carries nothing: any spread will do
    return centers, spreads


def read_rows(path: Path, schema: Schema, center: list[float], spread: list[float]) -> Rows:
    """The table as tensors; raises Fault for a value that is not a finite float32 or a class that does not exist."""
    count = count_rows(path)
    x, y = torch.empty(count, len(schema.features)), torch.empty(count, dtype=torch.int32)
    for index, name in enumerate(schema.features):
        start = 0
        for piece in read_pieces(path, name):
            values = piece.to_numpy(zero_copy_only=False)
            scaled = scale([values], center[index : index + 1], spread[index : index + 1])[:, 0]
            bad = ~torch.isfinite(scaled)
            if bad.any():
                row = int(bad.int().argmax())
                raise Fault(
                    BAD_DATA,
                    f"{path}: column {name} must hold finite numbers below 3.4e38; row {start + row + 1} holds"
                    f" {values[row]}",
                )
            x[start : start + len(values), index] = scaled
            start += len(values)
    start = 0
    for piece in read_pieces(path, schema.target):
        y[start : start + len(piece)] = torch.from_numpy(piece.to_numpy(zero_copy_only=False).astype(np.int32))
        start += len(piece)
    if count and not 0 <= int(y.min()) <= int(y.max()) < len(schema.classes):
        raise Fault(BAD_DATA, f"{path}: column {schema.target} must hold class indices 0 to {len(schema.classes) - 1}")
    # Arrow keeps the memory of what it read for the next time; there is none, and the training needs it.
    pa.default_memory_pool().release_unused()
    return Rows(x, y)
