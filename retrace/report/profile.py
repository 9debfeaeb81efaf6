"""A column of the training rows in a few words, and a value of it beside a row, without what tells one row from others.

Of numbers and times no smallest and no largest value is told, and a text only where FEWEST training rows have it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrace.artifacts.schema import Schema
from retrace.report.words import counted, percent, plain

# Training rows that must have a text before a page shows it.
FEWEST = 10
BARS = 16
RARE = "(a rare value)"
MISSING = "(missing)"


@dataclass(frozen=True)
class Profile:
    """missing: the share of training rows; about: the others in words; bars: how they are distributed, 0 to 1.

    common: texts that may be shown.
    """

    name: str
    kind: str
    missing: float
    about: str
    bars: list[float]
    common: frozenset[str] = field(default_factory=frozenset)


def profile(column: pa.ChunkedArray, name: str, schema: Schema) -> Profile:
    """column: of data/train.parquet."""
    kind, rows = schema.kind(name), len(column)
    missing = column.null_count / rows if rows else 0.0
    known = column.drop_null()
    if not len(known):
        return Profile(name, kind, missing, "no value at all", [])
    if kind == "categorical":
        return _categories(known, name, missing)
    if kind == "boolean":
        true = pc.sum(known).as_py() / len(known)
        return Profile(name, kind, missing, f"true in {percent(true)}", [1 - true, true])
    moments = pa.types.is_timestamp(known.type)
    values = np.from_dlpack(known.cast(pa.int64() if moments else pa.float64()).combine_chunks()).astype(np.float64)
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    words = [_day(value) if moments else f"{value:.4g}" for value in (middle, low, high)]
    inside = values[(values >= low) & (values <= high)] if high > low else values
    counts, _ = np.histogram(inside, BARS) if high > low else (np.array([1]), None)
    about = f"median {words[0]}; 90% of rows from {words[1]} to {words[2]}"
    return Profile(name, kind, missing, about, [float(count) / counts.max() for count in counts])


def shown(value: Any, of: Profile) -> str:
    """A value of the column as a page may show it."""
    if value is None:
        return MISSING
    if of.kind == "categorical":
        return plain(value, 40) if value in of.common else RARE
    if of.kind == "datetime":
        return str(value.date())
    return ("true" if value else "false") if of.kind == "boolean" else f"{value:.4g}"


def _categories(known: pa.ChunkedArray, name: str, missing: float) -> Profile:
    pairs = ((each["values"], each["counts"]) for each in known.value_counts().to_pylist())
    counts = sorted(((text, count) for text, count in pairs if count), key=lambda pair: (-pair[1], pair[0]))
    common = frozenset(text for text, count in counts if count >= FEWEST)
    about = counted(len(counts), "value")
    if counts[0][0] in common:
        about += f"; most often {plain(counts[0][0], 40)} ({percent(counts[0][1] / len(known))})"
    bars = [count / counts[0][1] for _, count in counts[:BARS]]
    return Profile(name, "categorical", missing, about, bars, common)


def _day(microseconds: float) -> str:
    return str(np.datetime64(round(microseconds), "us").astype("datetime64[D]"))
