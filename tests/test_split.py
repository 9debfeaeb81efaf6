"""Stage split: the known test rows, sides that never share a row or its twin, faults that name what is too small."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import make_circles
from sklearn.model_selection import train_test_split

from retrace.artifacts import paths
from retrace.artifacts.schema import Schema, read_schema, write_schema
from retrace.artifacts.tables import read_table, write_pieces, write_table
from retrace.data.dataset import create
from retrace.data.splitting import split
from retrace.runtime.errors import BAD_DATA, BAD_PARAMS, UserError
from stages import split as stage
from tests.conftest import PARAMS, ROOT, create_section, split_section


def table_of(features, target, classes=2):
    """A table and its schema from an array of features and class indices."""
    features, target = np.asarray(features, dtype=float), np.asarray(target)
    names = [f"x{index}" for index in range(features.shape[1])]
    counts = np.bincount(target, minlength=classes).tolist()
    table = pa.table({**dict(zip(names, features.T, strict=True)), "kind": target.astype(np.int64)})
    return table, Schema("own", names, "kind", [f"class {index}" for index in range(classes)], counts, None)


def distinct(rows, seed=0, classes=2):
    random = np.random.default_rng(seed)
    return table_of(random.normal(size=(rows, 2)), random.permutation(np.arange(rows) % classes), classes)


def test_the_default_gives_the_known_test_rows(project, capsys):
    table, schema = create(create_section())
    write_table(paths.DATASET, table)
    write_schema(schema)
    stage.main()
    features, target = make_circles(10_000, noise=0.05, factor=0.8, random_state=26)
    _, x, _, y = train_test_split(features, target, test_size=0.33, random_state=26)
    test = read_table(paths.TEST)
    assert np.array_equal(np.column_stack([test.column("x1").to_numpy(), test.column("x2").to_numpy()]), x)
    assert np.array_equal(test.column("ring").to_numpy(), y)
    assert np.bincount(y).tolist() == [1635, 1665]
    train, validation = read_table(paths.TRAIN), read_table(paths.VALIDATION)
    assert (train.num_rows, validation.num_rows) == (6030, 670)
    assert train.schema == validation.schema == test.schema == table.schema
    printed = capsys.readouterr().out
    assert printed.startswith("split: train 6,030 (")
    assert "test 3,300 (outer 1,635, inner 1,665)" in printed


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_sides_are_disjoint_and_complete(method):
    table, schema = distinct(997, classes=3)
    sides = split(table, schema, split_section(method=method))
    assert np.array_equal(np.sort(np.concatenate(sides)), np.arange(997))
    assert [len(side) for side in sides] == [600, 67, 330]  # ceil(997 * 0.33), ceil(667 * 0.1)


@pytest.mark.parametrize("method", ["random", "stratified"])
@pytest.mark.parametrize("twins", [False, True])
def test_test_rows_do_not_move_with_validation_size(method, twins):
    table, schema = distinct(500)
    if twins:
        table = pa.concat_tables([table, table.slice(0, 100)])
    sides = [split(table, schema, split_section(method=method, validation_size=size)) for size in (0.1, 0.2, 0.5)]
    assert len({side.test.tobytes() for side in sides}) == 1
    assert len({len(side.validation) for side in sides}) == 3


def test_the_seed_decides_the_rows():
    table, schema = distinct(500)
    one, again, other = (split(table, schema, split_section(seed=seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert set(one.test) != set(other.test)


def test_stratified_keeps_the_shares():
    random = np.random.default_rng(0)
    target = np.repeat([0, 1, 2], [700, 200, 100])
    table, schema = table_of(random.normal(size=(1000, 2)), target, classes=3)
    for side in split(table, schema, split_section(method="stratified")):
        np.testing.assert_allclose(np.bincount(target[side]) / len(side), [0.7, 0.2, 0.1], atol=0.01)
    loose = split(table, schema, split_section(method="random")).test
    assert np.abs(np.bincount(target[loose]) / len(loose) - [0.7, 0.2, 0.1]).max() > 0.005


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_exact_twins_stand_on_one_side(method):
    random = np.random.default_rng(0)
    features = random.normal(size=(300, 2))[random.integers(0, 300, 1000)]
    target = random.integers(0, 2, 1000)  # twins with different labels too
    features[features == features[0]] = -0.0  # and zeros of either sign, which are equal
    features[:50] = np.where(features[:50] == 0, 0.0, features[:50])
    table, schema = table_of(features, target)
    sides = split(table, schema, split_section(method=method))
    assert np.array_equal(np.sort(np.concatenate(sides)), np.arange(1000))
    train, validation, test = (set(map(tuple, features[side])) for side in sides)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert all((train, validation, test))


def test_one_equal_column_does_not_make_twins():
    # Rows that share x0 but not x1 are drawn one by one, as if nothing were equal.
    features = np.column_stack([np.zeros(100), np.arange(100)])
    table, schema = table_of(features, np.arange(100) % 2)
    _, expected = train_test_split(np.arange(100), test_size=0.33, random_state=26)
    assert np.array_equal(split(table, schema, split_section()).test, expected)


@pytest.mark.parametrize(
    ("rows", "changes", "key", "reason"),
    [
        (20, {"test_size": 0.99}, "split.test_size", "train set will be empty"),
        (20, {"validation_size": 0.99}, "split.validation_size", "train set will be empty"),
        (1, {}, "split.test_size", "1 distinct rows"),
    ],
)
def test_a_table_too_small_names_the_key_in_one_line(project, rows, changes, key, reason):
    table, schema = distinct(rows)
    text = PARAMS
    for name, value in changes.items():
        text = text.replace(f"  {name}: {0.33 if name == 'test_size' else 0.1} ", f"  {name}: {value} ")
    Path("params.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        split(table, schema, split_section(**changes))
    line = str(caught.value)
    assert caught.value.status == BAD_PARAMS
    assert "\n" not in line
    assert line.startswith(f"params.yaml:{line_of(key)}: {key} must suit the ")
    assert reason in line
    assert line.count("(") == line.count(")")
    assert line.endswith(f"; got {changes.get(key.removeprefix('split.'), 0.33)}")


def line_of(key: str) -> int:
    name = key.removeprefix("split.")
    return next(number for number, line in enumerate(PARAMS.splitlines(), 1) if line.startswith(f"  {name}:"))


def test_a_class_without_training_or_test_rows_is_named(project):
    table, schema = with_classes([60, 6])
    # The rare rows are the last ones: not one of them is early.
    table = table.append_column("when", pa.array(range(66)))
    schema = replace(schema, carried=["when"])
    with pytest.raises(
        UserError, match="class 'class 1' of kind has 6 rows and none of them is a training row; "
    ) as caught:
        split(table, schema, split_section(method="time", column="when"))
    assert caught.value.status == BAD_DATA
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("; set split.method: stratified and split.column: null")
    assert_every_class_everywhere(split(table, schema, split_section(method="stratified")), table)


# --- rare classes ---------------------------------------------------------------------------------------------------


def with_classes(counts, seed=0):
    """So many rows of each class, one after another."""
    target = np.repeat(np.arange(len(counts)), counts)
    return table_of(np.random.default_rng(seed).normal(size=(len(target), 2)), target, len(counts))


def assert_every_class_everywhere(sides, table):
    target = table.column("kind").to_numpy()
    assert np.array_equal(np.sort(np.concatenate(sides)), np.arange(len(target)))
    for name, side in sides._asdict().items():
        assert set(target[side]) == set(target), name


YEAST = [463, 429, 244, 163, 51, 44, 35, 30, 20, 5]  # its classes, the rarest of 5 rows


@pytest.mark.parametrize("counts", [YEAST, [1000, 3], [1000, 4, 3], [500, 400, 3, 3, 3, 3, 3]])
@pytest.mark.parametrize("seed", range(12))
def test_a_class_of_three_rows_has_one_of_each(counts, seed):
    table, schema = with_classes(counts, seed)
    sides = split(table, schema, split_section(method="stratified", seed=seed))
    assert_every_class_everywhere(sides, table)
    again = split(table, schema, split_section(method="stratified", seed=seed))
    assert all(np.array_equal(one, other) for one, other in zip(sides, again, strict=True))
    # The sizes are those that were asked for, but for a row of each rare class.
    rows, rare = sum(counts), sum(count < 10 for count in counts)
    assert abs(len(sides.test) - 0.33 * rows) <= rare + 1
    assert abs(len(sides.validation) - 0.067 * rows) <= rare + 1
    # And the test rows are the same whatever is taken for validation.
    wider = split(table, schema, split_section(method="stratified", seed=seed, validation_size=0.5))
    assert np.array_equal(sides.test, wider.test)


def plain(target, seed):
    """The split as scikit-learn alone gives it: what it was before rare classes were looked after."""
    rest, test = train_test_split(np.arange(len(target)), test_size=0.33, random_state=seed, stratify=target)
    return *train_test_split(rest, test_size=0.1, random_state=seed, stratify=target[rest]), test


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("rare", [11, 5])
def test_rows_move_only_where_a_class_would_be_missing(rare, seed):
    table, schema = with_classes([400, 300, rare])
    target = table.column("kind").to_numpy()
    sides, alone = split(table, schema, split_section(method="stratified", seed=seed)), plain(target, seed)
    if rare == 11:
        assert all(np.array_equal(one, other) for one, other in zip(sides, alone, strict=True))
        return
    # scikit-learn leaves validation without the class. One row of it moves there, and nothing else does.
    assert 2 not in target[alone[1]]
    assert np.array_equal(sides.test, alone[2])
    (moved,) = set(sides.validation) - set(alone[1])
    assert set(sides.train) == set(alone[0]) - {moved}
    assert target[moved] == 2


@pytest.mark.parametrize(
    ("counts", "changes"),
    [
        ([20, 12, 8], {}),  # 40 rows
        ([10] * 10, {}),  # 7 validation rows for 10 classes
        ([10] * 10, {"test_size": 0.05}),
        ([3, 3, 3], {}),
        ([3] * 30, {"test_size": 0.01, "validation_size": 0.01}),
        ([3] * 30, {"test_size": 0.99, "validation_size": 0.99}),
        ([10, 10], {"test_size": 0.01}),
        ([10, 10], {"test_size": 0.99}),
        ([10, 10], {"validation_size": 0.99}),
        ([90, 3], {"test_size": 0.0001, "validation_size": 0.9999}),
        ([5000, 3, 4], {"test_size": 0.9999}),
    ],
)
def test_a_small_table_has_a_row_of_each_class_everywhere(counts, changes):
    for seed in range(5):
        table, schema = with_classes(counts, seed)
        sides = split(table, schema, split_section(method="stratified", seed=seed, **changes))
        assert_every_class_everywhere(sides, table)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "rare",
    [
        [[7, 7, 60, 200, 200]],  # five rows, three of them distinct
        [[7, 60, 300]],  # one that is a twin of no other class
        [[7, 60, 200], [7, 60, 201]],  # two rare classes, two of whose rows are twins: where one goes, the other goes
    ],
)
def test_rare_classes_among_twins_of_other_ones(rare, seed):
    """The first of the twins has another label, by which they are drawn: only the twins tell of the class."""
    features = np.random.default_rng(seed).normal(size=(301, 2))
    features = np.concatenate([features[:300], *(features[rows] for rows in rare)])
    target = np.concatenate([np.zeros(300, dtype=int), *(np.full(len(rows), 1 + i) for i, rows in enumerate(rare))])
    table, schema = table_of(features, target, 1 + len(rare))
    sides = split(table, schema, split_section(method="stratified", seed=seed))
    assert_every_class_everywhere(sides, table)
    seen = [set(map(tuple, features[side])) for side in sides]
    assert not any(one & other for one, other in combinations(seen, 2))


def refusal(table, schema, **changes) -> str:
    with pytest.raises(UserError) as caught:
        split(table, schema, split_section(**changes))
    assert caught.value.status == BAD_DATA
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("method", ["stratified", "random", "hash"])
def test_classes_too_rare_are_all_named_with_their_distinct_rows(method):
    table, schema = with_classes([50, 2, 40, 1])
    twins = pa.concat_tables([table, table.slice(50, 1)])  # a third row of class 1, and no third distinct one
    schema = replace(schema, counts=[50, 3, 40, 1], own=True)
    line = refusal(twins, schema, method=method)
    assert line.startswith(
        "data/dataset.parquet: too few distinct rows in class 'class 1' (2), 'class 3' (1) of kind; "
    )
    assert line.endswith("; add rows that differ in a feature, or leave the rows of these classes out of the table")


def test_advice_for_a_class_too_rare_works():
    table, schema = with_classes([50, 2, 40])
    own = replace(schema, own=True)
    assert refusal(table, own).endswith(
        "; add rows that differ in a feature, or leave the rows of these classes out of the table"
    )
    more, _ = with_classes([50, 3, 40])
    assert_every_class_everywhere(split(more, replace(own, counts=[50, 3, 40]), split_section()), more)
    fewer, _ = with_classes([50, 40])
    assert_every_class_everywhere(split(fewer, with_classes([50, 40])[1], split_section(method="stratified")), fewer)
    # With two classes, one alone would be left, and of a row or two nothing can be made.
    for counts in ([1, 1], [2, 1], [2, 0]):
        assert refusal(*with_classes(counts), method="stratified").endswith("; raise create.rows")
    table, schema = with_classes([50, 2])
    assert refusal(table, replace(schema, own=True)).endswith("; add rows that differ in a feature")


def test_advice_for_a_made_data_set_too_small_works():
    made = {"dataset": "classification", "rows": 20, "classification.classes": 16}
    table, schema = create(create_section(**made))
    for method in ("auto", "stratified", "hash"):
        assert refusal(table, schema, method=method).endswith("; raise create.rows")
    table, schema = create(create_section(**made | {"rows": 2000}))
    split(table, schema, split_section())


@pytest.mark.parametrize("method", ["random", "hash"])
def test_advice_for_a_class_that_chance_leaves_out_works(method):
    table, schema = with_classes([1000, 4, 3])
    line = refusal(table, schema, method=method)
    assert re.search(r"class 'class [12]' of kind has [34] rows and none of them is a \w+ row; ", line)
    assert line.endswith("; set split.method: stratified")
    assert_every_class_everywhere(split(table, schema, split_section(method="stratified")), table)
    # Of a table of one's own they can be left out, too.
    line = refusal(table, replace(schema, own=True), method=method)
    assert line.endswith("; set split.method: stratified, or leave its rows out of the table")
    # Beside a class that is too rare it would not help.
    line = refusal(*with_classes([1000, 3, 2]), method=method)
    assert "too few distinct rows in class 'class 2' (2) of kind; " in line
    # Fewer rows than classes: that is a matter of the share.
    line = refusal(*distinct(200), method=method, validation_size=0.001)
    assert line.endswith("; raise split.validation_size (now 0.001), or set split.method: stratified")


def test_advice_for_a_class_within_one_group_works(project):
    """split.column must be null with any other method, and whoever follows the advice would be told so next."""
    table, schema = with_classes([600, 30])
    table = table.append_column("patient", pa.array([f"{min(index // 10, 60)}" for index in range(630)]))
    schema = replace(schema, carried=["patient"], own=True)
    line = refusal(table, schema, method="group", column="patient")
    assert line.endswith("; set split.method: stratified and split.column: null")
    assert_every_class_everywhere(split(table, schema, split_section(method="stratified", column=None)), table)


def test_a_class_that_was_never_drawn_is_named():
    table, schema = table_of(np.random.default_rng(0).normal(size=(100, 2)), np.arange(100) % 2, classes=3)
    for method in ("random", "stratified"):
        assert "too few distinct rows in class 'class 2' (0) of kind; " in refusal(table, schema, method=method)


def test_missing_data_is_one_line_that_says_how_to_get_it_back(project):
    with pytest.raises(UserError, match=r"^data/schema.json not found; bring it back with: dvc repro$"):
        stage.main()
    _, schema = distinct(20)
    write_schema(schema)
    assert read_schema() == schema
    with pytest.raises(UserError, match=r"^data/dataset.parquet not found; bring it back"):
        stage.main()
    paths.DATASET.write_bytes(b"PAR1 half a file")
    with pytest.raises(UserError, match=r"^data/dataset.parquet is damaged \(.*\); bring it back"):
        stage.main()


# --- by content, group and time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"features": [{"name": "x1", "kind": 0.5}, {"name": "x2", "kind": "numeric"}]},
        {"features": "x1"},
        {"classes": [{"name": "outer", "rows": "200"}, {"name": "inner", "rows": 200}]},
        {"classes": [{"name": None, "rows": 200}, {"name": "inner", "rows": 200}]},
        {"target": None},
        {"findings": [{"kind": "constant"}]},
        [],
    ],
)
def test_a_schema_that_this_code_did_not_write_is_refused(project, change):
    write_schema(distinct(400)[1])
    content = json.loads(Path("data/schema.json").read_text())
    Path("data/schema.json").write_text(json.dumps({**content, **change} if change else change))
    with pytest.raises(
        UserError,
        match=r"^data/schema\.json is not what this code writes .*; bring it back with: rm -f \S+ && dvc repro$",
    ) as caught:
        stage.main()
    assert caught.value.status == BAD_DATA


def sides_of(table, schema, **changes) -> dict[tuple, str]:
    """Row by content -> side."""
    rows = [tuple(row.values()) for row in table.to_pylist()]
    sides = split(table, schema, split_section(**changes))
    return {rows[index]: name for name, side in sides._asdict().items() for index in side}


def test_d21_d22_by_hash_neither_order_nor_new_rows_move_a_row():
    table, schema = distinct(2000)
    before = sides_of(table, schema, method="hash")
    assert len(before) == 2000
    for name, share in (("test", 0.33), ("validation", 0.067), ("train", 0.603)):
        assert sum(side == name for side in before.values()) / 2000 == pytest.approx(share, abs=0.04)
    shuffled = table.take(np.random.default_rng(1).permutation(2000))
    assert sides_of(shuffled, schema, method="hash") == before
    # In the same order, too: the same rows in another order of the file give the same tables.
    one, other = (split(each, schema, split_section(method="hash")) for each in (table, shuffled))
    assert table.take(one.test).equals(shuffled.take(other.test))
    more, _ = distinct(500, seed=9)
    after = sides_of(pa.concat_tables([table.slice(0, 7), more, table.slice(7)]), schema, method="hash")
    assert {row: after[row] for row in before} == before
    assert sides_of(table, schema, method="hash", seed=27) != before
    # A larger share of validation rows takes none of the test rows.
    wider = sides_of(table, schema, method="hash", validation_size=0.5)
    assert {row for row, side in wider.items() if side == "test"} == {r for r, s in before.items() if s == "test"}


def test_by_hash_twins_stay_together_whatever_the_columns_hold():
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "n": pa.array(random.choice([1.5, None, -0.0, 0.0], 400)),
            "c": pa.array(random.choice(["a", "b", None], 400)).dictionary_encode(),
            "b": pa.array(random.choice([True, False, None], 400)),
            "t": pa.array(random.integers(0, 3, 400), pa.timestamp("us")),
            "class": random.integers(0, 2, 400),
        }
    )
    schema = Schema("table", ["n", "c", "b", "t"], "class", ["x", "y"], [200, 200], None)
    for method in ("hash", "random"):
        seen: dict[tuple, set[str]] = {}
        for name, side in split(table, schema, split_section(method=method))._asdict().items():
            for row in table.select(schema.features).take(side).to_pylist():
                row["n"] = 0.0 if row["n"] == 0 else row["n"]
                seen.setdefault(tuple(row.values()), set()).add(name)
        assert len(seen) > 50
        assert all(len(names) == 1 for names in seen.values()), method


def with_column(values, rows=600):
    table, schema = distinct(rows)
    schema = Schema("table", schema.features, schema.target, schema.classes, schema.counts, None, carried=["key"])
    return table.append_column("key", pa.array(values)), schema


def test_by_group_no_group_stands_on_two_sides():
    groups = [f"patient {index % 50}" for index in range(600)]
    table, schema = with_column(groups)
    sides = split(table, schema, split_section(method="group", column="key"))
    seen = [{groups[index] for index in side} for side in sides]
    assert [len(each) for each in seen] == [29, 4, 17]
    assert len(set.union(*seen)) == 50
    assert sorted(np.concatenate(sides)) == list(range(600))


def test_by_group_a_twin_ties_two_groups_together():
    table, schema = with_column([f"{index // 10}" for index in range(600)])
    # The last row of each group is a twin of the first of the next, up to the middle.
    twins = np.arange(600)
    twins[9:300:10] = np.arange(10, 310, 10)
    table = table.select([*schema.features, "class" if "class" in table.column_names else schema.target]).take(twins)
    table = table.append_column("key", pa.array([f"{index // 10}" for index in range(600)]))
    sides = split(table, schema, split_section(method="group", column="key"))
    assert max(sum(index < 300 for index in side) for side in sides) >= 300


@pytest.mark.parametrize(
    "make", [lambda n: n, lambda n: f"{n}", lambda n: f"2026-01-{1 + n // 24:02}T{n % 24:02}:00:00"]
)
def test_by_time_training_comes_before_validation_before_test(make):
    moments = np.random.default_rng(0).integers(0, 300, 600)
    table, schema = with_column([make(int(each)) for each in moments])
    train, validation, test = split(table, schema, split_section(method="time", column="key"))
    # Equal moments are not divided.
    assert moments[train].max() < moments[validation].min()
    assert moments[validation].max() < moments[test].min()
    assert len(test) / 600 == pytest.approx(0.33, abs=0.02)
    assert (np.diff(moments[train]) >= 0).all()


def test_a_column_that_is_not_there_or_has_gaps_is_named(project):
    table, schema = with_column([None, *range(599)])
    with pytest.raises(UserError, match=r"row 1 has no key, by which split\.column divides"):
        split(table, schema, split_section(method="time", column="key"))
    text = PARAMS.replace("  column: null ", "  column: kee ")
    Path("params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"split.column must be a column of the data set \(x0, x1, key\); got"):
        split(table, schema, split_section(method="time", column="kee"))


def test_auto_is_stratified_for_a_table_of_ones_own():
    random = np.random.default_rng(0)
    table, schema = table_of(random.normal(size=(1000, 2)), np.repeat([0, 1], [900, 100]))
    own = replace(schema, own=True)
    target = table.column(schema.target).to_numpy()
    assert target[split(table, own, split_section()).test].mean() == pytest.approx(0.1, abs=0.002)
    same = split(table, schema, split_section(method="random"))
    assert np.array_equal(split(table, schema, split_section()).test, same.test)


def test_d31_more_rows_than_memory_is_said_before_they_are_read(project, tmp_path):
    """A file of some kilobytes that holds 20 million rows, and a process that may take half a gigabyte."""
    piece = pa.table({"x": np.zeros(1_000_000), "y": np.zeros(1_000_000, dtype=np.int64)})
    write_pieces(paths.DATASET, [piece] * 20)
    write_schema(Schema("circles", ["x"], "y", ["a", "b"], [10_000_000] * 2, None))
    code = (
        "import resource, psutil, runpy, sys, stages.split\n"
        "taken = psutil.Process().memory_info().vms\n"
        "resource.setrlimit(resource.RLIMIT_AS, (taken + 2**29, taken + 2**29))\n"
        "runpy.run_module('stages.split', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    what = r"split: data/dataset.parquet, 20,000,000 rows, takes at least 1\.\d GiB of memory, and \d+ MiB are free;"
    assert re.match(what, done.stderr)
    assert not paths.TRAIN.exists()
