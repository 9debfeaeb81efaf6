"""What a message tells a person to do, done: the fault is gone. Each of the ways that a line names, one by one.

(What is said of files that DVC keeps is followed in faults/test_file_repair.py and faults/test_cache.py.)
"""

import ast
import bz2
import contextlib
import errno
import gzip
import io
import json
import math
import pkgutil
import re
import resource
import runpy
import shutil
import signal
import sqlite3
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrace.artifacts.schema import read_schema
from retrace.cli.main import invoke
from retrace.figures.registry import FIGURES
from retrace.networks.model_files import load
from retrace.runtime.errors import BAD_PARAMS, MACHINE_FAULT, UserError
from retrace.training import checkpoint
from stages import baseline, create, evaluate, plot, split, train, validate
from tests.conftest import PARAMS, ROOT
from tests.project import TINY, git, turn

TABLE = Path("data/tables/table.csv")
ROWS = 60


def line_of(act: Callable[[], None]) -> str:
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- params.yaml ----------------------------------------------------------------------------------------------------


def replaced(old: str, new: str) -> str:
    assert PARAMS.count(old) == 1, old
    return PARAMS.replace(old, new)


ROWS_KEY = "  rows: 10000"
PARAMETERS: dict[str, tuple[str | bytes, Callable[[str], str | bytes]]] = {
    "save it as UTF-8 without one": ("\ufeff" + PARAMS, lambda text: text.removeprefix("\ufeff")),
    "save the file as UTF-8": (("# größe\n" + PARAMS).encode("latin-1"), lambda text: "# größe\n" + PARAMS),
    "keep one side and delete the markers": (
        replaced(ROWS_KEY, f"<<<<<<< HEAD\n{ROWS_KEY}\n=======\n  rows: 20\n>>>>>>> other"),
        lambda text: "\n".join(
            line for line in text.split("\n") if not line.startswith(("<<<", "===", ">>>", "  rows: 20"))
        ),
    ),
    "must not begin with %, a YAML directive; delete the line": (
        "%YAML 1.1\n---\n" + PARAMS,
        lambda text: text.removeprefix("%YAML 1.1\n"),
    ),
    "indent with spaces, not tabs": (replaced(ROWS_KEY, "\trows: 10000"), lambda text: text.replace("\t", "  ")),
    "fix the line or restore it": (
        replaced(ROWS_KEY, "  rows: [10"),
        lambda text: text.replace("  rows: [10", ROWS_KEY),
    ),
    "holds the control character 0x07; delete it": (
        replaced(ROWS_KEY, f"{ROWS_KEY} # \a"),
        lambda text: text.replace("\a", ""),
    ),
    "write the value itself": (
        replaced(ROWS_KEY, "  rows: *n").replace("create:", "create: &n", 1),
        lambda text: text.replace("*n", "10000").replace(" &n", ""),
    ),
    "delete the tag": (replaced(ROWS_KEY, "  rows: !x 10000"), lambda text: text.replace("!x ", "")),
    "quote it: '2026-01-31'": (
        replaced("    target: class ", "    target: 2026-01-31 "),
        lambda text: text.replace("2026-01-31", "'2026-01-31'"),
    ),
    "stands twice; delete one of the two lines": (
        replaced(ROWS_KEY, f"{ROWS_KEY}\n{ROWS_KEY}"),
        lambda text: text.replace(f"{ROWS_KEY}\n{ROWS_KEY}", ROWS_KEY),
    ),
    "did you mean create.rows?": (replaced(ROWS_KEY, "  row: 10000"), lambda text: text.replace("  row:", "  rows:")),
    "is not a parameter; delete the line": (
        replaced(ROWS_KEY, f"{ROWS_KEY}\n  zzz: 1"),
        lambda text: text.replace("\n  zzz: 1", ""),
    ),
    "delete what is not a parameter, or: restore it": (
        PARAMS + "# words\n" * 200_000,
        lambda text: text.replace("# words\n", ""),
    ),
    "zzz is not a section; delete it": (PARAMS + "zzz: 1\n", lambda text: text.replace("zzz: 1\n", "")),
    # (Where the secret opens something, nobody here can see whether it was changed.)
    "what stands in this file reaches git, DVC and MLflow: delete it here": (
        replaced(ROWS_KEY, f"{ROWS_KEY}\n  password: x\n# AKIA1234567890ABCDEF"),
        lambda text: text.replace("\n  password: x\n# AKIA1234567890ABCDEF", ""),
    ),
    "is nested too deep; fix the line or restore it": (
        replaced(ROWS_KEY, "  rows: " + "[ #\n" * 3000),
        lambda text: text.replace("  rows: " + "[ #\n" * 3000, ROWS_KEY),
    ),
}


@pytest.mark.parametrize("advice", PARAMETERS)
def test_advice_about_params(project, advice):
    bad, fix = PARAMETERS[advice]
    Path("params.yaml").write_bytes(bad if isinstance(bad, bytes) else bad.encode())
    with pytest.raises(UserError) as caught:
        validate.main()
    assert caught.value.status == BAD_PARAMS
    assert advice in str(caught.value)
    good = fix(bad.decode("latin-1") if isinstance(bad, bytes) else bad)
    Path("params.yaml").write_bytes(good if isinstance(good, bytes) else good.encode())
    validate.main()


@pytest.mark.parametrize("content", [None, b"", b"- 1\n", b"create: 1\n", b"[" * 200])
def test_git_brings_params_back(project, content):
    git(project, "init", "--quiet")
    git(project, "add", "params.yaml")
    git(project, "commit", "--quiet", "--message=one")
    Path("params.yaml").unlink()
    if content is not None:
        Path("params.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"restore it with: git checkout params\.yaml"):
        validate.main()
    git(project, "checkout", "params.yaml")
    validate.main()


# --- a table --------------------------------------------------------------------------------------------------------


def frame(**columns: Any) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    labels = np.resize(["cat", "dog", "eel"], ROWS)
    return pd.DataFrame({"size": draw.normal(size=ROWS).round(2), "class": labels}).assign(**columns)


def text(**columns: Any) -> str:
    return frame(**columns).to_csv(index=False)


def put(source: Any) -> None:
    """At data/tables: a text, bytes, or a table for Parquet."""
    for path in TABLE.parent.iterdir():
        path.unlink()
    if isinstance(source, pa.Table):
        turn(Path(), {"create.table.path": str(TABLE.with_suffix(".parquet"))})
        pq.write_table(source, TABLE.with_suffix(".parquet"))
    else:
        TABLE.write_bytes(source if isinstance(source, bytes) else source.encode())


@pytest.fixture
def own(project):
    TABLE.parent.mkdir(parents=True)
    turn(project, {**TINY, "create.dataset": "table", "create.table.path": str(TABLE)})
    return project


def numbers(odd: object, at: int = 5) -> list[object]:
    return [odd if row == at else row / 2 for row in range(ROWS)]


def mixed(*values: object) -> np.ndarray:
    """In an order that has nothing to do with the classes."""
    return np.random.default_rng(1).choice(np.array(values, dtype=object), ROWS)


def without(source: str, at: int = 5) -> str:
    rows = source.splitlines(keepends=True)
    return "".join(rows[: at + 1] + rows[at + 2 :])


def without_column(name: str) -> dict[str, Any]:
    return {"create.columns.ignored": [name]}


ODD = text(x=numbers("n.a"))
SUMS = "class;sum\n" + "".join(f"{'cde'[row % 3]};{1 + row},250\n" for row in range(ROWS))
MIXED = text(x=np.resize(["a,b", "c"], ROWS))
SIGNS = "class;n\n" + "".join(f"{'cde'[row % 3]};{'2,5' if row == 7 else row / 2 + 0.25}\n" for row in range(ROWS))
DATES = text(day=[f"2026-{1 + row % 12:02}-11" for row in range(ROWS)], **{"day (month)": mixed(1.5, 2.5, 4)})
NUL = pa.Table.from_pandas(frame(), preserve_index=False).append_column("x\0y", pa.array(np.resize([1.5, 2.5], ROWS)))
LABELS = pa.table(
    {"x": [row % 7 / 2 for row in range(ROWS)], "class": [float(2**53 + 2 * (row % 3)) for row in range(ROWS)]}
)
_lines = text(x="w").splitlines(keepends=True)
_lines[9] = _lines[9].replace("w", '"w')
_lines[14] = _lines[14].replace("w", 'w"')
QUOTED = "".join(_lines)
LISTS = pa.Table.from_pandas(frame(), preserve_index=False).append_column("l", pa.array([[1]] * ROWS))
# What is said: what it is said of, and each way that it names, as another table or as other parameters.
TABLES: dict[str, tuple[Any, list[Any]]] = {
    "fix it, add it to create.reading.missing, or list the column in create.columns.categorical": (
        ODD,
        [
            text(x=numbers(1)),
            {"create.reading.missing": ["n.a"]},
            {"create.columns.categorical": ["x"]},
        ],
    ),
    "set create.reading.decimal to point or comma, the sign before a fraction": (
        SUMS,
        [{"create.reading.decimal": "point"}, {"create.reading.decimal": "comma"}],
    ),
    "every row needs its class: leave the row out": (
        text(x=1.5).replace("cat", "", 1),
        [without(text(x=1.5).replace("cat", "", 1), 0)],
    ),
    "repeats the header; delete it": (text() + "size,class\n", [text()]),
    "a classifier needs classes: name another create.table.target": (
        text(**{"class": [f"c{row}" for row in range(ROWS)], "kind": np.resize(["a", "b"], ROWS)}) * 1
        + "".join(f"0.5,c{row},a\n" for row in range(ROWS, 1200)),
        [{"create.table.target": "kind"}],
    ),
    "fix it, or store the labels as texts": (
        LABELS,
        [LABELS.set_column(1, "class", pa.array([f"k{row % 3}" for row in range(ROWS)]))],
    ),
    "which no network takes as it is; list it in create.columns.ignored": (LISTS, [without_column("l")]),
    "list it in create.columns.categorical or create.columns.identifier": (
        text(x=[2**53 + row for row in range(ROWS)]),
        [{"create.columns.categorical": ["x"]}, {"create.columns.identifier": ["x"]}],
    ),
    "goes with one class and back; list it in create.columns.ignored": (
        text(kind=np.resize(["c", "d", "e"], ROWS)),
        [without_column("kind")],
    ),
    "is not a finite number below 3.4e38; fix it, or leave the row out": (
        text(x=numbers("1e39")),
        [text(x=numbers(1)), without(text(x=numbers("1e39")))],
    ),
    "fix the line, quote texts that hold the delimiter, give each column a name, or set create.reading.delimiter": (
        MIXED.replace('"', ""),
        [MIXED, MIXED.replace("a,b", "ab"), MIXED.replace('"', "").replace(",", ";").replace("a;b", "a,b")],
    ),
    "is its delimiter another one? set create.reading.delimiter": (
        text().replace(",", "#"),
        [text()],
    ),
    "set create.reading.encoding to the encoding it was saved in": (
        text(x=np.resize(["größe", "übrig"], ROWS)).encode("cp850"),
        [{"create.reading.encoding": "cp850"}, text(x=np.resize(["größe", "übrig"], ROWS))],
    ),
    "does each line stand in quotes? delete the quotes around the lines": (
        "".join(f'"{line}"\n' for line in text().splitlines()),
        [text()],
    ),
    "holds a NUL byte; is it UTF-16 without a byte-order mark, or damaged? set create.reading.encoding, or save": (
        text().encode("utf-16-le"),
        [{"create.reading.encoding": "utf-16-le"}, text()],
    ),
    "put a line with the names of the columns before it": (
        text().partition("\n")[2],
        [text()],
    ),
    "text follows a closing quote; write a quote inside of quotes twice": (
        text(x=numbers("abc")).replace("abc", '"a"b"'),
        [text(x=['say "hi"'] * ROWS)],
    ),
    "is never closed, and would swallow all that follows; close or delete it": (
        text(x="w").replace("cat,w", 'cat,"w', 1),
        [text(x="w"), text(x="w").replace("cat,w", 'cat,"w"', 1)],
    ),
    "(create.table.path) not found": (None, [text()]),
    "write all in one way, set create.reading.decimal to point or comma and add the others to": (
        SIGNS,
        [
            SIGNS.replace("2,5", "2.5"),
            {"create.reading.decimal": "point", "create.reading.missing": ["2,5"]},
            {"create.columns.categorical": ["n"]},
        ],
    ),
    "which is a date; give it another name, or list it in create.columns.ignored": (
        DATES,
        [DATES.replace("day (month)", "other"), without_column("day (month)")],
    ),
    "which numpy cuts off; rename it": (
        NUL,
        [NUL.rename_columns(["size", "class", "x y"])],
    ),
    "looks like rows; delete the lines before the header": (
        "1.5,2\n2.5,3\n" + text(),
        [text()],
    ),
    "is closed in line 15 only, and each line between could be a row; close or delete it": (
        QUOTED,
        [QUOTED.replace('"', ""), QUOTED.replace(',"w', ',"w"', 1).replace(',w"', ",w", 1)],
    ),
    "is closer to 0 than a number of 64 bits can be; write 0": (text(x=numbers("1e-400")), [text(x=numbers(0))]),
    "has no value in the target": (text().replace("cat", "", 1), [without(text(), 0)]),
}


@pytest.mark.parametrize("advice", TABLES)
def test_advice_about_a_table(own, advice):
    bad, ways = TABLES[advice]
    if bad is not None:
        put(bad)
    before = Path("params.yaml").read_bytes()
    said = line_of(create.main)
    assert advice in said
    for way in ways:
        Path("params.yaml").write_bytes(before)
        if isinstance(way, dict):
            put(bad)
            turn(own, way)
        else:
            put(way)
        create.main()


def packed(**files: str) -> bytes:
    """A zip archive, which a workbook of Excel is, too."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return target.getvalue()


def workbook() -> bytes:
    cells = (f"<row><c><v>{line.replace(',', '</v></c><c><v>')}</v></c></row>" for line in text().splitlines())
    return packed(xl__worksheets__sheet1_xml=f"<worksheet><sheetData>{''.join(cells)}</sheetData></worksheet>")


def sheet(book: bytes) -> str:
    """As CSV."""
    content = zipfile.ZipFile(io.BytesIO(book)).read("xl/worksheets/sheet1.xml").decode()
    return (
        "\n".join(",".join(re.findall("<v>(.*?)</v>", row)) for row in re.findall("<row>(.*?)</row>", content)) + "\n"
    )


def database() -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        frame().to_sql("t", connection, index=False)
        return connection.serialize()


def of_database(content: bytes) -> str:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content)
        return pd.read_sql("SELECT * FROM t", connection).to_csv(index=False)


def arrow() -> bytes:
    target = io.BytesIO()
    frame().to_feather(target)
    return target.getvalue()


# What lies where a CSV file should: what is said, a file of that kind, and what becomes of it by what is said.
KINDS: dict[str, tuple[str, bytes, Callable[[bytes], Any]]] = {
    "xlsx": ("save the sheet as CSV, or unpack the archive", workbook(), sheet),
    "zip": (
        "save the sheet as CSV, or unpack the archive",
        packed(t_csv=text()),
        lambda content: zipfile.ZipFile(io.BytesIO(content)).read("t.csv"),
    ),
    "xls": (
        "an Excel workbook; save the sheet as CSV",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
        lambda _: text(),
    ),
    "bzip2": ("a packed file; unpack it", bz2.compress(text().encode()), bz2.decompress),
    "web page": ("a web page; download the file itself", b"<!DOCTYPE html><p>Sign in</p>", lambda _: text()),
    "Git LFS": (
        "run: git lfs pull",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        lambda _: text(),
    ),
    "JSON": (
        "JSON; store the table as CSV or Parquet",
        frame().to_json(orient="records").encode(),
        lambda content: pd.DataFrame(json.loads(content)).to_csv(index=False),
    ),
    "SQLite": ("an SQLite database; store the table as CSV or Parquet", database(), of_database),
    "Feather": (
        "made by another program; store the table as CSV or Parquet",
        arrow(),
        lambda content: pa.Table.from_pandas(pd.read_feather(io.BytesIO(content)), preserve_index=False),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_program_becomes_a_table(own, kind):
    advice, bad, convert = KINDS[kind]
    put(bad)
    assert advice in line_of(create.main)
    put(convert(TABLE.read_bytes()))
    create.main()


@pytest.mark.parametrize("log", ["_delta_log", ".hoodie", "metadata/v1.metadata.json"])
def test_a_table_with_deleted_rows_is_written_as_plain_parquet(own, log):
    (TABLE / log).mkdir(parents=True)
    frame().to_parquet(TABLE / "deleted.parquet", index=False)
    frame().to_parquet(TABLE / "valid.parquet", index=False)
    assert line_of(create.main).endswith("let the program write it as plain Parquet")
    valid = pd.read_parquet(TABLE / "valid.parquet")
    shutil.rmtree(TABLE)
    TABLE.mkdir()
    valid.to_parquet(TABLE / "plain.parquet", index=False)
    create.main()
    assert sum(read_schema().counts) == ROWS


def test_smaller_row_groups_fit(own, monkeypatch):
    monkeypatch.setattr("retrace.runtime.memory.available", lambda: 100_000)
    table = pa.Table.from_pandas(pd.concat([frame()] * 1000), preserve_index=False)
    put(table)
    assert line_of(create.main).endswith("write the file anew with smaller row groups")
    pq.write_table(table, TABLE.with_suffix(".parquet"), row_group_size=2000)
    create.main()


def test_a_folder_without_parts_gets_them(own):
    TABLE.mkdir()
    assert line_of(create.main).endswith("is a folder without a .parquet file; put the parts of the table there")
    frame().to_parquet(TABLE / "a.parquet", index=False)
    create.main()


@pytest.mark.parametrize("ending", [".gz", ".parquet"])
def test_a_file_of_another_kind_is_named_for_what_it_is(own, ending):
    if ending == ".gz":
        TABLE.write_bytes(gzip.compress(text().encode()))
    else:
        frame().to_parquet(TABLE, index=False)
    assert f"let its name end with {ending}" in line_of(create.main)
    named = TABLE.with_name(TABLE.name + ending) if ending == ".gz" else TABLE.with_suffix(ending)
    TABLE.rename(named)
    turn(own, {"create.table.path": str(named)})
    create.main()


def test_a_column_that_a_folders_name_gives_too_says_the_same_or_is_called_otherwise(own):
    part = TABLE / "year=2022" / "a.parquet"
    part.parent.mkdir(parents=True)
    for column, right in (({"year": 2023}, False), ({"year": 2022}, True), ({"made": 2023}, True)):
        frame().assign(**column).to_parquet(part, index=False)
        if right:
            create.main()
        else:
            assert line_of(create.main).endswith("fix one of them, or give the column another name")


def test_what_is_no_part_of_a_folder_goes_or_is_called_otherwise(own):
    TABLE.mkdir()
    frame().to_parquet(TABLE / "a.parquet", index=False)
    other = TABLE / "b.csv"
    other.write_text(text())
    assert line_of(create.main).endswith("is not part of a table in Parquet; move it away, or begin its name with _")
    other.rename(TABLE / "_b.csv")
    create.main()


def test_a_link_out_of_the_folder_becomes_the_file_itself(own, tmp_path_factory):
    real = tmp_path_factory.mktemp("elsewhere") / "t.csv"
    real.write_text(text())
    TABLE.symlink_to(real)
    assert line_of(create.main).endswith("leads out of data/tables through a link; put the file itself there")
    TABLE.unlink()
    real.rename(TABLE)
    create.main()


def test_a_group_that_is_missing_is_filled_in_or_left_out(own):
    groups = [f"g{row // 3}" for row in range(ROWS)]
    turn(own, {"split.method": "group", "split.column": "g", "create.columns.identifier": ["g"]})
    put(text(g=["" if row == 5 else group for row, group in enumerate(groups)]))
    create.main()
    assert line_of(split.main).endswith("by which split.column divides; fill it in, or leave the row out")
    for fixed in (text(g=groups), without(text(g=groups))):
        put(fixed)
        create.main()
        split.main()


def test_advice_of_predict(own, monkeypatch):
    put(text(x=numbers(1), label="w"))
    turn(own, {"create.columns.ignored": ["label"], "train.scaling": "standard"})
    for stage in (create, split, train):
        stage.main()

    def ask(*arguments: str) -> None:
        invoke(["predict", *arguments])

    assert line_of(lambda: ask("none.csv", "said.csv")).endswith("not found; name a CSV or Parquet file")
    assert line_of(lambda: ask("--keep", str(TABLE), "said.csv")).endswith("leave out --keep")
    ask(str(TABLE), "said.csv")
    Path("new.csv").write_text(text(x=1).replace("cat", "yak", 1))
    assert line_of(lambda: ask("new.csv", "said.csv")).endswith("leave the column out, or the row")
    frame(x=1).drop(columns="class").to_csv("new.csv", index=False)
    ask("new.csv", "said.csv")
    Path("new.csv").write_text(without(text(x=1).replace("cat", "yak", 1), 0))
    ask("new.csv", "said.csv")
    frame(x=1, l=[[1]] * ROWS).to_parquet("new.parquet", index=False)
    assert line_of(lambda: ask("--keep", "new.parquet", "said.csv")).endswith("let OUTPUT end with .parquet")
    ask("--keep", "new.parquet", "said.parquet")
    Path("new.csv").write_text(text(x=numbers("1e39")))
    assert "fix it, or leave the row out" in line_of(lambda: ask("new.csv", "said.csv"))
    Path("new.csv").write_text(without(text(x=numbers("1e39"))))
    ask("new.csv", "said.csv")


def test_a_kind_that_does_not_fit(own):
    """Each way of the three, and of a date that is too far."""
    base = {**TINY, "create.dataset": "table", "create.table.path": str(TABLE)}
    kind = {"create.columns.numeric": ["x"]}
    ways: list[tuple[Any, dict[str, Any]]] = [
        (text(x=["0.5", "1.5"] * 30), {}),
        (text(x=["0.5", "a"] * 30), {"create.reading.missing": ["a"]}),
        (text(x=mixed("0.5", "a")), {"create.columns.numeric": [], "create.columns.categorical": ["x"]}),
    ]
    for source, changes in ways:
        Path("params.yaml").write_text(PARAMS)
        turn(own, base | kind)
        put(text(x=["0.5", "a"] * 30))
        assert line_of(create.main).endswith(
            "fix it, add it to create.reading.missing, or change the column's kind in create.columns"
        )
        Path("params.yaml").write_text(PARAMS)
        turn(own, base | kind | changes)
        put(source)
        create.main()
    Path("params.yaml").write_text(PARAMS)
    turn(own, base)
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    far = pa.array([10**17 if row == 4 else row for row in range(ROWS)], pa.timestamp("ms"))
    put(table.append_column("when", far))
    assert line_of(create.main).endswith("fix it, or list the column in create.columns.ignored")
    turn(own, without_column("when"))
    create.main()


def test_a_folder_of_parts_is_put_right(own):
    TABLE.mkdir()
    part, elsewhere = frame(), TABLE.parent / "elsewhere"
    part.to_parquet(TABLE / "a.parquet", index=False)
    part.to_parquet(TABLE / "b.pq", index=False)
    assert line_of(create.main).endswith("let it end with .parquet, or delete it")
    (TABLE / "b.pq").rename(TABLE / "b.parquet")
    create.main()
    elsewhere.mkdir()
    part.to_parquet(elsewhere / "c.parquet", index=False)
    (TABLE / "more").symlink_to(elsewhere.absolute())
    assert line_of(create.main).endswith("is a link to a folder; put the folder itself there")
    (TABLE / "more").unlink()
    elsewhere.rename(TABLE / "more")
    create.main()


def test_a_packed_file_that_was_cut_comes_anew(own):
    whole = gzip.compress(text().encode() * 1)
    turn(own, {"create.table.path": f"{TABLE}.gz"})
    Path(f"{TABLE}.gz").write_bytes(whole[: len(whole) // 2])
    assert line_of(create.main).endswith("fix it, or bring the file anew: dvc pull, or a new copy")
    Path(f"{TABLE}.gz").write_bytes(whole)
    create.main()


def test_features_that_tell_nothing_or_do_not_vary(own):
    twice = pd.concat([frame(x=mixed(1.5, 2.5)).assign(**{"class": label}) for label in ("cat", "dog")])
    kinds = np.resize(["a", "b"], 2 * ROWS)
    twice = twice.assign(kind=np.where(twice["size"] > 0, "p", "q"), other=kinds)
    turn(own, {"create.columns.ignored": ["kind", "other"]})
    put(twice.to_csv(index=False))
    create.main()
    assert line_of(split.main).endswith("bring columns that tell more, or correct create.table.target")
    turn(own, {"create.columns.ignored": ["other"], "create.table.target": "kind"})
    create.main()
    split.main()
    days = [f"2026-01-01 00:{row:02}" for row in range(ROWS)]
    late = frame(when=days, late=[float(max(row - 45, 0)) for row in range(ROWS)]).drop(columns="size")
    late["class"] = np.resize(["cat", "dog"], ROWS)
    put(late.to_csv(index=False))
    turn(own, {"create.table.target": "class", "create.columns.ignored": ["when"]})
    turn(own, {"split.method": "time", "split.column": "when"})
    create.main()
    assert line_of(split.main).endswith("change split.method, or bring columns that vary")
    turn(own, {"split.method": "random", "split.column": None})
    create.main()
    split.main()


def test_less_fits_into_little_memory(project, monkeypatch):
    """As create and train say it, on a machine that has two hundred million bytes left."""
    monkeypatch.setattr("retrace.runtime.memory.available", lambda: 200_000_000)
    turn(project, {**TINY, "create.rows": 50_000_000})
    assert line_of(create.main).endswith("lower create.rows (now 50,000,000)")
    turn(project, {"create.rows": 400})
    create.main()
    split.main()
    turn(project, {"train.hidden": [3000, 3000], "train.replicas": 4})
    assert "or lower train.batch_size (now 64) or train.replicas (now 4)" in line_of(train.main)
    turn(project, {"train.replicas": 1, "train.epochs": 1, "train.hidden": [3000]})
    train.main()


WIDE = pd.concat([frame()] * 2, ignore_index=True)
WIDE[[f"x{place}" for place in range(6)]] = np.random.default_rng(2).normal(size=(2 * ROWS, 6)).round(3)
FEWER: list[Any] = [WIDE.iloc[::2], WIDE.drop(columns=["x4", "x5"])]
TESTS = {"split.test_size": 0.1}
LARGE = {"plot.dpi": 60, "evaluate.resamples": 200}
# Of what a stage asks before it begins: stage, of what there is too little, what is said, and what makes it enough:
# other rows, other parameters, or None for more of it.
ASKED: dict[str, tuple[Any, str, str, list[Any]]] = {
    "create, disk": (create, "disk", "; make room, or leave rows or columns out of the table", [*FEWER, None]),
    "split, disk": (split, "disk", "; make room, or leave rows or columns out of the table", [*FEWER, None]),
    "split, memory": (
        split,
        "memory",
        "; set split.method: hash, which takes least memory, or leave rows or columns out of the table",
        [*FEWER, {"split.method": "hash"}],
    ),
    "baseline, memory": (
        baseline,
        "memory",
        "; lower baseline.rows (now all), or use fewer rows or columns",
        [*FEWER, {"baseline.rows": 20}],
    ),
    "train, disk": (
        train,
        "disk",
        "; make room, or lower train.epochs or train.replicas",
        [{"train.epochs": 2}, {"train.replicas": 1}, None],
    ),
    "train, memory": (
        train,
        "memory",
        "; use fewer rows or columns, or lower train.batch_size (now 64) or train.replicas (now 2)",
        [*FEWER, {"train.batch_size": 8}, {"train.replicas": 1}],
    ),
    "evaluate, disk": (evaluate, "disk", "; make room, or use fewer test rows (split.test_size)", [TESTS, None]),
    "evaluate, memory": (evaluate, "memory", "; use fewer test rows (split.test_size)", [TESTS]),
    "plot, memory": (plot, "memory", "; free some, or raise the limit", [None]),
}


class Free(int):
    """So many bytes are free; `needed` gets what a stage needs, which is what it compares them with."""

    needed: list[int]

    def __lt__(self, other: int) -> bool:
        self.needed.append(other)
        return int(self) < other


class Machine:
    """That a stage believes to be on. needed: what it asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.needed: dict[str, list[int]] = {"disk": [], "memory": []}
        self.free = {"disk": 1 << 40, "memory": 1 << 40}
        monkeypatch.setattr("retrace.runtime.memory.available", lambda: self.rest("memory"))
        usage = "retrace.runtime.disk.shutil.disk_usage"
        monkeypatch.setattr(usage, lambda _: SimpleNamespace(free=self.rest("disk")))

    def rest(self, kind: str) -> Free:
        free = Free(self.free[kind])
        free.needed = self.needed[kind]
        return free


STAGES = (create, split, baseline, train, evaluate, plot)


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """After all stages but the last one."""
    folder = tmp_path_factory.mktemp("wide")
    (folder / "params.yaml").write_text(PARAMS)
    (folder / TABLE).parent.mkdir(parents=True)
    WIDE.to_csv(folder / TABLE, index=False)
    turn(folder, {**TINY, "create.dataset": "table", "create.table.path": str(TABLE), **LARGE})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in STAGES[:-1]:
            stage.main()
    return folder


@pytest.fixture
def copied(wide, tmp_path, monkeypatch) -> Path:
    folder = Path(shutil.copytree(wide, tmp_path / "wide"))
    monkeypatch.chdir(folder)
    # Of its figures one will do.
    for name in set(FIGURES) - {"loss"}:
        monkeypatch.delitem(FIGURES, name)
    return folder


def remade(folder: Path, stage: Any, way: Any) -> None:
    """What a stage reads, of another table or with other parameters."""
    if isinstance(way, pd.DataFrame):
        put(way.to_csv(index=False))
    else:
        turn(folder, way)
    if way is TESTS or isinstance(way, pd.DataFrame):
        for each in STAGES[: STAGES.index(stage)]:
            each.main()


@pytest.mark.parametrize("case", ASKED)
def test_what_does_not_fit_is_made_to_fit(copied, monkeypatch, case):
    stage, kind, advice, ways = ASKED[case]
    params, machine = Path("params.yaml").read_bytes(), Machine(monkeypatch)
    stage.main()
    short = machine.needed[kind][-1] - 1
    machine.free[kind] = short
    assert line_of(stage.main).endswith(advice)
    for way in ways:
        Path("params.yaml").write_bytes(params)
        machine.free[kind] = 1 << 40
        if way is None:
            machine.free[kind] = short + 1
        else:
            remade(copied, stage, way)
            machine.free[kind] = short
        stage.main()


@contextlib.contextmanager
def as_process(name: str, *arguments: str) -> Iterator[None]:
    """What a process changes for itself alone."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # runpy's, that it was imported before
        patch.setattr(sys, "argv", [name, *arguments])
        patch.setattr("retrace.runtime.preflight.started", lambda: name)
        patch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        patch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
        patch.setattr("gc.freeze", lambda: None)
        patch.setattr("retrace.runtime.run.note_stage", lambda: None)
        yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def ended(module: str, *arguments: str) -> int:
    """Its exit status, run as `python -m` runs it."""
    name = arguments[0] if module == "retrace" else module.split(".")[1]
    with as_process(name, *arguments), pytest.raises(SystemExit) as caught:
        runpy.run_module(module, run_name="__main__")
    return caught.value.code


def limited(patch: pytest.MonkeyPatch, name: str, size: Callable[..., int], limit: float) -> list[int]:
    """No memory where what a function takes is larger than the limit; all sizes that there were."""
    there: list[int] = []
    module, _, attribute = name.rpartition(".")
    real = getattr(pkgutil.resolve_name(module), attribute)

    def tried(*given: Any, **named: Any) -> Any:
        there.append(size(*given, **named))
        if there[-1] > limit:
            raise MemoryError
        return real(*given, **named)

    patch.setattr(name, tried)
    return there


# Where the machine says only in the middle that it has no more: stage, what is said, what there is no room for (a
# function of what it is given), and what makes it smaller.
READ = ("retrace.artifacts.table_columns.complete", lambda table, rows: table.nbytes)
WRITTEN = ("pyarrow.parquet.ParquetWriter.write_table", lambda writer, table: table.nbytes)
MIDDLE: dict[str, tuple[Any, str, tuple[str, Callable[..., int]], list[Any]]] = {
    "create": (create, "use fewer rows (create.rows) or columns", WRITTEN, FEWER),
    "split": (split, "leave rows or columns out of the table", WRITTEN, FEWER),
    "baseline": (baseline, "use fewer rows or columns", READ, FEWER),
    "train": (train, "use fewer rows or columns", READ, FEWER),
    "evaluate": (
        evaluate,
        "use fewer test rows (split.test_size), or lower evaluate.resamples",
        ("numpy.bincount", lambda values, *_, minlength=0, **__: max(minlength, len(values))),
        [TESTS, {"evaluate.resamples": 100}],
    ),
    "plot": (
        plot,
        "lower plot.dpi",
        ("matplotlib.backends.backend_agg.RendererAgg", lambda width, height, dpi: int(width) * int(height)),
        [{"plot.dpi": 50}],
    ),
}


@pytest.mark.parametrize("case", MIDDLE)
def test_what_fills_the_memory_in_the_middle_is_made_smaller(copied, monkeypatch, capsys, case):
    stage, advice, (name, size), ways = MIDDLE[case]
    params = Path("params.yaml").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        there = limited(patch, name, size, math.inf)
        assert ended(stage.__name__) == 0
    for way in ways:
        with pytest.MonkeyPatch.context() as patch:
            limited(patch, name, size, max(there) - 1)
            assert ended(stage.__name__) == MACHINE_FAULT
            assert capsys.readouterr().err.endswith(f"{stage.__name__.split('.')[1]}: out of memory; {advice}\n")
        remade(copied, stage, way)
        with pytest.MonkeyPatch.context() as patch:
            limited(patch, name, size, max(there) - 1)
            assert ended(stage.__name__) == 0
        Path("params.yaml").write_bytes(params)
        remade(copied, stage, WIDE)


# --- a model in use, and whether it is good enough --------------------------------------------------------------------

TIMED = {"split.method": "time", "split.column": "when", "train.scaling": "standard"}


def test_a_test_row_that_the_network_cannot_take_is_mended_or_left_out(own):
    """Its number is within bounds, but not beside those of the training rows, which are close together."""
    days = pd.date_range("2026-01-01", periods=ROWS).strftime("%Y-%m-%d")
    rows = frame(when=days, x=[row / 1000 for row in range(ROWS)]).drop(columns="size")
    bad = rows.assign(x=[3e38 if row == ROWS - 2 else row / 1000 for row in range(ROWS)])
    turn(own, TIMED)
    for source, said in ((bad, True), (rows, False), (bad.drop(index=ROWS - 2), False)):
        put(source.to_csv(index=False))
        for stage in (create, split, baseline, train):
            stage.main()
        if said:
            assert line_of(evaluate.main).endswith("; fix it in the table, or leave the row out")
        else:
            evaluate.main()


def test_rows_of_a_class_that_one_side_lacks_are_added_there(own):
    turn(own, TIMED)

    def labelled(dogs: tuple[int, ...]) -> None:
        days = pd.date_range("2026-01-01", periods=ROWS).strftime("%Y-%m-%d")
        put(frame(when=days, **{"class": ["dog" if row in dogs else "cat" for row in range(ROWS)]}).to_csv(index=False))
        create.main()

    for dogs, missing in (((1, 45), "validation"), ((1, 40), "test")):
        labelled(dogs)
        assert line_of(split.main).endswith(f"; add rows of it from the time of the {missing} rows to the table")
    labelled((1, 42, 58))
    split.main()


def test_a_smaller_test_side_leaves_rows_of_each_class_for_training(own):
    put(frame(**{"class": [f"c{row % 4}" for row in range(ROWS)]}).iloc[:40].to_csv(index=False))
    create.main()
    sizes = ("split.test_size", "split.validation_size")
    for large, smaller in (((0.4, 0.9), (0.4, 0.5)), ((0.85, 0.5), (0.4, 0.5))):
        turn(own, {"split.method": "random", **dict(zip(sizes, large, strict=True))})
        assert "lower split.test_size or split.validation_size, or " in line_of(split.main)
        turn(own, dict(zip(sizes, smaller, strict=True)))
        split.main()


def test_the_empty_text_becomes_a_missing_value_for_onnx(own):
    put(text(kind=mixed("a", "b", "")))
    for missing in (["NA"], ["NA", ""]):
        turn(own, {"create.reading.missing": missing})
        for stage in (create, split, train):
            stage.main()
        if "" in missing:
            invoke(["export"])
        else:
            assert line_of(lambda: invoke(["export"])).endswith("add '' to create.reading.missing and run: dvc repro")


def test_what_predict_cannot_read_has_advice_that_predict_follows(own):
    """The kind of a column is the model's: params.yaml does not change it any more, and of Parquet no missing text."""
    put(frame(x=[None if row % 7 == 0 else row / 3 for row in range(ROWS)]).to_csv(index=False))
    for stage in (create, split, train):
        stage.main()
    texts = frame(x=[f"{row}.5" for row in range(ROWS)]).drop(columns="class")
    texts.loc[4, "x"] = "bad"
    texts.to_csv("new.csv", index=False)
    texts.to_parquet("new.parquet", index=False)
    line = line_of(lambda: invoke(["predict", "new.csv", "said.csv"]))
    assert line.endswith("row 5: 'bad' is not a number; fix it, or add it to create.reading.missing")
    turn(own, {"create.reading.missing": ["", "bad"]})
    invoke(["predict", "new.csv", "said.csv"])
    line = line_of(lambda: invoke(["predict", "new.parquet", "said.csv"]))
    assert line.endswith("row 5: 'bad' is not a number; fix it, or leave the row out")
    texts.drop(index=4).to_parquet("new.parquet", index=False)
    invoke(["predict", "new.parquet", "said.csv"])


def test_new_rows_are_brought_as_the_model_knows_them(own, monkeypatch):
    """A time with its zone, a value in each row, and codes as texts: by `predict`, and by the served model."""
    new = ["predict", "new.parquet", "said.csv"]
    days = pd.date_range("2026-01-01", periods=ROWS, tz="UTC")
    known = frame(when=days, code=mixed("007", "010", "7"))
    put(pa.Table.from_pandas(known, preserve_index=False))
    for stage in (create, split, train):
        stage.main()
    for column, bad, rule in (
        ("when", days.tz_localize(None), "bring the column so"),
        ("size", [[1.5]] * ROWS, "; store one value in each row, as numeric"),
    ):
        for values, right in ((bad, False), (known[column], True)):
            known.assign(**{column: values}).to_parquet("new.parquet", index=False)
            if right:
                invoke(new)
            else:
                assert line_of(lambda: invoke(new)).endswith(rule)
    from mlflow.exceptions import MlflowException

    from retrace.serving.pyfunc import Classifier

    rows = known.drop(columns="class")
    served = Classifier()
    served.load_context(SimpleNamespace(artifacts={"model": "models"}, model_config={"threshold": 0.5}))
    for column, value, fixed, rule in (
        ("code", 7, "007", "bring the column as texts; leave the row out or fill it in"),
        ("size", math.inf, 1.5, "is not a finite number; leave the row out or fill it in"),
    ):
        odd = rows.astype({column: object})
        odd.loc[3, column] = value
        with pytest.raises(MlflowException, match=f"column '{column}', row 4: .*{rule}"):
            served.predict(None, odd)
        odd.loc[3, column] = fixed
        assert len(served.predict(None, odd)) == ROWS
        assert len(served.predict(None, odd.drop(index=3))) == ROWS - 1


BARS = {"gate.min_accuracy": 0.5, "gate.min_macro_f1": 0.1, "gate.margin": 0.01, "gate.beat_baselines": False}


def test_what_the_gate_asks_for_opens_it(own):
    draw = np.random.default_rng(0).normal(size=(600, 2)).round(3)
    rare = np.where(draw.sum(1) > 1.6, "rare", "usual")
    both = pd.DataFrame({"a": draw[:, 0], "b": draw[:, 1], "class": rare})
    short, long = {"train.epochs": 2, "train.optimizer.learning_rate": 0.1}, {"train.epochs": 30}
    turn(own, {**BARS, "train.scaling": "standard", "train.replicas": 1, "split.test_size": 0.4})

    def judged(changes: dict[str, Any], source: pd.DataFrame | None = None) -> None:
        turn(own, changes)
        if source is not None:
            put(source.to_csv(index=False))
            for stage in (create, split, baseline):
                stage.main()
        for stage in (train, evaluate):
            stage.main()
        invoke(["gate"])

    tell_more = "; train longer (train.epochs), or bring columns that tell more"
    assert line_of(lambda: judged(long, both.drop(columns="b"))).endswith(tell_more)
    judged({}, both)
    assert line_of(lambda: judged(short)).endswith(tell_more)
    judged({**long, "train.optimizer.learning_rate": 0.3})
    turn(own, {"gate.min_accuracy": 0.97})
    assert line_of(lambda: invoke(["gate"])).endswith("; improve the model or lower the bar in params.yaml")
    turn(own, {"gate.min_accuracy": 0.8})
    invoke(["gate"])


def test_rare_classes_that_count_as_much_open_the_gate(own):
    draw = np.random.default_rng(0).normal(size=(600, 2)).round(3)
    rare = draw.sum(1) + 0.7 * np.random.default_rng(3).normal(size=600) > 1
    put(pd.DataFrame({"a": draw[:, 0], "b": draw[:, 1], "class": np.where(rare, "rare", "usual")}).to_csv(index=False))
    weak = {"train.optimizer.learning_rate": 0.1, "train.scaling": "standard", "train.replicas": 1}
    turn(own, {**BARS, **weak, "split.test_size": 0.4, "gate.min_macro_f1": 0.75})
    for stage in (create, split, baseline, train, evaluate):
        stage.main()
    assert line_of(lambda: invoke(["gate"])).endswith("; train.class_weights: balanced helps them")
    turn(own, {"train.class_weights": "balanced"})
    for stage in (train, evaluate):
        stage.main()
    invoke(["gate"])


def test_a_training_that_still_improves_gets_more_epochs(circles, monkeypatch, capsys):
    monkeypatch.chdir(circles)
    for epochs, said in ((2, True), (200, False)):
        Path("params.yaml").write_text(PARAMS)
        turn(circles, {**TINY, "train.epochs": epochs, "train.optimizer.name": "adam"})
        train.main()
        assert ("it still improves; raise train.epochs" in capsys.readouterr().err) == said


def test_what_is_learned_by_heart_is_learned_no_more(own, capsys):
    def drawn(count: int) -> str:
        draw = np.random.default_rng(0)
        numbers = draw.normal(size=(count, 60))
        label = np.where(numbers[:, 0] + draw.normal(size=count) * 1.5 > 0, "a", "b")
        return pd.DataFrame(numbers.round(3)).add_prefix("x").assign(**{"class": label}).to_csv(index=False)

    base = {"train.epochs": 30, "train.replicas": 1, "train.hidden": [64], "train.dropout": 0.0}
    base |= {"train.optimizer.name": "adam", "train.optimizer.learning_rate": 0.02, "train.optimizer.weight_decay": 0.0}
    put(drawn(300))
    turn(own, {"split.test_size": 0.1, "split.validation_size": 0.3})
    more = {"train.dropout": 0.9}, {"train.optimizer.weight_decay": 0.5}, {"train.hidden": [1]}
    for changes, count in ((base, 300), *(({**base, **each}, 300) for each in more), (base, 1000)):
        turn(own, changes)
        if changes is base:
            put(drawn(count))
            create.main()
            split.main()
        capsys.readouterr()
        train.main()
        said = "it learns the rows by heart; raise train.dropout or" in capsys.readouterr().err
        assert said == (changes is base and count == 300)


def test_a_served_model_that_is_damaged_is_taken_again(circles, monkeypatch, tmp_path):
    monkeypatch.chdir(circles)
    turn(circles, {"train.epochs": 1})
    train.main()
    taken = tmp_path / "taken"
    shutil.copytree("models", taken)
    (taken / "model.safetensors").write_bytes((taken / "model.safetensors").read_bytes()[:-1] + b"!")
    assert line_of(lambda: load(taken)).endswith("; take the model from its store again")
    shutil.rmtree(taken)
    shutil.copytree("models", taken)
    load(taken)


def test_a_piece_that_is_too_much_for_predict_has_fewer_rows(copied, monkeypatch, capsys):
    name, size = "retrace.networks.model.Model.probabilities", lambda model, rows: rows.num_rows
    for rows, status in ((WIDE, MACHINE_FAULT), (WIDE.iloc[::2], 0)):
        rows.to_csv("new.csv", index=False)
        with pytest.MonkeyPatch.context() as patch:
            limited(patch, name, size, len(WIDE) - 1)
            assert ended("retrace", "predict", "new.csv", "said.csv") == status
    assert capsys.readouterr().err == "predict: out of memory; free some, or use fewer rows\n"


# --- make table -------------------------------------------------------------------------------------------------------


def test_advice_of_make_table(project, tmp_path_factory, monkeypatch):
    TABLE.parent.mkdir(parents=True)
    outside = tmp_path_factory.mktemp("outside")

    def ask(*arguments: object) -> None:
        invoke(["table", *map(str, arguments)])

    def alone() -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO())
        ask(outside / "t.csv", "class")

    (outside / "t.csv").write_text(text())
    (outside / "back\\slash.csv").write_text(text())
    assert "name a CSV or Parquet file" in line_of(lambda: ask(outside / "none.csv", "class", "--yes"))
    assert line_of(lambda: ask(TABLE.parent, "class", "--yes")).endswith("or one folder of Parquet parts")
    assert line_of(lambda: ask(outside / "back\\slash.csv", "class", "--yes")).endswith("rename what is not")
    (outside / "back\\slash.csv").rename(outside / "renamed.csv")
    ask(outside / "renamed.csv", "class", "--yes")
    assert line_of(alone).endswith("add YES=1 to make, or --yes")
    ask(outside / "t.csv", "class", "--yes")
    (outside / "t.csv").write_text(text(x=mixed(1.5, 2.5)))
    assert "rename one of them, or delete data/tables/t.csv" in line_of(
        lambda: ask(outside / "t.csv", "class", "--yes")
    )
    ask((outside / "t.csv").rename(outside / "u.csv"), "class", "--yes")
    Path("data/tables/t.csv").unlink()
    ask((outside / "u.csv").rename(outside / "t.csv"), "class", "--yes")
    create.main()


# --- what is only suspicious ------------------------------------------------------------------------------------------

LOOKS: dict[str, tuple[list[object], list[object]]] = {
    "leave out the currency, which must be one": (["Rs. 1.50", "Rs. 2.50", "Rs. 3.50"], [1.5, 2.5, 3.5]),
    "write them in one way": (["USD 1.50", "$2.50", "3.50"], ["$1.50", "$2.50", "$3.50"]),
    "leave out the sign behind the number": (["1‰", "2‰", "3‰"], [1, 2, 3]),
    "write hours or minutes as a number": (["08:00", "09:30", "17:15"], [8, 9.5, 17.25]),
    "write 2026-01-31": (["01.02.19", "03.02.19", "05.06.20"], ["2019-02-01", "2019-02-03", "2020-06-05"]),
    "write 12.5": (["12°30'N", "13°00'N", "14°00'N"], [12.5, 13, 14]),
    "save their values without them": (["'1.5'", "'2.5'", "'3.5'"], [1.5, 2.5, 3.5]),
    "write 1234.5": (["1_200", "1_300", "1_400"], [1200.5, 1300, 1400]),
    "leave out the unit": (["1.2k", "3M", "900"], [1200, 3000000, 900.5]),
    "write them alike": (["Rome", "rome", "Oslo"], ["Rome", "Rome", "Oslo"]),
    "write the file anew from its source": (["größe".encode().decode("cp1252"), "klein"], ["größe", "klein"]),
}


@pytest.mark.parametrize("advice", LOOKS)
def test_advice_about_what_is_suspicious(own, advice):
    bad, good = LOOKS[advice]
    for values, expected in ((bad, [advice]), (good, [])):
        put(text(x=mixed(*values)))
        create.main()
        assert [finding.text for finding in read_schema().findings if advice not in finding.text] == []
        assert [advice for finding in read_schema().findings] == expected


def test_numbers_that_stand_for_none_become_empty_cells(own):
    """In a file with types, and where the same number is a value in other columns."""
    for odd, typed in ((-999.0, True), (-9.0, False)):
        for value in (odd, None):
            rows = frame(x=[value if row in (3, 7, 9) else 20 + row / 2 for row in range(ROWS)])
            put(pa.Table.from_pandas(rows, preserve_index=False) if typed else rows.to_csv(index=False))
            turn(own, {"create.table.path": str(TABLE.with_suffix(".parquet" if typed else ".csv"))})
            create.main()
            said = [each.text for each in read_schema().findings if each.text.endswith(": leave the cells empty, then")]
            assert len(said) == (value is not None)


def test_numbers_that_a_file_with_types_has_as_texts_are_stored_as_such(own):
    for values, found in ((mixed("1.5", "2.5", "4"), 1), (mixed(1.5, 2.5, 4.0).astype(float), 0)):
        put(pa.Table.from_pandas(frame(x=values), preserve_index=False))
        create.main()
        assert sum(each.text.endswith(": store them as such") for each in read_schema().findings) == found


def test_a_class_that_may_stand_for_none_is_left_out(own):
    put(text().replace("cat", "n/a"))
    create.main()
    assert read_schema().findings[0].text.endswith("leave such rows out where it does")
    put("".join(line for line in text().replace("cat", "n/a").splitlines(True) if "n/a" not in line))
    create.main()
    assert read_schema().findings == []


# --- a training -------------------------------------------------------------------------------------------------------

TRAININGS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "lower train.optimizer.learning_rate, or set train.gradient_clip or train.scaling: standard": (
        {"train.optimizer.learning_rate": 1e6, "train.activation": "leaky_relu", "train.hidden": [9, 9]},
        [{"train.optimizer.learning_rate": 0.1}],
    ),
    "choose another train.init or a smaller train.init_scale": (
        {"train.init": "normal", "train.init_scale": 1000, "train.hidden": [50] * 12},
        [{"train.init": "he_normal", "train.init_scale": 1.0}, {"train.init_scale": 0.1}],
    ),
    "choose another train.init or train.activation, or a larger train.optimizer.learning_rate": (
        {"train.init": "default", "train.hidden": [4], "train.optimizer.learning_rate": 1e-30},
        [{"train.optimizer.learning_rate": 0.1}],
    ),
}


@pytest.fixture(scope="module")
def circles(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("circles")
    (folder / "params.yaml").write_text(PARAMS)
    turn(folder, TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        create.main()
        split.main()
    return folder


@pytest.mark.parametrize("advice", TRAININGS)
def test_advice_about_a_training(circles, monkeypatch, advice):
    monkeypatch.chdir(circles)
    bad, ways = TRAININGS[advice]
    for way in ways:
        Path("params.yaml").write_text(PARAMS)
        turn(circles, {**TINY, **bad})
        assert advice in line_of(train.main)
        turn(circles, way)
        train.main()


def test_a_training_that_may_write_larger_files_or_has_room_goes_on(circles, monkeypatch):
    """With a checkpoint after each epoch, however long that takes."""
    monkeypatch.chdir(circles)
    Path("params.yaml").write_text(PARAMS)
    turn(circles, {**TINY, "train.hidden": [64]})
    for name in ("SECONDS", "TIMES_ITS_COST"):
        monkeypatch.setattr(checkpoint, name, 0)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
    try:
        line = line_of(train.main)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert line.endswith("; raise ulimit -f, then: dvc repro")

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "write_bytes", full)
        assert line_of(train.main).endswith("; make room, then: dvc repro")
    train.main()


# --- every message --------------------------------------------------------------------------------------------------

VERBS = (
    "add|ask|bring|change|check|choose|close|commit|copy|correct|delete|download|drop|end|export|fill|free|give|have|improve|indent|install"
    "|keep|leave|let|list|look|lower|make|fix|move|name|open|point|put|quote|raise|read|remove|rename|repair|restore|run"
    "|save|see|set|split|start|store|take|unpack|use|wait|write"
)
ADVICE = re.compile(rf"(?:^|[;:,?] |\bor )(?:{VERBS}) \S|settles it|with: |repair: |did you mean")


def texts(path: Path) -> Iterator[str]:
    """The texts in a file of code, with {} for what is put in; no docstrings, and no help of arguments."""
    tree = ast.parse(path.read_text())
    left_out = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    left_out |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "help"}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            left_out |= {id(part) for part in node.values}
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.value


def advice() -> list[str]:
    files = [path for folder in ("stages", "retrace") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [f"{path.name}: {text}" for path in files for text in texts(path) if ADVICE.search(text)]


# What this file does not follow itself: a piece of the text, and the test that does.
ELSEWHERE = {
    "make setup EXTRAS=ray": "test_cluster.py::test_without_ray_its_installation_is_advised",
    "start it there: ray": "test_cluster.py::test_an_address_where_there_is_no_cluster",
    "has a {} to give; start one there": "test_cluster.py::test_where_all_nodes_are_gone_it_ends",
    "install the same there, or": "test_cluster.py::test_where_no_node_computes_alike_nothing_is_done",
    "(ray start --object-store-memory)": "test_cluster.py::test_where_rays_store_is_full_and_the_disk_too_it_is_said",
    "of memory free; end what else runs there": "test_cluster.py::test_where_no_memory_gets_free_either_it_ends",
    "is gone; start it again": "test_cluster.py::test_a_head_that_dies_is_missed",
    "its process on the cluster was lost": "test_cluster.py::test_one_that_is_lost_each_time_ends_the_work_in_one_line",
    "gave different bytes for it": "test_cluster.py::test_two_answers_to_the_same_must_be_the_same_bytes",
    "open all ports between nodes": "test_cluster_training.py::test_where_ports_are_closed_one_machine_trains",
    "bring it back with: {}dvc repro": "faults/test_file_repair.py::test_what_is_damaged_with_the_same_size_and_time",
    "bring it back with: git checkout HEAD": "test_record.py::test_a_file_that_dvc_lock_does_not_describe",
    "was changed since this was made of it; run: dvc repro": "faults/test_file_repair.py::test_a_table_edited_in_place",
    "name others in the figure's variants": "test_lesson_training.py::test_a_boundary_is_drawn_over_two_inputs_only",
    "must be a parameter of section create, split or train": "test_lesson_files.py::test_a_fault_is_one_line",
    "repair: ": "faults/test_cache.py::test_m30_the_commands_repair_all_of_it",
    "train.batch_size (now {}) or train.replicas": "test_advice.py::test_less_fits_into_little_memory",
    "let its name end with": "test_advice.py::test_a_file_of_another_kind",
    "fix one of them, or give the column": "test_advice.py::test_a_column_that_a_folders_name_gives_too",
    "move it away, or begin its name with _": "test_advice.py::test_what_is_no_part_of_a_folder",
    "put them in their place and run: dvc commit": "test_repository.py::test_what_nobody_has_is_a_line_and_its_advice",
    "install -m 444": "faults/test_cache.py::test_m30_the_commands_repair_all_of_it",
    "git checkout HEAD {}, or fix it by hand": "faults/test_cache.py::test_m31_so_is_a_damaged_dvc_file",
    "put the original back, then: {}": "faults/test_cache.py::test_m30_the_commands_repair_all_of_it",
    "put it back, then:": "faults/test_cache.py::test_m30_any_damage_is_repaired_in_one_pass",
    "delete the folder {}": "faults/test_resume.py::test_s02_a_checkpoint_that_was_made_up",
    "write by hand: {}": "test_table_command.py::test_a_layout_that_it_cannot_edit",
    "or set gate.beat_baselines: false": "test_gate.py::test_a_baseline_that_is_surely_better_closes_it",
    "wait for it, or end it first": "faults/test_resume.py::test_m29_a_second_training",
    "in the trash; bring it back with": "test_record.py::test_an_experiment_in_the_trash",
    ", or name another one in params.yaml": "test_record.py::test_an_experiment_in_the_trash",
    "end the other program that keeps it": "faults/test_tracker.py::test_m23_m26_a_file_that_fails",
    "make it writable": "faults/test_tracker.py::test_m23_m26_a_file_that_fails",
    "make room there": "faults/test_tracker.py::test_m11_",
    "{}; fix or move the file, then run: {}": "faults/test_tracker.py::test_m23_m26_a_file_that_fails",
    "a newer MLflow than {} made it": "faults/test_tracker.py::test_m23_m26_a_file_that_fails",
    "raise split.test_size": "test_bad_tables.py::test_n12_a_test_side_without_rows_is_refused",
    "raise split.validation_size": "test_split.py::test_advice_for_a_class_that_chance_leaves_out_works",
    "set split.method: stratified": "test_split.py::test_advice_for_a_class_that_chance_leaves_out_works",
    "leave its rows out of the table": "test_split.py::test_advice_for_a_class_that_chance_leaves_out_works",
    "add rows that differ in a feature": "test_bad_tables.py::test_d06_a_class_too_rare",
    "leave the rows of these classes out": "test_bad_tables.py::test_d06_a_class_too_rare",
    "raise create.rows": "test_split.py::test_advice_for_a_made_data_set_too_small_works",
    "{}{} {} settles it": "test_suspicions.py::test_05_a_number_that_names_whom_a_row_is_about",
    "keep its rows on one side with split.method": "test_suspicions.py::test_05_a_number_that_names_whom",
    "restore it with: git checkout {}": "test_advice.py::test_git_brings_params_back",
    "must not be a bare date": "test_advice.py::test_advice_about_params",
    "{}; quote it": "test_advice.py::test_advice_about_params",
    "; did you mean {}": "test_advice.py::test_advice_about_params",
    "; delete the line": "test_advice.py::test_advice_about_params",
    "; fix the line or {}": "test_advice.py::test_advice_about_params",
    "holds {}; delete it": "test_advice.py::test_advice_about_params",
    "delete what is not a parameter, or: {}": "test_advice.py::test_advice_about_params",
    "missing, or list the column in create.columns.categorical": "test_advice.py::test_advice_about_a_table",
    "each line between could be a row": "test_advice.py::test_advice_about_a_table",
    "leave such rows out where it does": "test_advice.py::test_a_class_that_may_stand_for_none_is_left_out",
    "change the column's kind in create.columns": "test_advice.py::test_a_kind_that_does_not_fit",
    "fix it, or list the column in create.columns.ignored": "test_advice.py::test_a_kind_that_does_not_fit",
    "fix it, or leave the row out": "test_advice.py::test_what_predict_cannot_read_has_advice_that_predict_follows",
    "fix it, or add it to create.reading.missing": "test_advice.py::test_what_predict_cannot_read_has_advice_that",
    "is not a date up to the year": "test_advice.py::test_a_kind_that_does_not_fit",
    "put the parts of the table there": "test_advice.py::test_a_folder_without_parts_gets_them",
    "put the file itself there": "test_advice.py::test_a_link_out_of_the_folder_becomes_the_file_itself",
    "put the folder itself there": "test_advice.py::test_a_folder_of_parts_is_put_right",
    "let it end with .parquet": "test_advice.py::test_a_folder_of_parts_is_put_right",
    "bring the file anew": "test_advice.py::test_a_packed_file_that_was_cut_comes_anew",
    "bring columns that": "test_advice.py::test_features_that_tell_nothing_or_do_not_vary",
    "fill it in, or leave the row out": "test_advice.py::test_a_group_that_is_missing_is_filled_in_or_left_out",
    "leave the column out, or the row": "test_advice.py::test_advice_of_predict",
    "name a CSV or Parquet file": "test_advice.py::test_advice_of_predict",
    "leave out --keep": "test_advice.py::test_advice_of_predict",
    "let OUTPUT end with .parquet": "test_advice.py::test_advice_of_predict",
    "write it as in training": "test_reading.py::test_predict_reads_as_training_did",
    "name one file, or one folder": "test_advice.py::test_advice_of_make_table",
    "rename ": "test_advice.py::test_advice_of_make_table",
    "add YES=1 to make, or --yes": "test_advice.py::test_advice_of_make_table",
    "lower create.rows": "test_advice.py::test_less_fits_into_little_memory",
    "lower train.batch_size": "test_advice.py::test_less_fits_into_little_memory",
    "set split.method: hash, which": "test_advice.py::test_what_does_not_fit_is_made_to_fit",
    "set train.window: {}": "test_row_windows.py::test_what_a_training_says_",
    "lower train.window (now {})": "test_row_windows.py::test_what_a_training_says_",
    "restore it with: git checkout HEAD": "faults/test_cache.py::test_m31_a_damaged_lock_is_one_line",
    "the way back: git checkout {}": "test_table_command.py::test_of_params_only_the_table_and_its_recipe_change",
    "make table FILE=penguins.csv TARGET=species": "test_table_command.py::test_make_passes_names_as_they_are",
    "nothing was written; run this again": "test_table_command.py::test_the_answer_of_a_person_counts",
    "(or make record) records them": "faults/test_tracker.py::test_m18_m21_m22_a_server",
    "start one with: dvc repro": "test_follow.py::test_a_training_is_mirrored",
    "start it again: dvc repro": "faults/test_resume.py::test_m27_the_mirror_of_a_training_that_was_killed",
    "OPEN_TO_NETWORK=1": "faults/test_security_ui.py::test_s14_another_address",
    "open the link that `make ui` printed": "faults/test_security_ui.py::test_the_token_becomes_a_cookie",
    "use fewer rows or columns": "test_advice.py::test_what_does_not_fit_is_made_to_fit",
    "leave rows or columns out of the table": "test_advice.py::test_what_does_not_fit_is_made_to_fit",
    "use fewer test rows (split.test_size)": "test_advice.py::test_what_does_not_fit_is_made_to_fit",
    "lower train.epochs or train.replicas": "test_advice.py::test_what_does_not_fit_is_made_to_fit",
    "for what comes there and into DVC's cache; make room": "test_advice.py::test_what_does_not_fit_is_made_to_fit",
    "use fewer rows (create.rows) or columns": "test_advice.py::test_what_fills_the_memory_in_the_middle",
    "lower evaluate.resamples": "test_advice.py::test_what_fills_the_memory_in_the_middle",
    "lower plot.dpi": "test_advice.py::test_what_fills_the_memory_in_the_middle",
    "free some, or use fewer rows": "test_advice.py::test_a_piece_that_is_too_much_for_predict",
    "free some, or raise the limit": "faults/test_file_repair.py::test_with_the_limit_raised_it_begins",
    "are free there; make room, and run it again": "faults/test_machine.py::test_m10_a_disk_that_fills_in_the_middle",
    "raise ulimit -f": "test_advice.py::test_a_training_that_may_write_larger_files",
    "make room": "test_advice.py::test_a_training_that_may_write_larger_files",
    "smaller row groups": "test_advice.py::test_smaller_row_groups_fit",
    "save the sheet as CSV": "test_advice.py::test_a_file_of_another_program_becomes_a_table",
    "store the table as CSV or Parquet": "test_advice.py::test_a_file_of_another_program_becomes_a_table",
    "download the file itself": "test_advice.py::test_a_file_of_another_program_becomes_a_table",
    "unpack it": "test_advice.py::test_a_file_of_another_program_becomes_a_table",
    "let the program write it": "test_advice.py::test_a_table_with_deleted_rows",
    "store them as such": "test_advice.py::test_numbers_that_a_file_with_types_has_as_texts",
    "{}: leave the cells empty, then": "test_advice.py::test_numbers_that_stand_for_none_become_empty_cells",
    "fix it in the table, or": "test_advice.py::test_a_test_row_that_the_network_cannot_take",
    "add rows of it from the time": "test_advice.py::test_rows_of_a_class_that_one_side_lacks",
    "lower split.test_size or split.validation_size": "test_advice.py::test_a_smaller_test_side",
    "add '' to create.reading.missing": "test_advice.py::test_the_empty_text_becomes_a_missing_value",
    "bring the column so": "test_advice.py::test_new_rows_are_brought_as_the_model_knows_them",
    "store one value in each row": "test_advice.py::test_new_rows_are_brought_as_the_model_knows_them",
    "bring the column as numbers": "test_refused_values.py::test_11_texts_of_numbers_are_read_as_in_training",
    "bring the column as texts": "test_advice.py::test_new_rows_are_brought_as_the_model_knows_them",
    "leave the row out or fill it in": "test_advice.py::test_new_rows_are_brought_as_the_model_knows_them",
    "run it in WSL": "test_windows.py::test_a_stage_says_where_it_runs",
    "take the model from its store": "test_advice.py::test_a_served_model_that_is_damaged_is_taken_again",
    "improve the model or lower the bar": "test_advice.py::test_what_the_gate_asks_for_opens_it",
    "bring columns that tell more": "test_advice.py::test_what_the_gate_asks_for_opens_it",
    "train.class_weights: balanced helps them": "test_advice.py::test_rare_classes_that_count_as_much",
    "raise train.epochs": "test_advice.py::test_a_training_that_still_improves_gets_more_epochs",
    "it learns the rows by heart": "test_advice.py::test_what_is_learned_by_heart_is_learned_no_more",
    "; delete it": "test_advice.py::test_advice_about_params",
    "delete it here, and change it where it opens": "test_advice.py::test_advice_about_params",
    "is nested too deep": "test_advice.py::test_advice_about_params",
    "set AWS_ACCESS_KEY_ID": "test_buckets.py::test_each_fault_of_a_bucket_is_a_line",
    "is AWS_ENDPOINT_URL right?": "test_buckets.py::test_each_fault_of_a_bucket_is_a_line",
    "; make it, or set AWS_ENDPOINT_URL": "test_buckets.py::test_a_bucket_that_is_not_there_is_made",
    "make setup EXTRAS=s3": "contracts/test_extras.py::test_an_extra_is_installed_beside_the_rest",
    "run make setup": "faults/test_file_repair.py::test_an_environment_that_is_not_complete",
    "set MLFLOW_TRACKING_USERNAME": "faults/test_tracker.py::test_the_right_address_and_the_right_name",
    "check its address": "faults/test_tracker.py::test_the_right_address_and_the_right_name",
    "open that in a browser": "faults/test_tracker.py::test_the_ui_of_a_server_is_where_the_line_says",
    "run: make run, or make record": "faults/test_tracker.py::test_a_store_without_runs_has_some",
    "end another server first": "faults/test_security_ui.py::test_where_every_port_is_taken",
    "end that one first": "test_follow.py::test_only_one_follows",
    "to record it: make record": "test_backfill.py::test_a_state_that_is_not_committed_is_recorded",
    "nothing is committed yet; commit it after": "test_repository.py::test_nothing_committed_is_a_line",
    "is MADE no longer": "test_verify.py::test_a_lock_that_is_older_than_the_graph",
    "bring it with: dvc pull, or commit dvc.lock": "test_verify.py::test_an_original_that_is_not_here",
    "is not in the last commit; commit it after": "test_verify.py::test_a_lock_that_is_missing_or_damaged",
    "cannot be read; commit it after": "test_verify.py::test_a_lock_that_is_missing_or_damaged",
    "<!-- {}: make readme -->": "test_readme.py::test_make_readme_mends_a_marked_part",
    "write this? [y/N]": "test_table_command.py::test_the_answer_of_a_person_counts",
    "then run: mlflow db upgrade": "faults/test_tracker.py::test_m23_m26_a_file_that_fails",
    "unset it to use all cores": "runtime/test_workers.py::test_how_many",
    "the system kills what takes too much memory": "test_killed_workers.py::test_a_killed_process_costs",
    "; set {} to less": "runtime/test_workers.py::test_where_no_further_process_can_be_made",
    "; did you mean {}?": "test_study.py::test_each_fault_of_a_space_is_a_line",
    "run: make study, or: dvc repro study/dvc.yaml": "test_study.py::test_a_change_of_its_section_reruns",
    "copy it from the address line": "test_playground.py::test_advice_that_a_link_gets_is_followed",
    "from the link": "test_playground.py::test_advice_that_a_link_gets_is_followed",
    "add --yes": "test_adopt.py::test_it_asks_and_with_nobody_there",
    "lower the learning rates that are searched": "test_study_page.py::test_many_diverged_trials_above_a_value",
    "where none trained: lower the high end": "test_study_page.py::test_many_diverged_trials_above_a_value",
    "hardly mattered": "test_study_page.py::test_a_parameter_that_hardly_mattered_is_taken_out",
    "search other parameters or other ranges": "test_study_page.py::test_there_is_always_advice",
    "value of its list: add": "test_study_page.py::test_a_winner_at_the_end_of_a_list_of_numbers",
    "leave such networks out of study.space": "test_study.py::test_a_trial_that_does_not_fit",
    "lower the learning rates of study.space": "test_study.py::test_where_all_diverge",
    "has begun and stands still; end it": "faults/test_tracker.py::test_a_recording_that_stands_still",
    "install one: pip install 'psycopg[binary]'": "test_study_postgresql.py::test_a_study_is_mirrored_while",
    "there is no driver {}; install it with pip": "test_study_postgresql.py::test_a_study_is_mirrored_while",
    "name a file that is not there yet": "test_study_command.py::test_what_is_another_programs_stays_as_it_is",
    "; name another database": "test_study_command.py::test_what_is_another_programs_stays_as_it_is",
}
# What no test follows, and why.
NOT_FOLLOWED = {
    "there is one version of Ray and of Python here": "^another Ray or Python runs there",
    "Ray says it of what is not known yet, and of a head that dies while it is joined": "; start it anew$",
    "there is no GPU here": "^set train.device: cpu, or unset$",
    "no file is known that shows it: it stands for the case that two readers count rows unlike": "look at its quotes",
    "no advice, but the title of a picture": "^close view",
    "no advice, but what the command is going to do": "^copy {} to {}",
    "no advice, but the head of a table": "^change in section$",
    "no advice, but how a page of figures is read": "(^|; )lower is better|lower is better.$",
    "no advice, but how often something was found": "^Features that count or name the rows",
    "no advice, but the name of a run": "^run '{}'",
    "no advice, but a question to MLflow": "^name = '{}'",
    "no advice, but the facts of a page": "^Data: {}; settings of all|^ \\({} settles it\\)",
    "no advice, but a table of commands": "^make (run|verify|gate|ui)$",
    "for who writes code here, of which the tests say the same": "relative import; name the module",
    "no advice, but the command that a line of advice names": "^make record$",
    "no advice, but a warning of what others may do": "^other machines reach the server",
}


def on_the_list(text: str) -> bool:
    followed = (*PARAMETERS, *TABLES, *LOOKS, *TRAININGS, *ELSEWHERE)
    return any(piece in text for piece in followed) or any(re.search(each, text) for each in NOT_FOLLOWED.values())


@pytest.mark.parametrize("place", sorted({*ELSEWHERE.values()}))
def test_the_test_that_follows_an_advice_is_there(place):
    file, _, name = place.partition("::")
    (path,) = (ROOT / "tests").rglob(Path(file).name)
    assert f"def {name}" in path.read_text()


def test_every_advice_is_on_the_list():
    """So that a new one is not without a test, or without a word why it has none."""
    assert [each for each in advice() if not on_the_list(each.partition(": ")[2])] == []
    assert not on_the_list("the moon is down; put it back")
    assert ADVICE.search("the moon is down; put it back")
