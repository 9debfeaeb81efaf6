"""Parquet and JSON as the stages exchange them, with faults that name the file and the stage that writes it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from stages.files.atomic import write
from stages.process.faults import BAD_DATA, Fault

RESTORE = "bring it back with: dvc checkout, or: dvc repro"


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
    try:
        with open(path, "rb") as file:
            # pq.read_table does the same, but imports pandas and pyarrow.dataset for it, for 0.3 s.
            return pq.ParquetFile(file, page_checksum_verification=True).read(columns=columns)
    except FileNotFoundError:
        raise Fault(BAD_DATA, f"{path} not found; {RESTORE}") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise Fault(BAD_DATA, f"{path} is damaged ({reason}); {RESTORE}") from None


def read_csv(path: Path, text: Sequence[str] = ()) -> pa.Table:
    """A CSV file as `atomic.write_csv` writes it: numbers, but for the columns `text` (a class may be called `NA`)."""
    types = pc.ConvertOptions(column_types=dict.fromkeys(text, pa.string()), null_values=[])
    try:
        with open(path, "rb") as file:
            return pc.read_csv(file, parse_options=pc.ParseOptions(newlines_in_values=True), convert_options=types)
    except FileNotFoundError:
        raise Fault(BAD_DATA, f"{path} not found; {RESTORE}") from None
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise Fault(BAD_DATA, f"{path} is damaged ({reason}); {RESTORE}") from None


def write_table(path: Path, table: pa.Table) -> None:
    """Parquet with page checksums; the same table gives the same bytes."""

    def fill(file: BinaryIO) -> None:
        pq.write_table(table, file, write_page_checksum=True)

    write(path, fill)
