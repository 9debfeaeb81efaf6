"""Where a table comes from, and its rows, block by block.

A CSV file holds texts and says nothing of what they mean; a Parquet file brings the types of its columns. Nothing here
decides what a column is (see kinds.py), and no more than a block is in memory at a time.
"""

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from retrace.artifacts.findings import Finding
from retrace.data.dialect import Count
from retrace.data.number_formats import Forms
from retrace.data.numbers import Form
from retrace.data.parquet_parts import ROWS_AT_ONCE, first_unlike, folder_keys, parquet_blocks
from retrace.data.read_errors import ragged, unreadable
from retrace.data.text_files import open_bytes
from retrace.runtime.errors import BAD_DATA, UserError

BLOCK = 1 << 24  # bytes of text at a time


@dataclass(frozen=True)
class Source:
    """Where a table comes from, and how it is read.

    names: its columns, in their order; typed: whether they bring types (Parquet) or are all texts (CSV).
    dialect: of a CSV file: delimiter and encoding. skipped: its lines before the first row. count: of its records.
    aligned: its columns stand below each other, with blanks between them.
    missing: texts of a CSV file that stand for no value. decimal: the sign before a fraction, "" where it is found.
    hive: columns of a folder of Parquet parts that stand in the names of its folders, with their types.
    learned: how the numbers were written that a model was trained on. apart: columns that hold none, whatever they look
    like.
    """

    path: Path
    parts: list[Path]
    names: list[str]
    typed: bool
    dialect: tuple[str, str] = ("", "")
    skipped: int = 0
    count: Count | None = None
    aligned: bool = False
    hive: Mapping[str, pa.DataType] = field(default_factory=dict)
    notes: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()
    decimal: str = ""
    learned: Mapping[str, Form] = field(default_factory=dict)
    apart: frozenset[str] = frozenset()

    @cached_property
    def forms(self) -> Forms:
        """How the numbers of its columns are written."""
        read = lambda column: self.texts(column) if holds_texts(column.type) else None  # noqa: E731
        return Forms(self.path, self.blocks, read, self.decimal, self.learned, self.apart)

    def texts(self, column: pa.Array, missing: Sequence[str] | None = None) -> pa.StringArray:
        """A column as texts, None where a value is missing; blanks around a text are not part of it.

        missing: texts for no value, where they are not those of the file.
        """
        if isinstance(column, pa.DictionaryArray):
            column = column.dictionary_decode()
        texts = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
        if self.typed:
            return texts
        known = pa.array(self.missing if missing is None else missing, pa.string())
        return pc.if_else(pc.is_in(texts, known), None, texts)

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """All rows in order. Raises UserError for a file that cannot be read, or that is cut off."""
        for part in self.parts:
            try:
                yield from self._typed_blocks(part) if self.typed else self._text_blocks(part)
            except MemoryError:  # Arrow's is an ArrowException, too
                raise
            except (pa.ArrowException, OSError, EOFError, UnicodeError) as error:
                if "columns, got" in str(error):
                    self._look_for_ragged(part)
                raise unreadable(part, error, None if self.typed else self.dialect) from None

    def _look_for_ragged(self, part: Path) -> None:
        """Raise UserError at the first row with too many or too few cells, with its line: Arrow counts rows only."""
        for _ in self._rows(part):
            pass

    def _typed_blocks(self, part: Path) -> Iterator[pa.RecordBatch]:
        keys = folder_keys(self.path, part)
        rows = 0
        for block in parquet_blocks(part):
            for name in keys.keys() - self.hive.keys():
                row = first_unlike(block.column(name), keys[name])
                if row >= 0:
                    raise UserError(
                        BAD_DATA,
                        f"{part}: column {name}, row {rows + row + 1:,}: the file holds {block.column(name)[row]}, and"
                        f" the name of its folder {keys[name]}; fix one of them, or give the column another name",
                    )
            rows += block.num_rows
            columns = [pa.scalar(keys[name], pa.string()).cast(kind) for name, kind in self.hive.items()]
            columns = [pa.repeat(value, block.num_rows) for value in columns]
            yield pa.RecordBatch.from_arrays([*block.columns, *columns], self.names)

    def _text_blocks(self, part: Path) -> Iterator[pa.RecordBatch]:
        rows, count = 0, self.count
        assert count is not None
        if not count.rows:  # which Arrow calls a fault
            return
        for batch in self._spaced_blocks(part) if count.spaced or self.aligned else self._arrow_blocks(part):
            rows += batch.num_rows
            yield batch
        if rows != count.rows:
            raise UserError(
                BAD_DATA,
                f"{part}: {rows:,} rows were read, but its lines make {count.rows:,}; look at its quotes, or save"
                " it anew",
            )

    def _arrow_blocks(self, part: Path) -> Iterator[pa.RecordBatch]:
        delimiter, encoding = self.dialect
        reader = pa_csv.open_csv(
            pa.input_stream(part, compression="gzip" if part.suffix == ".gz" else None),
            # By place, since some may have no name or the same one.
            read_options=pa_csv.ReadOptions(
                column_names=self.names,
                skip_rows=self.skipped,
                encoding=encoding,
                block_size=BLOCK,
                use_threads=False,
            ),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(self.names, pa.string()), null_values=[]),
        )
        yield from reader

    def _spaced_blocks(self, part: Path) -> Iterator[pa.RecordBatch]:
        """Of a file with blanks before quotes, which are none to Arrow, or with several for one delimiter; slower."""
        reader = self._rows(part)
        while rows := list(itertools.islice(reader, ROWS_AT_ONCE)):
            columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, self.names)

    def _rows(self, part: Path) -> Iterator[list[str]]:
        """Row by row. Raises UserError, with the line, where one has too many or too few cells."""
        delimiter, encoding = self.dialect
        with open_bytes(part) as binary, io.TextIOWrapper(binary, encoding, newline="") as file:
            for _ in range(self.skipped):
                file.readline()
            lines = (line.rstrip() + "\n" for line in file) if self.aligned else file
            reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
            line = self.skipped + 1
            for row in reader:
                if row and len(row) != len(self.names):
                    text = f"{len(row)} cells where the header has {len(self.names)}"
                    raise ragged(part, f"line {line:,}", text)
                line = self.skipped + reader.line_num + 1
                if row:
                    yield row


def holds_texts(kind: pa.DataType) -> bool:
    """Whether a column of this type has texts, or nothing at all."""
    if isinstance(kind, pa.DictionaryType):
        kind = kind.value_type
    return kind in (pa.string(), pa.large_string(), pa.string_view(), pa.null())
