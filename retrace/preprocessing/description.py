"""The model's preprocessing as plain data: its numbers, differences and categories, as models/model.json has them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from retrace.data.values import PARTS, TIMES, UNREAD, label


@dataclass(frozen=True)
class Number:
    """One number of a row: of `column`, or a `part` of a date.

    A missing one becomes `fill`, and with `indicator` another input says so; without a fill it is refused. Then come
    the ranks among `quantiles`, if there are any, and (x - center) / spread. Of what comes out the network makes
    another input for each bin between the `edges`, which ascend; none of them: no bins. What lies beyond them counts as
    the last of them: one value far from all training rows would else move the sums without limit.
    date_format: of a date: how it was written in training (see data/values.py), and must be; None: not known.
    decimal, percent: how the texts of the column were written in training: the sign before the fraction, and whether as
    hundredths. Texts that come to a served model are held against them.
    """

    column: str
    part: str | None = None
    fill: float | None = None
    indicator: bool = False
    quantiles: list[float] | None = None
    center: float = 0.0
    spread: float = 1.0
    edges: list[float] = field(default_factory=list)
    date_format: str | None = None
    decimal: str = "."
    percent: bool = False

    def __post_init__(self) -> None:
        numbers = [self.center, self.spread, *(self.quantiles or ()), *([] if self.fill is None else [self.fill])]
        if not all(isinstance(number, int | float) and np.isfinite(number) for number in [*numbers, *self.edges]):
            raise TypeError(f"a number of column {self.column!r} is none")
        if len(self.edges) == 1 or not all(low < high for low, high in pairwise(self.edges)):
            raise TypeError(f"the edges of column {self.column!r} do not ascend")
        if not isinstance(self.column, str) or self.part not in (None, *PARTS) or self.date_format not in TIMES:
            raise TypeError(f"{self.column!r} is not a column with a part {self.part!r} written {self.date_format!r}")
        if self.decimal not in (".", ",") or not isinstance(self.percent, bool):
            raise TypeError(f"the numbers of column {self.column!r} are written in no known way")

    @property
    def name(self) -> str:
        return label(self.column, self.part)


@dataclass(frozen=True)
class Residual:
    """What one number has that another one, which goes with it, does not explain: the residual of a line.

    Of the numbers at places `first` and `second`, as the network sees them:

        ((first - slope * second) - center) / spread, kept between `least` and `most`; 0 where either was missing

    Where a number is missing that no training row lacked, no input says so: it becomes what the line says of it, so
    that its residual is 0, too (see `bridge`).

    Two lengths of the same thing, say, differ by little, and that little may be what decides: to see it, a network
    would have to learn large weights that almost cancel each other.
    """

    first: int
    second: int
    slope: float
    center: float
    spread: float
    least: float
    most: float

    def __post_init__(self) -> None:
        if not all(isinstance(place, int) and place >= 0 for place in (self.first, self.second)):
            raise TypeError("a residual is of no number")
        known = np.finfo(np.float32)
        constants = np.abs([self.slope, self.center, self.spread, self.least, self.most])
        if not (constants <= known.max).all() or self.spread < known.tiny:
            raise TypeError("a number of a residual is none, or beyond float32")


@dataclass(frozen=True)
class Category:
    """A code for each of `values`, from 0; then one for missing ones and one for all others.

    missing: their "own" code, that of the "other" ones where they were too few for one, or "none" where training rows
    lacked none: then, as unknown ones where no training row was "other", they have the code `codes`, which the network
    has learned nothing of.
    typed: whether a column of numbers or truth values has the same texts; where training had 007 or True beside them,
    such a column no longer tells which of them it had, and is refused.
    embedded: whether a vector is learned for each code; else each is an input of its own, which is 1 or 0 (one-hot).
    hidden: texts that were too rare for a code, and that a reader may take for missing values.
    """

    column: str
    values: list[str]
    missing: str
    other: bool
    embedded: bool = False
    typed: bool = True
    hidden: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not all(isinstance(text, str) for text in (self.column, *self.values, *self.hidden)):
            raise TypeError(f"column {self.column!r} or a value of it is not a text")

    @property
    def unread(self) -> str | None:
        """Why a missing value is refused: pandas makes one of a text that training rows had, if so."""
        texts = sorted(UNREAD & {*self.values, *self.hidden})
        reads = "which pandas reads as a missing value (but for keep_default_na=False)"
        return f"may be the category {texts[0]!r}, {reads}" if texts else None

    @property
    def codes(self) -> int:
        return len(self.values) + (self.missing == "own") + self.other


@dataclass(frozen=True)
class Preprocessing:
    """What the network sees: numbers, indicators of the missing ones, codes of categories, the embedded ones last.

    Truth values are the last numbers. Of the numbers the network makes the residuals, as it makes the bins.
    missing: texts that stood for a missing value in the table of the training rows.
    """

    numbers: list[Number]
    categories: list[Category] = field(default_factory=list)
    residuals: list[Residual] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if any(max(each.first, each.second) >= len(self.numbers) for each in self.residuals):
            raise TypeError("a residual is of no number")

    @property
    def indicators(self) -> dict[int, int]:
        """Place of a number that may be missing -> that of the input which says so."""
        lacking = [place for place, number in enumerate(self.numbers) if number.indicator]
        return {place: indicator for indicator, place in enumerate(lacking, len(self.numbers))}

    @property
    def paired(self) -> set[int]:
        """Places of the numbers that have a residual."""
        return {place for each in self.residuals for place in (each.first, each.second)}

    @property
    def width(self) -> int:
        """Columns of what `encode` gives."""
        return len(self.numbers) + sum(number.indicator for number in self.numbers) + len(self.categories)

    def category(self, column: str) -> Category:
        return next(category for category in self.categories if category.column == column)

    def number(self, column: str) -> Number:
        return next(number for number in self.numbers if number.column == column)

    @property
    def date_formats(self) -> dict[str, str | None]:
        """How the dates of each column of them are written."""
        return {number.column: number.date_format for number in self.numbers if number.part}

    @property
    def edges(self) -> list[list[float]]:
        """Of the bins of each number."""
        return [number.edges for number in self.numbers]

    @property
    def one_hot(self) -> list[int]:
        """Codes of each category that has an input for each."""
        return [category.codes for category in self.categories if not category.embedded]

    @property
    def embedded(self) -> list[int]:
        """Codes of each category that has a vector for each."""
        return [category.codes for category in self.categories if category.embedded]

    def content(self) -> dict[str, Any]:
        """For JSON; what is as it is without being mentioned is not."""
        content = asdict(self)
        for number in content["numbers"]:
            if not number["edges"]:
                del number["edges"]
            if number["date_format"] is None:
                del number["date_format"]
            if number["decimal"] == ".":
                del number["decimal"]
            if not number["percent"]:
                del number["percent"]
        for category in content["categories"]:
            if category["typed"]:
                del category["typed"]
            if not category["hidden"]:
                del category["hidden"]
        for name in ("residuals", "missing"):
            if not content[name]:
                del content[name]
        return content

    @staticmethod
    def of(content: Mapping[str, Any]) -> "Preprocessing":
        """From JSON, as `content` gives it."""
        return Preprocessing(
            [Number(**each) for each in content["numbers"]],
            [Category(**each) for each in content["categories"]],
            [Residual(**each) for each in content.get("residuals", [])],
            content.get("missing", []),
        )


class Unusable(ValueError):  # noqa: N818 - of the value, not of the program
    """A value that the model cannot take: column, place in the rows that were given (from 0), and the value."""

    def __init__(self, column: str, row: int, value: Any, rule: str):
        super().__init__(f"column {column!r}, row {row + 1}: {value} {rule}")
        self.column, self.row, self.value, self.rule = column, row, value, rule
