"""What training rows were like, column by column, as counts: new rows are held against it (evaluation/new_rows.py).

models/reference.json lies beside the model and holds no value of a row: of a number the counts between 19 quantiles,
and the range, all rounded to a hundredth of how far they are apart, or less; of a category the counts of the values
that the model itself names. Of a date it is the days.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retrace.artifacts.typed import read_typed
from retrace.data.values import Floats, numbers, one_chunk
from retrace.preprocessing.apply import codes
from retrace.preprocessing.description import Preprocessing
from retrace.runtime.atomic import write_json

REFERENCE = Path("models/reference.json")
QUANTILES = np.linspace(0, 1, 21)[1:-1]
# Training rows that are counted, evenly spaced, at most: more would say the same.
MOST_ROWS = 100_000

# Rows of a column, int64: by bin of a number (up to an edge, and above the one before) or by value of a category; then
# those that are outside the range, or have a value that has no code of its own; then those without a value.
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ColumnReference:
    """counts: see `Counts`; edges: of a number, between its bins; low, high: its range, rounded outwards."""

    column: str
    counts: list[int]
    edges: list[float] | None = None
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        if self.edges is not None and (len(self.counts) != len(self.edges) + 3 or sorted(self.edges) != self.edges):
            raise ValueError(f"the edges of column {self.column!r} do not ascend, or are not those of its counts")


@dataclass(frozen=True)
class Reference:
    """rows: of the training rows that were counted; classes: of these, by class.

    answers: of the validation rows, by the class that the model finds likeliest: what its answers are like for rows
    that it has not learned from.
    """

    rows: int
    columns: list[ColumnReference]
    classes: list[int]
    answers: list[int]


def read_reference() -> Reference:
    """Raises UserError where the file is missing or damaged."""
    return read_typed(REFERENCE, Reference)


def write_reference(reference: Reference) -> None:
    content = asdict(reference)
    for column in content["columns"]:
        if column["edges"] is None:
            del column["edges"], column["low"], column["high"]
    write_json(REFERENCE, content)


def evenly(column: pa.Array, most: int) -> pa.Array:
    """At most so many rows of a column, evenly spaced."""
    step = -(-len(column) // most)
    return column.take(pa.array(np.arange(0, len(column), step))) if step > 1 else column


def column_reference(preprocessing: Preprocessing, name: str, kind: str, pieces: Iterable[pa.Array]) -> ColumnReference:
    """Of a column of the training rows, whose pieces are of the type of its kind."""
    column = evenly(one_chunk(pa.chunked_array(list(pieces))), MOST_ROWS)
    empty = ColumnReference(name, [])
    if kind != "categorical":
        known = _values(kind, column)
        empty = _binned(name, known[~np.isnan(known)])
    return replace(empty, counts=counted(empty, preprocessing, kind, column).tolist())


def counted(reference: ColumnReference, preprocessing: Preprocessing, kind: str, column: pa.Array) -> Counts:
    """Rows of a column, of the type of its kind, as the reference counts them."""
    if kind == "categorical":
        category = preprocessing.category(reference.column)
        known = len(category.values)
        found = np.bincount(codes(category, column.drop_null()), minlength=known + 1)
        return np.append(found[:known], [found[known:].sum(), column.null_count])
    values = _values(kind, column)
    known_values = values[~np.isnan(values)]
    edges = np.asarray(reference.edges)
    bins = np.bincount(np.searchsorted(edges, known_values, side="left"), minlength=len(edges) + 1)
    outside = (known_values < reference.low) | (known_values > reference.high)
    return np.append(bins, [outside.sum(), len(values) - len(known_values)])


def _values(kind: str, column: pa.Array) -> Floats:
    return numbers(column, "days" if kind == "datetime" else None)


def _binned(name: str, known: Floats) -> ColumnReference:
    """Without its counts."""
    span = float(np.ptp(known)) if len(known) else 0.0
    if not span:  # one value for all, if any
        value = float(known[0]) if len(known) else 0.0
        return ColumnReference(name, [0] * 4, [value], value, value)
    quantiles = np.quantile(known, QUANTILES)
    # A single row far away must not make all edges one.
    fine = _digits(float(np.ptp(quantiles)) or span)
    edges = sorted({round(float(edge), fine) for edge in quantiles})
    digits = _digits(span)
    step = 10.0**-digits
    low, high = (np.floor(known.min() / step) - 1) * step, (np.ceil(known.max() / step) + 1) * step
    return ColumnReference(name, [0] * (len(edges) + 3), edges, round(float(low), digits), round(float(high), digits))


def _digits(span: float) -> int:
    """Behind the point, or before it where negative: rounding moves a number by a two-hundredth of `span` at most."""
    return 2 - int(np.floor(np.log10(span)))
