"""How good on each part of the test rows: one slice for each value of a column, the worst first."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrace.artifacts.evaluation import Slice
from retrace.artifacts.schema import Schema
from retrace.evaluation.intervals import wilson
from retrace.params.evaluate import Evaluate
from retrace.params.messages import suggest
from retrace.params.reader import fault
from retrace.runtime.text import listed

# Values of a column that are slices of their own, the most frequent ones; the rarer ones share one.
MOST_VALUES = 50
# Numbers with more different values are cut into ranges at their quartiles.
MOST_NUMBERS = 10

Places = NDArray[np.int64]


def sliced(test: pa.Table, schema: Schema, section: Evaluate) -> dict[str, pa.ChunkedArray]:
    """The columns that `slices` names; raises UserError where one is not there."""
    there = [*schema.features, *schema.carried]
    for name in section.slices:
        if name not in there:
            hint = suggest(name, there) or f" ({listed(there)})"
            raise fault(Evaluate, "slices", f"must name columns of the data set; {name!r} is none{hint}")
    return {name: test.column(name) for name in section.slices}


def slices(columns: Mapping[str, pa.ChunkedArray], hit: NDArray[np.bool_], confidence: float) -> list[Slice]:
    """Slices of all columns, the lowest accuracy first; of equal ones the one that may be worse.

    columns: name -> values [rows], as data/test.parquet has them; hit [rows]: which rows are right. Every row is in
    exactly one slice of each column.
    """
    found = []
    for name, column in columns.items():
        places, values = groups(column)
        rows = np.bincount(places, minlength=len(values)).tolist()
        correct = np.bincount(places[hit], minlength=len(values)).tolist()
        for value, count, right in zip(values, rows, correct, strict=True):
            found.append(Slice(name, value, count, right, right / count, *wilson(right, count, confidence)))
    return sorted(found, key=lambda each: (each.accuracy, each.low, each.high))


def groups(column: pa.ChunkedArray) -> tuple[Places, list[str]]:
    """Which slice each row is in [rows], and what each slice is called; none of them is empty.

    Numbers by value, or from quartile to quartile of these rows; dates by year, or by month where all are of one year;
    anything else by its text. Missing values are a slice of their own.
    """
    if pa.types.is_floating(column.type):
        places, values = _by_number(column)
    elif pa.types.is_timestamp(column.type):
        places, values = _by_text(pc.strftime(column, format="%Y"))
        if len(values) == 1:
            places, values = _by_text(pc.strftime(column, format="%Y-%m"))
    else:
        places, values = _by_text(column.cast(pa.string()))
    if (places < 0).any():
        places, values = np.where(places < 0, len(values), places), [*values, _new("missing", values)]
    return places, values


def _by_text(column: pa.ChunkedArray) -> tuple[Places, list[str]]:
    """As `groups`, the most frequent text first; -1 where a value is missing."""
    coded = column.dictionary_encode().combine_chunks()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    texts = coded.dictionary.to_pylist()
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    order = sorted(range(len(texts)), key=lambda code: (-counts[code], texts[code]))
    places = np.full(len(texts) + 1, -1)  # the last one, where -1 points to, stays
    places[order] = np.arange(len(texts)).clip(max=MOST_VALUES)
    values = [texts[code] for code in order[:MOST_VALUES]]
    if len(texts) > MOST_VALUES:
        values.append(_new(f"other ({len(texts) - MOST_VALUES:,} values)", values))
    return places[codes], values


def _by_number(column: pa.ChunkedArray) -> tuple[Places, list[str]]:
    """As `groups`, in the order of the numbers; -1 where a value is missing."""
    numbers = column.combine_chunks().fill_null(np.nan).to_numpy(zero_copy_only=False)
    known = ~np.isnan(numbers)
    # Each range ends with its last number: the smallest ones, up to the first quartile; and so on to the largest.
    ends = np.unique(numbers[known])
    if len(ends) > MOST_NUMBERS:
        ends = np.unique(np.quantile(numbers[known], [0.25, 0.5, 0.75, 1], method="inverted_cdf"))
    places = np.where(known, np.searchsorted(ends, numbers), -1)
    bounds = [(numbers[places == place].min(), end) for place, end in enumerate(ends)]
    texts = _texts(np.ravel(bounds))
    values = [texts[low] if low == high else f"from {texts[low]} to {texts[high]}" for low, high in bounds]
    return places, values


def _texts(numbers: NDArray[np.float64]) -> dict[float, str]:
    """Number -> text with as few digits, six or more, as tell all of them apart."""
    distinct = np.unique(numbers).tolist()
    for digits in (6, 9, 17):
        texts = [str(int(number)) if _is_whole(number) else f"{number:.{digits}g}" for number in distinct]
        if len(set(texts)) == len(distinct):
            break
    return dict(zip(distinct, texts, strict=True))


def _is_whole(number: float) -> bool:
    return number == int(number) and abs(number) < 1e15


def _new(name: str, values: list[str]) -> str:
    """The name, in brackets where a value is called so already."""
    while name in values:
        name = f"({name})"
    return name
