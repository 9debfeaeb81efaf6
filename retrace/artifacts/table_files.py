"""A table that one stage hands to another: where it lies, and which columns it has at least."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from retrace.artifacts.tables import read_csv, read_table, write_table
from retrace.runtime.atomic import write_csv
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import restore


@dataclass(frozen=True)
class CsvFile:
    """columns: the first ones, in this order; texts: those of them that hold texts, where the others hold numbers."""

    path: Path
    columns: tuple[str, ...]
    texts: tuple[str, ...] = ()

    def write(self, rows: Iterable[Sequence[Any]], header: Sequence[str] | None = None) -> None:
        """header: where there are more columns, which depend on the data."""
        header = header or self.columns
        assert tuple(header[: len(self.columns)]) == self.columns, self.path
        write_csv(self.path, header, rows)

    def read(self) -> pa.Table:
        """Raises UserError (status 3) where the file is missing or damaged, or lacks a column."""
        table = read_csv(self.path, self.texts)
        _require(self.path, self.columns, table)
        return table


@dataclass(frozen=True)
class ParquetFile:
    """columns: those that it always has, whatever the data."""

    path: Path
    columns: tuple[str, ...]

    def write(self, table: pa.Table) -> None:
        assert set(self.columns) <= set(table.column_names), self.path
        write_table(self.path, table)

    def read(self) -> pa.Table:
        """As `CsvFile.read`."""
        table = read_table(self.path)
        _require(self.path, self.columns, table)
        return table


def _require(path: Path, columns: Sequence[str], table: pa.Table) -> None:
    for name in columns:
        if name not in table.column_names:
            raise UserError(BAD_DATA, f"{path}: column {name} is missing; {restore(path)}")
