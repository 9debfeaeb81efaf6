"""Fitting the preprocessing on training rows, with scikit-learn's ColumnTransformer and its parts."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, QuantileTransformer, RobustScaler, StandardScaler

from stages.datasets.schema import Schema
from stages.preprocessing.apply import Category, Number, Preprocessing
from stages.preprocessing.columns import label, sources
from stages.preprocessing.frame import expanded

# Evenly spaced quantiles that scaling: quantile keeps of a column, at most; 1,000 would say little more.
QUANTILES = 200


def column_transformer(
    frame: pd.DataFrame, schema: Schema, scaling: str, rare_below: int, most_categories: int
) -> ColumnTransformer:
    """Unfitted: numbers (filled and scaled), indicators of the missing ones, truth values, categories."""
    scaler = {
        "none": lambda: FunctionTransformer(),
        "standard": StandardScaler,
        "robust": RobustScaler,
        # Ranks from 0 to 1 are not centred, which a network learns from slowly.
        "quantile": lambda: make_pipeline(
            QuantileTransformer(n_quantiles=min(QUANTILES, len(frame)), subsample=None), StandardScaler()
        ),
    }[scaling]()
    categories = [name for name in schema.features if schema.kind(name) == "categorical"]
    amounts = [name for name in frame if name not in categories and schema.kind(name) != "boolean"]
    truths = [name for name in frame if schema.kind(name) == "boolean"]
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=rare_below,
        max_categories=most_categories,
        sparse_output=False,
        dtype=np.float32,
    )
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), scaler), amounts),
            ("truths", SimpleImputer(strategy="most_frequent", keep_empty_features=True), truths),
            ("missing", MissingIndicator(features="missing-only"), amounts + truths),
            ("categories", one_hot, categories),
        ],
    )


def fit(table: pa.Table, schema: Schema, scaling: str, rare_below: int, most_categories: int) -> Preprocessing:
    """The preprocessing of these rows, which must be training rows only."""
    frame = expanded(table, schema)
    fitted = column_transformer(frame, schema, scaling, rare_below, most_categories).fit(frame)
    return described(fitted, schema)


def described(fitted: ColumnTransformer, schema: Schema) -> Preprocessing:
    """What a fitted `column_transformer` has learned, as plain data."""
    chosen = {name: columns for name, _, columns in fitted.transformers_}
    parts = fitted.named_transformers_
    found: dict[str, dict[str, Any]] = {}
    if chosen["numbers"]:
        imputer, scaler = parts["numbers"][0], parts["numbers"][1]
        for index, name in enumerate(chosen["numbers"]):
            found[name] = {"fill": float(imputer.statistics_[index]), **_scaling(scaler, index)}
    for name, fill in zip(chosen["truths"], parts["truths"].statistics_ if chosen["truths"] else [], strict=True):
        found[name] = {"fill": float(fill)}
    both = chosen["missing"]
    lacking = {both[index] for index in parts["missing"].features_} if both else set()
    origin = {label(*each): each for each in sources((name, schema.kind(name)) for name in schema.features)}
    inputs = [Number(*origin[name], indicator=name in lacking, **scaling) for name, scaling in found.items()]
    categories = [_category(name, parts["categories"], index) for index, name in enumerate(chosen["categories"])]
    return Preprocessing(inputs, categories)


def _scaling(scaler: Any, index: int) -> dict[str, Any]:
    if isinstance(scaler, StandardScaler):
        return {"center": float(scaler.mean_[index]), "spread": float(scaler.scale_[index])}
    if isinstance(scaler, RobustScaler):
        return {"center": float(scaler.center_[index]), "spread": float(scaler.scale_[index])}
    if isinstance(scaler, FunctionTransformer):
        return {}
    quantiles, standard = scaler
    return {"quantiles": quantiles.quantiles_[:, index].tolist(), **_scaling(standard, index)}


def _category(name: str, encoder: OneHotEncoder, index: int) -> Category:
    rare = encoder.infrequent_categories_[index]
    rare = set() if rare is None else set(rare.tolist())
    known = encoder.categories_[index].tolist()
    lacks = None in known
    missing = "none" if not lacks else "other" if None in rare else "own"
    return Category(
        column=name,
        values=[value for value in known if value is not None and value not in rare],
        missing=missing,
        other=bool(rare),
    )
