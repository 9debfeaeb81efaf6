"""Fitting the preprocessing on training rows, with scikit-learn's ColumnTransformer and its parts."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, QuantileTransformer, RobustScaler, StandardScaler

from retrace.artifacts.schema import Schema
from retrace.data.values import UNREAD, Floats, label, sources, spelled
from retrace.preprocessing.apply import scaled
from retrace.preprocessing.description import Category, Number, Preprocessing, Residual
from retrace.preprocessing.frame import Spellings, expanded, spellings

# Evenly spaced quantiles that scaling: quantile keeps of a column, at most; 1,000 would say little more.
QUANTILES = 200

# Rows that tell which numbers go together, at most, and the share of them at either end that has no say: one row with a
# wrong number would bend the line, and lie hundreds of deviations from it.
ROWS_TO_PAIR, OUTLYING = 10_000, 0.001
# What a residual must have of a number's deviation, of its smallest step, and of what float32 can tell apart: less is
# the rounding of what one column says twice, minutes and their price, say.
OF_DEVIATION, OF_STEP, OF_FLOAT32 = 0.001, 0.5, 100 * float(np.finfo(np.float32).eps)


def column_transformer(frame: pd.DataFrame, schema: Schema, scaling: str, rare_below: int) -> ColumnTransformer:
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
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=rare_below, dtype=np.float32)
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), scaler), amounts),
            ("truths", SimpleImputer(strategy="most_frequent", keep_empty_features=True), truths),
            ("missing", MissingIndicator(features="missing-only"), amounts + truths),
            ("categories", one_hot, categories),
        ],
        sparse_threshold=0,
    )


def fit(
    table: pa.Table, schema: Schema, scaling: str, bins: int, residuals_above: float, rare_below: int, embed_above: int
) -> Preprocessing:
    """The preprocessing of these rows, which must be training rows only."""
    known = spellings(table, schema)
    frame = expanded(table, schema, known)
    transformers = column_transformer(frame, schema, scaling, rare_below).transformers
    # One by one: ColumnTransformer.fit also transforms, and holds what comes of all the rows.
    for name, part, columns in transformers:
        if columns and name == "numbers":
            _fit_numbers(part, frame[columns])
        elif columns:
            part.fit(frame[columns])
    preprocessing = described(transformers, schema, known, embed_above)
    numbers = preprocessing.numbers
    if residuals_above < 1:
        preprocessing = replace(preprocessing, residuals=_residuals(numbers, frame, residuals_above, schema))
    if bins:
        preprocessing = replace(preprocessing, numbers=[_binned(number, frame, bins, schema) for number in numbers])
    return preprocessing


def _fit_numbers(part: Pipeline, frame: pd.DataFrame) -> None:
    """As `part.fit(frame)`, but that the medians are found column by column.

    scikit-learn sorts all columns at once, for which it holds seven copies of them, and takes more than twice the time.
    """
    imputer, scaler = part[0], part[1]
    medians = [clone(imputer).fit(frame[[name]]).statistics_ for name in frame]
    imputer.fit(frame.iloc[:1])
    imputer.statistics_ = np.concatenate(medians)
    scaler.fit(imputer.transform(frame))


def _binned(number: Number, frame: pd.DataFrame, bins: int, schema: Schema) -> Number:
    """With the edges of its bins: quantiles of the training rows, missing values left out, as the network sees them."""
    if schema.kind(number.column) == "boolean":
        return number  # two values, which a line can tell apart
    values = frame[number.name].dropna().to_numpy()
    if not len(values):
        return number
    quantiles = scaled(number, np.quantile(values, np.linspace(0, 1, bins + 1)))
    edges = np.unique(_as_float32(quantiles).astype(np.float32))
    # One over the width of a narrower bin is infinite in float32.
    edges = edges[np.insert(np.diff(edges) >= np.finfo(np.float32).tiny, 0, True)]
    # One value has no bin between edges.
    return replace(number, edges=edges.tolist()) if len(edges) > 1 else number


def _without_outliers(values: Floats) -> Floats:
    ends = np.nanquantile(values, (OUTLYING, 1 - OUTLYING))
    return values.clip(*ends)


def _as_float32(values: Floats) -> Floats:
    """Within its range: a value beyond is refused where its row is known."""
    return values.clip(np.finfo(np.float32).min, np.finfo(np.float32).max)


def _residuals(numbers: list[Number], frame: pd.DataFrame, above: float, schema: Schema) -> list[Residual]:
    """Of each number and the one it goes with most, where their correlation is `above` that; of each pair once.

    At most ROWS_TO_PAIR rows are looked at. Half of them must have both numbers, which must not say the same twice.
    """
    some = frame.iloc[:: math.ceil(len(frame) / ROWS_TO_PAIR)]
    seen = {}
    for place, number in enumerate(numbers):
        column = some[number.name].to_numpy(dtype=np.float64)
        if schema.kind(number.column) != "boolean" and not np.isnan(column).all():
            values = _as_float32(scaled(number, _without_outliers(column)))
            seen[place] = values.astype(np.float32).astype(np.float64)
    if not seen:
        return []
    correlation = _correlations(np.stack(list(seen.values()), 1))
    finest = np.array([_finest(values[~np.isnan(values)]) for values in seen.values()])
    same = np.sqrt(1 - correlation**2) < np.maximum.outer(finest, finest)
    correlation[same] = 0
    places, pairs = list(seen), set()
    for first, second in enumerate(correlation.argmax(1).tolist()):
        if correlation[first, second] > above:
            pairs.add((places[min(first, second)], places[max(first, second)]))
    found = []
    for first, second in sorted(pairs):
        known = ~np.isnan(seen[first]) & ~np.isnan(seen[second])
        x, y = seen[second][known], seen[first][known]
        slope = float(np.cov(x, y)[0, 1] / x.var(ddof=1))
        left = _without_outliers(y - slope * x)
        center, spread = float(left.mean()), float(left.std())
        if spread > OF_DEVIATION * y.std():  # without outliers there may be nothing left
            least, most = (float((end - center) / spread) for end in (left.min(), left.max()))
            found.append(Residual(first, second, slope, center, spread, least, most))
    return found


def _correlations(columns: Floats) -> Floats:
    """How closely two of the columns [rows, columns] go together, 0 to 1, by the rows that have both.

    0 where these are less than half, of a constant column, and of a column with itself. As pandas' `corr`, which takes
    a hundred times as long.
    """
    known = ~np.isnan(columns)
    middle, spread = np.nanmean(columns, 0), np.nanstd(columns, 0)
    x = np.where(known, (columns - middle) / np.where(spread > 0, spread, 1), 0.0)
    there = known.astype(np.float64)
    both = there.T @ there
    with np.errstate(divide="ignore", invalid="ignore"):
        # [i, j]: of column i, over the rows that have column j, too.
        sums = x.T @ there
        variance = (x * x).T @ there - sums * sums / both
        found = np.abs(x.T @ x - sums * sums.T / both) / np.sqrt(variance * variance.T)
    enough = (2 * both > len(columns)) & (np.minimum(variance, variance.T) > 1e-6 * both)
    np.fill_diagonal(enough, False)
    return np.where(enough, found.clip(max=1), 0.0)


def _finest(values: Floats) -> float:
    """The smallest residual that says something of this number, in its standard deviations; 1: none does."""
    # Numbers further apart than these float32 cannot hold together.
    if not 1e-15 < (deviation := float(values.std())) < 1e15:
        return 1.0
    steps = np.diff(np.unique(values))
    step = float(steps.min(initial=math.inf, where=steps > OF_FLOAT32 * deviation))
    resolution = OF_FLOAT32 * float(np.abs(values).max())
    return max(OF_DEVIATION, min(1.0, OF_STEP * step / deviation), resolution / deviation)


def described(
    fitted: list[tuple[str, Any, list[str]]], schema: Schema, known: Spellings, embed_above: int
) -> Preprocessing:
    """What the fitted parts of a `column_transformer` have learned, as plain data.

    fitted: as in its `transformers_`; categories with more than `embed_above` codes are to be embedded.
    """
    chosen = {name: columns for name, _, columns in fitted}
    parts = {name: part for name, part, _ in fitted}
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
    forms = {name: schema.number_format(origin[name][0]) for name in found}
    inputs = [
        Number(
            *origin[name],
            indicator=name in lacking,
            date_format=schema.date_formats.get(origin[name][0]),
            decimal=forms[name]["decimal"],
            percent=forms[name]["unit"] == "%",
            **scaling,
        )
        for name, scaling in found.items()
    ]
    one_hot = parts["categories"]
    categories = [
        _category(name, known[name], one_hot.categories_[index], one_hot.infrequent_categories_[index], embed_above)
        for index, name in enumerate(chosen["categories"])
    ]
    return Preprocessing(inputs, sorted(categories, key=lambda category: category.embedded), missing=schema.missing)


def _scaling(scaler: Any, index: int) -> dict[str, Any]:
    if isinstance(scaler, StandardScaler):
        return {"center": float(scaler.mean_[index]), "spread": float(scaler.scale_[index])}
    if isinstance(scaler, RobustScaler):
        return {"center": float(scaler.center_[index]), "spread": float(scaler.scale_[index])}
    if isinstance(scaler, FunctionTransformer):
        return {}
    quantiles, standard = scaler
    return {"quantiles": quantiles.quantiles_[:, index].tolist(), **_scaling(standard, index)}


def _category(name: str, known: list[str], places: Floats, rare: Floats | None, embed_above: int) -> Category:
    """places, rare: of the `known` spellings, those that training rows have and those that too few of them have."""
    infrequent = set() if rare is None else {None if np.isnan(place) else known[int(place)] for place in rare}
    values = [known[int(place)] for place in places if not np.isnan(place)]
    lacks = bool(np.isnan(places).any())
    category = Category(
        column=name,
        values=[value for value in values if value not in infrequent],
        missing="none" if not lacks else "other" if None in infrequent else "own",
        other=bool(infrequent),
        typed=not any(map(spelled, known)),
        hidden=sorted({*UNREAD, "?"} & {*known} & infrequent),
    )
    return replace(category, embedded=category.codes > embed_above)
