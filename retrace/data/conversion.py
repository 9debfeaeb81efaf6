"""A column of a block as its kind has it, and the labels as texts; what is not so is refused by row."""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrace.data.kinds import CARRIED, to_truths
from retrace.data.numbers import to_numbers
from retrace.data.source import Source, holds_texts
from retrace.data.values import TIMES, ZONED, to_times
from retrace.runtime.errors import BAD_DATA, UserError

# Whole numbers from here on are not all different as float64, and as float32 from the second one on.
FLOAT64_WHOLE, FLOAT32_WHOLE = 2.0**53, 2.0**24
LARGEST = float(np.finfo(np.float32).max)
CATEGORY = pa.dictionary(pa.int32(), pa.string())


def in_order(labels: dict[str, int]) -> list[str]:
    """Class names: whole numbers by value, all others by spelling; never by a row's place in the file."""
    if all(re.fullmatch(r"-?\d+", name) for name in labels):
        return sorted(labels, key=lambda name: (Decimal(name), name))  # int has a limit of digits
    return sorted(labels)


def label_texts(
    source: Source,
    column: pa.Array,
    target: str,
    rows: int,
    fix: str = "every row needs its class: leave the row out",
) -> pa.StringArray:
    """Labels as texts. Only an empty one is missing: a class may be called NA, None, null or nan.

    fix: what to do about a missing one.
    """
    if pa.types.is_floating(column.type):
        values = floats(column)
        wrong = np.abs(values) >= FLOAT64_WHOLE
        if wrong.any():
            row = int(wrong.argmax())
            raise UserError(
                BAD_DATA,
                f"{source.path}: the target {target}, row {rows + row + 1:,}: {values[row]} is not a class, since"
                " numbers with a point are not all different from 2^53 on; fix it, or store the labels as texts",
            )
        known = ~np.isnan(values)
        if (values[known] % 1 == 0).all():
            column = pa.array(np.where(known, values, 0).astype(np.int64), mask=~known)
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    try:
        texts = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise UserError(
            BAD_DATA,
            f"{source.path}: the target {target} holds {column.type}; its values must be texts, numbers or true"
            " and false",
        ) from None
    lacks = pc.or_kleene(pc.is_null(texts), pc.equal(texts, ""))
    if pc.any(lacks).as_py():
        row = rows + pc.index(lacks, True).as_py() + 1
        raise UserError(
            BAD_DATA,
            f"{source.path}: row {row:,} has no value in the target {target}; {fix}",
        )
    return texts


def kind_of_type(kind: pa.DataType) -> str:
    """Of a Parquet column: its type says what it is, but for texts."""
    if isinstance(kind, pa.DictionaryType):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numeric"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "datetime"
    return "text" if holds_texts(kind) else "nested"


def has_zone(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.DictionaryType):
        kind = kind.value_type
    return pa.types.is_timestamp(kind) and kind.tz is not None


def floats(column: pa.Array) -> NDArray[np.float64]:
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    values: NDArray[np.float64] = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values  # a null becomes NaN


def converted(
    source: Source,
    name: str,
    kind: str,
    column: pa.Array,
    rows: int,
    date_format: str | None = None,
    missing: Sequence[str] | None = None,
) -> pa.Array:
    """A column of a block as its kind has it; rows: that came before the block. Raises UserError, naming row and value.

    date_format: how dates are written, if that is known. missing: texts for no value, where they
    are not those of the source.
    """
    typed = kind_of_type(column.type) if source.typed else None
    learned = missing is not None  # the column's kind is that of a model, and stands fast
    if typed == "nested":
        if kind in CARRIED:
            return pa.nulls(len(column), pa.string())
        raise UserError(
            BAD_DATA, f"{source.path}: column {name} holds {column.type}; store one value in each row, as {kind}"
        )
    if kind == "numeric":
        values = floats(column) if typed in ("numeric", "boolean") else None
        if values is None:
            texts = source.texts(column, missing)
            form = source.forms.of(name, texts)
            values = to_numbers(texts, form)
            if values is None:
                what = f"a number with {form.unit}" if form.unit else "a number"
                text = texts[row := _first(texts, lambda some: to_numbers(some, form))].as_py()
                if form.fits(text):
                    raise UserError(
                        BAD_DATA,
                        f"{source.path}: column {name}, row {rows + row + 1:,}: {text!r} is closer to 0 than a number"
                        " of 64 bits can be; write 0",
                    )
                raise _no(source, name, texts, rows, what, lambda some: to_numbers(some, form), learned)
        wrong = np.abs(values) > LARGEST
        if wrong.any():
            row = int(wrong.argmax())
            raise UserError(
                BAD_DATA,
                f"{source.path}: column {name}, row {rows + row + 1:,}: {values[row]} is not a finite number below"
                " 3.4e38; fix it, or leave the row out",
            )
        return pa.array(values, pa.float64(), from_pandas=True)
    if kind == "datetime" and typed == "datetime":
        if date_format and has_zone(column.type) != (date_format == ZONED):
            row = pc.index(pc.is_valid(column), True).as_py()
            if row >= 0:
                raise UserError(
                    BAD_DATA,
                    f"{source.path}: column {name}, row {rows + row + 1:,}: a {column.type} is not"
                    f" {TIMES[date_format]}; bring the column so",
                )
        return _microseconds(source, name, column, rows, learned)
    if kind == "boolean" and typed == "boolean":
        return column
    texts = source.texts(column, missing)
    if kind == "boolean":
        truths = to_truths(texts)
        if truths is None:
            raise _no(source, name, texts, rows, "true or false (yes, no, 1 and 0 will do)", to_truths, learned)
        return truths
    if kind == "datetime":
        times = to_times(texts, date_format)
        if times is None:
            raise _no(source, name, texts, rows, TIMES[date_format], lambda some: to_times(some, date_format), learned)
        return times
    return texts.dictionary_encode().cast(CATEGORY) if kind == "categorical" else texts


def _microseconds(source: Source, name: str, column: pa.Array, rows: int, learned: bool) -> pa.TimestampArray:
    """Timestamps and dates of any unit; nanoseconds are cut, and what is out of range is none."""
    options = pc.CastOptions(pa.timestamp("us"), allow_time_truncate=True)

    def times(values: pa.Array) -> pa.TimestampArray | None:
        try:
            return pc.cast(values, options=options)
        except pa.ArrowInvalid:
            return None

    converted = times(column)
    if converted is None:
        row = _first(column, times)
        fix = "fix it, or leave the row out" if learned else "fix it, or list the column in create.columns.ignored"
        value = column.dictionary_decode()[row] if isinstance(column, pa.DictionaryArray) else column[row]
        raise UserError(
            BAD_DATA,
            f"{source.path}: column {name}, row {rows + row + 1:,}: {value.value} as {value.type} is not a date up to"
            f" the year 294,246; {fix}",
        )
    return converted


def _no(
    source: Source,
    name: str,
    texts: pa.StringArray,
    rows: int,
    what: str,
    parse: Callable[[pa.StringArray], Any],
    learned: bool,
) -> UserError:
    """The fault of the first text that is not what its column's kind says, or does not go with those before it."""
    row = _first(texts, parse)
    if not learned:
        fix = "fix it, add it to create.reading.missing, or change the column's kind in create.columns"
    else:
        fix = "fix it, or leave the row out" if source.typed else "fix it, or add it to create.reading.missing"
    text = texts[row].as_py()
    return UserError(BAD_DATA, f"{source.path}: column {name}, row {rows + row + 1:,}: {text!r} is not {what}; {fix}")


def _first(values: pa.Array, parse: Callable[[pa.Array], Any]) -> int:
    """The row of the first value that cannot be parsed together with those before it."""
    return bisect_left(range(len(values)), True, key=lambda row: parse(values[: row + 1]) is None)
