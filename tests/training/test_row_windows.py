"""Windows of rows (train.window): what an epoch takes together, and that neither memory nor disk shows in a byte."""

import errno
import os
import threading
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from retrace.artifacts import paths
from retrace.artifacts.schema import Schema, read_schema, write_schema
from retrace.artifacts.tables import read_table, write_pieces
from retrace.networks.architectures import ARCHITECTURES
from retrace.networks.entrance import Shape
from retrace.params.reader import read
from retrace.params.train import Train
from retrace.preprocessing.fit import fit as fit_to
from retrace.preprocessing.reference import REFERENCE
from retrace.runtime import scratch
from retrace.runtime.errors import BAD_DATA, MACHINE_FAULT, UserError
from retrace.training import pack_runner, resources
from retrace.training import rows as rows_module
from retrace.training.batches import Batches
from retrace.training.callbacks import Callback
from retrace.training.checkpoint import Snapshot
from retrace.training.members import Member, members_of, shared
from retrace.training.resources import FIT_BYTES, FIT_BYTES_OF_CATEGORY, memory_bytes, window_to_set
from retrace.training.row_windows import GROUPS, windows_of
from retrace.training.rows import Rows, StoredRows, fit_preprocessing, read_rows
from retrace.training.stored import StoredInputs
from retrace.training.trainer import fit
from retrace.training.training_run import describe
from stages import train
from tests.conftest import train_section
from tests.project import turn
from tests.test_train import OUTPUTS, as_before  # noqa: F401 - a fixture
from tests.training.test_packs import content
from tests.training.test_training import rows

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def file(project) -> Iterator[scratch.Scratch]:
    with scratch.closing_scratch(1 << 20, "rows", "lower them") as found:
        yield found


def stored(some: Rows, file: scratch.Scratch) -> StoredRows:
    inputs = StoredInputs(file, some.x.shape[1])
    for part in torch.split(some.x, 70):
        inputs.append(part.contiguous())
    return StoredRows(inputs, some.y)


# --- what an epoch takes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "window"), [(1000, 100), (997, 128), (101, 100), (1000, 999), (3000, 1000)])
def test_each_row_is_in_one_window_and_none_holds_more_than_it_may(count, window):
    windows = windows_of(count, window, 26, 1)
    each = [[row for group in groups for row in range(*group)] for groups in windows]
    assert sorted(row for some in each for row in some) == list(range(count))
    assert all(some == sorted(some) for some in each)
    assert max(map(len, each)) <= window
    assert all(len(groups) == GROUPS for groups in windows[:-1])
    assert len(windows) >= count / window


def test_groups_follow_from_seed_and_epoch():
    of = {(seed, epoch): str(windows_of(5000, 500, seed, epoch)) for seed in (1, 2) for epoch in (1, 2)}
    assert len({*of.values()}) == 4
    assert of[1, 2] == str(windows_of(5000, 500, 1, 2))


@pytest.mark.parametrize("window", [None, 300, 1000])
def test_a_window_that_holds_all_rows_is_as_none(window):
    assert windows_of(300, window, 26, 1) == [[(0, 300)]]


@pytest.mark.parametrize("batch", [1, 7, 32, 64, 100, 150, 700, 5000])
@pytest.mark.parametrize("members", [1, 3])
def test_each_member_sees_each_row_once_in_batches_of_one_size(batch, members, file):
    """Also where a batch is larger than a window, or than the table."""
    some = Rows(torch.arange(700.0)[:, None].repeat(1, 3), (torch.arange(700) % 2).short())
    section = train_section(window=100, batch_size=batch, replicas=members)
    found = [list(Batches(kind, 1, members_of(section)).of(2)) for kind in (some, stored(some, file))]
    sizes = [y.shape[1] for _, y in found[0]]
    assert sizes == [batch] * (700 // batch) + [700 % batch] * bool(700 % batch)
    for x, y in found[0]:
        assert torch.equal(x[..., 0] % 2, y.float())
        assert x.is_contiguous() or x.stride(2) == 1
    order = torch.cat([x[..., 0] for x, _ in found[0]], 1)
    assert all(sorted(own.tolist()) == list(range(700)) for own in order)
    assert len({tuple(own.tolist()) for own in order}) == members
    for one, other in zip(*found, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_members_side_by_side_read_the_same_rows_in_orders_of_their_own():
    some = Rows(torch.arange(700.0)[:, None], torch.zeros(700).short())
    section = train_section(window=100, batch_size=8, replicas=2)
    first = torch.cat([x for x, _ in Batches(some, 1, members_of(section)).of(1)][:12], 1)[
        ..., 0
    ]  # 16 groups of 6 rows
    assert sorted(first[0].tolist()) == sorted(first[1].tolist())
    assert first[0].tolist() != first[1].tolist()
    # From all over the table, and not from one place.
    assert first.max() - first.min() > 350


def test_each_window_has_an_order_of_its_own():
    """Else rows at the same place in their groups would always follow each other."""
    some = Rows(torch.arange(192.0)[:, None], torch.zeros(192).short())
    found = torch.cat([x[0, :, 0] for x, _ in Batches(some, 1, members_of(train_section(window=100))).of(1)])
    first, second = (np.argsort(part).tolist() for part in (found[:96].numpy(), found[96:].numpy()))
    assert first != second


def test_where_the_loop_is_left_the_reader_ends_too(file):
    some = stored(rows(700), file)
    batches = Batches(some, 1, members_of(train_section(window=100, batch_size=10)))
    before = threading.active_count()
    going = batches.of(1)
    next(going)
    assert threading.active_count() == before + 1
    going.close()
    assert threading.active_count() == before
    assert [len(list(batches.of(epoch))) for epoch in (1, 2)] == [70, 70]


def test_members_of_other_seeds_cannot_share_windows():
    """Which rows are read together follows from the seed."""
    one, other = (Member(train_section(window=100, seed=seed), 0) for seed in (1, 2))
    assert shared(one.section) != shared(other.section)
    assert shared(one.section.model_copy(update={"window": None})) == shared(
        other.section.model_copy(update={"window": None})
    )


def test_a_full_disk_is_not_taken_for_a_damaged_table(file, monkeypatch):
    monkeypatch.setattr(
        os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
    )
    with pytest.raises(UserError) as caught:
        stored(rows(700), file)
    assert caught.value.status == MACHINE_FAULT
    assert str(caught.value) == (
        ".retrace: rows that do not fit into memory cannot be written there (No space left on device); make room on"
        " that disk, or use fewer rows or columns"
    )


# --- memory or disk --------------------------------------------------------------------------------------------------

RECIPES = {
    "best": {"patience": 2, "optimizer_name": "adamw", "dropout": 0.1},
    "mean": {"patience": 3, "ship": "mean", "input_scale_rate": 5.0, "gradient_clip": 0.5},
    "residual": {"architecture": "residual", "hidden": [8, 6], "schedule_name": "one_cycle"},
    "balanced": {"class_weights": "balanced", "label_smoothing": 0.05, "batch_size": 150},
}


@pytest.mark.parametrize("codes", [False, True])
@pytest.mark.parametrize("name", RECIPES)
def test_memory_disk_and_processes_give_the_same_also_when_they_go_on(name, codes, file, monkeypatch):
    section = train_section(**{"replicas": 4, "hidden": [9, 5], "epochs": 6, "window": 100} | RECIPES[name])
    sides = [rows(700, classes=3), rows(90, classes=3, seed=1)]
    more = {}
    if codes:
        more = {"one_hot": [4], "embedded": [(6, 2)]}
        kinds = [torch.stack([torch.arange(len(side.x)) % 4, torch.arange(len(side.x)) % 6], 1) for side in sides]
        sides = [Rows(torch.cat([side.x, kind.float()], 1), side.y) for side, kind in zip(sides, kinds, strict=True)]
    shape = Shape([3 + (4 + 2 if codes else 0), *section.hidden, 3], section.activation, **more)
    taken: dict[int, Snapshot] = {}

    class Keep(Callback):
        def on_epoch_end(self, trainer, epoch):
            found = trainer.snapshot()
            tensors = {key: each.clone() for key, each in found.tensors.items()}
            taken[epoch.number] = Snapshot(deepcopy(found.facts), tensors)

    def result(on_disk, packs, *more):
        monkeypatch.setattr(pack_runner, "packs_worth_having", lambda *arguments: packs)
        network = ARCHITECTURES[section.architecture](4, shape, section.input_scale_rate > 0)
        own = [stored(side, file) for side in sides] if on_disk else sides
        return content(fit(network, *own, members_of(section), CPU, *more))

    whole = result(False, 1)
    assert result(True, 1, [Keep()]) == whole
    assert result(True, 2) == whole
    assert result(False, 3, [], taken[2]) == whole
    assert result(True, 2, [], taken[3]) == whole
    # The knob is not a dead one.
    section = section.model_copy(update={"window": 200})
    assert result(False, 1) != whole


@pytest.fixture
def table(project) -> Path:
    """Numbers, categories of both kinds, dates, missing values; in several row groups."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 900)
    absent = random.random(900) < 0.1
    columns = pa.table(
        {
            "x": pa.array(random.normal(size=900) + label, mask=absent),
            "z": random.normal(size=900),
            "few": pa.array(random.choice(["a", "b", "c"], 900), mask=~absent & (label > 0)).dictionary_encode(),
            "many": pa.array([f"town {place}" for place in random.integers(0, 30, 900)]).dictionary_encode(),
            "flag": pa.array(label > random.integers(0, 3, 900)),
            "day": pa.array(random.integers(0, 10**15, 900), pa.timestamp("us")),
            "class": label.astype(np.int64),
        }
    )
    kinds = {"few": "categorical", "many": "categorical", "flag": "boolean", "day": "datetime"}
    names = [name for name in columns.column_names if name != "class"]
    counts = np.bincount(label).tolist()
    write_schema(Schema("own", names, "class", ["no", "yes"], counts, None, kinds=kinds))
    write_pieces(paths.TRAIN, [columns.slice(start, 200) for start in range(0, 800, 200)])
    write_pieces(paths.VALIDATION, [columns.slice(800, 60), columns.slice(860)])
    return project


SETTINGS = {
    "best": {"replicas": 3, "hidden": [8], "scaling": "standard", "embed_above": 10, "rare_below": 3},
    "mean": {"replicas": 3, "hidden": [8], "bins": 4, "residuals_above": 0.0, "ship": "mean", "embed_above": 10},
}


def results(**changes) -> dict[str, bytes]:
    small = {"epochs": 3, "batch_size": 32, "temperature": "validation"}
    turn(Path(), {f"train.{key}": value for key, value in (small | changes).items()})
    train.main()
    return {name: Path(name).read_bytes() for name in (*OUTPUTS, REFERENCE)}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_stage_writes_the_same_bytes_from_memory_and_from_the_disk(name, table, monkeypatch):
    in_memory = results(window=200, **SETTINGS[name])
    used = []
    make = scratch.scratch
    monkeypatch.setattr(scratch, "scratch", lambda *given: used.append(make(*given)) or used[-1])
    monkeypatch.setattr(rows_module, "available", lambda: 0)
    assert results(window=200, **SETTINGS[name]) == in_memory
    assert [each.file.closed for each in used] == [True]
    assert used[0].size > 0
    whole = results(window=800, **SETTINGS[name])
    assert whole == results(window=None, **SETTINGS[name])
    assert whole != in_memory
    assert len(used) == 1  # nothing else goes to the disk


def test_a_value_that_the_network_cannot_take_is_named_alike(table, monkeypatch):
    rows_there = read_table(paths.TRAIN)
    column = rows_there.column("z").to_numpy().copy()
    column[450] = 1e300
    place = rows_there.column_names.index("z")
    broken = rows_there.set_column(place, "z", pa.array(column))
    write_pieces(paths.TRAIN, [broken.slice(start, 200) for start in range(0, 800, 200)])
    lines = []
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            results(window=200, **SETTINGS["best"] | {"scaling": "none"})
        lines.append(str(caught.value))
        assert caught.value.status == BAD_DATA
        monkeypatch.setattr(rows_module, "available", lambda: 0)
    assert lines[0] == lines[1]
    assert lines[0].startswith(f"{paths.TRAIN}: column z, row 451: 1e+300 is too large")


def test_no_room_on_the_disk_either_is_one_line(table, monkeypatch):
    monkeypatch.setattr(rows_module, "available", lambda: 0)
    monkeypatch.setattr(resources, "require_disk", lambda *_: None)
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError) as caught:
        results(window=200, **SETTINGS["best"])
    assert caught.value.status == MACHINE_FAULT
    assert str(caught.value).startswith(".retrace: 1,000 bytes are free, and ")
    assert str(caught.value).endswith("which do not fit into memory; make room, or use fewer rows or columns")


def test_rows_in_a_file_are_as_a_tensor(file):
    some = rows(500)
    other = stored(some, file)
    assert (len(other.x), other.x.shape) == (500, (500, 3))
    for part in (slice(None), slice(0, 0), slice(3, 400), slice(None, None, 7), slice(490, 900)):
        assert torch.equal(other.x[part], some.x[part])


# --- preprocessing, and how much memory it takes ---------------------------------------------------------------------


def test_preprocessing_is_fitted_to_rows_that_are_evenly_spaced(table):
    schema, section = read_schema(), read(Train).model_copy(update={"scaling": "standard", "bins": 4})
    every = read_table(paths.TRAIN, schema.features)

    def of(some: pa.Table):
        return fit_to(some, schema, "standard", 4, 1.0, section.rare_below, section.embed_above)

    windowed = fit_preprocessing(paths.TRAIN, schema, section.model_copy(update={"window": 300}))
    assert windowed == of(every.take(pa.array([place * 800 // 300 for place in range(300)])))
    assert windowed != of(every)
    for window in (None, 800, 5000):
        assert fit_preprocessing(paths.TRAIN, schema, section.model_copy(update={"window": window})) == of(every)


def test_what_only_other_rows_have_is_taken_as_unknown(table):
    """A category, or a lack of values, that none of the rows has to which the preprocessing was fitted."""
    every = read_table(paths.TRAIN).unify_dictionaries()
    chosen = np.arange(100) * 800 // 100
    rare = np.array(every.column("many").to_pylist())
    rare[chosen[:50]], rare[chosen[50:]] = "town 1", "town 2"
    number = every.column("x").to_numpy().copy()
    number[chosen] = np.nan_to_num(number[chosen])
    for name, column in (("many", pa.array(rare).dictionary_encode()), ("x", pa.array(number, from_pandas=True))):
        every = every.set_column(every.column_names.index(name), name, column)
    write_pieces(paths.TRAIN, [every])
    schema = read_schema()
    preprocessing = fit_preprocessing(paths.TRAIN, schema, train_section(window=100, scaling="standard"))
    assert preprocessing.category("many").values == ["town 1", "town 2"]
    assert not preprocessing.numbers[0].indicator
    assert torch.isfinite(read_rows(paths.TRAIN, schema, preprocessing).x).all()


def test_the_memory_that_is_asked_for_is_that_of_windows(table):
    schema, section = read_schema(), train_section(replicas=2, hidden=[3], batch_size=10)
    preprocessing = fit_preprocessing(paths.TRAIN, schema, section)
    description = describe(schema, section, preprocessing)
    whole = memory_bytes(description, section, 1_000_000, 1000, CPU)
    windowed = memory_bytes(description, section.model_copy(update={"window": 1000}), 1_000_000, 1000, CPU, 1, 10_000)
    width = preprocessing.width
    # The classes, and the larger of a row group and of two windows for each process.
    assert whole - windowed == 4 * (1_001_000 * width - 10_000 * width - 1_001_000 // 2)
    large = section.model_copy(update={"window": 900_000})
    for processes in (1, 2):
        stored = memory_bytes(description, large, 1_000_000, 1000, CPU, processes) - whole
        assert stored == 4 * (2 * processes * 900_000 * width + 1_001_000 // 2 - 1_001_000 * width)
    # One that holds all rows is none.
    assert memory_bytes(description, section.model_copy(update={"window": 10**6}), 1_000_000, 1000, CPU) == whole


@pytest.mark.parametrize(
    ("free", "rows", "width", "expected"),
    [
        (1 << 40, 10**8, 30, 1_000_000),
        (1 << 30, 10**8, 30, 100_000),
        (1 << 30, 60_000, 30, 50_000),
        (1000, 10**8, 30, None),
    ],
)
def test_the_window_to_set_is_a_round_number_for_which_there_is_room(free, rows, width, expected, monkeypatch):
    monkeypatch.setattr(resources, "available", lambda: free)
    monkeypatch.setattr(resources, "cores", lambda: 2)
    assert window_to_set(rows, width) == expected


def short_of_memory(monkeypatch, free: int) -> None:
    for name in ("retrace.runtime.memory", "retrace.training.resources", "retrace.training.rows"):
        monkeypatch.setattr(f"{name}.available", lambda: free)


def line_of(**changes) -> str:
    with pytest.raises(UserError) as caught:
        results(**changes)
    assert caught.value.status == MACHINE_FAULT
    return str(caught.value)


def test_what_a_training_says_that_does_not_fit_helps(table, monkeypatch):
    """One line after the other, each followed, on a machine with less and less memory."""
    monkeypatch.setattr(resources, "cores", lambda: 1)
    every = read_table(paths.TRAIN)
    write_pieces(paths.TRAIN, [every] * 5)
    settings = SETTINGS["best"]
    each = FIT_BYTES * 4 + FIT_BYTES_OF_CATEGORY * 2  # numbers, and categories
    short_of_memory(monkeypatch, each * 4000 - 1)
    line = line_of(**settings)
    assert line.startswith("train: the preprocessing of 4,000 rows of 6 columns takes at least ")
    assert line.endswith("; set train.window: 500, or use fewer rows or columns")
    results(window=500, **settings)
    short_of_memory(monkeypatch, each * 1000 - 1)
    assert line_of(window=1000, **settings).endswith("; lower train.window (now 1,000), or use fewer columns")
    results(window=200, **settings)


def test_what_a_training_says_whose_rows_do_not_fit_helps(project, monkeypatch):
    monkeypatch.setattr(resources, "cores", lambda: 1)
    random = np.random.default_rng(0)
    columns = pa.table({"x1": random.normal(size=9000), "x2": random.normal(size=9000), "y": np.arange(9000) % 2})
    write_schema(Schema("circles", ["x1", "x2"], "y", ["a", "b"], [4500, 4500], None))
    pieces = [columns.slice(start, 500) for start in range(0, 9000, 500)]
    write_pieces(paths.TRAIN, pieces)
    write_pieces(paths.VALIDATION, [columns.slice(0, 100)])
    settings = {"replicas": 1, "hidden": [2]}
    short_of_memory(monkeypatch, 70_000)
    line = line_of(**settings)
    assert line.startswith("train: 9,100 rows of 2 columns and 1 networks of 9 weights takes at least 1 MiB")
    assert "; set train.window: 100, use fewer rows or columns, or lower train.batch_size (now 32)" in line
    results(window=100, **settings)
    short_of_memory(monkeypatch, 30_000)
    line = line_of(window=1000, **settings)
    assert line.endswith("or lower train.window (now 1,000), train.batch_size (now 32) or train.replicas (now 1)")
    results(window=200, **settings)
