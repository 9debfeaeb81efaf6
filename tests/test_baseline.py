"""Stage baseline: fitted on training rows, honest about what they are."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score, log_loss

from retrace.artifacts.schema import Schema
from retrace.evaluation.baselines import Rows, baseline, report
from retrace.params.baseline import Baseline
from tests.conftest import VALUES


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


def test_a_class_that_training_never_saw_gets_no_probability(iris):
    train, validation, test, schema = iris
    seen = Rows(train.x[train.y != 2], train.y[train.y != 2])
    for result in baseline(seen, validation, test, schema, Baseline(**VALUES["baseline"])).values():
        assert result.probabilities.shape == (len(test.y), 3)
        assert (result.probabilities[:, 2] == 0).all()
        assert np.isfinite(report(result, test.y).log_loss)
