"""A pandas table from anywhere as the raw rows that a model takes, each column of the type of its kind.

What pandas, JSON or CSV made of a value is undone where that can be done, so that the model answers as it does of the
file that the value came from; what has become ambiguous is refused.
"""

import contextlib
import datetime
import decimal
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from retrace.data.values import FALSE, NUMBER, TIMES, TRUE, plain, to_times
from retrace.preprocessing.apply import AS_TEXTS
from retrace.preprocessing.description import Category, Number, Preprocessing, Unusable

# Whole numbers, where a comma is before the fraction.
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}")
# A gap makes a column of 1 and 0 float.
TRUTHS = {**dict.fromkeys((*TRUE, "1.0"), True), **dict.fromkeys((*FALSE, "0.0"), False)}


def rows_of(
    frame: pd.DataFrame, features: Sequence[str], kinds: Mapping[str, str], preprocessing: Preprocessing
) -> pa.Table:
    """Columns in any order and of any type that can be read as their kind. Raises Unusable with column and row."""
    lacking = [name for name in features if name not in frame]
    if lacking:
        raise Unusable(lacking[0], 0, "None", "is given: the column is missing")
    columns = {}
    for name in features:
        kind, column = kinds.get(name, "numeric"), frame[name]
        if kind == "numeric" and column.dtype.kind in "iuf":
            numbers = column.to_numpy(np.float64, na_value=np.nan)
            columns[name] = pa.array(numbers, pa.float64(), from_pandas=True)
            continue
        values = _values(column, preprocessing.missing)
        if kind == "numeric":
            columns[name] = pa.array(_numbers(preprocessing.number(name), values), pa.float64(), from_pandas=True)
        elif kind == "boolean":
            columns[name] = pa.array(_each(name, values, _truth, "is neither true nor false"), pa.bool_())
        elif kind == "datetime":
            columns[name] = _times(name, values, preprocessing.date_formats.get(name))
        else:
            columns[name] = _texts(name, values, preprocessing.category(name))
    return pa.table(columns)


def _values(column: pd.Series, missing: Sequence[str]) -> list[Any]:
    """Python's own values, None where one is missing; spaces around a text are not part of it."""
    values = [value.strip() if isinstance(value, str) else value for value in column.astype(object)]
    return [
        None if absent or (isinstance(value, str) and value in missing) else value
        for value, absent in zip(values, column.isna(), strict=True)
    ]


def _each(name: str, values: list[Any], parse: Callable[[Any], Any], rule: str) -> list[Any]:
    """What `parse` makes of each value that is not missing; where it is None, the value is refused."""
    parsed = [None if value is None else parse(value) for value in values]
    for row, (value, found) in enumerate(zip(values, parsed, strict=True)):
        if value is not None and found is None:
            raise Unusable(name, row, repr(value), rule)
    return parsed


def _truth(value: Any) -> bool | None:
    return TRUTHS.get(str(value).lower())


def _numbers(number: Number, values: list[Any]) -> list[float | None]:
    """Texts as `predict` reads them of a file, where they have one reading."""
    if number.percent:
        parse, rule = (
            _percentage,
            "is not a number with %, as those of training were: write it so (12%), or bring the column as numbers"
            " (0.12)",
        )
    elif number.decimal == ",":
        parse, rule = (
            _unambiguous,
            "has two readings or none, where training had decimal commas: bring the column as numbers",
        )
    else:
        parse, rule = _number, "is not a number"
    return _each(number.column, values, parse, rule)


def _percentage(value: Any) -> float | None:
    if isinstance(value, str):
        return _number(f"{value[:-1].rstrip()}e-2") if value.endswith("%") else None
    return _number(value)


def _unambiguous(value: Any) -> float | None:
    return None if isinstance(value, str) and THOUSANDS.fullmatch(value) else _number(value)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if NUMBER.fullmatch(value) and value.isascii() else None
    return float(value) if isinstance(value, Real | decimal.Decimal) else None


def _times(name: str, values: list[Any], date_format: str | None) -> pa.Array:
    texts = pa.array(_each(name, values, _time, f"is not {TIMES[date_format]}"), pa.string())
    times = to_times(texts, date_format)
    if times is None:
        row = bisect_left(range(len(texts)), True, key=lambda row: to_times(texts[: row + 1], date_format) is None)
        raise Unusable(name, row, repr(texts[row].as_py()), f"is not {TIMES[date_format]}")
    return times


def _time(value: Any) -> str | None:
    """As a text: a number would be a time only by a unit that nobody named."""
    if isinstance(value, pd.Timestamp):
        value = value.floor("us")
    return value.isoformat() if isinstance(value, datetime.date) else value if isinstance(value, str) else None


def _texts(name: str, values: list[Any], category: Category) -> pa.Array:
    texts = _each(name, values, lambda value: _text(value, category.typed), AS_TEXTS)
    if category.unread and None in texts:
        raise Unusable(name, texts.index(None), "None", category.unread)
    return pa.array(texts, pa.string()).dictionary_encode()


def _text(value: Any, typed: bool) -> str | None:
    """As `create` has it from a table: a whole number has no fraction, also where a gap made the column float."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower() if typed else None
    if isinstance(value, Integral):
        return str(int(value)) if typed else None
    if isinstance(value, Real):
        return plain(float(value)) if typed else None
    if isinstance(value, bytes):  # as old writers of Parquet have texts
        with contextlib.suppress(UnicodeError):
            return value.decode()
        return None
    return None if isinstance(value, list | tuple | dict | set | np.ndarray) else str(value)
