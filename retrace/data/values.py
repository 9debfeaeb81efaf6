"""What the values of raw columns mean, to who reads tables and to who prepares them for the network: numbers (float64,
NaN where a value is missing), categories, truth words and dates.

A date becomes numbers that one can explain: days since 1970-01-01, weekday (Monday is 0), month and hour. How its texts
are written is a fact of the column, found in the table that the model was made from: with a zone or without one, or
with the day or the month first. A time that is written otherwise is refused, since it would be another time.
"""

import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Texts of truth values, in small letters.
TRUE, FALSE = ("true", "yes", "y", "t", "1"), ("false", "no", "n", "f", "0")

# Texts that pandas takes for missing values.
UNREAD = {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"}
UNREAD |= {"NA", "NULL", "NaN", "None", "n/a", "nan", "null"}

DAY = 86_400_000_000  # microseconds

PLAIN, ZONED, DAY_FIRST, MONTH_FIRST = "without a zone", "with a zone", "day first", "month first"
# What a time must be, by how those of its column are written.
TIMES = {
    None: "a date or time like 2026-01-31 or 2026-01-31T12:30:00, all with a zone or none",
    PLAIN: "a date or time like 2026-01-31 or 2026-01-31T12:30:00, without a zone as the others are",
    ZONED: "a date or time like 2026-01-31T12:30:00Z, with a zone as the others are",
    DAY_FIRST: "a date or time like 31/01/2026 or 31/01/2026 12:30, the day first as the others are",
    MONTH_FIRST: "a date or time like 01/31/2026 or 01/31/2026 12:30, the month first as the others are",
}
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")

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


def to_times(texts: pa.StringArray, date_format: str | None = None) -> pa.TimestampArray | None:
    """Dates and times as UTC; None where one of them is not a time, or they are not written alike.

    date_format: how they must be written; without one, ISO 8601, all with a zone or none. What begins with the year has
    one reading only and is taken in any format without a zone.
    """
    naive, utc = pa.timestamp("us"), pa.timestamp("us", "UTC")
    kinds = (utc,) if date_format == ZONED else (naive,) if date_format else (naive, utc)
    for written in (texts,) if date_format is None else (texts, _iso(texts, date_format)):
        for kind in kinds:
            try:
                return pc.cast(written, kind).cast(naive)
            except pa.ArrowInvalid:
                continue
    return None


def _iso(texts: pa.StringArray, date_format: str | None) -> pa.StringArray:
    """The year first, two digits of month and day, and no digits behind microseconds."""
    turned = {DAY_FIRST: r"\3-\2-\1\4", MONTH_FIRST: r"\3-\1-\2\4"}.get(date_format or "")
    if turned:
        texts = pc.replace_substring_regex(texts, r"^(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(\D|$)", turned)
    texts = pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")
    texts = pc.replace_substring_regex(texts, r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})(\D|$)", r"\1-\2-\3\4")
    texts = pc.replace_substring_regex(texts, r"^(\d{4})-(\d)-", r"\1-0\2-")
    return pc.replace_substring_regex(texts, r"^(\d{4}-\d{2})-(\d)(\D|$)", r"\1-0\2\3")


def spelled(text: str) -> bool:
    """Whether a typed column would give this text of a number or a truth value in other letters: 007, 1.50, True."""
    if NUMBER.fullmatch(text):
        return text != plain(float(text))
    return text.lower() in ("true", "false") and text not in ("true", "false")


def plain(value: float) -> str:
    """The text of a number: a whole one has no fraction, also where a gap made its column float."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(value)


def _floats(column: pa.Array) -> Floats:
    values: Floats = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)  # a null: NaN
    return values


def one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The same column in one piece."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    if isinstance(column.type, pa.DictionaryType):
        column = column.unify_dictionaries()
    return column.combine_chunks()
