"""Stage split: the known test rows, sides that never share a row or its twin, faults that name what is too small."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import make_circles
from sklearn.model_selection import train_test_split

from stages import split as stage
from stages.create import create
from stages.datasets.schema import Schema, read_schema, write_schema
from stages.files.tables import read_table, write_table
from stages.process.faults import BAD_DATA, BAD_PARAMS, Fault
from stages.split import split
from tests.conftest import PARAMS, create_section, split_section


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
    write_table(stage.DATASET, table)
    write_schema(schema)
    stage.main()
    features, target = make_circles(10_000, noise=0.05, factor=0.8, random_state=26)
    _, x, _, y = train_test_split(features, target, test_size=0.33, random_state=26)
    test = read_table(stage.TEST)
    assert np.array_equal(np.column_stack([test.column("x1").to_numpy(), test.column("x2").to_numpy()]), x)
    assert np.array_equal(test.column("ring").to_numpy(), y)
    assert np.bincount(y).tolist() == [1635, 1665]
    train, validation = read_table(stage.TRAIN), read_table(stage.VALIDATION)
    assert (train.num_rows, validation.num_rows) == (6030, 670)
    assert train.schema == validation.schema == test.schema == table.schema
    printed = capsys.readouterr().out
    assert printed.startswith("split: train 6,030 (")
    assert "test 3,300 (outer 1,635, inner 1,665)" in printed


@pytest.mark.parametrize("stratified", [False, True])
def test_sides_are_disjoint_and_complete(stratified):
    table, schema = distinct(997, classes=3)
    sides = split(table, schema, split_section(stratified=stratified))
    assert np.array_equal(np.sort(np.concatenate(sides)), np.arange(997))
    assert [len(side) for side in sides] == [600, 67, 330]  # ceil(997 * 0.33), ceil(667 * 0.1)


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("twins", [False, True])
def test_test_rows_do_not_move_with_validation_size(stratified, twins):
    table, schema = distinct(500)
    if twins:
        table = pa.concat_tables([table, table.slice(0, 100)])
    sides = [
        split(table, schema, split_section(stratified=stratified, validation_size=size)) for size in (0.1, 0.2, 0.5)
    ]
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
    for side in split(table, schema, split_section(stratified=True)):
        np.testing.assert_allclose(np.bincount(target[side]) / len(side), [0.7, 0.2, 0.1], atol=0.01)
    loose = split(table, schema, split_section(stratified=False)).test
    assert np.abs(np.bincount(target[loose]) / len(loose) - [0.7, 0.2, 0.1]).max() > 0.005


@pytest.mark.parametrize("stratified", [False, True])
def test_exact_twins_stand_on_one_side(stratified):
    random = np.random.default_rng(0)
    features = random.normal(size=(300, 2))[random.integers(0, 300, 1000)]
    target = random.integers(0, 2, 1000)  # twins with different labels too
    features[features == features[0]] = -0.0  # and zeros of either sign, which are equal
    features[:50] = np.where(features[:50] == 0, 0.0, features[:50])
    table, schema = table_of(features, target)
    sides = split(table, schema, split_section(stratified=stratified))
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
        (20, {"stratified": True, "test_size": 0.01}, "split.test_size", "number of classes = 2"),
    ],
)
def test_a_table_too_small_names_the_key_in_one_line(project, rows, changes, key, reason):
    table, schema = distinct(rows)
    text = PARAMS
    for name, value in changes.items():
        if name != "stratified":
            text = text.replace(f"  {name}: {0.33 if name == 'test_size' else 0.1} ", f"  {name}: {value} ")
    Path("params.yaml").write_text(text)
    with pytest.raises(Fault) as caught:
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
    features = np.random.default_rng(0).normal(size=(100, 2))
    target = np.zeros(100, dtype=int)
    target[0] = 1  # one row cannot be on two sides
    with pytest.raises(Fault, match="class 'class 1' of kind has 1 rows and none of them is a") as caught:
        split(*table_of(features, target), split_section())
    assert caught.value.status == BAD_DATA
    assert "\n" not in str(caught.value)
    # A class that the generator could name but never drew.
    target[:50] = 1
    with pytest.raises(Fault, match="class 'class 2' of kind has 0 rows"):
        split(*table_of(features, target, classes=3), split_section())
    # Stratified, one row of a class cannot be divided at all.
    target[:] = 0
    target[0] = 1
    with pytest.raises(Fault, match="least populated class") as caught:
        split(*table_of(features, target), split_section(stratified=True))
    assert "\n" not in str(caught.value)


def test_missing_data_is_one_line_that_says_how_to_get_it_back(project):
    with pytest.raises(Fault, match=r"^data/schema.json not found; bring it back with: dvc checkout, or: dvc repro$"):
        stage.main()
    _, schema = distinct(20)
    write_schema(schema)
    assert read_schema() == schema
    with pytest.raises(Fault, match=r"^data/dataset.parquet not found; bring it back"):
        stage.main()
    stage.DATASET.write_bytes(b"PAR1 half a file")
    with pytest.raises(Fault, match=r"^data/dataset.parquet is damaged \(.*\); bring it back"):
        stage.main()
