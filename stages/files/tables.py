"""Parquet and JSON as the stages exchange them, with faults that name the file and the stage that writes it."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from stages.files.atomic import FORMULA, write
from stages.process.faults import BAD_DATA, Fault

RESTORE = "bring it back with: dvc checkout, or: dvc repro"


def native(path: Path) -> pa.NativeFile:
    """A file for Arrow to read. Of one that Python opened it hands pieces to threads of its own, which give them back
    when Python may be on its way out, and then abort the process: of stages that ended early 1 in 5 did so.
    """
    # What Python opens is told to whoever watches (a test does); Arrow opens without a word.
    sys.audit("open", str(path), "rb", os.O_RDONLY)
    return pa.OSFile(str(path))


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Fault(BAD_DATA, f"{path} not found; {RESTORE}") from None


def read_json(path: Path) -> Any:
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise Fault(BAD_DATA, f"{path} is not valid JSON ({error}); {RESTORE}") from None


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file, its page checksums verified; all columns, or the named ones."""
    with _parquet(path, columns) as file:
        # pq.read_table does the same, but imports pandas and pyarrow.dataset for it, for 0.3 s.
        return _complete(file.read(columns=columns), file.metadata.num_rows)


def read_first(path: Path, rows: int, columns: list[str]) -> pa.Table:
    """The first rows of `read_table`; of the rest of the file, what is in the same row group is read."""
    with _parquet(path, columns) as file:
        groups: list[int] = []
        found = 0
        while found < rows and len(groups) < file.num_row_groups:
            found += file.metadata.row_group(len(groups)).num_rows
            groups.append(len(groups))
        return _complete(file.read_row_groups(groups, columns=columns), found).slice(0, rows)


def read_pieces(path: Path, column: str) -> Iterator[pa.Array]:
    """One column in pieces of some ten thousand rows, so that memory does not grow with the file.

    (ParquetFile.iter_batches, and several columns at once, were seen to hold on to much of what they had read.)
    """
    with _parquet(path, [column]) as file:
        for group in range(file.num_row_groups):
            table = _complete(file.read_row_group(group, columns=[column]), file.metadata.row_group(group).num_rows)
            for batch in table.to_batches(max_chunksize=65_536):
                yield batch.column(0)


def read_types(path: Path) -> pa.Schema:
    """Names and types of the columns."""
    with _parquet(path) as file:
        return file.schema_arrow


def count_rows(path: Path) -> int:
    with _parquet(path) as file:
        return int(file.metadata.num_rows)


def count_missing(path: Path, column: str) -> int:
    """Null values of a column, from the file's own statistics: nothing else is read."""
    with _parquet(path, [column]) as file:
        metadata, index = file.metadata, file.schema_arrow.names.index(column)
        groups = range(metadata.num_row_groups)
        return sum(metadata.row_group(group).column(index).statistics.null_count for group in groups)


@contextmanager
def _parquet(path: Path, columns: list[str] | None = None) -> Iterator[pq.ParquetFile]:
    try:
        with native(path) as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            missing = [name for name in columns or () if name not in parquet.schema_arrow.names]
            if missing:
                raise Fault(BAD_DATA, f"{path}: column {missing[0]} is missing; {RESTORE}")
            yield parquet
    except FileNotFoundError:
        raise Fault(BAD_DATA, f"{path} not found; {RESTORE}") from None
    except MemoryError:  # Arrow's is an ArrowException, too
        raise
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise Fault(BAD_DATA, f"{path} is damaged ({reason}); {RESTORE}") from None


def _complete(table: pa.Table, rows: int) -> pa.Table:
    """A page's checksum is not of its header, which may say that the page has fewer values: Arrow believes it."""
    if table.num_rows != rows:
        raise pa.ArrowInvalid(f"{table.num_rows:,} rows where it should have {rows:,}")
    return table


def read_csv(path: Path, text: Sequence[str] = ()) -> pa.Table:
    """A CSV file as `atomic.write_csv` writes it: numbers, but for the columns `text` (a class may be called `NA`)."""
    types = pc.ConvertOptions(column_types=dict.fromkeys(text, pa.string()), null_values=[])
    try:
        with native(path) as file:
            table = pc.read_csv(file, parse_options=pc.ParseOptions(newlines_in_values=True), convert_options=types)
    except FileNotFoundError:
        raise Fault(BAD_DATA, f"{path} not found; {RESTORE}") from None
    except MemoryError:
        raise
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise Fault(BAD_DATA, f"{path} is damaged ({reason}); {RESTORE}") from None
    for name in text:
        values = table.column(name).to_pylist()
        plain = [value[1:] if value.startswith("'") and FORMULA.match(value) else value for value in values]
        if plain != values:
            table = table.set_column(table.column_names.index(name), name, pa.array(plain, pa.string()))
    return table


def write_table(path: Path, table: pa.Table) -> None:
    """Parquet with page checksums; the same table gives the same bytes."""
    write_pieces(path, [table])


def write_pieces(path: Path, pieces: Iterable[pa.Table]) -> None:
    """As `write_table`, piece by piece, all of one schema: of a long table only a piece needs to be in memory."""

    def fill(file: BinaryIO) -> None:
        waiting = iter(pieces)
        first = next(waiting)
        with pq.ParquetWriter(file, first.schema, write_page_checksum=True) as writer:
            writer.write_table(first)
            for piece in waiting:
                writer.write_table(piece)

    write(path, fill)
