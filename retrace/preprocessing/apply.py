"""The model's preprocessing as plain data, and how it turns raw rows into what the network sees.

It is fitted with scikit-learn (see fit.py) and kept as numbers and texts in models/model.json, so that nothing is
pickled and a served model needs no scikit-learn. What `encode` gives is what scikit-learn's ColumnTransformer gives,
by test; it takes a tenth of the time.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrace.data.values import Floats, numbers, one_chunk
from retrace.preprocessing.description import Category, Number, Preprocessing, Unusable

AS_TEXTS = (
    "is not a text, and the model tells texts such as 007, 7.0 and True from 7 and true: bring the column as texts"
)


def encode(preprocessing: Preprocessing, rows: pa.Table | pa.RecordBatch) -> NDArray[np.float32]:
    """Raw rows with at least the model's columns -> [rows, columns] float32. Raises Unusable.

    Computed in float64, column by column, so that a large offset costs no digits and memory stays at one copy.
    """
    encoded = np.empty((rows.num_rows, preprocessing.width), dtype=np.float32)
    paired, gaps = preprocessing.paired, {}
    for column, inputs, encoder in parts(preprocessing):
        found = encoder(one_chunk(rows.column(column)))
        encoded[:, inputs] = found[:, : len(inputs)]
        if inputs[0] in paired:
            gaps[inputs[0]] = found[:, 1] != 0
    bridge(preprocessing, encoded, gaps)
    return encoded


def bridge(preprocessing: Preprocessing, encoded: NDArray[np.float32], gaps: dict[int, NDArray[np.bool_]]) -> None:
    """Put into the gaps of a number that no training row lacked what the line of its pair says of it, where that can.

    encoded [rows, columns], changed in place; gaps: place of each number of a pair -> where it was missing [rows]. With
    the median in the gap the residual would lie at its limit: of diamonds that lack one of two lengths .51 were right,
    and .72 so.
    """
    for each in preprocessing.residuals:
        first, second = gaps[each.first], gaps[each.second]
        both = first & second
        if (only := first & ~second).any():
            line = each.slope * encoded[only, each.second] + each.center
            _into_gaps(preprocessing, encoded, each.first, only, line)
        if (only := second & ~first).any():
            line = (encoded[only, each.first] - each.center) / each.slope
            _into_gaps(preprocessing, encoded, each.second, only, line)
        gaps[each.first] = gaps[each.second] = both


def _into_gaps(
    preprocessing: Preprocessing, encoded: NDArray[np.float32], place: int, rows: NDArray[np.bool_], values: Floats
) -> None:
    number = preprocessing.numbers[place]
    if not number.indicator:
        encoded[rows, place] = values.clip(number.edges[0], number.edges[-1]) if number.edges else values


def sure(
    preprocessing: Preprocessing, rows: pa.Table | pa.RecordBatch, probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The probabilities [..., rows, classes] of these rows; raises Unusable where one is not a finite number.

    Each number may be within float32 and yet too large for the network's sums.
    """
    wrong = ~np.isfinite(probabilities).all(-1)
    if wrong.any():
        row = int(np.nonzero(wrong)[-1].min())
        seen = np.abs(encode(preprocessing, rows.slice(row, 1))[0, : len(preprocessing.numbers)])
        number = preprocessing.numbers[int(seen.argmax())]
        value = numbers(one_chunk(rows.slice(row, 1).column(number.column)), number.part)[0]
        raise Unusable(number.column, row, value, "is too large for this network, whose sums are not finite numbers")
    return probabilities


def parts(preprocessing: Preprocessing) -> Iterator[tuple[str, list[int], Callable[[pa.Array], Floats]]]:
    """(column, what becomes of it, how: values [rows] -> [rows, that many]), so that one can go by columns.

    Of a number there is always a second one, whether it was missing, also where it becomes no input.
    """
    indicators = preprocessing.indicators
    for place, number in enumerate(preprocessing.numbers):
        inputs = [place, indicators[place]] if number.indicator else [place]
        yield number.column, inputs, partial(_number, number)
    for place, category in enumerate(preprocessing.categories, len(preprocessing.numbers) + len(indicators)):
        yield category.column, [place], partial(_category, category)


def _number(number: Number, column: pa.Array) -> Floats:
    values = numbers(column, number.part)
    absent = np.isnan(values)
    return np.stack([_filled(number, values, absent), absent], 1)


def _category(category: Category, column: pa.Array) -> Floats:
    return codes(category, column).astype(np.float64)[:, None]


def _filled(number: Number, values: Floats, absent: NDArray[np.bool_]) -> Floats:
    if number.fill is not None:
        values = np.where(absent, number.fill, values)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        what = "None" if absent[row] else values[row]
        rule = "is not a finite number" + ("; this model was trained on rows that lack none" if absent[row] else "")
        raise Unusable(number.column, row, what, rule)
    seen = scaled(number, values)
    limit = np.finfo(np.float32).max
    if (np.abs(seen) > limit).any():
        row = int(np.flatnonzero(np.abs(seen) > limit)[0])
        raise Unusable(
            number.column, row, values[row], "is too large: it must stay below 3.4e38 as the network sees it"
        )
    return seen.clip(number.edges[0], number.edges[-1]) if number.edges else seen


def scaled(number: Number, values: Floats) -> Floats:
    """Finite values as the network sees them."""
    if number.quantiles is not None:
        values = ranks(values, number.quantiles)
    return (values - number.center) / number.spread


def ranks(values: Floats, quantiles: Sequence[float]) -> Floats:
    """Where values stand among evenly spaced quantiles, 0 to 1; among equal ones in their middle, but at the ends.

    The mean of an interpolation from either side, as scikit-learn's QuantileTransformer has it.
    """
    known = np.asarray(quantiles)
    shares = np.linspace(0, 1, len(known))
    middle = 0.5 * (np.interp(values, known, shares) - np.interp(-values, -known[::-1], -shares[::-1]))
    return np.where(values <= known[0], 0.0, np.where(values >= known[-1], 1.0, middle))


def codes(category: Category, column: pa.Array) -> NDArray[np.int64]:
    """The code of each value [rows], 0 to `category.codes`, of which the last one is what training did not have."""
    own = len(category.values)
    other = own + (category.missing == "own") if category.other else category.codes
    absent = {"own": own, "other": other, "none": other}[category.missing]
    values = pa.array(category.values, pa.string())
    if isinstance(column, pa.DictionaryArray):
        # Each text once, and not once a row.
        known = pc.index_in(column.dictionary.cast(pa.string()), values).fill_null(other).to_numpy(zero_copy_only=False)
        places = column.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
        each: NDArray[np.int64] = np.append(known, absent).astype(np.int64)[places]
        return each
    found = pc.index_in(column.cast(pa.string()), values).fill_null(other).to_numpy(zero_copy_only=False)
    return np.where(column.is_null().to_numpy(zero_copy_only=False), absent, found).astype(np.int64)
