"""A table is opened: a CSV file, or Parquet in one file or in a folder of parts; what is wrong with it is said here."""

import codecs
import csv
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from retrace.artifacts.findings import Finding
from retrace.artifacts.tables import native
from retrace.data.dialect import DELIMITERS, find_head
from retrace.data.numbers import SIGNS, is_number
from retrace.data.parquet_parts import difference, folder_keys, folder_parts, key_type, parquet_file
from retrace.data.read_errors import MOST_COLUMNS, first_line, undecodable, unreadable
from retrace.data.source import Source
from retrace.data.text_files import (
    OTHER_FORMATS,
    count_rows,
    ends_with_a_line,
    find_encoding,
    read_sample,
    twice_encoded,
)
from retrace.params.create import Create, Reading
from retrace.params.messages import suggest
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import cache
from retrace.runtime.text import listed

TEXT_ENDINGS = (".csv", ".tsv", ".txt")


def open_source(section: Create) -> Source:
    """The table that `create.table.path` names; raises UserError where it is none or lacks the target."""
    path = Path(section.table.path)
    _stays_inside(path)
    if not path.exists():
        hint = suggest(path.name, [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else [])
        raise UserError(
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
        raise UserError(BAD_DATA, f"{path} leads out of data/tables through a link; put the file itself there")


def open_own(path: Path, section: Create) -> Source:
    """A table with the target `create.table.target`, wherever it is. Raises UserError without a table or a target."""
    source = open_table(path, section.reading, section.table.target)
    if section.table.target not in source.names:
        hint = _only_one(source) or suggest(section.table.target, source.names)
        there = listed(source.names)
        raise UserError(
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
        raise UserError(BAD_DATA, f"{path} has more than {MOST_COLUMNS:,} columns")
    for name, count in Counter(source.names).items():
        if "\0" in name:
            raise UserError(
                BAD_DATA, f"{path}: column {name} has a NUL byte in its name, which numpy cuts off; rename it"
            )
        if count > 1:
            raise UserError(BAD_DATA, f"{path}: {count} columns are called {name!r}; each must have a name of its own")
    return source


def _only_one(source: Source) -> str:
    if source.typed or len(source.names) > 1:
        return ""
    quoted = read_sample(source.path).removeprefix(codecs.BOM_UTF8).lstrip().startswith((b'"', b"'"))
    if quoted and any(sign in source.names[0] for sign in ",;\t|"):
        return "; does each line stand in quotes? delete the quotes around the lines"
    signs = listed([*DELIMITERS])
    return f"; is its delimiter another one? set create.reading.delimiter ({signs}), or save it with commas"


def _open_parquet(path: Path, reading: Reading) -> Source:
    parts = folder_parts(path) if path.is_dir() else [path]
    if not parts:
        raise UserError(BAD_DATA, f"{path} is a folder without a .parquet file; put the parts of the table there")
    first: pa.Schema | None = None
    for part in parts:
        try:
            with native(part) as file:
                schema = parquet_file(file).schema_arrow
            names = schema.names
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise unreadable(part, error) from None
        first = first or schema
        if names != first.names or schema.types != first.types:
            raise UserError(BAD_DATA, f"{part} {difference(schema, first)} {parts[0]}; the parts must be alike")
        if list(folder_keys(path, part)) != list(folder_keys(path, parts[0])):
            raise UserError(
                BAD_DATA,
                f"{part} lies in folders that name other columns (such as year=2026) than those of {parts[0]}; the"
                " parts must be alike",
            )
    assert first is not None
    hive = {name: key_type(path, parts, name) for name in folder_keys(path, parts[0]) if name not in first.names}
    names = [*first.names, *hive]
    return Source(path, parts, names, typed=True, hive=hive, decimal=SIGNS.get(reading.decimal, ""))


def _open_text(path: Path, reading: Reading, column: str) -> Source:
    if not path.name.removesuffix(".gz").endswith(TEXT_ENDINGS):
        raise UserError(
            BAD_DATA, f"{path} must end with {', '.join(TEXT_ENDINGS)} (or one of them and .gz), or with .parquet"
        )
    sample = read_sample(path)
    if not sample.strip():
        raise UserError(BAD_DATA, f"{path} is empty; it must hold a header and rows")
    for begins, what, fix in OTHER_FORMATS:
        if re.match(begins, sample.removeprefix(codecs.BOM_UTF8)):
            raise UserError(BAD_DATA, f"{path} is not a CSV file but {what}; {fix}")
    encoding, notes = reading.encoding, list[Finding]()
    if encoding == "auto":
        encoding = find_encoding(sample)
        if encoding not in ("utf-8", "utf-16"):
            text = f"{path} is read as {encoding}, since it is not UTF-8"
            notes.append(Finding("file", "", text, "create.reading.encoding"))
    try:
        # The sample may end in the middle of a letter.
        text = codecs.getincrementaldecoder(encoding)().decode(sample).lstrip("\ufeff")
    except UnicodeError as error:
        raise undecodable(path, encoding, first_line(error)) from None
    if torn := twice_encoded(text):
        what = f"{path} holds {torn[0]!r}, which looks like {torn[1]!r} in UTF-8 that was read in another encoding"
        notes.append(Finding("file", "", f"{what}: write the file anew from its source", "create.reading.encoding"))
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(
            BAD_DATA,
            f"{path}: line {row} holds a NUL byte; is it UTF-16 without a byte-order mark, or damaged? set"
            " create.reading.encoding, or save the file anew as UTF-8",
        )
    try:
        head = find_head(text, column, DELIMITERS.get(reading.delimiter), reading.missing)
    except csv.Error as error:
        raise UserError(BAD_DATA, f"{path}: line 1 is not a header with the names of the columns ({error})") from None
    if head.row:
        cells = listed([repr(name) for name in head.names])
        raise UserError(
            BAD_DATA,
            f"{path}: line {head.skipped + 1} looks like a row and not like a header ({cells}); put a line with the"
            " names of the columns before it",
        )
    if head.line:
        raise UserError(
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
    count = count_rows(path, encoding, head)
    if count.doubtful:
        text = f"{path}: the quote opened in line {count.doubtful:,} is closed in the next line: is each of them a row?"
        notes.append(Finding("file", "", text, "create.table.path"))
    if not ends_with_a_line(path):
        text = f"{path} does not end with a line break; is it whole?"
        notes.append(Finding("file", "", text, "create.table.path"))
    names = [name or f"column_{index}" for index, name in enumerate(head.names, 1)]
    return Source(
        *(path, [path], names, False, (head.delimiter, encoding), head.lines, count, head.aligned),
        notes=tuple(notes),
        missing=tuple(reading.missing),
        decimal=SIGNS.get(reading.decimal, ""),
    )
