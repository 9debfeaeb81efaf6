"""Raw rows as scikit-learn takes them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retrace.artifacts.schema import Schema
from retrace.data.values import Floats, label, numbers, sources

# By name, the distinct values of each category, in the order of their spelling.
Spellings = dict[str, list[str]]


def spellings(table: pa.Table, schema: Schema) -> Spellings:
    return {
        name: sorted(pc.unique(pc.cast(table.column(name), pa.string()).drop_null()).to_pylist())
        for name in schema.features
        if schema.kind(name) == "categorical"
    }


def expanded(table: pa.Table, schema: Schema, known: Spellings) -> pd.DataFrame:
    """float64: numbers by name (see data/values.py), then each category's place among the `known` ones.

    NaN where a value is missing; a category that is not known has the place after the last one. (With places
    scikit-learn is ten times as fast as with texts, and finds the same.)
    """
    features = [(name, schema.kind(name)) for name in schema.features]
    columns: dict[str, Floats] = {}
    for name, part in sources(features):
        columns[label(name, part)] = numbers(table.column(name).combine_chunks(), part)
    for name, values in known.items():
        columns[name] = _places(table.column(name), values)
    return pd.DataFrame(columns)


def _places(column: pa.ChunkedArray, known: list[str]) -> Floats:
    coded = column.unify_dictionaries().combine_chunks()
    if not isinstance(coded, pa.DictionaryArray):
        coded = coded.dictionary_encode()
    each = pc.index_in(coded.dictionary.cast(pa.string()), pa.array(known, pa.string())).fill_null(len(known))
    places = np.append(each.to_numpy(zero_copy_only=False).astype(np.float64), np.nan)
    found: Floats = places[coded.indices.fill_null(len(each)).to_numpy(zero_copy_only=False)]
    return found
