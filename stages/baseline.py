"""Stage `baseline`: what would a simple model get?

Reads   data/train.parquet, data/validation.parquet, data/test.parquet, data/schema.json
Writes  reports/baseline.json     accuracy and log loss of each on the test rows
        reports/baseline.parquet  its predicted class index at each test row, a column a baseline

Majority class, logistic regression and gradient boosting of scikit-learn, fitted on the training rows. Nobody should
ship a network that loses to a line.
"""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages.datasets.schema import Schema, read_schema
from stages.files.atomic import write_json
from stages.files.tables import read_table, write_table
from stages.params.baseline import Baseline
from stages.params.reader import read
from stages.process.run import run

TRAIN = Path("data/train.parquet")
VALIDATION = Path("data/validation.parquet")
TEST = Path("data/test.parquet")
REPORT = Path("reports/baseline.json")
PREDICTIONS = Path("reports/baseline.parquet")


class Result(NamedTuple):
    """predicted [rows] int64 class indices; probabilities [rows, classes] float64."""

    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def baseline(
    train: pd.DataFrame, validation: pd.DataFrame, test: pd.DataFrame, schema: Schema, section: Baseline
) -> dict[str, Result]:
    """Each baseline's verdict on the test rows, by name."""
    x, y = train[schema.features], train[schema.target]
    majority = DummyClassifier().fit(x, y)
    logistic = make_pipeline(StandardScaler(), LogisticRegression(C=section.regularization, max_iter=1000))
    with warnings.catch_warnings():
        # With separable classes and a large C the optimum is far away; where it stopped is as good a line.
        warnings.simplefilter("ignore", ConvergenceWarning)
        logistic.fit(x, y)
    # Validation rows of a class that has no training row would stop the fit; they could not steer it anyway.
    known = validation[validation[schema.target].isin(y.unique())]
    boosting = HistGradientBoostingClassifier(
        max_iter=section.boosting_iterations,
        early_stopping=True,
        random_state=0,  # draws only the rows that set the bins when there are over 200,000: not a decision
    ).fit(x, y, X_val=known[schema.features], y_val=known[schema.target])
    models = {"majority": majority, "logistic_regression": logistic, "gradient_boosting": boosting}
    return {name: _result(model, test[schema.features], len(schema.classes)) for name, model in models.items()}


def _result(model: Any, x: pd.DataFrame, classes: int) -> Result:
    probabilities = np.zeros((len(x), classes))
    probabilities[:, model.classes_] = model.predict_proba(x)
    return Result(model.predict(x), probabilities)


def report(result: Result, actual: NDArray[np.int64]) -> dict[str, float | int]:
    """Counts and log loss in nats, a probability of 0 taken for the smallest float64 above it."""
    chance = result.probabilities[np.arange(len(actual)), actual].clip(np.finfo(np.float64).tiny)
    correct = int((result.predicted == actual).sum())
    return {
        "correct": correct,
        "rows": len(actual),
        "accuracy": round(correct / len(actual), 6),
        "log_loss": round(float(-np.log(chance).mean()), 6),
    }


def main() -> None:
    section = read(Baseline)
    schema = read_schema()
    train, validation, test = (read_table(path).to_pandas() for path in (TRAIN, VALIDATION, TEST))
    results = baseline(train, validation, test, schema, section)
    actual = test[schema.target].to_numpy()
    content = {name: report(result, actual) for name, result in results.items()}
    write_table(PREDICTIONS, pa.table({name: result.predicted for name, result in results.items()}))
    write_json(REPORT, content)
    listed = ", ".join(f"{name} {item['accuracy']:.4f}" for name, item in content.items())
    print(f"baseline: accuracy on {len(test):,} test rows: {listed}")


if __name__ == "__main__":
    run(main)
