"""A person's own table, block by block: a CSV file, or Parquet in one file or in a folder of parts.

A CSV file holds texts and says nothing of what they mean; a Parquet file brings the types of its columns. Nothing here
decides what a column is (see kinds.py), and no more than a block is in memory at a time.
"""

import codecs
import contextlib
import csv
import gzip
import io
import itertools
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from retrace.artifacts.schema import Finding
from retrace.artifacts.tables import complete, native
from retrace.data.dialect import DELIMITERS, Count, Head, count_records, find_head
from retrace.data.numbers import SIGNS, Form, Forms, is_number
from retrace.params.create import Create, Reading
from retrace.params.reader import suggest
from retrace.runtime.errors import BAD_DATA, Fault
from retrace.runtime.integrity import cache
from retrace.runtime.memory import need
from retrace.runtime.text import listed

TEXT_ENDINGS = (".csv", ".tsv", ".txt")
SAMPLE = 1 << 20  # bytes from which delimiter, encoding and decimal sign are found
BLOCK = 1 << 24  # bytes of text at a time
MOST_COLUMNS = 10_000
# Of any list in the footer of a Parquet file: more columns than that would take gigabytes before they could be counted.
LONGEST_LIST = 10 * MOST_COLUMNS
ROWS_AT_ONCE = 65_536
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
# In the folders of programs that keep a log of which parts, and which rows of them, are the table.
_LOGS = {"_delta_log": "Delta Lake", ".hoodie": "Hudi", "metadata/*.metadata.json": "Iceberg"}

# A header that is read with the wrong delimiter, or has an open quote, is one cell as long as the sample.
csv.field_size_limit(SAMPLE)

# What files that are called as text hold besides: how they begin, what that is, and what to do.
_STORE = "store the table as CSV or Parquet"
_OTHERS = (
    (rb"version https://git-lfs", "a pointer of Git LFS in place of the file", "run: git lfs pull"),
    (rb"\s*<(?i:(!doctype )?html)", "a web page", "download the file itself"),
    (rb"\s*<\?xml", "XML", _STORE),
    (rb"\s*(\{\s*\"|\[\s*[\[{])", "JSON", _STORE),
    (rb"PK\x03\x04", "an Excel workbook or another zip archive", "save the sheet as CSV, or unpack the archive"),
    (rb"\xd0\xcf\x11\xe0", "an Excel workbook", "save the sheet as CSV"),
    (rb"\x1f\x8b", "packed with gzip", "let its name end with .gz"),
    (rb"BZh[1-9]1AY|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!\x1a", "a packed file", "unpack it"),
    (rb"PAR1\x15", "Parquet", "let its name end with .parquet"),
    (rb"SQLite format 3", "an SQLite database", _STORE),
    (
        rb"ARROW1\0|\x89(HDF|PNG)|Obj\x01|ORC[\x80-\xff]|\x80[\x02-\x05]|RD[AX]\d\n|%PDF-",
        "made by another program",
        _STORE,
    ),
)

# The first byte of a letter in UTF-8 and those that follow it, as letters of cp1252; of the first ones those that no
# text ends with before a quotation mark.
_TORN = re.compile("[\u00c2\u00c3\u00d0\u00e0-\u00f4][\u00a1-\u00bf\u0152-\u0192\u02c6\u02dc\u2013-\u2122]{1,3}")

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


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
        """All rows in order. Raises Fault for a file that cannot be read, or that is cut off."""
        for part in self.parts:
            try:
                yield from self._typed_blocks(part) if self.typed else self._text_blocks(part)
            except MemoryError:  # Arrow's is an ArrowException, too
                raise
            except (pa.ArrowException, OSError, EOFError, UnicodeError) as error:
                raise _unreadable(part, error, None if self.typed else self.dialect) from None

    def _typed_blocks(self, part: Path) -> Iterator[pa.RecordBatch]:
        keys = _keys(self.path, part)
        rows = 0
        for block in _parquet_blocks(part):
            for name in keys.keys() - self.hive.keys():
                row = _first_unlike(block.column(name), keys[name])
                if row >= 0:
                    raise Fault(
                        BAD_DATA,
                        f"{part}: column {name}, row {rows + row + 1:,}: the file holds {block.column(name)[row]}, and"
                        f" the name of its folder {keys[name]}; mend one of them, or give the column another name",
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
            raise Fault(
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
        delimiter, encoding = self.dialect
        with _binary(part) as binary, io.TextIOWrapper(binary, encoding, newline="") as file:
            for _ in range(self.skipped):
                file.readline()
            lines = (line.rstrip() + "\n" for line in file) if self.aligned else file
            reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
            while rows := list(itertools.islice(filter(None, reader), ROWS_AT_ONCE)):
                for row in rows:
                    if len(row) != len(self.names):
                        text = f"{len(row)} cells where the header has {len(self.names)}"
                        raise _ragged(part, f"a row that begins with {','.join(row)[:40]!r}", text)
                columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
                yield pa.RecordBatch.from_arrays(columns, self.names)


def holds_texts(kind: pa.DataType) -> bool:
    """Whether a column of this type has texts, or nothing at all."""
    if isinstance(kind, pa.DictionaryType):
        kind = kind.value_type
    return kind in (pa.string(), pa.large_string(), pa.string_view(), pa.null())


def open_source(section: Create) -> Source:
    """The table that `create.table.path` names; raises Fault where it is none or lacks the target."""
    path = Path(section.table.path)
    _stays_inside(path)
    if not path.exists():
        hint = suggest(path.name, [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else [])
        raise Fault(
            BAD_DATA,
            f"{path} (create.table.path) not found{hint}; put the file there, or, where DVC has it, run: dvc pull",
        )
    source = open_own(path, section)
    for part in source.parts:
        _stays_inside(part)
    return source


def _stays_inside(path: Path) -> None:
    # What DVC has taken in may be a link to its copy (cache.type symlink).
    if not any(
        path.resolve().is_relative_to(place.resolve()) for place in (Path("data/tables"), cache() / "files/md5")
    ):
        raise Fault(BAD_DATA, f"{path} leads out of data/tables through a link; put the file itself there")


def open_own(path: Path, section: Create) -> Source:
    """A table with the target `create.table.target`, wherever it lies; raises Fault where it is none or lacks it."""
    source = open_table(path, section.reading, section.table.target)
    if section.table.target not in source.names:
        hint = _only_one(source) or suggest(section.table.target, source.names)
        there = listed(source.names)
        raise Fault(
            BAD_DATA, f"{path}: there is no column {section.table.target!r} (create.table.target); it has {there}{hint}"
        )
    texts = [name for name, kind in section.columns.kinds().items() if kind != "numeric"]
    return replace(source, apart=frozenset([section.table.target, *texts]))


def open_table(path: Path, reading: Reading, column: str) -> Source:
    """Look at a file, or a folder of Parquet parts. column: one that a CSV file's header should name."""
    source = (
        _open_parquet(path, reading)
        if path.is_dir() or path.suffix == ".parquet"
        else _open_text(path, reading, column)
    )
    if len(source.names) > MOST_COLUMNS:
        raise Fault(BAD_DATA, f"{path} has more than {MOST_COLUMNS:,} columns")
    for name, count in Counter(source.names).items():
        if "\0" in name:
            raise Fault(BAD_DATA, f"{path}: column {name} has a NUL byte in its name, which numpy cuts off; rename it")
        if count > 1:
            raise Fault(BAD_DATA, f"{path}: {count} columns are called {name!r}; each must have a name of its own")
    return source


def _only_one(source: Source) -> str:
    if source.typed or len(source.names) > 1:
        return ""
    quoted = _sample(source.path).removeprefix(codecs.BOM_UTF8).lstrip().startswith((b'"', b"'"))
    if quoted and any(sign in source.names[0] for sign in ",;\t|"):
        return "; does each line stand in quotes? delete the quotes around the lines"
    signs = listed([*DELIMITERS])
    return f"; is its delimiter another one? set create.reading.delimiter ({signs}), or save it with commas"


# --- Parquet --------------------------------------------------------------------------------------------------------


def _open_parquet(path: Path, reading: Reading) -> Source:
    parts = folder_parts(path) if path.is_dir() else [path]
    if not parts:
        raise Fault(BAD_DATA, f"{path} is a folder without a .parquet file; put the parts of the table there")
    first: pa.Schema | None = None
    for part in parts:
        try:
            with native(part) as file:
                schema = _parquet(file).schema_arrow
            names = schema.names
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise _unreadable(part, error) from None
        first = first or schema
        if names != first.names or schema.types != first.types:
            raise Fault(BAD_DATA, f"{part} {_unlike(schema, first)} {parts[0]}; the parts must be alike")
        if list(_keys(path, part)) != list(_keys(path, parts[0])):
            raise Fault(
                BAD_DATA,
                f"{part} lies in folders that name other columns (such as year=2026) than those of {parts[0]}; the"
                " parts must be alike",
            )
    assert first is not None
    hive = {name: _key_type(path, parts, name) for name in _keys(path, parts[0]) if name not in first.names}
    names = [*first.names, *hive]
    return Source(path, parts, names, typed=True, hive=hive, decimal=SIGNS.get(reading.decimal, ""))


def _unlike(schema: pa.Schema, first: pa.Schema) -> str:
    """What the one has that the other has not."""
    for name in sorted({*schema.names} ^ {*first.names}):
        return f"{'has' if name in schema.names else 'lacks'} the column {name}, unlike"
    for one, other in zip(schema, first, strict=False):
        if one.name == other.name and one.type != other.type:
            return f"holds {one.type} in column {one.name}, where {other.type} stands in"
    return "has its columns in another order than"


def folder_parts(folder: Path) -> list[Path]:
    """The Parquet files of a table in a folder and its folders; what begins with _ or . is a writer's own, and no data.

    Raises Fault for one that would be left out by mistake.
    """
    parts: list[Path] = []
    for log, program in _LOGS.items():
        if any(folder.glob(log)):
            raise Fault(
                BAD_DATA,
                f"{folder} is a table of {program}, and its parts also hold rows that were deleted or replaced; let"
                " the program write it as plain Parquet",
            )
    for each in sorted(folder.iterdir()):
        if each.name.startswith(("_", ".")):
            continue
        if each.is_dir():
            if each.is_symlink():
                raise Fault(BAD_DATA, f"{each} is a link to a folder; put the folder itself there")
            parts += folder_parts(each)
        elif each.suffix == ".parquet":
            parts.append(each)
        elif each.name.removesuffix(".gz").endswith((".csv", ".tsv")):
            raise Fault(BAD_DATA, f"{each} is no part of a table in Parquet; move it away, or begin its name with _")
        elif each.is_file():
            with open(each, "rb") as file:
                if file.read(4) == b"PAR1":
                    raise Fault(BAD_DATA, f"{each} is Parquet by another name; let it end with .parquet, or delete it")
    return parts


def _keys(path: Path, part: Path) -> dict[str, str | None]:
    """The columns that the names of a part's folders stand for, and their values: `year=2026`."""
    pairs = [each.split("=", 1) for each in part.relative_to(path).parts[:-1] if "=" in each] if part != path else []
    return {unquote(key): None if value == NO_VALUE else unquote(value) for key, value in pairs}


def _first_unlike(column: pa.Array, key: str | None) -> int:
    """The first row that has another value than the name of its folder; -1 if none has."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    try:
        same = pc.equal(column, pa.scalar(key, pa.string()).cast(column.type)) if key is not None else column.is_null()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return 0
    return int(pc.index(same.fill_null(False), False).as_py())


def _key_type(path: Path, parts: list[Path], name: str) -> pa.DataType:
    """Numbers where all are; what has a zero before it is a text."""
    values = {_keys(path, part)[name] for part in parts} - {None}
    for pattern, kind in ((r"0|-?[1-9][0-9]{0,17}", pa.int64()), (r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?", pa.float64())):
        if values and all(re.fullmatch(pattern, str(value)) for value in values):
            return kind
    return pa.string()


def _parquet_blocks(part: Path) -> Iterator[pa.RecordBatch]:
    with native(part) as file:
        parquet = _parquet(file)
        # ParquetFile.iter_batches was seen to hold on to what it had read.
        for group in range(parquet.num_row_groups):
            _fits(part, parquet, group)
            table = complete(parquet.read_row_group(group), parquet.metadata.row_group(group).num_rows)
            yield from table.to_batches(max_chunksize=ROWS_AT_ONCE)


def _parquet(file: BinaryIO) -> pq.ParquetFile:
    return pq.ParquetFile(file, page_checksum_verification=True, thrift_container_size_limit=LONGEST_LIST)


def _fits(part: Path, parquet: pq.ParquetFile, group: int) -> None:
    """Raise Fault where the rows of a group would not fit into memory: of equal ones a kilobyte holds a billion."""
    metadata = parquet.metadata.row_group(group)
    fixed = sum(kind.bit_width // 8 if pa.types.is_primitive(kind) else 4 for kind in parquet.schema_arrow.types)
    size = max(metadata.total_byte_size, metadata.num_rows * fixed)
    need(size, f"{part}: a row group of {metadata.num_rows:,} rows", "write the file anew with smaller row groups")


# --- CSV ------------------------------------------------------------------------------------------------------------


def _open_text(path: Path, reading: Reading, column: str) -> Source:
    if not path.name.removesuffix(".gz").endswith(TEXT_ENDINGS):
        raise Fault(
            BAD_DATA, f"{path} must end with {', '.join(TEXT_ENDINGS)} (or one of them and .gz), or with .parquet"
        )
    sample = _sample(path)
    if not sample.strip():
        raise Fault(BAD_DATA, f"{path} is empty; it must hold a header and rows")
    for begins, what, fix in _OTHERS:
        if re.match(begins, sample.removeprefix(codecs.BOM_UTF8)):
            raise Fault(BAD_DATA, f"{path} is no CSV file but {what}; {fix}")
    encoding, notes = reading.encoding, list[Finding]()
    if encoding == "auto":
        encoding = _encoding(sample)
        if encoding not in ("utf-8", "utf-16"):
            text = f"{path} is read as {encoding}, since it is not UTF-8"
            notes.append(Finding("file", "", text, "create.reading.encoding"))
    try:
        # The sample may end in the middle of a letter.
        text = codecs.getincrementaldecoder(encoding)().decode(sample).lstrip("\ufeff")
    except UnicodeError as error:
        raise _undecodable(path, encoding, _reason(error)) from None
    if torn := _twice_encoded(text):
        what = f"{path} holds {torn[0]!r}, which looks like {torn[1]!r} in UTF-8 that was read in another encoding"
        notes.append(Finding("file", "", f"{what}: write the file anew from its source", "create.reading.encoding"))
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise Fault(
            BAD_DATA,
            f"{path}: line {row} holds a NUL byte; is it UTF-16 without a byte-order mark, or damaged? set"
            " create.reading.encoding, or save the file anew as UTF-8",
        )
    try:
        head = find_head(text, column, DELIMITERS.get(reading.delimiter), reading.missing)
    except csv.Error as error:
        raise Fault(BAD_DATA, f"{path}: line 1 is no header with the names of the columns ({error})") from None
    if head.row:
        cells = listed([repr(name) for name in head.names])
        raise Fault(
            BAD_DATA,
            f"{path}: line {head.skipped + 1} looks like a row and not like a header ({cells}); put a line with the"
            " names of the columns before it",
        )
    if head.line:
        raise Fault(
            BAD_DATA,
            f"{path}: line {head.line} names the column {column}, and what stands before it looks like rows; delete the"
            " lines before the header",
        )
    if head.titles:
        place = f"before the header (line {head.skipped + 1:,})"
        text = f"1 line {place} is" if head.titles == 1 else f"{head.titles:,} lines {place} are"
        text = f"{path}: {text} left out"
        notes.append(Finding("file", "", text, "create.table.path"))
    if numbers := [repr(name) for name in head.names if is_number(name) and not name.isdigit()]:
        text = f"{path}: columns are called {listed(numbers)}: is line {head.skipped + 1:,} a row, and no header there?"
        notes.append(Finding("file", "", text, "create.table.path"))
    count = _count(path, encoding, head)
    if count.doubtful:
        text = f"{path}: the quote opened in line {count.doubtful:,} is closed in the next line: is each of them a row?"
        notes.append(Finding("file", "", text, "create.table.path"))
    if not _ends_with_a_line(path):
        text = f"{path} does not end with a line break; is it whole?"
        notes.append(Finding("file", "", text, "create.table.path"))
    names = [name or f"column_{index}" for index, name in enumerate(head.names, 1)]
    return Source(
        *(path, [path], names, False, (head.delimiter, encoding), head.lines, count, head.aligned),
        notes=tuple(notes),
        missing=tuple(reading.missing),
        decimal=SIGNS.get(reading.decimal, ""),
    )


def _binary(path: Path) -> BinaryIO:
    """The bytes of the text; the caller closes it."""
    return cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else open(path, "rb"))


def _sample(path: Path) -> bytes:
    try:
        with _binary(path) as file:
            return file.read(SAMPLE)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None


def _count(path: Path, encoding: str, head: Head) -> Count:
    """Its records. Raises Fault where a quote would swallow some of them."""
    try:
        with _binary(path) as file:
            count = count_records(file, encoding, head)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None
    first, last = count.swallowed
    if 0 < count.stray < (first or count.unclosed):  # whatever comes later comes of it
        raise _torn(path, count.stray)
    if count.unclosed:
        raise Fault(
            BAD_DATA,
            f"{path}: a quote opened in line {count.unclosed:,} is never closed, and would swallow all that follows;"
            " close or delete it",
        )
    if first:
        raise Fault(
            BAD_DATA,
            f"{path}: a quote opened in line {first:,} is closed in line {last:,} only, and each line between could be"
            " a row; close or delete it",
        )
    if count.stray:
        raise _torn(path, count.stray)
    return count


def _torn(path: Path, line: int) -> Fault:
    return Fault(
        BAD_DATA,
        f"{path}: line {line:,}: text follows a closing quote; write a quote inside of quotes twice, as in"
        ' "say ""hi""", not with a backslash before it',
    )


def _encoding(sample: bytes) -> str:
    for mark, name in _MARKS.items():
        if sample.startswith(mark):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
        return "utf-8"
    except UnicodeError:
        # What spreadsheets of the West save. A guess from the frequency of letters was seen to be wrong more often.
        return "cp1252"


def _twice_encoded(text: str) -> tuple[str, str] | None:
    """The first letters that look like one in UTF-8 that was read as cp1252, and that one; None: there are none."""
    for found in _TORN.finditer(text):
        with contextlib.suppress(UnicodeError):
            return found[0], found[0].encode("cp1252").decode("utf-8")
    return None


def _ends_with_a_line(path: Path) -> bool:
    if path.suffix == ".gz":
        return True  # a gzip file that is cut off says so itself
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read(1) in (b"\n", b"\r", b"\0")


def _undecodable(path: Path, encoding: str, reason: str) -> Fault:
    return Fault(
        BAD_DATA,
        f"{path} is not {encoding} ({reason}); set create.reading.encoding to the encoding it was saved in,"
        f" {'cp850 or mac_roman' if encoding == 'cp1252' else 'cp1252'} for instance, or save it anew as UTF-8",
    )


def _ragged(path: Path, place: str, text: str) -> Fault:
    return Fault(
        BAD_DATA,
        f"{path}: {place} has {text}; mend the line, quote texts that hold the delimiter, give each column a name, or"
        " set create.reading.delimiter",
    )


def _unreadable(path: Path, error: Exception, dialect: Any = None) -> Fault:
    reason = _reason(error)
    if dialect and (isinstance(error, UnicodeError) or "UTF8" in reason or "utf-8" in reason):
        return _undecodable(path, dialect[1], reason)
    if dialect and (found := re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", reason)):
        place = f"line {found[1]}" if found[1] else "a line"
        return _ragged(path, place, f"{found[3]} cells where the header has {found[2]}")
    if "Exceeded size limit" in reason:
        reason = f"its footer is larger than that of a table with {MOST_COLUMNS:,} columns"
    return Fault(
        BAD_DATA, f"{path} cannot be read ({reason}); mend it, or bring the file anew: dvc pull, or a new copy"
    )


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
