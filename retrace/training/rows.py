"""Training and validation rows as the network sees them, read in pieces: memory stays near one copy of them, or, where
they lie in a file, near a row group.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from retrace.artifacts.paths import TRAIN, VALIDATION
from retrace.artifacts.schema import Schema
from retrace.artifacts.table_columns import read_evenly
from retrace.artifacts.tables import count_rows, group_pieces, parquet
from retrace.params.train import Train
from retrace.preprocessing.apply import bridge, parts
from retrace.preprocessing.description import Number, Preprocessing, Unusable
from retrace.runtime.cores import cores
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.memory import available
from retrace.runtime.scratch import Scratch
from retrace.training.row_windows import windows_bytes
from retrace.training.stored import BYTES, StoredInputs, place_for

# Rows stay in memory where they take no more than this share of it.
COMFORTABLE = 0.5


class Rows(NamedTuple):
    """x [rows, inputs] float32, as the network sees them; y [rows] int16 class indices, of which there are few."""

    x: Tensor
    y: Tensor

    def to(self, device: torch.device) -> "Rows":
        return Rows(self.x.to(device), self.y.to(device))


class StoredRows(NamedTuple):
    """As Rows, x in a file."""

    x: StoredInputs
    y: Tensor

    def to(self, device: torch.device) -> "StoredRows":
        """What lies in the file stays there, and is brought to the device when it is wanted."""
        return StoredRows(self.x, self.y.to(device))


AnyRows: TypeAlias = Rows | StoredRows


def nothing_to_fit(schema: Schema, section: Train) -> bool:
    # A person's own table may lack a value in any row, also where no training row does.
    plain = section.scaling == "none" and not section.bins and section.residuals_above == 1
    return plain and not schema.own and not schema.kinds


def fit_preprocessing(path: Path, schema: Schema, section: Train) -> Preprocessing:
    """Of the training rows only, so that nothing of the others leaks into the model; with a window, of as many of them
    as it holds, evenly spaced."""
    if nothing_to_fit(schema, section):
        return Preprocessing([Number(name) for name in schema.features])
    # Not above: where there is nothing to fit, as in the classic circles, scikit-learn's second can be saved.
    from retrace.preprocessing.fit import fit

    table = read_evenly(path, schema.features, section.window or count_rows(path))
    return fit(
        table,
        schema,
        section.scaling,
        section.bins,
        section.residuals_above,
        section.rare_below,
        section.embed_above,
    )


@contextmanager
def rows_to_train(schema: Schema, section: Train, preprocessing: Preprocessing) -> Iterator[tuple[AnyRows, AnyRows]]:
    """Training and validation rows: in memory, or, with a window that holds not all, on the disk if memory is short.

    Raises as `read_rows` does, and where the disk has no room.
    """
    training, width = count_rows(TRAIN), preprocessing.width
    count = training + count_rows(VALIDATION)
    held = section.window is None or section.window >= training
    windows = windows_bytes(section.window or 0, width, min(cores(), section.replicas))
    if held or count * width * BYTES + windows < COMFORTABLE * available():
        yield read_rows(TRAIN, schema, preprocessing), read_rows(VALIDATION, schema, preprocessing)
        return
    with place_for(count, width, "use fewer rows or columns") as file:
        yield store_rows(TRAIN, schema, preprocessing, file), store_rows(VALIDATION, schema, preprocessing, file)


def read_rows(path: Path, schema: Schema, preprocessing: Preprocessing) -> Rows:
    """The table as tensors. Raises UserError for a value that the network cannot take, or an unknown class."""
    count = count_rows(path)
    x, y = torch.empty(count, preprocessing.width), torch.empty(count, dtype=torch.int16)
    with parquet(path, [*schema.features, schema.target]) as file:
        for group, start, stop in _groups(file):
            _encode(path, file, group, start, preprocessing, x[start:stop])
            _classes(path, file, group, schema, y[start:stop])
    # Arrow keeps the memory of what it read for the next time; there is none, and the training needs it.
    pa.default_memory_pool().release_unused()
    return Rows(x, y)


def store_rows(path: Path, schema: Schema, preprocessing: Preprocessing, into: Scratch) -> StoredRows:
    """As `read_rows`, x at the end of a file; a row group is in memory at a time."""
    y, stored = torch.empty(count_rows(path), dtype=torch.int16), StoredInputs(into, preprocessing.width)
    with parquet(path, [*schema.features, schema.target]) as file:
        groups = _groups(file)
        x = torch.empty(max((stop - start for _, start, stop in groups), default=0), preprocessing.width)
        for group, start, stop in groups:
            _encode(path, file, group, start, preprocessing, x[: stop - start])
            stored.append(x[: stop - start])
            _classes(path, file, group, schema, y[start:stop])
    pa.default_memory_pool().release_unused()
    return StoredRows(stored, y)


def _groups(file: pq.ParquetFile) -> list[tuple[int, int, int]]:
    """Row groups, and which rows of the file each has, from and to."""
    ends = np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]).tolist()
    return [(group, start, stop) for group, (start, stop) in enumerate(pairwise([0, *ends]))]


def _encode(path: Path, file: pq.ParquetFile, group: int, first: int, preprocessing: Preprocessing, x: Tensor) -> None:
    """The rows of a row group into x; first: how many rows of the file come before it."""
    paired, gaps = preprocessing.paired, {}
    for column, inputs, encoder in parts(preprocessing):
        start = 0
        if inputs[0] in paired:
            gaps[inputs[0]] = np.empty(len(x), dtype=np.bool_)
        for piece in group_pieces(file, group, column):
            try:
                encoded = encoder(piece).astype(np.float32)
            except Unusable as error:
                row = f"row {first + start + error.row + 1}"
                raise UserError(BAD_DATA, f"{path}: column {column}, {row}: {error.value} {error.rule}") from None
            x[start : start + len(piece), inputs] = torch.from_numpy(encoded[:, : len(inputs)])
            if inputs[0] in paired:
                gaps[inputs[0]][start : start + len(piece)] = encoded[:, 1] != 0
            start += len(piece)
    bridge(preprocessing, x.numpy(), gaps)


def _classes(path: Path, file: pq.ParquetFile, group: int, schema: Schema, y: Tensor) -> None:
    start = 0
    for piece in group_pieces(file, group, schema.target):
        classes = piece.to_numpy(zero_copy_only=False)
        if len(classes) and not 0 <= classes.min() <= classes.max() < len(schema.classes):
            rule = f"must hold class indices 0 to {len(schema.classes) - 1}"
            raise UserError(BAD_DATA, f"{path}: column {schema.target} {rule}")
        y[start : start + len(piece)] = torch.from_numpy(classes.astype(np.int16))
        start += len(piece)
