"""Writes the rows of each split in their order, a column at a time: memory holds all columns of a few rows, or all rows
of one column, and of the table as much as there is room for.

Whether the columns wait in memory or in a file until they are written does not show in a byte.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retrace.artifacts.findings import FINDINGS
from retrace.artifacts.paths import DATASET, TEST, TRAIN, VALIDATION
from retrace.artifacts.table_columns import TableColumns
from retrace.artifacts.tables import write_pieces
from retrace.data.groups import SplitRows
from retrace.data.values import one_chunk
from retrace.runtime.disk import require_disk
from retrace.runtime.memory import available, require_memory
from retrace.runtime.scratch import Scratch, closing_scratch

# A split is written in pieces of so many rows, each a row group of its file.
ROWS_AT_ONCE = 1 << 20
# In memory of each row, by method, whatever its columns: class, hash, order, and what it takes to find it (measured).
KEPT_BYTES = {"hash": 32, "time": 56, "random": 88, "stratified": 150, "group": 210}
FEWER = "leave rows or columns out of the table"


def require_room(table: TableColumns, method: str) -> None:
    """Raise UserError (status 4) where disk or memory have no room for the splits, whose rows are those of the table.

    method: how they are divided (split.method, not auto).
    """
    require_disk([TRAIN, FINDINGS], DATASET.stat().st_size, FEWER)
    rows = table.num_rows
    column = max(table.num_bytes.values(), default=0)
    piece = sum(table.num_bytes.values()) * min(rows, ROWS_AT_ONCE) // max(rows, 1)
    fix = FEWER if method == "hash" else f"set split.method: hash, which takes least memory, or {FEWER}"
    require_memory(rows * KEPT_BYTES[method] + max(column, piece), f"split: {DATASET}, {rows:,} rows,", fix)


def write_splits(table: TableColumns, splits: SplitRows) -> None:
    """data/train.parquet, data/validation.parquet and data/test.parquet: the rows of the table with these numbers."""
    size = sum(table.num_bytes.values())
    # As one column is read, and each of its pieces is put in order, there are three of it, at most.
    fits = size + 3 * max(table.num_bytes.values(), default=0) < available()
    with ExitStack() as stack:
        file = None if fits else stack.enter_context(closing_scratch(size, f"the rows of {DATASET}", FEWER))
        parts = [[rows[start : start + ROWS_AT_ONCE] for start in _starts(rows)] for rows in splits]
        ordered = {
            name: _ordered(table, name, [rows for part in parts for rows in part], file) for name in table.types.names
        }
        done = 0
        for path, part in zip((TRAIN, VALIDATION, TEST), parts, strict=True):
            places = range(done, done := done + len(part))
            write_pieces(path, _tables(table, ordered, places))


def _starts(rows: NDArray[np.int64]) -> range:
    """One piece without rows where there are none."""
    return range(0, max(len(rows), 1), ROWS_AT_ONCE)


class _Column(NamedTuple):
    """A column's pieces: in memory; or where each begins in a file, and its bytes, with what their bytes lack.

    dictionary: where the pieces that lie in the file are places in one.
    """

    pieces: list[Any]
    file: Scratch | None = None
    types: pa.Schema | None = None
    dictionary: pa.Array | None = None

    def take(self, place: int) -> pa.Array:
        """A piece; it is not asked for again."""
        found = self.pieces[place]
        if self.file is None:
            self.pieces[place] = None
            return found
        values = pa.ipc.read_record_batch(pa.py_buffer(self.file.read(*found)), self.types).column(0)
        return values if self.dictionary is None else pa.DictionaryArray.from_arrays(values, self.dictionary)


def _ordered(table: TableColumns, name: str, parts: Sequence[NDArray[np.int64]], file: Scratch | None) -> _Column:
    """A column of the table, its rows in these orders."""
    column = table.column(name)
    # In one piece texts of more than 2 GiB need wider places; the pieces that are written have the narrow ones.
    wide = pa.types.is_string(column.type)
    column = one_chunk(column.cast(pa.large_string()) if wide else column)
    taken = (column.take(pa.array(rows)) for rows in parts)
    pieces = (each.cast(pa.string()) for each in taken) if wide else taken
    if file is None:
        return _Column(list(pieces))
    dictionary = column.dictionary if isinstance(column, pa.DictionaryArray) else None
    kind = table.types.field(name).type if dictionary is None else column.type.index_type
    places, types = [], pa.schema([("values", kind)])
    for piece in pieces:
        values = piece if dictionary is None else piece.indices
        content = memoryview(pa.record_batch([values], types).serialize())
        places.append((file.append(content), len(content)))
    return _Column(places, file, types, dictionary)


def _tables(table: TableColumns, ordered: dict[str, _Column], places: range) -> Iterator[pa.Table]:
    for place in places:
        yield pa.table([column.take(place) for column in ordered.values()], schema=table.types)
