"""Files as programs write them, with known values: read right, or refused in a line; never as something else.

CSV in the dialects of pandas, Excel and Google Sheets (where the comma divides cells and where it stands before
fractions), R, PostgreSQL and SQLite; Parquet as pandas, polars, DuckDB and Spark lay it out. pandas and Arrow write for
themselves, the others' ways are written down here.
"""

import csv
import datetime
import io
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from campaigns import fuzzing
from retrace.data.reading import open_own
from retrace.data.table import InspectedTable, convert, inspect
from retrace.params.create import Create
from retrace.runtime.errors import BAD_DATA, UserError
from tests.conftest import VALUES

ROWS = 40
CAMPAIGN = 2_000

TEXTS = [
    ["red", "green", "blue"],
    ["Köln", "Zürich", "São Paulo"],
    ['5" pipe', 'say "x"', "it's"],
    ["a, b", "c; d", "e|f"],
    ["two\nlines", "one", "three\n\nmore; lines, \n"],
    ["A-1", "B-2", "C"],
]
Value = Decimal | str | bool | datetime.date | None


@dataclass
class Column:
    """kind: number, text, truth or day. style: of a number in a spreadsheet; digits: behind its sign."""

    name: str
    kind: str
    values: list[Value]
    style: str = "general"
    digits: int = 0


def column(chance: random.Random, name: str, kind: str) -> Column:
    made = Column(name, kind, [])
    if kind == "number":
        made.digits = chance.choice([0, 0, 1, 2, 2, 3, 3, 4])
        made.style = chance.choice(["general", "general", "fixed", "thousands", "currency", "percent", "brackets"])
    texts, size, low = chance.choice(TEXTS), chance.choice([1, 100, 10_000, 10_000_000]), chance.choice([-1, 0, 0])

    def draw() -> Value:
        match kind:
            case "number":
                ten = 10**made.digits
                return Decimal(chance.randint(low * size * ten, size * ten)).scaleb(-made.digits)
            case "text":
                return chance.choice(texts)
            case "truth":
                return chance.random() < 0.5
        return datetime.date(2020, 1, 1) + datetime.timedelta(chance.randrange(2000))

    gaps = chance.choice([0, 0, 0.2])
    made.values = [None if chance.random() < gaps else draw() for _ in range(ROWS)]
    return made


def table(seed: int) -> list[Column]:
    chance = random.Random(seed)
    kinds = [chance.choice(["number", "number", "number", "text", "truth", "day"]) for _ in range(chance.randint(1, 5))]
    columns = [column(chance, f"{'my ' * chance.randint(0, 1)}x{place}", kind) for place, kind in enumerate(kinds)]
    labels = chance.choice([["yes", "no"], ["a", "b", "c"], ["0", "1"], ["1,5", 'b"']])
    target = Column("class", "text", [*labels, *(chance.choice(labels) for _ in range(ROWS - len(labels)))])
    columns.insert(chance.randint(0, len(columns)), target)
    return columns


# --- CSV ------------------------------------------------------------------------------------------------------------


class Dialect(NamedTuple):
    """How a program writes: groups: the sign between thousands; truths: false, true; quoting: as csv has it."""

    delimiter: str = ","
    decimal: str = "."
    groups: str = ","
    truths: tuple[str, str] = ("FALSE", "TRUE")
    missing: str = ""
    currency: str = "$"
    end: str = "\n"
    encoding: str = "utf-8"
    quoting: int = csv.QUOTE_MINIMAL
    styled: bool = False
    numbered: bool = False


EXCEL = Dialect(end="\r\n", encoding="utf-8-sig", styled=True)
GERMAN = EXCEL._replace(delimiter=";", decimal=",", groups=".", truths=("FALSCH", "WAHR"), currency=" €")
DIALECTS = {
    "pandas": Dialect(truths=("False", "True")),
    "pandas ;": Dialect(";", ",", truths=("False", "True")),
    "pandas tab, index": Dialect("\t", truths=("False", "True"), numbered=True),
    "Excel": EXCEL,
    "Excel, old": EXCEL._replace(encoding="cp1252"),
    "Excel, German": GERMAN,
    "Excel, German, old": GERMAN._replace(encoding="cp1252"),
    "Excel, French": GERMAN._replace(groups="\u202f", truths=("FAUX", "VRAI")),
    "Excel, Swiss": GERMAN._replace(decimal=".", groups="\u2019"),
    "Excel, text": EXCEL._replace(delimiter="\t", encoding="utf-16"),
    "Sheets": EXCEL._replace(end="\n", encoding="utf-8"),
    "Sheets, German": GERMAN._replace(delimiter=",", end="\n", encoding="utf-8", truths=("FALSE", "TRUE")),
    "R write.csv": Dialect(missing="NA", quoting=csv.QUOTE_NONNUMERIC),
    "R write.csv, row names": Dialect(missing="NA", quoting=csv.QUOTE_NONNUMERIC, numbered=True),
    "R write.csv2": Dialect(";", ",", missing="NA", quoting=csv.QUOTE_NONNUMERIC),
    "PostgreSQL": Dialect(truths=("f", "t")),
    "SQLite": Dialect(truths=("0", "1"), end="\r\n"),
}


class Bare(float):
    """A number to csv.QUOTE_NONNUMERIC, which it writes as the text that it has."""

    text = ""

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__


def cell(value: Value, made: Column, way: Dialect) -> Any:
    if value is None:
        text = way.missing
    elif isinstance(value, bool):
        text = way.truths[value]
    elif isinstance(value, Decimal):
        text = number(value, made, way)
    else:
        return str(value)
    if way.quoting != csv.QUOTE_NONNUMERIC or (made.kind == "text" and value is not None):
        return text
    bare = Bare()
    bare.text = text
    return bare


def number(value: Decimal, made: Column, way: Dialect) -> str:
    style = made.style if way.styled else "general"
    if style == "percent":
        value *= 100
    digits = max(made.digits - 2, 0) if style == "percent" else made.digits
    body = f"{abs(value):,.{digits}f}" if style in ("thousands", "currency", "brackets") else f"{abs(value):.{digits}f}"
    if style == "general" and "." in body:
        body = body.rstrip("0").rstrip(".")
        if way.truths == ("False", "True") and "." not in body:
            body += ".0"  # pandas
    body = body.translate({ord(","): way.groups, ord("."): way.decimal})
    if style == "percent":
        body += "%"
    if style == "currency":
        body = body + way.currency if way.currency.startswith(" ") else way.currency + body
    if value >= 0:
        return body
    return f"({body})" if style == "brackets" else f"-{body}"


def write_csv(columns: list[Column], way: Dialect, before: str) -> bytes:
    target = io.StringIO()
    writer = csv.writer(target, delimiter=way.delimiter, lineterminator=way.end, quoting=way.quoting)
    numbers = [""] if way.numbered else []
    writer.writerow([*numbers, *(each.name for each in columns)])
    for row in range(ROWS):
        cells = [cell(each.values[row], each, way) for each in columns]
        writer.writerow([*([str(row + 1)] if way.numbered else []), *cells])
    return (before.replace("\n", way.end) + target.getvalue()).encode(way.encoding)


def write_pandas(columns: list[Column], way: Dialect) -> bytes:
    """pandas itself, which writes what the dialect of the same name says."""
    frame = pd.DataFrame({each.name: each.values for each in columns})
    for each in columns:
        if each.kind == "number":
            frame[each.name] = frame[each.name].astype("float64")
    text = frame.to_csv(sep=way.delimiter, decimal=way.decimal, index=way.numbered, lineterminator=way.end)
    return text.encode(way.encoding)


# --- what was read --------------------------------------------------------------------------------------------------


def section(decimal: str) -> Create:
    changed = VALUES["create"] | {"dataset": "table", "table": {"path": "data/tables/made.csv", "target": "class"}}
    changed["reading"] = changed["reading"] | {"decimal": decimal}
    return Create.model_validate(changed)


def attempt(path: Path, decimal: str = "auto") -> tuple[str, tuple[InspectedTable, dict[str, list[Any]]] | None]:
    """How it ended, and what was read."""
    wanted = section(decimal)
    try:
        found = inspect(wanted, open_own(path, wanted))
        return "read", (found, pa.concat_tables(convert(found)).to_pydict())
    except UserError as fault:
        return refusal(fault, path), None


def check(columns: list[Column], found: InspectedTable, got: dict[str, list[Any]], way: Dialect | None = None) -> None:
    for each in columns:
        values = got[each.name]
        assert len(values) == ROWS
        kind = "class" if each.name == "class" else found.kinds[each.name]
        for value, is_there in zip(each.values, values, strict=True):
            assert same(value, is_there, each, kind, found, way), (each.name, kind, each.style, value, is_there)


def same(value: Value, there: Any, made: Column, kind: str, found: InspectedTable, way: Dialect | None) -> bool:
    if kind == "class":
        return bool(found.classes[there] == str(value))
    if value is None or there is None:
        return value is None and there is None
    if kind == "numeric":
        # Truths may be 0 and 1.
        return isinstance(value, Decimal | bool) and bool(there == float(value))
    if kind == "boolean":
        return isinstance(value, bool) and there is value
    if kind == "datetime":
        return bool(there == datetime.datetime.combine(value, datetime.time()))  # type: ignore[arg-type]
    # Texts, and what names the row, as it stands there.
    if isinstance(value, Decimal):
        return kind == "identifier" and bool(Decimal(there) == value)
    if isinstance(value, bool):
        return way is not None and there == way.truths[value]
    return bool(there.replace("\r\n", "\n").strip() == str(value).strip())


REFUSALS = [
    "has three digits behind it, and nothing else in the file tells; set create.reading.decimal",
    "no column but class varies",
    "is the target class in other words",
    "holds '.*' with a decimal point and '.*' with a decimal comma",
]


def refusal(fault: UserError, path: Path) -> str:
    line = str(fault)
    assert fault.status == BAD_DATA
    assert line.startswith(str(path)), line
    assert "\n" not in line
    kinds = [pattern for pattern in REFUSALS if re.search(pattern, line)]
    assert kinds, line
    return kinds[0]


def test_csv_is_read_right_or_refused(cases):
    ends: Counter[str] = Counter()

    @fuzzing.settings(cases, 150, CAMPAIGN)
    @given(
        st.integers(0, 2**32),
        st.sampled_from(sorted(DIALECTS)),
        st.sampled_from(["", "", "", "sep=", "\n", "A report\n\n"]),
        st.booleans(),
    )
    def holds(seed: int, name: str, before: str, itself: bool) -> None:
        columns, way = table(seed), DIALECTS[name]
        before = (f"sep={way.delimiter}\n" if before == "sep=" else before) if way.styled else ""
        if "cp1252" in way.encoding and way.groups == "\u202f":
            return
        if name.startswith("pandas") and itself:
            content = write_pandas(columns, way)
        else:
            content = write_csv(columns, way, before)
        with fuzzing.folder():
            path = Path("made.csv")
            path.write_bytes(content)
            end, got = attempt(path)
            ends[end] += 1
            if "three digits" in end:  # the key that it names helps
                end, got = attempt(path, "point" if way.decimal == "." else "comma")
                assert "three digits" not in end
            if got:
                check(columns, *got, way)

    holds()
    print(f"\n{sum(ends.values()):,} files: {dict(ends.most_common())}")
    assert ends["read"] > 0.7 * sum(ends.values()), ends


# --- Parquet --------------------------------------------------------------------------------------------------------


def arrow(made: Column, large: bool, coded: bool) -> pa.Array:
    if made.kind == "number":
        whole = made.digits == 0
        return pa.array([None if value is None else float(value) for value in made.values]).cast(
            pa.int64() if whole else pa.float64()
        )
    if made.kind == "text":
        texts = pa.array(made.values, pa.large_string() if large else pa.string())
        return texts.dictionary_encode() if coded else texts
    return pa.array(made.values)


def as_pandas(columns: list[Column], folder: Path, chance: random.Random) -> Path:
    frame = pd.DataFrame({each.name: arrow(each, False, False).to_pandas() for each in columns})
    if chance.random() < 0.5:
        frame = frame.convert_dtypes()
    if chance.random() < 0.5:
        for each in columns:
            if each.kind == "text":
                frame[each.name] = frame[each.name].astype("category")
    frame.to_parquet(
        folder / "made.parquet", index=chance.choice([None, False]), row_group_size=chance.choice([7, 100])
    )
    return folder / "made.parquet"


def as_polars(columns: list[Column], folder: Path, chance: random.Random) -> Path:
    names = [each.name for each in columns]
    arrays = [arrow(each, True, chance.random() < 0.3) for each in columns]
    pq.write_table(
        pa.Table.from_arrays(arrays, names), folder / "made.parquet", compression="zstd", data_page_version="2.0"
    )
    return folder / "made.parquet"


def in_parts(columns: list[Column], folder: Path, chance: random.Random, spark: bool) -> Path:
    """A folder with parts, by the values of a column where there is one for it."""
    place = folder / "made"
    whole = pa.Table.from_arrays([arrow(each, False, False) for each in columns], [each.name for each in columns])
    keys = [each for each in columns if each.name != "class" and each.kind in ("text", "truth")]
    keys = [each for each in keys if None not in each.values or each.kind == "text"]
    key = chance.choice(keys) if keys and chance.random() < 0.7 else None
    values = key.values if key else [None] * ROWS
    texts = [str(value).lower() if isinstance(value, bool) else value for value in values]
    for number, text in enumerate(dict.fromkeys(texts)):
        rows = [row for row in range(ROWS) if texts[row] == text]
        inside = place / f"{quote(key.name, safe='')}={folder_name(text)}" if key else place
        inside.mkdir(parents=True)
        part = whole.take(rows)
        part = part.drop_columns(key.name) if key else part
        file = f"part-{number:05}-c000.snappy.parquet" if spark else f"data_{number}.parquet"
        pq.write_table(part, inside / file, use_deprecated_int96_timestamps=spark)
        if spark:
            (inside / f".{file}.crc").write_bytes(b"crc")
    if spark:
        (place / "_SUCCESS").write_bytes(b"")
        (place / "_temporary/0").mkdir(parents=True)
        pq.write_table(whole, place / "_temporary/0/part-00000.parquet")
    # In the order of the folders' names.
    order = sorted(range(ROWS), key=lambda row: folder_name(texts[row]) if key else "")
    for each in columns:
        each.values = [each.values[row] for row in order]
    return place


def folder_name(text: Any) -> str:
    return "__HIVE_DEFAULT_PARTITION__" if text is None else quote(str(text), safe="")


LAYOUTS: dict[str, Callable[[list[Column], Path, random.Random], Path]] = {
    "pandas": as_pandas,
    "polars": as_polars,
    "DuckDB": lambda columns, folder, chance: in_parts(columns, folder, chance, spark=False),
    "Spark": lambda columns, folder, chance: in_parts(columns, folder, chance, spark=True),
}


def test_parquet_is_read_right_or_refused(cases):
    ends: Counter[str] = Counter()

    @fuzzing.settings(cases, 100, CAMPAIGN)
    @given(st.integers(0, 2**32), st.sampled_from(sorted(LAYOUTS)))
    def holds(seed: int, name: str) -> None:
        columns = table(seed)
        with fuzzing.folder() as folder:
            path = LAYOUTS[name](columns, Path(), random.Random(seed))
            assert folder.exists()
            end, got = attempt(path)
            ends[end] += 1
            if got:
                check(columns, *got)

    holds()
    print(f"\n{sum(ends.values()):,} tables: {dict(ends.most_common())}")
    assert ends["read"] > 0.7 * sum(ends.values()), ends
