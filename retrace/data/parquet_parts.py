"""Parquet, as one file or as a folder of parts, whose folders may name columns."""

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retrace.artifacts.tables import complete, native
from retrace.data.read_errors import MOST_COLUMNS
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.memory import require_memory

# Of any list in the footer of a Parquet file: more columns than that would take gigabytes before they could be counted.
LONGEST_LIST = 10 * MOST_COLUMNS
ROWS_AT_ONCE = 65_536
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
# In the folders of programs that keep a log of which parts, and which rows of them, are the table.
_LOGS = {"_delta_log": "Delta Lake", ".hoodie": "Hudi", "metadata/*.metadata.json": "Iceberg"}


def difference(schema: pa.Schema, first: pa.Schema) -> str:
    """What the one has that the other has not."""
    for name in sorted({*schema.names} ^ {*first.names}):
        return f"{'has' if name in schema.names else 'lacks'} the column {name}, unlike"
    for one, other in zip(schema, first, strict=False):
        if one.name == other.name and one.type != other.type:
            return f"holds {one.type} in column {one.name}, where {other.type} stands in"
    return "has its columns in another order than"


def folder_parts(folder: Path) -> list[Path]:
    """The Parquet files of a table in a folder and its folders; what begins with _ or . is a writer's own, and no data.

    Raises UserError for one that would be left out by mistake.
    """
    parts: list[Path] = []
    for log, program in _LOGS.items():
        if any(folder.glob(log)):
            raise UserError(
                BAD_DATA,
                f"{folder} is a table of {program}, and its parts also hold rows that were deleted or replaced; let"
                " the program write it as plain Parquet",
            )
    for each in sorted(folder.iterdir()):
        if each.name.startswith(("_", ".")):
            continue
        if each.is_dir():
            if each.is_symlink():
                raise UserError(BAD_DATA, f"{each} is a link to a folder; put the folder itself there")
            parts += folder_parts(each)
        elif each.suffix == ".parquet":
            parts.append(each)
        elif each.name.removesuffix(".gz").endswith((".csv", ".tsv")):
            raise UserError(
                BAD_DATA, f"{each} is not part of a table in Parquet; move it away, or begin its name with _"
            )
        elif each.is_file():
            with open(each, "rb") as file:
                if file.read(4) == b"PAR1":
                    raise UserError(
                        BAD_DATA, f"{each} is Parquet by another name; let it end with .parquet, or delete it"
                    )
    return parts


def folder_keys(path: Path, part: Path) -> dict[str, str | None]:
    """The columns that the names of a part's folders stand for, and their values: `year=2026`."""
    pairs = [each.split("=", 1) for each in part.relative_to(path).parts[:-1] if "=" in each] if part != path else []
    return {unquote(key): None if value == NO_VALUE else unquote(value) for key, value in pairs}


def first_unlike(column: pa.Array, key: str | None) -> int:
    """The first row that has another value than the name of its folder; -1 if none has."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    try:
        same = pc.equal(column, pa.scalar(key, pa.string()).cast(column.type)) if key is not None else column.is_null()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return 0
    return int(pc.index(same.fill_null(False), False).as_py())


def key_type(path: Path, parts: list[Path], name: str) -> pa.DataType:
    """Numbers where all are; what has a zero before it is a text."""
    values = {folder_keys(path, part)[name] for part in parts} - {None}
    for pattern, kind in ((r"0|-?[1-9][0-9]{0,17}", pa.int64()), (r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?", pa.float64())):
        if values and all(re.fullmatch(pattern, str(value)) for value in values):
            return kind
    return pa.string()


def parquet_blocks(part: Path) -> Iterator[pa.RecordBatch]:
    with native(part) as file:
        parquet = parquet_file(file)
        # ParquetFile.iter_batches was seen to hold on to what it had read.
        for group in range(parquet.num_row_groups):
            # Arrow keeps what the one before has taken.
            pa.default_memory_pool().release_unused()
            _fits(part, parquet, group)
            rows = complete(parquet.read_row_group(group), parquet.metadata.row_group(group).num_rows)
            waiting = deque(rows.to_batches(max_chunksize=ROWS_AT_ONCE))
            del rows
            while waiting:
                yield _copied(waiting.popleft())


def _copied(block: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows in memory of their own: else whoever holds the last ones of a row group holds all of it."""
    try:
        return block.take(pa.array(np.arange(block.num_rows)))
    except pa.ArrowNotImplementedError:  # of types that nobody has in a table as a rule
        return block


def parquet_file(file: BinaryIO) -> pq.ParquetFile:
    return pq.ParquetFile(file, page_checksum_verification=True, thrift_container_size_limit=LONGEST_LIST)


def _fits(part: Path, parquet: pq.ParquetFile, group: int) -> None:
    """Raise UserError where the rows of a group would not fit into memory: of equal ones a kilobyte holds a billion."""
    metadata = parquet.metadata.row_group(group)
    fixed = sum(kind.bit_width // 8 if pa.types.is_primitive(kind) else 4 for kind in parquet.schema_arrow.types)
    size = max(metadata.total_byte_size, metadata.num_rows * fixed)
    require_memory(
        size, f"{part}: a row group of {metadata.num_rows:,} rows", "write the file anew with smaller row groups"
    )
