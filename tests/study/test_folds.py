"""The rows in folds: what belongs together stays together, and each fold has its share of each class."""

import numpy as np
import pyarrow as pa
import pytest

from retrace.artifacts.schema import Schema
from retrace.artifacts.tables import read_table
from retrace.params.split import Split
from retrace.study.folds import fold_of_each, write_fold

FOLDS = 5


@pytest.fixture
def rows() -> pa.Table:
    random = np.random.default_rng(0)
    numbers = random.normal(size=200)
    numbers[100:120] = numbers[:20]  # twins
    return pa.table(
        {
            "x": numbers,
            "owner": [f"o{number}" for number in random.integers(0, 40, 200)],
            "class": (np.arange(200) % 10 == 0).astype(np.int64),
        }
    )


SCHEMA = Schema("made", ["x"], "class", ["no", "yes"], [180, 20], None, {}, {}, [], ["owner"], True, None, [])
SPLIT = Split(method="stratified", column=None, test_size=0.3, validation_size=0.1, seed=1)


def test_each_fold_has_its_share_of_each_class_and_twins_stay_together(rows):
    found = fold_of_each(rows, SCHEMA, SPLIT, FOLDS, 3)
    classes = rows.column("class").to_numpy()
    for fold in range(FOLDS):
        assert 30 <= (found == fold).sum() <= 50
        assert 3 <= ((found == fold) & (classes == 1)).sum() <= 5
    assert (found[:20] == found[100:120]).all()
    assert (found == fold_of_each(rows, SCHEMA, SPLIT, FOLDS, 3)).all()
    assert (found != fold_of_each(rows, SCHEMA, SPLIT, FOLDS, 4)).any()


def test_groups_of_the_split_stay_together(rows):
    found = fold_of_each(rows, SCHEMA, SPLIT.model_copy(update={"method": "group", "column": "owner"}), FOLDS, 3)
    owners = np.array(rows.column("owner").to_pylist())
    assert all(len(set(found[owners == owner])) == 1 for owner in set(owners))
    assert len(set(found)) == FOLDS


def test_a_fold_is_for_validation_and_the_others_for_training(rows, tmp_path):
    held_out = fold_of_each(rows, SCHEMA, SPLIT, FOLDS, 3) == 0
    folder = write_fold(rows, held_out, tmp_path / "fold")
    training, validation = (
        read_table(folder / f"{name}.parquet").column("x").to_pylist() for name in ("train", "validation")
    )
    assert validation == rows.column("x").to_numpy()[held_out].tolist()
    assert training == rows.column("x").to_numpy()[~held_out].tolist()
