"""What the columns of a table are: each one is watched block by block, and its kind follows from what it holds.

Where every text is a number, a truth value or a date, the column is of that kind; numbers with a few other texts among
them are a fault, not a category; a text of its own in nearly every row, or a count of the rows, names the row.
"""

import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.datasets.numbers import Form, to_numbers
from stages.preprocessing.columns import FALSE, TRUE

# What the network can learn from; the others stay in the data set for split and evaluate.
FEATURES = ("numeric", "categorical", "boolean", "datetime")
CARRIED = ("identifier", "ignored")

_TRUTHS = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})
_DATE = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[-+]\d{2}:?\d{2})?)?"
_ID = re.compile(r"(^|[_\W])(id|uuid|guid|index|key|rownum|row)$|^(id|uuid)[_\W]|[a-z]Id$", re.IGNORECASE)

# Distinct values of a column that are kept; one with more is no small category, whatever else it is.
MOST_DISTINCT = 10_000
# A column of texts whose rows are this often unlike each other names the row, or is free text.
NEARLY_UNIQUE = 0.5
FEWEST_ROWS = 20  # of a table; with fewer, nothing can be said


@dataclass
class Profile:
    """What a column was seen to hold.

    values: rows of each distinct text, unless there are too many. numbers: rows that are one; oddest: row and text of
    the first that is none. low, high: of the numbers. counting: each number is the one before plus 1.
    pairs: which value stood beside which label, unless there are too many.
    """

    name: str
    typed: str | None = None
    rows: int = 0
    missing: int = 0
    values: dict[str, int] | None = field(default_factory=dict)
    numbers: int = 0
    whole: bool = True
    low: float = np.inf
    high: float = -np.inf
    counting: bool = True
    rising: bool = True
    last: float = np.nan
    dates: int = 0
    oddest: tuple[int, str] | None = None
    pairs: set[tuple[str, str]] | None = field(default_factory=set)

    @property
    def present(self) -> int:
        return self.rows - self.missing

    def add(self, texts: pa.StringArray, form: Form, labels: pa.DictionaryArray | None) -> None:
        """Look at the next rows of a column of texts, None where a value is missing."""
        start = self.rows
        self.rows += len(texts)
        self.missing += texts.null_count
        whole = to_numbers(texts, form) if self.numbers + self.missing == start + texts.null_count else None
        if whole is not None:
            self._add_numbers(whole)
            if self.values is None:
                return
        coded = texts.dictionary_encode()
        unlike = coded.dictionary
        counts = _counts(coded)
        if whole is None:
            self._add_texts(unlike, counts, texts, start, form)
        self._count(unlike, counts)
        if labels is not None and self.pairs is not None:
            self._pair(coded, labels)

    def add_numbers(self, values: NDArray[np.float64], labels: pa.DictionaryArray | None) -> None:
        """Look at the next rows of a column that is numeric by its type, NaN where a value is missing."""
        self.rows += len(values)
        self.missing += int(np.isnan(values).sum())
        self._add_numbers(values)
        if self.values is None:
            return
        coded = pa.array(values, from_pandas=True).dictionary_encode()
        texts = pa.array([repr(value) for value in coded.dictionary.to_pylist()], pa.string())
        self._count(texts, _counts(coded))
        if labels is not None and self.pairs is not None:
            self._pair(pa.DictionaryArray.from_arrays(coded.indices, texts), labels)

    def _add_numbers(self, values: NDArray[np.float64]) -> None:
        kept = values[~np.isnan(values)]
        self.numbers += len(kept)
        if not len(kept):
            return
        self.whole = self.whole and bool((kept == np.floor(kept)).all())
        self.low, self.high = min(self.low, float(kept.min())), max(self.high, float(kept.max()))
        if self.rising or self.counting:
            with np.errstate(invalid="ignore"):  # of two infinities
                steps = np.diff(kept, prepend=kept[0] - 1 if np.isnan(self.last) else self.last)
            self.rising = self.rising and bool((steps > 0).all())
            self.counting = self.counting and len(kept) == len(values) and bool((steps == 1).all())
        self.last = float(kept[-1])

    def _add_texts(
        self, unlike: pa.StringArray, counts: NDArray[np.int64], texts: pa.StringArray, start: int, form: Form
    ) -> None:
        self.whole = self.rising = self.counting = False
        for text, count in zip(unlike.to_pylist(), counts.tolist(), strict=True):
            if form.fits(text):
                self.numbers += count
            elif self.oddest is None:
                self.oddest = (start + pc.index(texts, text).as_py() + 1, text)
        self.dates += int(counts[_mask(pc.match_substring_regex(unlike, f"^{_DATE}$"))].sum())

    def _count(self, unlike: pa.StringArray, counts: NDArray[np.int64]) -> None:
        if self.values is None:
            return
        for text, count in zip(unlike.to_pylist(), counts.tolist(), strict=True):
            self.values[text] = self.values.get(text, 0) + count
        if len(self.values) > MOST_DISTINCT:
            self.values = self.pairs = None

    def _pair(self, coded: pa.DictionaryArray, labels: pa.DictionaryArray) -> None:
        assert self.pairs is not None
        width = len(labels.dictionary) + 1
        seen = np.unique((_codes(coded) + 1) * width + _codes(labels) + 1)
        texts, names = coded.dictionary.to_pylist(), labels.dictionary.to_pylist()
        self.pairs |= {("" if code < width else texts[code // width - 1], names[code % width - 1]) for code in seen}


def names_rows(column: str) -> bool:
    """Whether a column is called like one that only names the row."""
    return bool(_ID.search(column))


def kind_of(profile: Profile) -> str:
    """The kind of a column, or "mixed" for numbers with other texts among them."""
    if not profile.present:
        return "ignored"
    if profile.typed == "numeric" or (profile.typed is None and profile.numbers == profile.present):
        named = names_rows(profile.name) and profile.whole and profile.rising
        counts = profile.rows >= FEWEST_ROWS and profile.whole and profile.counting
        return "identifier" if counts or named else "numeric"
    if profile.typed in FEATURES:
        return profile.typed
    if profile.dates == profile.present:
        return "datetime"
    if profile.values is not None and {text.lower() for text in profile.values} in _TRUTHS:
        return "boolean"
    if profile.typed is None and profile.numbers >= profile.present / 2:
        return "mixed"
    if profile.values is None or (
        profile.present >= FEWEST_ROWS and len(profile.values) > NEARLY_UNIQUE * profile.present
    ):
        return "identifier"
    return "categorical"


def to_truths(texts: pa.StringArray) -> pa.BooleanArray | None:
    lower = pc.utf8_lower(texts)
    true, false = (pc.is_in(lower, pa.array(words)) for words in (TRUE, FALSE))
    known = pc.or_(pc.or_(true, false), pc.is_null(texts))
    return pc.if_else(pc.is_null(texts), None, true) if pc.all(known).as_py() in (True, None) else None


def to_times(texts: pa.StringArray) -> pa.TimestampArray | None:
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return pc.cast(texts, kind).cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            continue
    return None


def _codes(coded: pa.DictionaryArray) -> NDArray[np.int64]:
    codes: NDArray[np.int64] = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _counts(coded: pa.DictionaryArray) -> NDArray[np.int64]:
    """Rows of each value, those without one left out."""
    counts: NDArray[np.int64] = np.bincount(_codes(coded) + 1, minlength=len(coded.dictionary) + 1)[1:]
    return counts


def _mask(array: pa.BooleanArray) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = array.fill_null(False).to_numpy(zero_copy_only=False)
    return mask
