"""Parquet and JSON as the stages exchange them, with faults that name the file and the stage that writes it."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from retrace.runtime.atomic import FORMULA, write
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import check, restore

# Parquet has checksums for its pages and none for its footer, which says what types the columns have, how many rows and
# missing values there are and where they lie. Ours has one before it, where other readers look at nothing.
SEAL = b"SHA-256 of the footer: "


def native(path: Path) -> pa.NativeFile:
    """A file for Arrow to read. Of one that Python opened it hands pieces to threads of its own, which give them back
    when Python may be on its way out, and then abort the process: of stages that ended early 1 in 5 did so.
    """
    return pa.OSFile(str(path))


def read_bytes(path: Path) -> bytes:
    with opened(path) as file:
        content: bytes = file.read()
        return content


def read_json(path: Path) -> Any:
    content = read_bytes(path)
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(BAD_DATA, f"{path} is not valid JSON ({error}); {restore(path)}") from None
    check(path, content)
    return tree


@contextmanager
def opened(path: Path) -> Iterator[pa.NativeFile]:
    """The file; raises UserError where there is none."""
    try:
        # Of what cannot be opened Python says more than Arrow.
        with open(path, "rb"):
            file = native(path)
    except FileNotFoundError:
        raise UserError(BAD_DATA, f"{path} not found; {restore(path)}") from None
    except IsADirectoryError:
        raise UserError(BAD_DATA, f"{path} is a folder and must be a file; {restore(path)}") from None
    with file:
        yield file


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file, its checksums verified; all columns, or the named ones."""
    with parquet(path, columns) as file:
        # pq.read_table does the same, but imports pandas and pyarrow.dataset for it, for 0.3 s.
        return complete(file.read(columns=columns), file.metadata.num_rows)


def read_first(path: Path, rows: int, columns: list[str]) -> pa.Table:
    """The first rows of `read_table`; of the rest of the file, what is in the same row group is read, by columns."""
    with parquet(path, columns) as file:
        groups: list[int] = []
        found = 0
        while found < rows and len(groups) < file.num_row_groups:
            found += file.metadata.row_group(len(groups)).num_rows
            groups.append(len(groups))

        def of(name: str) -> pa.ChunkedArray:
            column = complete(file.read_row_groups(groups, columns=[name]), found).column(0)
            # A slice of a long one would keep all of it.
            return column.slice(0, rows) if found < 2 * rows else column.take(pa.array(range(min(rows, found))))

        types = pa.schema([file.schema_arrow.field(name) for name in columns], file.schema_arrow.metadata)
        return pa.table([of(name) for name in columns], schema=types)


def read_groups(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows, a row group (see `write_pieces`) at a time; all columns, or the named ones."""
    with parquet(path, columns) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=columns)
            yield complete(table, file.metadata.row_group(group).num_rows)


def read_pieces(path: Path, column: str) -> Iterator[pa.Array]:
    """One column in pieces of some ten thousand rows, so that memory does not grow with the file.

    (ParquetFile.iter_batches, and several columns at once, were seen to hold on to much of what they had read.)
    """
    with parquet(path, [column]) as file:
        for group in range(file.num_row_groups):
            yield from group_pieces(file, group, column)


def group_pieces(file: pq.ParquetFile, group: int, column: str) -> Iterator[pa.Array]:
    """As `read_pieces`, of a row group."""
    table = complete(file.read_row_group(group, columns=[column]), file.metadata.row_group(group).num_rows)
    for batch in table.to_batches(max_chunksize=65_536):
        yield batch.column(0)


def read_types(path: Path) -> pa.Schema:
    """Names and types of the columns."""
    with parquet(path) as file:
        return file.schema_arrow


def largest_group(path: Path) -> int:
    """Rows of its largest row group."""
    with parquet(path) as file:
        return max((file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)), default=0)


def count_rows(path: Path) -> int:
    with parquet(path) as file:
        return int(file.metadata.num_rows)


@contextmanager
def parquet(path: Path, columns: list[str] | None = None) -> Iterator[pq.ParquetFile]:
    """The file, if its footer is whole and it has these columns. Raises UserError for damage, also within."""
    try:
        with opened(path) as file:
            _check_footer(file)
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            missing = [name for name in columns or () if name not in parquet.schema_arrow.names]
            if missing:
                raise UserError(BAD_DATA, f"{path}: column {missing[0]} is missing; {restore(path)}")
            yield parquet
    except MemoryError:  # Arrow's is an ArrowException, too
        raise
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise _damage(path, error) from None


def _check_footer(file: pa.NativeFile) -> None:
    """Raise ArrowInvalid where it is not the one that was written; a file that another program wrote has no seal."""
    seal, footer = _footer(file)
    digest = seal.removeprefix(SEAL)
    if digest != seal and digest != hashlib.sha256(footer).digest():
        raise pa.ArrowInvalid("the checksum of its footer does not match")
    file.seek(0)


def _footer(file: BinaryIO | pa.NativeFile) -> tuple[bytes, bytes]:
    """What stands where its seal does, and the footer to the end of the file, with its length and the magic bytes."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - 8, 0))
    start = end - 8 - int.from_bytes(file.read(4), "little")
    file.seek(max(start - len(SEAL) - hashlib.sha256().digest_size, 0))
    content = file.read()
    return content[: start - end], content[start - end :]


def _damage(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split("\n", 1)[0].split())
    return UserError(BAD_DATA, f"{path} is damaged ({reason}); {restore(path)}")


def complete(table: pa.Table, rows: int) -> pa.Table:
    """A page's checksum is not of its header, which may say that the page has fewer values: Arrow believes it.

    Of a page with the texts of a category, too, whose codes then point to what lies behind them in memory.
    """
    if table.num_rows != rows:
        raise pa.ArrowInvalid(f"{table.num_rows:,} rows where it should have {rows:,}")
    for column in table.columns:
        if isinstance(column.type, pa.DictionaryType):
            column.validate(full=True)
    return table


def read_csv(path: Path, text: Sequence[str] = ()) -> pa.Table:
    """A CSV file as `atomic.write_csv` writes it: numbers, but for the columns `text` (a class may be called `NA`)."""
    types = pc.ConvertOptions(column_types=dict.fromkeys(text, pa.string()), null_values=[])
    try:
        content = read_bytes(path)
        options = pc.ParseOptions(newlines_in_values=True)
        table = pc.read_csv(pa.BufferReader(content), parse_options=options, convert_options=types)
        names = table.column_names
        check(path, content)
    except MemoryError:
        raise
    except (pa.ArrowException, UnicodeError) as error:
        raise _damage(path, error) from None
    for name in text:
        if name not in names:
            raise UserError(BAD_DATA, f"{path}: column {name} is missing; {restore(path)}")
        values = table.column(name).to_pylist()
        plain = [value[1:] if value.startswith("'") and FORMULA.match(value) else value for value in values]
        if plain != values:
            table = table.set_column(names.index(name), name, pa.array(plain, pa.string()))
    return table


def write_table(path: Path, table: pa.Table) -> None:
    """Parquet with checksums; the same table gives the same bytes."""
    write_pieces(path, [table])


def write_pieces(path: Path, pieces: Iterable[pa.Table]) -> None:
    """As `write_table`, piece by piece, all of one schema: of a long table only a piece needs to be in memory."""

    def fill(file: BinaryIO) -> None:
        waiting = iter(pieces)
        piece = next(waiting)
        with pq.ParquetWriter(file, piece.schema, write_page_checksum=True) as writer:
            while piece is not None:
                writer.write_table(piece)
                piece = None  # before the next one is made: in memory is one, and not two
                piece = next(waiting, None)
        _, footer = _footer(file)
        file.seek(-len(footer), os.SEEK_END)
        file.write(SEAL + hashlib.sha256(footer).digest() + footer)

    write(path, fill)
