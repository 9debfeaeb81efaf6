"""The files of the splits, by columns, in memory or on disk: the same that a table in memory would be written to."""

import gc
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from retrace.artifacts import paths
from retrace.artifacts.schema import Schema, write_schema
from retrace.artifacts.tables import read_table, write_pieces
from retrace.data import split_files
from retrace.data.groups import row_hashes
from retrace.data.splitting import split
from retrace.runtime import scratch
from retrace.runtime.errors import MACHINE_FAULT, UserError
from stages import split as stage
from tests.conftest import split_section
from tests.project import turn

ROWS, AT_ONCE = 3000, 700
SPLITS = (paths.TRAIN, paths.VALIDATION, paths.TEST)
METHODS = {
    "random": None,
    "stratified": None,
    "hash": None,
    "group": "who",
    "time": "when",
}


def table() -> pa.Table:
    """Every type that a data set has, missing values in each, categories that not all row groups have; carried ones."""
    random = np.random.default_rng(0)
    label = random.integers(0, 3, ROWS)
    absent = random.random(ROWS) < 0.1
    words = np.array([f"word {place}" for place in np.sort(random.integers(0, 40, ROWS))])
    who = pa.array([f"person {place} {'x' * (place % 7)}" for place in random.integers(0, 400, ROWS)])
    return pa.table(
        {
            "x": pa.array(random.normal(size=ROWS) + label, mask=absent),
            "zero": pa.array(np.where(np.arange(ROWS) % 2, 0.0, -0.0)),
            "word": pa.array(words, mask=~absent).dictionary_encode(),
            "flag": pa.array(label > random.integers(0, 3, ROWS), mask=absent),
            "day": pa.array(random.integers(0, 10**15, ROWS), pa.timestamp("us")),
            "who": who,
            "when": pa.array(random.integers(0, 10**6, ROWS), pa.timestamp("us")),
            "class": pa.array(label.astype(np.int64)),
        }
    ).replace_schema_metadata({"made": "here"})


SCHEMA = Schema(
    "own",
    ["x", "zero", "word", "flag", "day"],
    "class",
    ["a", "b", "c"],
    np.bincount(np.asarray(table().column("class"))).tolist(),
    None,
    kinds={"word": "categorical", "flag": "boolean", "day": "datetime"},
    carried=["who", "when"],
)


@pytest.fixture
def stored(project, monkeypatch) -> Path:
    """A data set in row groups of their own dictionaries; splits are written in pieces that do not go with those."""
    rows = table()
    write_pieces(paths.DATASET, [rows.slice(start, 1000) for start in range(0, ROWS, 1000)])
    write_schema(SCHEMA)
    monkeypatch.setattr(split_files, "ROWS_AT_ONCE", AT_ONCE)
    return project


def expected(section) -> list[bytes]:
    """As they are written from a table that is in memory."""
    rows = read_table(paths.DATASET).unify_dictionaries()
    found = []
    for own in split(rows, SCHEMA, section):
        pieces = [rows.take(own[start : start + AT_ONCE]) for start in range(0, max(len(own), 1), AT_ONCE)]
        write_pieces(Path("expected.parquet"), pieces)
        found.append(Path("expected.parquet").read_bytes())
    return found


def without_memory(monkeypatch) -> list[scratch.Scratch]:
    """As on a machine in whose memory the table does not fit; the files that rows went to."""
    used = []
    make = scratch.scratch

    def noted(*arguments):
        used.append(make(*arguments))
        return used[-1]

    monkeypatch.setattr(scratch, "scratch", noted)
    monkeypatch.setattr(split_files, "available", lambda: 0)
    return used


@pytest.mark.parametrize("method", METHODS)
def test_where_the_rows_wait_does_not_show_in_a_byte(method, stored, monkeypatch):
    changes = {"method": method, "column": METHODS[method]}
    turn(stored, {f"split.{key}": value for key, value in changes.items()})
    wanted = expected(split_section(**changes))
    stage.main()
    reports = [path.read_bytes() for path in (paths.DATA, Path("reports/data.json"))]
    assert [path.read_bytes() for path in SPLITS] == wanted
    used = without_memory(monkeypatch)
    stage.main()
    assert [path.read_bytes() for path in SPLITS] == wanted
    assert [path.read_bytes() for path in (paths.DATA, Path("reports/data.json"))] == reports
    assert [file.file.closed for file in used] == [True]
    assert used[0].size > 0


def test_a_split_without_rows_has_its_columns(stored, monkeypatch):
    """Which no method makes, but whoever reads the file need not know."""
    everything = np.arange(ROWS)
    for _ in range(2):
        split_files.write_splits(
            split_files.TableColumns(paths.DATASET),
            split_files.SplitRows(everything, everything[:0], everything[:5]),
        )
        assert read_table(paths.VALIDATION).schema == table().schema
        assert [read_table(path).num_rows for path in SPLITS] == [ROWS, 0, 5]
        without_memory(monkeypatch)


def test_hashes_are_those_of_the_whole_table(stored):
    rows = read_table(paths.DATASET)
    names = [*SCHEMA.features, "when"]
    whole = row_hashes(pa.table(rows.select(names).combine_chunks()), names)
    assert np.array_equal(row_hashes(split_files.TableColumns(paths.DATASET), names), whole)
    assert len(set(whole.tolist())) > ROWS / 2


def test_nothing_is_left_where_it_fails(stored, monkeypatch):
    used = without_memory(monkeypatch)
    before = {path for path in Path().rglob("*") if path.is_file()}
    monkeypatch.setattr(split_files, "write_pieces", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        stage.main()
    assert used[0].file.closed
    gc.collect()
    assert {path.name for path in {path for path in Path().rglob("*") if path.is_file()} - before} <= {
        *("data.md", "data.json"),
        *(path.name for path in Path(".retrace").rglob("*")),
    }
    assert not [path for path in Path(".retrace").iterdir() if path.name.startswith("tmp")]


def test_a_table_of_four_times_the_memory_is_let_through(monkeypatch):
    """Of thirty numbers a row, as docs/large_tables.md promises it; all but 60 MiB of a GiB is free then."""
    monkeypatch.setattr("retrace.runtime.memory.available", lambda: 964 << 20)
    monkeypatch.setattr(split_files, "require_disk", lambda *_: None)
    paths.DATASET.parent.mkdir(exist_ok=True)
    paths.DATASET.touch()
    columns = {f"x{place}": 8 * 18_000_000 for place in range(30)}
    split_files.require_room(SimpleNamespace(num_rows=18_000_000, num_bytes=columns), "hash")
    with pytest.raises(UserError, match=r"set split.method: hash, which takes least memory"):
        split_files.require_room(SimpleNamespace(num_rows=18_000_000, num_bytes=columns), "random")


def test_room_on_the_disk_is_asked_before_a_column_is_moved(stored, monkeypatch):
    without_memory(monkeypatch)
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError) as caught:
        split_files.write_splits(
            split_files.TableColumns(paths.DATASET), split_files.SplitRows(*np.array_split(np.arange(ROWS), 3))
        )
    assert caught.value.status == MACHINE_FAULT
    assert re.fullmatch(
        r"\.retrace: 1,000 bytes are free, and [\d,]+ are needed for the rows of data/dataset.parquet, which do not fit"
        r" into memory; make room, or leave rows or columns out of the table",
        str(caught.value),
    )
