"""A Parquet table of which never more than a column is in memory."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from retrace.artifacts.tables import complete, group_pieces, parquet, read_pieces, read_table


class TableColumns:
    """Has of pa.Table what goes by columns, each of them read when it is asked for.

    types: names and types of the columns; num_rows; num_bytes: of each column by name, in memory, about.
    """

    def __init__(self, path: Path):
        self.path = path
        with parquet(path) as file:
            self.types, self.num_rows = file.schema_arrow, int(file.metadata.num_rows)
            self.num_bytes = {field.name: self._bytes(file, field) for field in self.types}

    def _bytes(self, file: pq.ParquetFile, field: pa.Field) -> int:
        """As the first row group has them, where they are texts: what a file stores of these says little."""
        if pa.types.is_primitive(field.type):
            return max(1, int(field.type.bit_width) // 8) * self.num_rows
        if not self.num_rows:
            return 0
        first = file.read_row_group(0, columns=[field.name]).column(0)
        return math.ceil(int(first.nbytes) / len(first) * self.num_rows)

    @property
    def column_names(self) -> list[str]:
        return list(self.types.names)

    def column(self, name: str) -> pa.ChunkedArray:
        """With one dictionary for all of it, as pa.Table.unify_dictionaries makes it."""
        kind = self.types.field(name).type
        if not pa.types.is_primitive(kind) or pa.types.is_boolean(kind):
            return read_table(self.path, [name]).unify_dictionaries().column(0)
        # Put together piece by piece: as it is read, and whole, it would be in memory twice.
        width, start = kind.bit_width // 8, 0
        values, valid = np.empty(self.num_rows * width, np.uint8), np.ones(self.num_rows, np.bool_)
        for piece in read_pieces(self.path, name):
            first, stop = piece.offset * width, start + len(piece)
            found = np.frombuffer(piece.buffers()[1], np.uint8)
            values[start * width : stop * width] = found[first : first + len(piece) * width]
            if piece.null_count:
                valid[start:stop] = piece.is_valid().to_numpy(zero_copy_only=False)
            start = stop
        # Arrow keeps what it has read for the next time; who reads one column after the other has need of it.
        pa.default_memory_pool().release_unused()
        whole = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
        return pa.chunked_array([pa.Array.from_buffers(kind, self.num_rows, [whole, pa.py_buffer(values)])])


Columns: TypeAlias = "pa.Table | TableColumns"


def pieces_of(table: Columns, name: str) -> Iterable[pa.Array]:
    """A column, a few rows at a time. Each piece of a file's may have a dictionary of its own."""
    return read_pieces(table.path, name) if isinstance(table, TableColumns) else table.column(name).chunks


def class_indices(table: Columns, name: str) -> NDArray[np.int16]:
    """A column of class indices [rows], of which there are few."""
    found: NDArray[np.int16] = table.column(name).to_numpy().astype(np.int16)
    return found


def read_evenly(path: Path, columns: list[str], rows: int) -> pa.Table:
    """So many rows of the file, evenly spaced; all of them where there are no more. As `read_table`, but by columns."""
    with parquet(path, columns) as file:
        count = file.metadata.num_rows
        if count <= rows:
            return complete(file.read(columns=columns), count)
        chosen = np.arange(rows) * count // rows
        found = []
        for name in columns:
            pieces, start = [], 0
            for group in range(file.num_row_groups):
                for piece in group_pieces(file, group, name):
                    first, last = np.searchsorted(chosen, (start, start + len(piece)))
                    pieces.append(piece.take(pa.array(chosen[first:last] - start)))
                    start += len(piece)
            found.append(pa.chunked_array(pieces, file.schema_arrow.field(name).type))
        types = pa.schema([file.schema_arrow.field(name) for name in columns], file.schema_arrow.metadata)
        return pa.table(found, schema=types)
