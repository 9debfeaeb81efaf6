"""Raw columns as what preprocessing works on: numbers (float64, NaN where a value is missing) and categories.

A date becomes numbers that one can explain: days since 1970-01-01, weekday (Monday is 0), month and hour.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Texts of truth values, in small letters.
TRUE, FALSE = ("true", "yes", "y", "t", "1"), ("false", "no", "n", "f", "0")

DAY = 86_400_000_000  # microseconds

PARTS: dict[str, Callable[[pa.Array], Floats]] = {
    "days": lambda times: _floats(pc.cast(times, pa.int64())) / DAY,
    "weekday": lambda times: _floats(pc.day_of_week(times)),
    "month": lambda times: _floats(pc.month(times)),
    "hour": lambda times: _floats(pc.hour(times)),
}


def sources(features: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str | None]]:
    """(name, kind) of each feature -> (column, part) of each number that comes of it, categories left out."""
    for name, kind in features:
        if kind == "datetime":
            yield from ((name, part) for part in PARTS)
        elif kind != "categorical":
            yield name, None


def label(column: str, part: str | None) -> str:
    return f"{column} ({part})" if part else column


def numbers(column: pa.Array, part: str | None) -> Floats:
    """A numeric, boolean or date column as numbers [rows]."""
    return PARTS[part](column) if part else _floats(column)


def _floats(column: pa.Array) -> Floats:
    values: Floats = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)  # a null: NaN
    return values
