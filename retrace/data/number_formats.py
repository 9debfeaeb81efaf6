"""How the numbers of a table's columns are written: decimal sign, unit, and what leaves both open."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from retrace.data.numbers import ANY_NUMBER, PLAIN, SAMPLE_ROWS, UNIT, Form, form_of, to_numbers
from retrace.runtime.errors import BAD_DATA, UserError


@dataclass
class _Seen:
    """What the texts of a column tell. decided: decimal sign -> a text that has no other reading; open: a text that has
    two; whole: numbers without any sign; padded: open ones that end with 0, as no fraction beside whole numbers does.
    """

    present: int = 0
    numbers: int = 0
    decided: dict[str, str] = field(default_factory=dict)
    open: str = ""
    whole: bool = False
    padded: bool = False
    units: Counter[str] = field(default_factory=Counter)

    def add(self, texts: pa.StringArray) -> None:
        for entry in pc.value_counts(texts.drop_null()).to_pylist():
            text, count = entry["values"], entry["counts"]
            self.present += count
            point, comma = (bool(ANY_NUMBER[sign].fullmatch(text)) for sign in ".,")
            if not (point or comma):
                continue
            self.numbers += count
            found = UNIT.search(text)
            self.units[found[0] if found else ""] += count
            if point != comma:
                self.decided.setdefault("." if point else ",", text)
            elif "." in text or "," in text:
                self.open = self.open or text
                self.padded = self.padded or bool(re.search(r"0\D*$", text))
            else:
                self.whole = True

    @property
    def texts(self) -> bool:
        """Whether its values are something else than numbers."""
        return 2 * self.numbers < self.present

    @property
    def unit(self) -> str:
        return self.units.most_common(1)[0][0] if self.units else ""


class Forms:
    """How the numbers of a table's columns are written: found out when it is asked for, and where it shows.

    blocks: reads the table anew. texts: a column of a block as texts, or None where it has none. decimal: the sign for
    what the file leaves open, "" if none is given. learned: the forms of the table that a model was trained on.
    apart: columns that hold no numbers, whatever they look like.
    """

    def __init__(
        self,
        path: Path,
        blocks: Callable[[], Iterator[pa.RecordBatch]],
        texts: Callable[[pa.Array], pa.StringArray | None],
        decimal: str,
        learned: Mapping[str, Form],
        apart: Collection[str],
    ):
        self._path, self._blocks, self._texts = path, blocks, texts
        self._given, self._learned, self._apart = decimal, learned, apart
        self._known: dict[str, Form] = {}
        self._seen: dict[str, _Seen] | None = None
        self._whole = False  # whether all rows have been looked at

    def of(self, name: str, texts: pa.StringArray) -> Form:
        """The form of a column, of which the texts are the next rows. Raises UserError where it has two readings."""
        if self._seen is None:
            self._look(SAMPLE_ROWS)
        if name not in self._known and not _digits(texts):
            if not self._whole:
                self._look(None)
            # (A Parquet column that holds no texts, times say, was not looked at.)
            if name not in self._known and name in (self._seen or {}):
                raise self._ambiguous(name)
        form = self._known.get(name, PLAIN)
        learned = self._learned.get(name, form)
        units = form.unit, learned.unit
        # Of an amount without a currency nobody can say that it is another one.
        if len({*units}) > 1 and ("%" in units or all(units)) and len(texts) > texts.null_count:
            here, there = (
                f"in {unit.replace('%', 'percent')}" if unit else f"not in {''.join(units).replace('%', 'percent')}"
                for unit in units
            )
            raise UserError(
                BAD_DATA,
                f"{self._path}: column {name} is {here}, and was {there} in training; write it as in training",
            )
        return form

    def written(self) -> dict[str, Form]:
        """Of the columns that were seen to be written in some way."""
        return {name: form for name, form in self._known.items() if self._seen and _tells(self._seen[name])}

    @property
    def decimals(self) -> list[str]:
        """The signs before fractions that were seen."""
        return sorted({form.decimal for form in self.written().values()})

    def _look(self, most: int | None) -> None:
        """Judge the columns by the first rows, or by all."""
        seen: dict[str, _Seen] = {}
        rows, whole = 0, True
        for block in self._blocks():
            if most is not None and rows + block.num_rows > most:
                block, whole = block.slice(0, most - rows), False
            for name, column in zip(block.schema.names, block.columns, strict=True):
                texts = None if most is None and name in self._known else self._texts(column)
                if texts is not None:
                    seen.setdefault(name, _Seen()).add(texts)
            rows += block.num_rows
            if not whole:
                break
        self._whole = self._whole or whole
        self._seen = (self._seen or {}) | seen
        for name, each in seen.items():
            if each.present and each.texts:
                self._known[name] = PLAIN
            elif len(each.decided) == 1:
                self._known[name] = Form(next(iter(each.decided)), each.unit)
        if self._whole:
            self._settle()

    def _settle(self) -> None:
        """What a column leaves open, by the key, by the other columns, or as in training."""
        assert self._seen is not None
        columns = [each for name, each in self._seen.items() if name not in self._apart]
        signs = {sign for each in columns if each.numbers == each.present for sign in each.decided}
        common = next(iter(signs)) if len(signs) == 1 else ""
        for name, seen in self._seen.items():
            if name in self._known:
                continue
            sign = self._given
            if not sign and not seen.decided:
                sign = common
                # A fraction is padded with zeros in all rows or in none.
                if seen.open and sign in seen.open and seen.whole and seen.padded:
                    sign = ""
                if not sign and name in self._learned:
                    sign = self._learned[name].decimal
            if sign or not (seen.open or seen.decided):
                self._known[name] = Form(sign or ".", seen.unit)

    def _ambiguous(self, name: str) -> UserError:
        assert self._seen is not None
        seen = self._seen[name]
        if seen.decided:
            texts = f"{seen.decided['.']!r} with a decimal point and {seen.decided[',']!r} with a decimal comma"
            fix = "write all in one way, set create.reading.decimal to point or comma and add the others to"
            return UserError(
                BAD_DATA,
                f"{self._path}: column {name} holds {texts}; {fix} create.reading.missing, or list the column in"
                " create.columns.categorical",
            )
        sign, other, word = (".", ",", "point") if "." in seen.open else (",", ".", "comma")
        return UserError(
            BAD_DATA,
            f"{self._path}: column {name}: is {seen.open!r} {_read(seen.open, sign)} or {_read(seen.open, other)}?"
            f" each {word} in the column has three digits behind it, and nothing else in the file tells; set"
            " create.reading.decimal to point or comma, the sign before a fraction",
        )


def _read(text: str, decimal: str) -> str:
    values = to_numbers(pa.array([text]), form_of(text, decimal))
    assert values is not None
    return f"{values[0]:.15g}"


def _tells(seen: _Seen) -> bool:
    return not seen.texts and bool(seen.decided or seen.open or seen.unit)


def _digits(texts: pa.StringArray) -> bool:
    """Whether all of them are whole numbers, which look the same in each form."""
    try:
        pc.cast(texts, pa.int64())
    except pa.ArrowInvalid:
        return not pc.any(pc.match_substring_regex(texts, "[^0-9eE+-]")).as_py()
    return True
