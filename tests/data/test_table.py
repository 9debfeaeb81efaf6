"""A table of one's own: formats, kinds of columns, labels, and files that are bad, through the real stage."""

import datetime
import gzip
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import datasets

from retrace.artifacts import paths
from retrace.artifacts.schema import read_schema
from retrace.artifacts.tables import read_table
from retrace.runtime.errors import BAD_DATA, BAD_PARAMS, UserError
from stages import create as stage
from tests.conftest import ROOT
from tests.project import turn

TABLES = Path("data/tables")
ROWS = 60


@pytest.fixture(autouse=True)
def own(project):
    TABLES.mkdir(parents=True)
    turn(project, {"create.dataset": "table"})


def frame(**columns) -> pd.DataFrame:
    """Some honest columns, and those given."""
    random = np.random.default_rng(0)
    labels = np.resize(["cat", "dog", "eel"], ROWS)
    return pd.DataFrame({"size": random.normal(size=ROWS).round(2), "class": labels}).assign(**columns)


def made(source, name: str = "table.csv", **changes) -> tuple[pa.Table, object]:
    """What the stage makes of a frame, a table for Parquet, a text or bytes."""
    path = TABLES / name
    if isinstance(source, pd.DataFrame):
        source = source.to_csv(index=False)
    if isinstance(source, pa.Table):
        path = path.with_suffix(".parquet")
        pq.write_table(source, path)
    else:
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
    turn(Path(), {"create.table.path": path.as_posix(), **changes})
    stage.main()
    return read_table(paths.DATASET), read_schema()


def refused(source, *words: str, status: int = BAD_DATA, **changes) -> str:
    """The one line with which the stage refuses; nothing of it is left under a final name."""
    before = paths.DATASET.read_bytes() if paths.DATASET.exists() else None
    with pytest.raises(UserError) as caught:
        made(source, **changes)
    line = str(caught.value)
    assert caught.value.status == status
    assert "\n" not in line
    assert all(re.search(word, line) for word in words), line
    assert (paths.DATASET.read_bytes() if paths.DATASET.exists() else None) == before
    assert not list(Path("data").glob(".*.tmp"))
    return line


# --- formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_delimiter_and_encoding_are_found(delimiter, encoding):
    table = frame(größe=np.resize(["klein", "groß", "größer als, «alles»;|", "klein"], ROWS), rest=1.5)
    table["rest"] = np.arange(ROWS) / 7
    text = table.to_csv(index=False, sep=delimiter)
    dataset, schema = made(text.encode(encoding))
    assert dataset.column("größe").to_pylist() == table["größe"].tolist()
    assert dataset.column("rest").to_pylist() == pytest.approx(table["rest"].tolist())
    assert schema.classes == ["cat", "dog", "eel"]


def test_what_was_given_is_not_guessed():
    text = frame(mark=np.resize(["ä", "ö"], ROWS)).to_csv(index=False, sep=";")
    changes = {"create.reading.delimiter": "semicolon", "create.reading.encoding": "iso-8859-1"}
    dataset, _ = made(text.encode("latin-1"), **changes)
    assert set(dataset.column("mark").to_pylist()) == {"ä", "ö"}


def test_a_decimal_comma_is_found_or_given():
    table = frame()
    text = table.to_csv(index=False, sep=";", decimal=",")
    for decimal in ("auto", "comma"):
        dataset, schema = made(text, **{"create.reading.decimal": decimal})
        assert schema.kind("size") == "numeric"
        assert dataset.column("size").to_pylist() == table["size"].tolist()


def test_gzip_parquet_and_a_folder_of_parts_give_the_same_data_set():
    table = frame(more=np.resize([True, False], ROWS), name=np.resize(["a", "b", None, "a"], ROWS))
    plain, schema = made(table)
    assert made(gzip.compress(table.to_csv(index=False).encode()), "table.csv.gz")[0].equals(plain)
    (TABLES / "parts").mkdir()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), TABLES / "whole.parquet")
    for part in range(3):
        rows = pa.Table.from_pandas(table[part * 20 : part * 20 + 20], preserve_index=False)
        pq.write_table(rows, TABLES / f"parts/{part}.parquet")
    for name in ("whole.parquet", "parts"):
        turn(Path(), {"create.table.path": f"data/tables/{name}"})
        stage.main()
        # In Parquet no text stands for a missing value, and numbers are none.
        of_file = {"dataset": name.removesuffix(".parquet"), "missing": [], "number_formats": None}
        assert read_schema() == replace(schema, **of_file)
        again = read_table(paths.DATASET)
        assert again.unify_dictionaries().to_pylist() == plain.to_pylist()


def test_a_long_table_is_never_in_memory_as_a_whole(monkeypatch):
    """As pieces of few rows it gives the same data set as in one."""
    table = frame(name=np.resize(["a", "b", "c", "a"], ROWS), note=[f"text {index}" for index in range(ROWS)])
    whole, schema = made(table)
    monkeypatch.setattr("retrace.data.table.ROWS_TOGETHER", 7)
    monkeypatch.setattr("retrace.data.source.BLOCK", 200)
    again, same = made(table)
    assert same == schema
    assert pq.ParquetFile(paths.DATASET).num_row_groups > 4
    assert again.to_pylist() == whole.to_pylist()


# --- kinds ----------------------------------------------------------------------------------------------------------


def test_kinds_are_inferred():
    days = [f"2026-01-{1 + index % 28:02}" for index in range(ROWS)]
    table = frame(
        id=range(1, ROWS + 1),
        age=np.where(np.arange(ROWS) % 7, np.arange(ROWS) % 50, np.nan),
        town=np.resize(["Rome", "Oslo", "", "Bern"], ROWS),
        member=np.resize(["yes", "No", "", "YES"], ROWS),
        day=days,
        moment=[f"{day}T12:30:00Z" for day in days],
        note=[f"text {index}" for index in range(ROWS)],
        empty="",
        zip=np.resize(["01234", "98765"], ROWS),
        signed=np.resize(["+1.5", "-2", "3e-4", ".5"], ROWS),
    )
    dataset, schema = made(table)
    kinds = {name: schema.kind(name) for name in schema.features}
    assert kinds == {
        **{"size": "numeric", "age": "numeric", "town": "categorical", "member": "boolean", "day": "datetime"},
        **{"moment": "datetime", "zip": "numeric", "signed": "numeric"},
    }
    assert schema.carried == ["id", "note", "empty"]
    assert dataset.column("town").to_pylist()[:4] == ["Rome", "Oslo", None, "Bern"]
    assert dataset.column("member").to_pylist()[:4] == [True, False, None, True]
    assert dataset.column("age").to_pylist()[:2] == [None, 1.0]
    assert dataset.column("signed").to_pylist()[:4] == [1.5, -2.0, 0.0003, 0.5]
    assert dataset.column("moment").to_pylist()[0] == datetime.datetime(2026, 1, 1, 12, 30)
    assert dataset.column("note").to_pylist()[3] == "text 3"


def test_a_kind_that_is_given_wins():
    table = frame(zip=np.resize(["01234", "98765"], ROWS), id=range(ROWS), town=np.resize(["a", "b", "c"], ROWS))
    given = {
        "create.columns.categorical": ["zip"],
        "create.columns.numeric": ["id"],
        "create.columns.ignored": ["town"],
    }
    dataset, schema = made(table, **given)
    assert (schema.kind("zip"), schema.kind("id"), schema.carried) == ("categorical", "numeric", ["town"])
    assert set(dataset.column("zip").to_pylist()) == {"01234", "98765"}


def test_a_kind_that_does_not_fit_names_the_row():
    table = frame(town=np.resize(["a", "b", "c", "a"], ROWS))
    refused(table, "column town, row 1: 'a' is not a number", **{"create.columns.numeric": ["town"]})
    reset = {"create.columns.numeric": []}
    refused(table, "column town, row 1: 'a' is not a date", **reset, **{"create.columns.datetime": ["town"]})


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["NA", "None", "null", "nan"], ["NA", "None", "nan", "null"]),
        ([10, 9, -1], ["-1", "9", "10"]),
        ([True, False], ["False", "True"]),
        (["a\nb", 'quote"d', "<b>|*x*"], ["<b>|*x*", "a\nb", 'quote"d']),
    ],
)
def test_labels_may_be_called_anything(labels, classes):
    dataset, schema = made(frame(**{"class": np.resize(np.array(labels, dtype=object), ROWS)}))
    assert schema.classes == classes
    assert [classes[index] for index in dataset.column("class").to_pylist()[:2]] == [str(each) for each in labels[:2]]


@pytest.mark.filterwarnings("error")
def test_labels_of_parquet_types():
    half = np.array([1, 2], np.float16)
    for labels, classes in (
        (half, ["1", "2"]),
        ([1.0, 2.0], ["1", "2"]),
        ([True, False], ["false", "true"]),
        ([3, 11], ["3", "11"]),
    ):
        table = pa.Table.from_pandas(frame(**{"class": np.resize(labels, ROWS)}), preserve_index=False)
        pq.write_table(table, TABLES / "table.parquet")
        turn(Path(), {"create.table.path": "data/tables/table.parquet"})
        stage.main()
        assert read_schema().classes == classes


def test_d32_the_order_of_classes_depends_on_nothing_but_their_names():
    seen = set()
    (TABLES / "table.csv").write_text(frame().to_csv(index=False))
    for seed in range(5):
        done = subprocess.run(
            [sys.executable, "-m", "stages.create"],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        seen.add(paths.DATASET.read_bytes() + Path("data/schema.json").read_bytes())
    assert len(seen) == 1


# --- bad files (shared/faults.md, section D) ------------------------------------------------------------------------


def test_d01_a_file_that_is_not_there():
    (TABLES / "penguins.csv").write_text("")
    turn(Path(), {"create.table.path": "data/tables/pinguins.csv"})
    with pytest.raises(UserError, match=r"^data/tables/pinguins.csv .* not found; did you mean penguins.csv\?"):
        stage.main()


def test_d02_d03_an_empty_file_and_a_header_only():
    refused("", "^data/tables/table.csv is empty")
    refused("size,class\n", "^data/tables/table.csv has 0 rows; at least 20 are needed")
    refused("\n\n\n", "^data/tables/table.csv is empty")


def test_d04_the_target_is_not_there():
    line = refused(frame().rename(columns={"class": "clas"}), "no column 'class'", "it has size, clas")
    assert line.endswith("did you mean clas?")


def test_d09_infinite_numbers():
    for value in ("1e999", "1e39", "-1e400"):
        refused(frame(size=np.resize(["1.5", "2", value, "3"], ROWS)), "column size, row 3: -?(inf|1e\\+39)", "finite")


def test_d10_a_missing_label():
    table = frame()
    table.loc[6, "class"] = ""
    refused(table, "row 7 has no value in the target class")


@pytest.mark.parametrize("label", [1e300, -(2.0**53), np.inf])
def test_d10_labels_that_are_not_exact(label):
    """As whole numbers they would all be one."""
    labels = np.resize([1.0, 2.0, 3.0], ROWS)
    labels[4] = label
    table = pa.Table.from_pandas(frame(**{"class": labels}))
    refused(table, f"the target class, row 5: {re.escape(str(label))} is not a class", "as texts")


def test_labels_of_many_digits_have_an_order():
    long = "9" * 4500
    _, schema = made(frame(**{"class": np.resize([long, "10", f"-{long}", "9"], ROWS)}))
    assert schema.classes == [f"-{long}", "9", "10", long]


@pytest.mark.parametrize(
    ("kind", "value"),
    [(pa.timestamp("ms"), 10**17), (pa.timestamp("ms", "UTC"), -(10**17)), (pa.date32(), 2**31 - 1)],
)
def test_dates_out_of_range(kind, value):
    """Arrow would take them for others, without a word."""
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    days = pa.array([*range(4), value, *range(5, ROWS)], pa.int32() if kind == pa.date32() else pa.int64())
    table = table.append_column("when", days.view(kind))
    line = f"column when, row 5: {value} as {re.escape(str(kind))} is not a date up to the year 294,246"
    refused(table, line, "ignored")


def test_d12_text_among_numbers():
    table = frame(size=np.resize(["1.5", "2", "3", "4"], ROWS))
    table.loc[16, "size"] = "abc"
    refused(table, "column size, row 17: 'abc' is not a number, but 59 of 60 values are", "create.columns.categorical")
    dataset, schema = made(table, **{"create.reading.missing": ["abc"]})
    assert schema.kind("size") == "numeric"
    assert dataset.column("size").null_count == 1


def test_d13_numbers_as_texts_in_parquet_are_categories_unless_the_params_say_otherwise():
    table = pa.table({"size": ["1.5", "2.5"] * 30, "other": np.random.default_rng(0).normal(size=60)})
    pq.write_table(table.append_column("class", pa.array(["a", "b", "b"] * 20)), TABLES / "table.parquet")
    turn(Path(), {"create.table.path": "data/tables/table.parquet"})
    stage.main()
    assert read_schema().kind("size") == "categorical"
    turn(Path(), {"create.columns.numeric": ["size"]})
    stage.main()
    assert read_table(paths.DATASET).column("size").to_pylist()[:2] == [1.5, 2.5]


def test_times_in_parquet_that_the_params_call_numbers_are_refused_by_row():
    days = pa.array([datetime.datetime(2026, 1, 1 + row % 28) for row in range(60)], pa.timestamp("s"))
    table = pa.table({"day": days, "other": np.random.default_rng(0).normal(size=60)})
    pq.write_table(table.append_column("class", pa.array(["a", "b", "b"] * 20)), TABLES / "table.parquet")
    turn(Path(), {"create.table.path": "data/tables/table.parquet", "create.columns.numeric": ["day"]})
    with pytest.raises(UserError, match=r"column day, row 1: '2026-01-01 00:00:00\.000' is not a number"):
        stage.main()


def test_d14_d15_large_whole_numbers(capsys):
    refused(frame(size=[2**63 + index * 2**20 for index in range(ROWS)]), "column size holds whole numbers up to 9223")
    made(frame(size=[2**24 + 7 * (index % 30) for index in range(ROWS)]))
    assert "warning: column size holds whole numbers over 2^24" in capsys.readouterr().err
    # Of what is refused, nothing else is said.
    sizes = [*map(str, range(ROWS - 1)), "1e999"]
    refused(frame(size=sizes), "column size, row .*: inf is not a finite number")
    assert "2^24" not in capsys.readouterr().err


def test_d16_d17_constant_columns(capsys):
    made(frame(same="x"))
    assert "warning: column same is the same in every row" in capsys.readouterr().err
    refused(frame(size=1, same="x"), "no column but class varies")


def test_d20_the_target_in_other_words():
    words = {"cat": "Katze", "dog": "Hund", "eel": "Aal"}
    table = frame()
    refused(table.assign(wort=table["class"].map(words)), "column wort is the target class in other words")
    numbers = table["class"].map({"cat": 3.5, "dog": 1, "eel": 2})
    refused(table.assign(code=numbers), "column code is the target", "create.columns.ignored")
    made(table.assign(code=numbers), **{"create.columns.ignored": ["code"]})


def test_d23_d24_ragged_rows():
    lines = frame().to_csv(index=False).splitlines()
    refused("\n".join([*lines[:5], "1,cat,more", *lines[5:]]) + "\n", "3 cells where the header has 2")
    refused("\n".join([*lines[:5], "1", *lines[5:]]) + "\n", "1 cells where the header has 2")


def test_d26_the_wrong_delimiter():
    text = frame().to_csv(index=False, sep=";")
    refused(text, "no column 'class'", "create.reading.delimiter", **{"create.reading.delimiter": "comma"})


def test_d27_encodings_and_nul_bytes():
    text = frame(town=np.resize(["Köln", "Oslo", "Rom", "Bern"], ROWS)).to_csv(index=False)
    refused(text.encode("latin-1"), "is not utf-8", "create.reading.encoding", **{"create.reading.encoding": "utf-8"})
    nul = text.replace("Oslo", "Os\0lo").encode()
    refused(nul, "line 3 holds a NUL byte", **{"create.reading.encoding": "auto"})
    refused(text.encode("utf-16-le"), "NUL byte")


def test_d28_damaged_parquet():
    pq.write_table(pa.Table.from_pandas(frame()), TABLES / "good.parquet")
    good = (TABLES / "good.parquet").read_bytes()
    for content in (good[:-10], b"", b"size,class\n1,a\n"):
        refused(content, "^data/tables/table.parquet cannot be read", name="table.parquet")
    # A letter of a column's name, in the footer, that is none any more.
    harmed = good.replace(b"size", b"s\xffze")
    refused(
        harmed, "^data/tables/table.parquet cannot be read .*; fix it, or bring the file anew", name="table.parquet"
    )


def test_d30_a_file_that_was_cut_says_so(capsys):
    text = frame().to_csv(index=False)
    made(text[:-2])
    assert "does not end with a line break; is it whole?" in capsys.readouterr().err


def test_a_gzip_file_that_was_cut():
    content = gzip.compress(frame().to_csv(index=False).encode() * 50)
    refused(content[: len(content) // 2], "cannot be read", "bring the file anew", name="table.csv.gz")


def test_a_gzip_file_with_a_flipped_bit():
    """In the packed bytes, where zlib is the first to see it, and in a check sum of the text."""
    content = gzip.compress(frame().to_csv(index=False).encode() * 50)
    for place in (40, -6):
        harmed = bytearray(content)
        harmed[place] ^= 0xFF
        refused(bytes(harmed), "^data/tables/table.csv.gz cannot be read", "bring the file anew", name="table.csv.gz")


def test_a_line_that_is_no_header_is_not_quoted_whole():
    with pytest.raises(UserError, match="there is no column 'class'") as caught:
        made("-" * 100_000)
    assert len(str(caught.value)) < 1000


def test_columns_that_share_a_name_and_columns_without_one():
    text = frame().to_csv(index=False)
    refused(text.replace("size", "class", 1), "2 columns are called 'class'")
    assert made(frame().to_csv())[1].carried == ["column_1"]  # an index that pandas wrote


def test_a_target_that_is_no_class():
    table = pd.DataFrame({"size": range(1500), "class": np.arange(1500) / 7})
    refused(table, "more than 1,000 different values")
    refused(frame(**{"class": "one"}), "'one' in every row; two classes are needed")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x.csv", "data/tables/../../x.csv", "data/x.csv", "data/tables/a\\b"]
)
def test_a_path_out_of_the_folder_is_refused(path):
    turn(Path(), {"create.table.path": path})
    with pytest.raises(UserError, match=r"create\.table\.path must (stay|be a path) below data/tables") as caught:
        stage.main()
    assert caught.value.status == BAD_PARAMS


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (TABLES / "table.csv").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match="leads out of data/tables"):
        stage.main()


def test_a_column_that_does_not_exist_is_named():
    line = refused(
        frame(),
        r"^params.yaml:\d+: create.columns.ignored",
        "did you mean size",
        status=BAD_PARAMS,
        **{"create.columns.ignored": ["sise"]},
    )
    assert "'sise' is not a column of the table" in line
    refused(frame(), "'class' is the target", status=BAD_PARAMS, **{"create.columns.ignored": ["class"]})


# --- the real tables of scikit-learn, the same way in ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_real_table_comes_through_as_it_is(name, ending):
    bunch = getattr(datasets, f"load_{name}")()
    table = pd.DataFrame(bunch.data, columns=[str(each) for each in bunch.feature_names])
    table["target"] = [str(bunch.target_names[index]) for index in bunch.target]
    path = TABLES / f"table.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    turn(Path(), {"create.table.path": path.as_posix(), "create.table.target": "target"})
    stage.main()
    dataset, schema = read_table(paths.DATASET), read_schema()
    assert schema.kinds == {}
    assert np.array_equal(dataset.select(schema.features).to_pandas().to_numpy(), bunch.data)
    assert [schema.classes[index] for index in dataset.column("target").to_pylist()] == table["target"].tolist()
    assert (schema.dataset, schema.own) == ("table", True)  # of the file
