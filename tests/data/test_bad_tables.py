"""Bad tables whose fault only a later stage can see: real files through the real stages (D of the list of faults)."""

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retrace.artifacts import paths
from retrace.artifacts.tables import read_table
from retrace.cli.main import invoke
from retrace.networks.model_files import load
from retrace.runtime.errors import BAD_DATA, GATE_FAILED, UserError
from stages import create, split, train
from tests.project import TINY, turn


@pytest.fixture
def table(project):
    """Write a table and name it in params.yaml."""

    def act(frame: pd.DataFrame, **changes) -> None:
        Path("data/tables").mkdir(parents=True, exist_ok=True)
        frame.to_csv("data/tables/bad.csv", index=False)
        own = {"create.dataset": "table", "create.table.path": "data/tables/bad.csv", "create.table.target": "y"}
        turn(project, {**TINY, **own, **{key.replace("__", "."): value for key, value in changes.items()}})
        create.main()

    return act


def frame(labels: list[str], seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({"x": random.normal(size=len(labels)), "z": random.normal(size=len(labels)), "y": labels})


def refused(main) -> tuple[int, str]:
    with pytest.raises(UserError) as caught:
        main()
    assert "\n" not in str(caught.value)
    return caught.value.status, str(caught.value)


def test_d06_a_class_too_rare_is_named_with_its_count_and_with_what_helps(table):
    rows = frame(["cat"] * 50 + ["dog"] * 49 + ["yak"] * 2)
    table(rows)
    status, line = refused(split.main)
    assert status == BAD_DATA
    assert "too few distinct rows in class 'yak' (2) of y; every class needs 3" in line
    assert line.endswith("; add rows that differ in a feature, or leave the rows of these classes out of the table")
    assert not paths.TRAIN.exists()
    # Either of both, as it says.
    more = pd.concat([rows, frame(["yak"], seed=1)])
    for fixed, classes in ((more, {0, 1, 2}), (rows[rows["y"] != "yak"], {0, 1})):
        table(fixed)
        split.main()
        for path in (paths.TRAIN, paths.VALIDATION, paths.TEST):
            assert set(read_table(path).column("y").to_pylist()) == classes


def test_d07_a_side_smaller_than_the_classes_has_a_row_of_each(table):
    for size in (0.33, 0.05):
        table(frame([f"k{index % 10}" for index in range(100)]), split__test_size=size)
        split.main()
        for path in (paths.TRAIN, paths.VALIDATION, paths.TEST):
            assert len(set(read_table(path).column("y").to_pylist())) == 10


@pytest.mark.parametrize(
    "counts",
    [
        [463, 429, 244, 163, 51, 44, 35, 30, 20, 5],  # as in yeast
        [20, 12, 8],  # fewer rows than a batch
        [14, 3, 3],
        [3] * 7,
    ],
)
def test_rare_classes_and_few_rows_go_through(table, counts):
    """With the shares as they are shipped."""
    table(frame([f"k{index}" for index, count in enumerate(counts) for _ in range(count)]), split__test_size=0.33)
    for stage in ("split", "baseline", "train", "evaluate"):
        importlib.import_module(f"stages.{stage}").main()
    for path in (paths.TRAIN, paths.VALIDATION, paths.TEST):
        assert len(set(read_table(path).column("y").to_pylist())) == len(counts)
    metrics = json.loads(Path("reports/scores.json").read_text())
    assert metrics["accuracy"]["value"] >= 0


def test_n12_a_test_side_without_rows_is_refused(table):
    table(frame(["cat", "dog"] * 60), split__method="hash", split__test_size=0.0001)
    status, line = refused(split.main)
    assert status == BAD_DATA
    assert "none of them is a test row; raise split.test_size (now 0.0001), or set split.method: strat" in line
    assert not paths.TEST.exists()
    turn(Path(), {"split.method": "stratified"})
    split.main()
    assert read_table(paths.TEST).num_rows == 2


def test_d08_missing_numbers_are_the_median_of_the_training_rows_and_say_so(table, monkeypatch):
    rows = frame(["cat", "dog"] * 100)
    rows.loc[::7, "x"] = np.nan
    table(rows)
    split.main()
    train.main()
    number = next(each for each in load(paths.MODELS).description.preprocessing.numbers if each.column == "x")
    seen = read_table(paths.TRAIN).column("x").to_pandas()
    assert number.indicator
    assert number.fill == seen.median()
    # A gap where no training row had one is that column's median, too.
    gap = rows.head(20).assign(z=[np.nan, *rows["z"][1:20]]).drop(columns="y")
    middle = read_table(paths.TRAIN).column("z").to_pandas().median()
    said = []
    for given in (gap, gap.fillna({"z": middle})):
        given.to_csv("new.csv", index=False)
        invoke(["predict", "new.csv", "out.csv"])
        said.append(Path("out.csv").read_bytes())
    assert said[0] == said[1]


def test_d33_a_label_that_training_never_saw_is_named(table, monkeypatch):
    table(frame(["cat", "dog"] * 100))
    split.main()
    train.main()
    frame(["cat"] * 20 + ["yak"]).to_csv("new.csv", index=False)
    status, line = refused(lambda: invoke(["predict", "new.csv", "out.csv"]))
    assert status == BAD_DATA
    assert line.startswith("new.csv: row 21: the label 'yak' is not one of the model's (cat, dog)")


def test_d34_a_majority_of_96_percent_does_not_pass_the_gate(table):
    """The features say nothing: whoever always names the larger class has an accuracy of 0.96."""
    table(frame(["usual"] * 9600 + ["rare"] * 400), gate__min_accuracy=0.95)
    for stage in ("split", "baseline", "train", "evaluate"):
        importlib.import_module(f"stages.{stage}").main()
    metrics = json.loads(Path("reports/scores.json").read_text())
    assert metrics["accuracy"]["low"] > 0.95  # above the bar
    status, line = refused(lambda: invoke(["gate"]))
    assert status == GATE_FAILED
    assert "it must beat the majority class 0.9600 by gate.margin 0.01 surely" in line
