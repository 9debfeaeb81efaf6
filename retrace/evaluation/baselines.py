"""What simple models get: majority class, logistic regression and gradient boosting of scikit-learn.

They are fitted on the training rows. Nobody should ship a network that loses to a line.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from retrace.artifacts.baseline import BaselineScores, Other
from retrace.artifacts.paths import TEST, TRAIN, VALIDATION
from retrace.artifacts.schema import Schema
from retrace.artifacts.table_columns import read_evenly
from retrace.artifacts.tables import count_rows
from retrace.evaluation.metrics import log_losses
from retrace.params.baseline import Baseline
from retrace.params.reader import fault
from retrace.preprocessing.frame import expanded, spellings
from retrace.runtime.memory import require_memory

# Categories with fewer training rows than this, and those beyond so many of a column, are taken as one.
RARE, MOST_CATEGORIES, RARE_CODE = 10, 64, 250


class Rows(NamedTuple):
    """x: numbers and categories by name (see retrace/data/values.py); y [rows] int64 class indices."""

    x: pd.DataFrame
    y: NDArray[np.int64]


class Result(NamedTuple):
    """predicted [rows] int64 class indices; probabilities [rows, classes] float64."""

    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def baseline(train: Rows, validation: Rows, test: Rows, schema: Schema, section: Baseline) -> dict[str, Result]:
    """Each baseline's verdict on the test rows, by name."""
    # Nothing can be learned of a column that no training row has a value of, and boosting cannot even take it.
    empty = dict.fromkeys((name for name in train.x if train.x[name].isna().all()), 0.0)
    train, validation, test = (Rows(each.x.assign(**empty), each.y) for each in (train, validation, test))
    x, y = train
    categories = [name for name in schema.features if schema.kind(name) == "categorical"]
    majority = DummyClassifier().fit(x, y)
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=RARE, max_categories=MOST_CATEGORIES)
    encoder = make_column_transformer(
        (one_hot, categories), remainder=make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    )
    logistic = make_pipeline(encoder, LogisticRegression(C=section.regularization, max_iter=1000))
    with warnings.catch_warnings():
        # With separable classes and a large C the optimum is far away; where it stopped is as good a line.
        warnings.simplefilter("ignore", ConvergenceWarning)
        logistic.fit(x, y)
    # Validation rows of a class that has no training row would stop the fit; they could not steer it anyway.
    known = np.isin(validation.y, np.unique(y))
    # Codes of categories by spelling; trees cut them as they like, and a missing or unknown one stays missing.
    codes = make_column_transformer(
        (
            OrdinalEncoder(
                handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=RARE_CODE, dtype=np.float64
            ),
            categories,
        ),
        remainder="passthrough",
    ).fit(x)
    boosting = HistGradientBoostingClassifier(
        max_iter=section.boosting_iterations,
        categorical_features=[*range(len(categories))] or None,
        early_stopping=True,
        random_state=0,  # draws only the rows that set the bins when there are over 200,000: not a decision
    ).fit(codes.transform(x), y, X_val=codes.transform(validation.x[known]), y_val=validation.y[known])
    models = {"majority": majority, "logistic_regression": logistic}
    results = {name: _result(model, test.x, len(schema.classes)) for name, model in models.items()}
    return {**results, "gradient_boosting": _result(boosting, codes.transform(test.x), len(schema.classes))}


def read_rows(schema: Schema, section: Baseline) -> tuple[Rows, Rows, Rows]:
    """For training, validation and the test; of the first two at most `baseline.rows`.

    Raises UserError where these are of one class only.
    """
    columns = [*schema.features, schema.target]
    most = {TRAIN: section.rows, VALIDATION: section.rows, TEST: None}
    tables = [read_evenly(path, columns, rows or count_rows(path)) for path, rows in most.items()]
    known = spellings(tables[0], schema)
    found = [Rows(expanded(each, schema, known), each.column(schema.target).to_numpy()) for each in tables]
    if len(np.unique(found[0].y)) == 1:  # the training rows have all classes
        raise fault(Baseline, "rows", "must take training rows of two classes, and all that it takes are of one")
    return found[0], found[1], found[2]


def _result(model: Any, x: pd.DataFrame, classes: int) -> Result:
    probabilities = np.zeros((len(x), classes))
    probabilities[:, model.classes_] = model.predict_proba(x)
    return Result(model.predict(x), probabilities)


def report(result: Result, actual: NDArray[np.int64]) -> BaselineScores:
    """On the rows of these classes [rows]."""
    correct = int((result.predicted == actual).sum())
    return BaselineScores(
        accuracy=round(correct / len(actual), 6),
        correct=correct,
        log_loss=round(float(log_losses(result.probabilities, actual).mean()), 6),
        rows=len(actual),
    )


def on_each_row(result: Result, actual: NDArray[np.int64]) -> Other:
    """The same row by row, for comparisons with the network on the same rows."""
    # Last bits of a logistic regression depend on the processor; what is written does not.
    return Other(result.predicted, log_losses(result.probabilities, actual).round(9))


def require_room(schema: Schema, section: Baseline) -> None:
    """Raise UserError (status 4) where memory has no room for the rows, as they are read and encoded."""
    sizes, width = {path: count_rows(path) for path in (TRAIN, VALIDATION, TEST)}, len(schema.features)
    if section.rows:
        sizes |= {path: min(sizes[path], section.rows) for path in (TRAIN, VALIDATION)}
    count = sum(sizes.values())
    now = "all" if section.rows is None else f"{section.rows:,}"
    require_memory(
        16 * count * width,
        f"baseline: {count:,} rows of {width:,} columns",
        f"lower baseline.rows (now {now}), or use fewer rows or columns",
    )
