"""Tables at random, as files that people have: each one is refused in a line that names it, or goes through to the end.

Names, kinds, gaps, formats and encodings are drawn, the rows follow from a seed: to draw each cell would take longer
than the pipeline does.
"""

import csv
import datetime
import decimal
import gzip
import io
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns import fuzzing
from retrace.artifacts.schema import read_schema
from retrace.cli.main import invoke
from retrace.runtime.atomic import FORMULA
from retrace.runtime.errors import BAD_DATA, BAD_PARAMS
from retrace.training.table_recipe import recipe
from tests.conftest import VALUES, changed
from tests.project import TINY

Draw = Callable[[st.SearchStrategy[Any]], Any]
Cell = str | None  # of a file of texts; None: no value

STAGES = ("create", "split", "baseline", "train", "evaluate")
SHOWN = ("validate", "plot", "report")
PLOT_SHARE = 0.005  # of the cases: it costs as much as ten others
PREDICTIONS = {"csv": Path("out.csv"), "parquet": Path("out.parquet")}

NAMES = [
    *("x", "size", "a b", "größe", "id", "row", "index", "label", "actual", "predicted", "probability_0", "y", "class"),
    *("__index_level_0__", "Unnamed: 0", "column_1", "x0 (days)", "x1 (month)", "column", "value", "rows", "epoch"),
    *("", " ", " x", "x ", "X", "#", "0", "1", "-1", "1.5", "nan", "NA", "null", "None", "true", "2026-01-01"),
    *(
        "=1+1",
        "@SUM(A1)",
        "+x",
        "-x",
        "'x",
        "'=x",
        "\t",
        "$x_$",
        r"\frac{1}",
        "a|b",
        "`x`",
        "<b>",
        "&amp;",
        "*x*",
        "[x](y)",
    ),
    *("a\nb", "a\rb", "a\r\nb", "\n", "a\tb", '"', 'say "x"', "a,b", "a;b", "\\", "{x}", "%s", "../x", "/"),
    *(
        "日本語",
        "e\u0301",
        "\u0301",
        "\u202eabc",
        "\u200b",
        "\ufeffx",
        "\U0001f600",
        "\x1b[31mred",
        "\x00",
        "a\x00b",
        "\x07",
    ),
    *("\x85", "\u2028", "\xa0", "\xa0x", "ß", "x" * 300, "ü" * 300, "features", "target", "numbers", "fill"),
]
LABELS = [
    *(["no", "yes"], ["a", "b", "c"], ["0", "1"], ["1", "2", "10"], ["-1", "1"], ["0.0", "1.0"], ["0.5", "1.5"]),
    *(
        ["true", "false"],
        ["NA", "None", "nan"],
        ["NaN", "x"],
        ["2026-01-01", "2026-01-02"],
        ["a", "A"],
        ["a", "a ", "b"],
    ),
    *(
        ["a\nb", "c"],
        ["=1+1", "@x", "-x", "+1"],
        ["$x_$", "\\frac{"],
        ["日本", "e\u0301", "\u202e"],
        ["x" * 300, "x" * 299],
    ),
    *(["01", "1"], ["0", "00", "-0"], ["", "a"], [" ", "a"], ["a|b", "<b>"], ["one"], ["\x1b[31m", "b"], ["'=1", "=1"]),
    *(
        ["\xa0", "b"],
        ["accuracy", "macro avg"],
        ["micro avg", "weighted avg"],
        ["9" * 30, "1"],
        ["a,b", 'say "x"'],
        None,
    ),
]


def picked(*values: str) -> Callable[[random.Random, int, str], str]:
    return lambda chance, row, label: chance.choice(values)


# What a column holds: from chance, the row's number and its class to a text.
KINDS: dict[str, Callable[[random.Random, int, str], str]] = {
    "number": lambda chance, row, label: repr(round(chance.gauss(len(label), 1), 3)),
    "telling": lambda chance, row, label: repr(chance.gauss(sum(map(ord, label)) % 7, 0.1)),
    "whole": lambda chance, row, label: str(chance.randint(-5, 50)),
    "count": lambda chance, row, label: str(row),
    "key": lambda chance, row, label: f"k{row:05}",
    "copy": lambda chance, row, label: label,
    "constant": lambda chance, row, label: "7",
    "colour": picked("red", "green", "blau"),
    "odd colour": picked("=1+1", "a\nb", "é", "e\u0301", "$x_$", "x" * 200, "\x1b[1m", " ", "日"),
    "free": lambda chance, row, label: f"text {chance.random()}",
    "truth": picked("true", "false"),
    "other truth": picked("yes", "no"),
    "Truth": picked("True", "FALSE"),
    "bit": picked("0", "1"),
    "day": lambda chance, row, label: f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
    "no day": lambda chance, row, label: f"2026-{chance.randint(1, 13):02}-{chance.randint(1, 31):02}",
    "far day": picked("0001-01-01", "9999-12-31", "1969-12-31", "2026-02-28"),
    "time": lambda chance, row, label: f"2026-01-01T{chance.randint(0, 23):02}:{chance.randint(0, 59):02}:00Z",
    "zoned": picked("2026-01-01 10:00+02:00", "2026-03-29 02:30:00.123456-0800", "2026-01-01 10:00"),
    "mixed": picked("1", "2.5", "3", "4", "many"),
    "comma": lambda chance, row, label: f"{chance.gauss(0, 9):.2f}".replace(".", ","),
    "thousand": picked("1,234.5", "2,000.0", "1.234,5"),
    "percent": picked("5%", "10%", "7.5 %"),
    "huge": picked("1e300", "-1e300", "1e39", "3.4e38", "1"),
    "too huge": picked("1e999", "-1e999", "1", "2"),
    "tiny": picked("1e-320", "5e-324", "-1e-320", "0", "-0.0"),
    "close": picked("1e30", "1.0000001e30", "1.1e30"),
    "large": lambda chance, row, label: str(2**53 + chance.randint(-3, 3)),
    "larger": lambda chance, row, label: str(2**64 + row),
    "rough": lambda chance, row, label: str(2**24 + chance.randint(0, 9)),
    "word": picked("nan", "inf", "-inf", "1", "Infinity"),
    "plus": picked("+1", "+2.5", "-3", ".5", "5."),
    "spelled": picked("1e5", "1E-5", "0x1F", "1_000", "010"),
    "padded": picked(" 1", "2 ", " 3 ", "\xa04"),
    "rare": lambda chance, row, label: "odd" if row == 7 else "usual",
    "rare number": lambda chance, row, label: "1" if row == 7 else "0",
    "empty": lambda chance, row, label: "",
}
GAPS = ["", "NA", "null", "?", "NaN", "-", "n/a", " "]


ODD = ("names", "kinds", "gaps", "labels", "rows", "format", "damage", "params")


@dataclass
class Table:
    """odd: what is not as usual; cells [columns][rows]; target: what params.yaml names; seed: of all that follows."""

    odd: frozenset[str]
    names: list[str]
    cells: list[list[Cell]]
    target: str
    seed: int


@st.composite
def table(draw: Draw) -> Table:
    # Where everything is odd everything is refused at once, and what lies behind is never reached.
    odd = draw(st.frozensets(st.sampled_from(ODD), max_size=3))
    chance = random.Random(draw(st.integers(0, 2**32)))
    usual = st.sampled_from(["number", "telling", "colour", "bit", "whole", "truth", "day"])
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)) | usual if "kinds" in odd else usual, min_size=1, max_size=7))
    rows = draw(st.sampled_from([0, 1, 2, 19, 20, 21, 40, 120] if "rows" in odd else [90, 120]))
    labels = draw(st.sampled_from(LABELS if "labels" in odd else [["no", "yes"], ["a", "b", "c"], ["0", "1"]]))
    labels = labels or [f"c{row}" for row in range(rows)]
    share = draw(st.sampled_from([0.1, 0.5, 0.5]))
    marks = [labels[0] if chance.random() < share else chance.choice(labels) for row in range(rows)]
    if len(labels) == rows:
        marks = labels[:]
    if "labels" in odd and rows and chance.random() < 0.1:
        marks[chance.randrange(rows)] = chance.choice(["", "rare", "NA"])
    cells: list[list[Cell]] = [[KINDS[kind](chance, row, marks[row]) for row in range(rows)] for kind in kinds]
    for column in cells if "gaps" in odd else ():
        gaps, gap = draw(st.sampled_from([0, 0.1, 0.9, 1])), draw(st.sampled_from(GAPS))
        column[:] = [gap if chance.random() < gaps else cell for cell in column]
    names, target = [f"x{index}" for index in range(len(kinds))], draw(st.sampled_from(["class", "y"]))
    if "names" in odd:
        target = draw(st.sampled_from([target, *NAMES]))
        names = [
            draw(st.sampled_from(NAMES) | st.text(max_size=5)) if chance.random() < 0.5 else each for each in names
        ]
        if chance.random() < 0.8:  # names that differ, as far as a reader can tell
            taken = {target.strip()}
            for place, name in enumerate(names):
                names[place] = f"n{place}" if name.strip() in taken else name
                taken.add(name.strip())
    at = chance.randint(0, len(names))
    return Table(
        odd, [*names[:at], target, *names[at:]], [*cells[:at], marks, *cells[at:]], target, chance.randrange(2**32)
    )


# --- files ----------------------------------------------------------------------------------------------------------


def write_text(made: Table, draw: Draw) -> Path:
    """A file of texts as one program or another saves it, and now and then damaged."""
    chance = random.Random(made.seed)
    delimiter, end, encoding, quoting, ending = ",", "\n", "utf-8", csv.QUOTE_MINIMAL, ".csv"
    if "format" in made.odd:
        delimiter = draw(st.sampled_from([*",,;\t| "]))
        end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
        encoding = draw(
            st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1", "utf-16-le", "utf-32"])
        )
        quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
        ending = draw(st.sampled_from([".csv", ".tsv", ".txt", ".csv.gz", ".csv.gz", ".dat"]))
    damage = draw(st.sampled_from(sorted(DAMAGE))) if "damage" in made.odd else None
    target = io.StringIO()
    writer = csv.writer(target, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(made.names)
    writer.writerows(zip(*made.cells, strict=True))
    content = target.getvalue().encode(encoding, errors="replace")
    if damage:
        content = DAMAGE[damage](content, chance)
    if ending.endswith(".gz"):
        content = gzip.compress(content, mtime=0)
        if damage:
            content = DAMAGE[chance.choice(["cut", "flipped"])](content, chance)
    path = Path(f"data/tables/made{ending}")
    path.write_bytes(content)
    return path


def flipped(content: bytes, chance: random.Random) -> bytes:
    if not content:
        return content
    at = chance.randrange(len(content))
    return content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]


def with_row(content: bytes, chance: random.Random) -> bytes:
    """One that is shorter or longer than the others, or empty."""
    lines = content.splitlines(keepends=True)
    at = chance.randrange(len(lines) + 1)
    return b"".join(
        [*lines[:at], chance.choice([b"1\n", b"\n", b"1,2,3,4,5,6,7,8,9,0\n", b'"', b",,,\n", b"\0\n"]), *lines[at:]]
    )


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": lambda content, chance: content[: chance.randrange(len(content) + 1)],
    "flipped": flipped,
    "row": with_row,
    "blank": lambda content, _: content + b"\n\n\n",
    "before": lambda content, chance: (
        chance.choice([b"\n", b"# made by x\n", b"sep=;\n", b"\xff\xfe", b"\0"]) + content
    ),
    "twice": lambda content, _: content + content,
    "no end": lambda content, _: content.rstrip(b"\r\n"),
    "bytes": lambda _, chance: chance.randbytes(300),
    "parquet": lambda content, _: b"PAR1" + content,
}

DAY = datetime.datetime(2026, 1, 1)


def of_type(kind: pa.DataType, make: Callable[[random.Random, int], Any]) -> Callable[[random.Random, int], pa.Array]:
    """A column of a type, with a gap now and then."""

    def column(chance: random.Random, rows: int) -> pa.Array:
        gaps = chance.choice([0, 0, 0.1, 1])
        return pa.array([None if chance.random() < gaps else make(chance, row) for row in range(rows)], kind)

    return column


def whole(chance: random.Random, row: int) -> int:
    return chance.randint(0, 100)


def real(chance: random.Random, row: int) -> float:
    return chance.choice([chance.gauss(0, 1)] * 8 + [0.0, -0.0, 1e30, 65504.0])


TYPES: dict[str, Callable[[random.Random, int], pa.Array]] = {
    **{str(kind): of_type(kind, whole) for kind in (pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.int64())},
    "uint64": of_type(pa.uint64(), lambda chance, row: chance.choice([2**64 - 1, 1, 2, 3])),
    "int64 large": of_type(pa.int64(), lambda chance, row: chance.choice([2**62, -(2**63), 1])),
    "int64 ids": of_type(pa.int64(), lambda chance, row: row),
    "halffloat": of_type(pa.float16(), lambda chance, row: chance.gauss(0, 1)),
    "float": of_type(pa.float32(), lambda chance, row: chance.gauss(0, 1)),
    "double": of_type(pa.float64(), real),
    "double nan": of_type(pa.float64(), lambda chance, row: chance.choice([1.0, 2.5, float("nan")])),
    "double inf": of_type(pa.float64(), lambda chance, row: chance.choice([1.0, 2.5, float("inf")])),
    "bool": of_type(pa.bool_(), lambda chance, row: chance.random() < 0.5),
    "decimal128": of_type(pa.decimal128(10, 2), lambda chance, row: decimal.Decimal(chance.randint(0, 999)) / 100),
    "decimal256": of_type(pa.decimal256(60, 5), lambda chance, row: decimal.Decimal(10) ** chance.randint(0, 50)),
    "string": of_type(pa.string(), lambda chance, row: chance.choice(["a", "b", "=1", "a\nb", "", " a"])),
    "string numbers": of_type(pa.string(), lambda chance, row: str(chance.randint(0, 9))),
    "large_string": of_type(pa.large_string(), lambda chance, row: chance.choice(["a", "b", "ü"])),
    "string_view": of_type(pa.string_view(), lambda chance, row: chance.choice(["a", "b"])),
    "dictionary": of_type(pa.dictionary(pa.int8(), pa.string()), lambda chance, row: chance.choice(["a", "b"])),
    "dictionary whole": of_type(pa.dictionary(pa.int32(), pa.int64()), lambda chance, row: chance.randint(0, 5)),
    "null": of_type(pa.null(), lambda chance, row: None),
    "date32": of_type(pa.date32(), lambda chance, row: DAY.date() + datetime.timedelta(chance.randint(0, 99))),
    "date64": of_type(pa.date64(), lambda chance, row: DAY.date() + datetime.timedelta(chance.randint(0, 99))),
    **{
        f"timestamp {unit} {zone}": of_type(
            pa.timestamp(unit, zone), lambda chance, row: DAY + datetime.timedelta(hours=chance.randint(0, 9999))
        )
        for unit in ("s", "ms", "us", "ns")
        for zone in (None, "UTC", "Europe/Berlin", "+05:30")
    },
    "timestamp far": of_type(pa.timestamp("s"), lambda chance, row: chance.choice([2**40, -(2**40), 10**15, 0])),
    "time32": of_type(pa.time32("s"), lambda chance, row: datetime.time(chance.randint(0, 23))),
    "time64": of_type(pa.time64("us"), lambda chance, row: datetime.time(chance.randint(0, 23), 5)),
    "duration": of_type(pa.duration("s"), lambda chance, row: datetime.timedelta(seconds=chance.randint(0, 99))),
    "binary": of_type(pa.binary(), lambda chance, row: chance.randbytes(3)),
    "fixed": of_type(pa.binary(2), lambda chance, row: chance.randbytes(2)),
    "list": of_type(pa.list_(pa.int64()), lambda chance, row: [1] * chance.randint(0, 3)),
    "struct": of_type(pa.struct([("a", pa.int64())]), lambda chance, row: {"a": 1}),
    "map": of_type(pa.map_(pa.string(), pa.int64()), lambda chance, row: [("a", 1)]),
}


# Types that a feature may have; the others are refused.
FEATURE_TYPES = [name for name in TYPES if not re.match(r"time\d|binary|fixed|list|struct|map|duration", name)]


def write_parquet(made: Table, draw: Draw) -> Path:
    """A table with types of all sorts, in one file or in parts, which may not fit each other."""
    chance = random.Random(made.seed)
    rows = len(made.cells[0])
    columns: list[pa.Array] = []
    for name, cells in zip(made.names, made.cells, strict=True):
        if name == made.target:
            column = pa.array(cells, pa.string())
            if "labels" in made.odd and chance.random() < 0.5:
                column = TYPES[draw(st.sampled_from(sorted(TYPES)))](chance, rows)
            elif chance.random() < 0.3:
                column = column.dictionary_encode()
            columns.append(column)
        elif "kinds" not in made.odd or chance.random() < 0.5:
            columns.append(pa.array([chance.gauss(len(str(cell)), 1) for cell in cells], pa.float64()))
        else:
            typed = st.sampled_from(FEATURE_TYPES) | st.sampled_from(sorted(TYPES))
            columns.append(TYPES[draw(typed)](chance, rows))
    whole_table = pa.Table.from_arrays(columns, names=made.names)
    damage = draw(st.sampled_from(["parts", None] if "format" in made.odd else [None]))
    if "damage" in made.odd:
        damage = draw(st.sampled_from(["cut", "flipped", "bytes", "odd part"]))
    path = Path("data/tables/made.parquet")
    if damage in ("parts", "odd part"):
        path = Path("data/tables/made")
        path.mkdir()
        middle = rows // 2
        pq.write_table(whole_table.slice(0, middle), path / "a.parquet")
        second = whole_table.slice(middle)
        if damage == "odd part":
            second = chance.choice(
                [
                    second.remove_column(0),
                    second.append_column("more", pa.nulls(len(second))),
                    second.cast(second.schema),
                ]
            )
        pq.write_table(second, path / "b.parquet")
        return path
    pq.write_table(whole_table, path, row_group_size=chance.choice([None, 7]))
    if damage:
        path.write_bytes(DAMAGE[damage](path.read_bytes(), chance))
    return path


def odd_changes(made: Table) -> dict[str, Any]:
    """Keys that suit the table, or do not."""
    chance, changes = random.Random(made.seed), dict[str, Any]()
    features = [name for name in made.names if name not in (made.target, "")]
    names = dict.fromkeys(features)
    for kind in VALUES["create"]["columns"]:
        if names and chance.random() < 0.2:
            changes[f"create.columns.{kind}"] = [names.popitem()[0]]
    if features and chance.random() < 0.3:
        changes["evaluate.slices"] = [chance.choice(features)]
    if features and chance.random() < 0.3:
        changes |= {"split.method": chance.choice(["group", "time"]), "split.column": chance.choice(features)}
    elif chance.random() < 0.5:
        changes["split.method"] = chance.choice(["hash", "random", "stratified"])
    for key, values in (
        ("create.reading.delimiter", ["comma", "semicolon", "tab", "pipe", "space"]),
        ("create.reading.encoding", ["utf-8", "cp1252", "utf-16", "ascii", "utf-32"]),
        ("create.reading.decimal", ["point", "comma"]),
        ("create.reading.missing", [[], ["-", "n/a"], ["red", "1"]]),
        ("train.scaling", ["none", "robust", "quantile"]),
        ("train.bins", [0, 1, 40]),
        ("train.residuals_above", [0.0, 0.5]),
        ("train.window", [100, 150]),
        ("baseline.rows", [10, 100]),
        ("train.ship", ["best"]),
        ("train.input_scale_rate", [0.0]),
        ("train.embed_above", [1, 2]),
        ("train.class_weights", ["balanced"]),
    ):
        if chance.random() < 0.15:
            changes[key] = chance.choice(values)
    return changes


def write_params(target: str, path: Path, others: dict[str, Any]) -> None:
    """Those of the tests with the table and its recipe, but for what costs time, and with others changed."""
    changes = TINY | {".".join(key): value for key, value in recipe(ROWS, 5, 2).items()}
    changes |= {"train.replicas": 2, "create.dataset": "table", "create.table.path": str(path)}
    changes["create.table.target"] = target or "class"
    changes |= {"train.epochs": 2, "train.batch_size": 16, "train.hidden": [3], "train.rare_below": 3}
    changes |= {"split.validation_size": 0.3, "baseline.boosting_iterations": 2, "evaluate.permutations": 2}
    changes |= others
    # JSON is YAML, but for signs that it may hold as they are.
    text = json.dumps(changed(VALUES, changes), ensure_ascii=False)
    Path("params.yaml").write_text("".join(sign if sign.isprintable() else f"\\U{ord(sign):08X}" for sign in text))


# --- the test -------------------------------------------------------------------------------------------------------

# Where a refusal may begin: the table, the data set that was made of it, or the key that is in the way.
PLACES = r"data/tables/made\S*|data/dataset\.parquet|params\.yaml:\d+: (create|split|evaluate|train)\.\S+"


REFUSALS = [
    *(
        "has no rows|has \\d+ rows; at least 20 are needed",
        "is empty; it must hold a header",
        "holds a NUL byte",
        "has a NUL byte in its name",
        "must end with",
        "looks like a row and not like a header",
        "and what stands before it looks like rows",
        "a quote opened in line [\\d,]+ is (never closed|closed in line [\\d,]+ only)",
    ),
    *("cannot be read \\(", "is not \\S+ \\(.*; set create.reading.encoding", "cells where the header has \\d"),
    *("columns are called", "there is no column .* \\(create.table.target\\)", "the parts must be alike"),
    *(
        "repeats the header; delete it",
        "is not a CSV file but",
        "text follows a closing quote",
        "is closer to 0 than a number",
    ),
    *(
        "is not a number( with \\S+)?, but [\\d,]+ of [\\d,]+ values are",
        "has three digits behind it, and nothing else in the file tells",
        "with a decimal point and .* with a decimal comma",
        "is not a number",
        "is not true or false",
        "is not a date or time",
        "is not a date up to the year 294,246",
    ),
    *(
        "is not a finite number below 3.4e38",
        "holds whole numbers up to .* not exact from 2\\^53",
        "which no network takes",
        "which pandas reads as a missing value",
        "is not a class, since numbers with a point are not all different from 2\\^53 on",
    ),
    *(
        "has no value in the target",
        "its values must be texts, numbers or true",
        "in every row; two classes are needed",
    ),
    *(
        "no column but .* varies",
        "in other words: each of its values",
        "is called as that part of column",
        "would be lost",
        "none of them is a (training|validation|test) row",
    ),
    *(
        "too few distinct rows in class",
        "tell nothing about",
        "no feature varies in the",
        "by which split.column divides",
    ),
    *(
        "split.(test|validation)_size must suit",
        "create.columns.\\w+ must name features",
        "split.column must be a column",
    ),
    "evaluate.slices must name columns",
]


def reason(end: fuzzing.End) -> str:
    """Which of REFUSALS it is; no other one is allowed."""
    if not end.status:
        return "finished"
    assert end.status in (BAD_DATA, BAD_PARAMS), end
    assert len(end.lines) == 1, end.lines
    (line,) = end.lines
    assert re.match(f"({PLACES})[: ]", line), line
    assert len(line) < 2000, line
    kinds = [pattern for pattern in REFUSALS if re.search(pattern, line)]
    assert kinds, f"{end.stage} ended with {end.status}: {line}"
    return f"{end.status} {kinds[0]}"


def check_output(path: Path, rows: int, classes: list[str]) -> None:
    """As many rows as came in, each with a label that is a class and with probabilities that add up to 1."""
    if path.suffix == ".csv":
        names = ["label", *(f"probability_{name}" for name in classes)]
        kinds = {name: pa.float64() for name in names[1:]} | {"label": pa.string()}
        options = pc.ConvertOptions(column_types=kinds, null_values=[])
        made = pc.read_csv(path, parse_options=pc.ParseOptions(newlines_in_values=True), convert_options=options)
    else:
        made = pq.read_table(path)
    assert made.num_rows == rows
    # No cell of a CSV file is a formula to a spreadsheet: a quote stands before what would be one.
    marked = {f"'{name}" for name in classes if FORMULA.match(name)} if path.suffix == ".csv" else set()
    labels = set(made.column("label").to_pylist())
    assert labels <= {name for name in classes if f"'{name}" not in marked} | marked
    shares = [made.column(f"probability_{name}").to_pylist() for name in classes]
    assert all(abs(sum(row) - 1) < 1e-6 for row in zip(*shares, strict=True))


def test_a_table_is_refused_by_name_or_goes_through(cases):
    ends: Counter[str] = Counter()

    @fuzzing.settings(cases, 40)
    @given(table(), st.sampled_from([write_text, write_text, write_parquet]), st.data())
    def holds(made: Table, write: Callable[[Table, Draw], Path], data: Any) -> None:
        with fuzzing.folder():
            Path("data/tables").mkdir(parents=True)
            path = write(made, data.draw)
            write_params(made.target, path, odd_changes(made) if "params" in made.odd else {})
            chance = random.Random(made.seed)
            end = fuzzing.run(*STAGES, *(SHOWN if chance.random() < PLOT_SHARE else []))
            ends[reason(end)] += 1
            if end.status:
                return
            fuzzing.check_predictions()
            schema = read_schema()
            output = PREDICTIONS[chance.choice(["csv", "parquet"])]
            keep = ["--keep"] if chance.random() < 0.3 else []
            end = fuzzing.call("predict", lambda: invoke(["predict", str(path), str(output), *keep]))
            ends[f"predict: {reason(end)}"] += 1
            if not end.status and not keep:
                check_output(output, sum(schema.counts), schema.classes)

    with fuzzing.many():
        holds()
    for kind, count in ends.most_common():
        print(f"{count:7,} {kind}")
    assert ends["finished"] > ends.total() / 8


# --- what it found --------------------------------------------------------------------------------------------------

ROWS = 120


def through(columns: dict[str, Any], **changes: Any) -> fuzzing.End:
    """The stages on a Parquet table with these columns, a telling one and a class."""
    label = [f"c{row % 2}" for row in range(ROWS)]
    chance = random.Random(0)
    telling = [row % 2 + chance.gauss(0, 1) for row in range(ROWS)]
    path = Path("data/tables/made.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"telling": telling, **columns, "class": label}), path)
    write_params("class", path, changes)
    return fuzzing.run(*STAGES)


def every(*values: Any) -> list[Any]:
    return [values[row % len(values)] for row in range(ROWS)]


def refused(end: fuzzing.End) -> str:
    assert end.status == BAD_DATA
    (line,) = end.lines
    return line


@pytest.fixture(autouse=True)
def place():
    with fuzzing.folder():
        yield


def test_a_date_without_an_end_goes_through():
    """Microseconds of a date after 2255 are no exact float64, and were refused by a traceback."""
    assert not through({"until": every("9999-12-31", "2026-01-01", "2026-01-07")}).status


def test_times_with_and_without_a_zone_are_refused_by_their_row():
    """Each of them is a time by itself, so that no row was found to be wrong."""
    line = refused(through({"at": every(*["2026-01-01 10:00"] * 7, "2026-01-01 10:00+02:00")}))
    assert "column at, row 8: '2026-01-01 10:00+02:00' is not a date or time" in line


def test_infinities_are_refused_by_their_row_and_by_nothing_else():
    assert "column x, row 3: inf is not a finite number" in refused(through({"x": every(1.0, 2.0, math.inf, math.inf)}))


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "\u202eabc", "x" * 5000])
def test_a_name_stays_in_its_line_whatever_it_holds(name):
    """`call` looks at each line; of a very long name only its beginning is listed."""
    assert "column" in refused(through({name: every(b"x")}))
    line = refused(through({name: every(1.0, 2.0)}, **{"create.table.target": "nowhere"}))
    assert "there is no column 'nowhere'" in line
    assert len(line) < 300


def test_a_column_that_no_training_row_has_a_value_of_goes_through():
    """The baseline warned on stderr that it skipped the column."""
    assert not through({"rare": [1.5, *[None] * (ROWS - 1)], "x": every(1.0, 2.0, 3.0)}).status


def test_gaps_that_no_training_row_has_are_filled_without_scaling_too():
    """The medians were found only where a training row lacked a value or numbers were scaled."""
    late = {"x": [row % 7 / 2 if row < 90 else None for row in range(ROWS)], "when": list(range(ROWS))}
    changes = {"split.method": "time", "split.column": "when", "train.scaling": "none"}
    assert not through(late, **changes).status


def test_inputs_of_which_none_varies_go_through():
    """Every category is a rare one to the network, which divided by their variance for the picture's axes."""
    kinds = [f"k{row // 10 * 2 + row % 2}" for row in range(ROWS)]
    changes = {"train.rare_below": 1000, "create.columns.ignored": ["telling"]}
    assert not through({"kind": kinds, "other": every("a", "b", "c")}, **changes).status


@pytest.mark.parametrize("header", ["x" * 200_000, '"x,class', ",".join(f"column{index:08}" for index in range(9000))])
def test_a_header_that_is_one_long_cell_is_refused(header):
    """Python's reader of CSV gives up after 131,072 letters, with a traceback."""
    path = Path("data/tables/made.csv")
    path.parent.mkdir(parents=True)
    path.write_text(f"{header}\n" + "1,a\n2,b\n" * 50_000)
    write_params("class", path, {})
    assert len(refused(fuzzing.run(*STAGES))) < 1500


def test_a_column_that_is_called_as_a_part_of_a_date_is_refused():
    """One took the other's place, and nobody was told."""
    days = [f"2026-0{1 + row % 9}-0{1 + row % 7}" for row in range(ROWS)]
    line = refused(through({"x": days, "x (month)": every(1.5, 2.5, 9.0)}))
    assert "column x (month) is called as that part of column x is" in line


def test_no_column_is_lost_to_the_predictions():
    """With --keep the prediction took the place of a column that was called label, the actual one, say."""
    assert not through({"label": every("u", "v", "w")}).status
    given = ["predict", "data/tables/made.parquet", "out.csv"]
    assert "column label would be lost" in refused(fuzzing.call("predict", lambda: invoke([*given, "--keep"])))
    assert not fuzzing.call("predict", lambda: invoke(given)).status


@pytest.mark.parametrize("at", [12, 40])
def test_a_damaged_gzip_file_is_refused(at):
    """What is wrong inside of it is an error of zlib, and of no file."""
    content = bytearray(gzip.compress(b"x,class\n" + b"1.5,a\n2,b\n" * 60))
    content[at] ^= 0xFF
    path = Path("data/tables/made.csv.gz")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    write_params("class", path, {})
    assert "made.csv.gz cannot be read" in refused(fuzzing.run(*STAGES))


def test_a_confidence_just_below_1_has_an_interval():
    """Half of what it leaves over was rounded to nothing, and the interval had no end."""
    assert not through({"x": every(1.0, 2.0, 3.5)}, **{"evaluate.confidence": math.nextafter(1, 0)}).status


def test_a_name_with_a_nul_byte_is_refused():
    """numpy cuts it off, so that scikit-learn did not find the column again."""
    assert "column \\x00 has a NUL byte in its name" in refused(through({"\0": every(1.5, 2.5, 3.0)}))
