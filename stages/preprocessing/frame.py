"""Raw rows as scikit-learn takes them."""

from typing import Any

import pandas as pd
import pyarrow as pa

from stages.datasets.schema import Schema
from stages.preprocessing.columns import label, numbers, sources


def expanded(table: pa.Table, schema: Schema) -> pd.DataFrame:
    """Numbers by name (see columns.py), then categories as objects, None where missing."""
    features = [(name, schema.kind(name)) for name in schema.features]
    columns: dict[str, Any] = {}
    for name, part in sources(features):
        columns[label(name, part)] = numbers(table.column(name).combine_chunks(), part)
    for name, kind in features:
        if kind == "categorical":
            columns[name] = pd.Series(table.column(name).to_pylist(), dtype=object)
    return pd.DataFrame(columns)
