"""A pandas table from anywhere as the raw rows that a model takes, each column of the type of its kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from stages.preprocessing.apply import Unusable
from stages.preprocessing.columns import FALSE, TRUE

# A gap makes a column of 1 and 0 float.
TRUTHS = {**dict.fromkeys((*TRUE, "1.0"), True), **dict.fromkeys((*FALSE, "0.0"), False)}


def rows_of(frame: pd.DataFrame, features: Sequence[str], kinds: Mapping[str, str]) -> pa.Table:
    """Columns in any order and of any type that can be read as their kind. Raises Unusable with column and row."""
    missing = [name for name in features if name not in frame]
    if missing:
        raise Unusable(missing[0], 0, "None", "is given: the column is missing")
    return pa.table({name: CONVERT[kinds.get(name, "numeric")](name, frame[name]) for name in features})


def _numbers(name: str, column: pd.Series) -> pa.Array:
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    _check(name, column, np.isnan(numbers), "is no number")
    return pa.array(numbers, pa.float64(), from_pandas=True)


def _truths(name: str, column: pd.Series) -> pa.Array:
    truths = [
        None if absent else TRUTHS.get(str(value).lower()) for value, absent in zip(column, column.isna(), strict=True)
    ]
    _check(name, column, np.array([truth is None for truth in truths], dtype=bool), "is neither true nor false")
    return pa.array(truths, pa.bool_())


def _times(name: str, column: pd.Series) -> pa.Array:
    times = pd.to_datetime(column, errors="coerce", format="ISO8601" if column.dtype.kind in "OT" else None, utc=True)
    _check(name, column, times.isna().to_numpy(), "is no date or time like 2026-01-31T12:30:00")
    return pa.array(times.dt.tz_localize(None).to_numpy("datetime64[us]"), pa.timestamp("us"), from_pandas=True)


def _texts(name: str, column: pd.Series) -> pa.Array:
    texts = [None if absent else _text(value) for value, absent in zip(column, column.isna(), strict=True)]
    return pa.array(texts, pa.string()).dictionary_encode()


def _text(value: Any) -> str:
    """As `create` has it from a table: a whole number has no fraction, also where a gap made the column float."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _check(name: str, column: pd.Series, absent: np.ndarray[Any, np.dtype[np.bool_]], rule: str) -> None:
    wrong = absent & ~column.isna().to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise Unusable(name, row, repr(column.iloc[row]), rule)


CONVERT = {"numeric": _numbers, "boolean": _truths, "datetime": _times, "categorical": _texts}
