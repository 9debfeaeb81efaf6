"""What is learned of a column while its rows go by."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrace.data.groups import shuffled_hash
from retrace.data.numbers import Form, to_numbers
from retrace.data.values import DAY_FIRST, MONTH_FIRST, PLAIN, ZONED

_CLOCK = r"[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?"
_ZONE = r"(Z|[-+]\d{2}(:?\d{2})?)"
# The year first: ISO 8601, or nearly so; and last, with the day or the month before it.
_DATE = rf"^\d{{4}}([-/.])\d{{1,2}}[-/.]\d{{1,2}}({_CLOCK}{_ZONE}?)?$"
_ZONED = rf"^\d{{4}}-\d{{2}}-\d{{2}}{_CLOCK}{_ZONE}$"
_TURNED = rf"^\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{4}}({_CLOCK})?$"
_OVER_12 = r"(1[3-9]|2\d|3[01])"
# Distinct values of a column that are kept; one with more is not a small category, whatever else it is.
MOST_DISTINCT = 10_000
OUTERMOST = 5  # numbers of a column whose rows are counted, at each end
EXAMPLES = 200  # texts of a column that are kept, whatever else it holds


@dataclass
class Profile:
    """What a column was seen to hold.

    values: rows of each distinct text, unless there are too many. numbers: rows that are one; oddest: row and text of
    the first that is none. low, high: of the numbers. counting: each number is the one before plus 1; rising, falling:
    each is above, or below, the one before. seal: the sum of hashes of whole numbers, which tells whether they are a
    range in any order.
    dates: rows of one with the year first, zoned: of them those with a zone; turned: of one with the year last;
    days_first, months_first: of them those that can be read in one way only. zeros: a number that begins with 0, or has
    an E without a sign, as codes have.
    examples: some of the first texts. lowest, highest: rows of each of the outermost numbers, from the end inwards.
    step: the usual distance between neighbours among the first. pairs: which value stood beside which label, unless
    there are too many.
    """

    name: str
    typed: str | None = None
    rows: int = 0
    missing: int = 0
    values: dict[str, int] | None = field(default_factory=dict)
    numbers: int = 0
    whole: bool = True
    lowest: dict[float, int] = field(default_factory=dict)
    highest: dict[float, int] = field(default_factory=dict)
    step: float = np.nan
    counting: bool = True
    rising: bool = True
    falling: bool = True
    seal: int = 0
    last: float = np.nan
    dates: int = 0
    zoned: int = 0
    turned: int = 0
    days_first: int = 0
    months_first: int = 0
    zeros: str | None = None
    examples: list[str] = field(default_factory=list)
    oddest: tuple[int, str] | None = None
    pairs: set[tuple[str, str]] | None = field(default_factory=set)
    counted: int = 0

    @property
    def present(self) -> int:
        return self.rows - self.missing

    @property
    def low(self) -> float:
        return next(iter(self.lowest), np.inf)

    @property
    def high(self) -> float:
        return next(iter(self.highest), -np.inf)

    @property
    def distinct(self) -> int:
        """Different values, or so many at least."""
        if self.values is not None:
            return len(self.values)
        return self.present if self.rising or self.falling or self.dense else MOST_DISTINCT

    @property
    def dense(self) -> bool:
        """Whether it has each whole number from the lowest to the highest once, in any order."""
        if not self.whole or not self.numbers == self.high - self.low + 1 < 2**53:
            return False
        return self.seal % 2**64 == _sealed(np.arange(self.low, self.high + 1))

    @property
    def date_format(self) -> str | None:
        """How the dates of the column are written; None where it is not one of dates, or they can be read two ways."""
        if self.typed == "datetime":
            return ZONED if self.zoned else PLAIN
        if not self.present or self.dates + self.turned < self.present:
            return None
        if not self.turned:
            # The few others are refused by their row.
            return ZONED if 2 * self.zoned > self.present else PLAIN
        if self.zoned or bool(self.days_first) == bool(self.months_first):
            return None
        return DAY_FIRST if self.days_first else MONTH_FIRST

    @property
    def respelled(self) -> bool:
        """Whether whole numbers differ in nothing but the zeros before them."""
        if self.zeros is None or self.values is None:
            return False
        codes = [text for text in self.values if text.isdecimal()]
        return len({code.lstrip("0") for code in codes}) < len(codes)

    def add(self, texts: pa.StringArray, form: Form, labels: pa.DictionaryArray | None) -> None:
        """Look at the next rows of a column of texts, None where a value is missing."""
        start = self.rows
        self.rows += len(texts)
        self.missing += texts.null_count
        whole = to_numbers(texts, form) if self.numbers + self.missing == start + texts.null_count else None
        if whole is not None:
            self._add_numbers(whole)
            if self.zeros is None:
                self._find_zeros(texts, whole)
            if self.values is None:
                return
        coded = texts.dictionary_encode()
        distinct = coded.dictionary
        counts = counts_of(coded)
        if whole is None:
            self._add_texts(distinct, counts, texts, start, form)
        self._count(distinct, counts)
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
        self._count(texts, counts_of(coded))
        if labels is not None and self.pairs is not None:
            self._pair(pa.DictionaryArray.from_arrays(coded.indices, texts), labels)

    def _add_numbers(self, values: NDArray[np.float64]) -> None:
        kept = values[~np.isnan(values)]
        self.numbers += len(kept)
        if not len(kept):
            return
        self.whole = self.whole and bool((kept == np.floor(kept)).all())
        self._add_ends(kept)
        if self.whole and max(-self.low, self.high) < 2**53:
            self.seal += _sealed(kept)
        if self.rising or self.falling or self.counting:
            with np.errstate(invalid="ignore"):  # of two infinities
                steps = np.diff(kept, prepend=kept[0] - 1 if np.isnan(self.last) else self.last)
            self.rising = self.rising and bool((steps > 0).all())
            # The first number has none before it.
            self.falling = self.falling and bool((steps[int(np.isnan(self.last)) :] < 0).all())
            self.counting = self.counting and len(kept) == len(values) and bool((steps == 1).all())
        self.last = float(kept[-1])

    def _add_ends(self, kept: NDArray[np.float64]) -> None:
        if np.isnan(self.step):
            steps = np.diff(np.unique(kept[:MOST_DISTINCT])[1:-1])
            self.step = float(np.median(steps)) if len(steps) > 1 else np.nan
        self.lowest = dict(sorted(_added(self.lowest, _outermost(kept)).items())[:OUTERMOST])
        highest = _added(self.highest, {-value: rows for value, rows in _outermost(-kept).items()})
        self.highest = dict(sorted(highest.items(), reverse=True)[:OUTERMOST])

    def _find_zeros(self, texts: pa.StringArray, values: NDArray[np.float64]) -> None:
        if not self.whole:
            # Of fractions most begin with 0 as they must.
            texts = texts.filter(pc.and_(pc.starts_with(texts, "0"), pa.array(values >= 1)))
        place = pc.index(pc.match_substring_regex(texts, r"^(0\d+([.,]\d*)?|\d+[eE]\d+)$"), True).as_py()
        if place >= 0:
            self.zeros = texts[place].as_py()

    def _add_texts(
        self, distinct: pa.StringArray, counts: NDArray[np.int64], texts: pa.StringArray, start: int, form: Form
    ) -> None:
        self.whole = self.rising = self.falling = self.counting = False
        for text, count in zip(distinct.to_pylist(), counts.tolist(), strict=True):
            if form.fits(text):
                self.numbers += count
            elif self.oddest is None:
                self.oddest = (start + pc.index(texts, text).as_py() + 1, text)
        if len(self.examples) < EXAMPLES:
            self.examples += distinct.slice(0, EXAMPLES).to_pylist()
        day, month = rf"^{_OVER_12}[-/.]", rf"^\d{{1,2}}[-/.]{_OVER_12}[-/.]"
        self.dates += count_matching(distinct, counts, _DATE)
        self.zoned += count_matching(distinct, counts, _ZONED)
        if turned := count_matching(distinct, counts, _TURNED):
            self.turned += turned
            self.days_first += count_matching(distinct, counts, day)
            self.months_first += count_matching(distinct, counts, month)

    def _count(self, distinct: pa.StringArray, counts: NDArray[np.int64]) -> None:
        if self.values is None:
            return
        for text, count in zip(distinct.to_pylist(), counts.tolist(), strict=True):
            self.values[text] = self.values.get(text, 0) + count
        if len(self.values) > MOST_DISTINCT:
            self.values = self.pairs = None
            self.counted = self.present

    def _pair(self, coded: pa.DictionaryArray, labels: pa.DictionaryArray) -> None:
        assert self.pairs is not None
        width = len(labels.dictionary) + 1
        seen = np.unique((codes_of(coded) + 1) * width + codes_of(labels) + 1)
        texts, names = coded.dictionary.to_pylist(), labels.dictionary.to_pylist()
        self.pairs |= {("" if code < width else texts[code // width - 1], names[code % width - 1]) for code in seen}


def _sealed(values: NDArray[np.float64]) -> int:
    """Of whole numbers: the sum of their hashes, modulo 2^64."""
    return int(shuffled_hash(values.astype(np.int64).view(np.uint64), 0).sum())


def _outermost(values: NDArray[np.float64]) -> dict[float, int]:
    """Rows of each of the lowest values."""
    found: dict[float, int] = {}
    while len(values) and len(found) < OUTERMOST:
        low = values.min()
        rest = values[values != low]
        found[float(low)] = len(values) - len(rest)
        values = rest
    return found


def _added(one: dict[float, int], other: dict[float, int]) -> dict[float, int]:
    return {value: one.get(value, 0) + other.get(value, 0) for value in one.keys() | other.keys()}


def count_matching(distinct: pa.StringArray, counts: NDArray[np.int64], pattern: str) -> int:
    """Rows of the texts that match."""
    return int(counts[mask_of(pc.match_substring_regex(distinct, pattern))].sum())


def codes_of(coded: pa.DictionaryArray) -> NDArray[np.int64]:
    codes: NDArray[np.int64] = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def counts_of(coded: pa.DictionaryArray) -> NDArray[np.int64]:
    """Rows of each value, those without one left out."""
    counts: NDArray[np.int64] = np.bincount(codes_of(coded) + 1, minlength=len(coded.dictionary) + 1)[1:]
    return counts


def mask_of(array: pa.BooleanArray) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = array.fill_null(False).to_numpy(zero_copy_only=False)
    return mask
