"""Columns of a table as numpy arrays."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def numbers(table: pa.Table, name: str) -> Floats:
    """A column as float64 [rows]. Not by `to_numpy`, which imports pandas."""
    return np.from_dlpack(table.column(name).cast(pa.float64()).combine_chunks()).astype(np.float64, copy=False)


def indices(table: pa.Table, name: str) -> NDArray[np.int64]:
    """A column of class indices, int64 [rows]."""
    return np.from_dlpack(table.column(name).cast(pa.int64()).combine_chunks()).astype(np.int64, copy=False)
