"""Stage baseline: fitted on training rows, honest about what they are."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score, log_loss

from retrace.artifacts import paths
from retrace.artifacts.schema import Schema
from retrace.artifacts.tables import read_table, write_pieces
from retrace.evaluation.baselines import Rows, baseline, read_rows, report
from retrace.params.baseline import Baseline
from retrace.runtime.errors import BAD_PARAMS, UserError
from tests.conftest import ROOT, VALUES


@pytest.fixture(scope="module")
def iris():
    bunch = load_iris()
    frame = pd.DataFrame(bunch.data, columns=list("abcd")).assign(species=bunch.target)
    frame = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    schema = Schema("iris", list("abcd"), "species", ["s", "v", "w"], [50, 50, 50], None)
    sides = (frame[:90], frame[90:110], frame[110:])
    return *(Rows(side[list("abcd")], side["species"].to_numpy()) for side in sides), schema


def test_each_baseline_scores_as_scikit_learn_says(iris):
    train, validation, test, schema = iris
    results = baseline(train, validation, test, schema, Baseline(**VALUES["baseline"]))
    actual = test.y
    assert list(results) == ["majority", "logistic_regression", "gradient_boosting"]
    for result in results.values():
        content = report(result, actual)
        assert content.accuracy == pytest.approx(accuracy_score(actual, result.predicted), abs=1e-6)
        assert content.log_loss == pytest.approx(log_loss(actual, result.probabilities), abs=1e-5)
    assert report(results["majority"], actual).correct == (actual == np.bincount(train.y).argmax()).sum()
    assert report(results["logistic_regression"], actual).accuracy > 0.9


def test_test_rows_teach_the_baselines_nothing(iris):
    train, validation, test, schema = iris
    section = Baseline(**VALUES["baseline"])
    alone = baseline(train, validation, test, schema, section)
    shifted = test._replace(y=(test.y + 1) % 3)
    assert all(
        (alone[name].predicted == other.predicted).all()
        for name, other in baseline(train, validation, shifted, schema, section).items()
    )


# Prints what is written of the baselines' losses on rows that two lines nearly divide.
LOSSES = """
import numpy as np, pandas as pd
from retrace.artifacts.schema import Schema
from retrace.evaluation.baselines import Rows, baseline, on_each_row
from retrace.params.baseline import Baseline
from tests.conftest import VALUES

draw = np.random.default_rng(0)
frame = pd.DataFrame(draw.normal(size=(600, 8)), columns=list("abcdefgh"))
y = (frame.sum(axis=1) + draw.normal(size=600) > 0).astype(int).to_numpy()
rows = [Rows(frame[part::3].reset_index(drop=True), y[part::3]) for part in range(3)]
schema = Schema("own", list(frame), "y", ["no", "yes"], [300, 300], None)
found = baseline(*rows, schema, Baseline(**VALUES["baseline"]))
print([on_each_row(result, rows[2].y).losses.tolist() for result in found.values()])
"""


def test_no_processor_changes_a_byte_of_what_is_written():
    """OpenBLAS adds in another order on each kind of processor: one without AVX stands for all."""
    said = {
        kind: subprocess.run(
            [sys.executable, "-c", LOSSES],
            env={**os.environ, "PYTHONPATH": str(ROOT), **kind_of_processor},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for kind, kind_of_processor in (("this", {}), ("old", {"OPENBLAS_CORETYPE": "Prescott"}))
    }
    assert said["this"] == said["old"]


def test_a_class_that_training_never_saw_gets_no_probability(iris):
    train, validation, test, schema = iris
    seen = Rows(train.x[train.y != 2], train.y[train.y != 2])
    for result in baseline(seen, validation, test, schema, Baseline(**VALUES["baseline"])).values():
        assert result.probabilities.shape == (len(test.y), 3)
        assert (result.probabilities[:, 2] == 0).all()
        assert np.isfinite(report(result, test.y).log_loss)


@pytest.fixture
def stored(project) -> Schema:
    """100 rows of each split, the classes of which take turns; in row groups of 30."""
    table = pa.table({"x": np.arange(100.0), "word": pa.array(["a", "b"] * 50), "y": np.arange(100) % 2})
    table = table.set_column(1, "word", table.column("word").dictionary_encode())
    for path in (paths.TRAIN, paths.VALIDATION, paths.TEST):
        write_pieces(path, [table.slice(start, 30) for start in range(0, 100, 30)])
    return Schema("own", ["x", "word"], "y", ["no", "yes"], [150, 150], None, kinds={"word": "categorical"})


def test_they_are_fitted_to_as_many_rows_as_are_wanted_evenly_spaced(stored):
    section = Baseline(**VALUES["baseline"])
    whole = read_rows(stored, section)
    assert all(each.x["x"].tolist() == list(range(100)) for each in whole)
    for rows, place in ((30, [index * 100 // 30 for index in range(30)]), (100, range(100)), (5000, range(100))):
        train, validation, test = read_rows(stored, section.model_copy(update={"rows": rows}))
        assert train.x["x"].tolist() == validation.x["x"].tolist() == list(place)
        assert train.y.tolist() == [index % 2 for index in place]
        assert train.x["word"].tolist() == train.y.tolist()  # their places in the order of spelling
        assert test.x.equals(whole[2].x)


def test_rows_of_one_class_only_are_refused_by_the_key(stored):
    with pytest.raises(UserError, match=r"baseline\.rows must take training rows of two classes") as caught:
        read_rows(stored, Baseline(**VALUES["baseline"]).model_copy(update={"rows": 50}))
    assert caught.value.status == BAD_PARAMS
    assert read_table(paths.TRAIN).num_rows == 100
