"""How the numbers of a column of texts are written, and what they are.

`1.200` is one number to some programs and a thousand times that to others. Which one it is shows in the digits behind
the sign: only where there are three of them, each time, may it divide thousands. So each column is judged by all its
texts, what it leaves open by the other columns of its file, and what they leave open is not guessed.
"""

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SIGNS = {"point": ".", "comma": ","}
# Before and after a number, and between its thousands. Of the blanks most do not break a line.
_MINUS = "-\u2212\u2013\u2010\u2011"
_BLANK = "[ \u00a0\u2007\u2009\u202f]"
_APOSTROPHE = "['\u2019]"

_CURRENCY = (
    "(?:[A-Z]{0,2}[$\u00a2-\u00a5\u058f\u060b\u09f2\u09f3\u0e3f\u17db\u20a0-\u20c0\ufdfc\ufe69\uff04\uffe0\uffe1\uffe5\uffe6]"
    "|EUR|USD|GBP|CHF|JPY)"
)

# Enough to see how most columns are written; of those it leaves open all rows are looked at.
SAMPLE_ROWS = 1000


@dataclass(frozen=True)
class Form:
    """decimal: the sign before the fraction. unit: what stands at each number: a currency, or %, a hundredth."""

    decimal: str = "."
    unit: str = ""

    def fits(self, text: str) -> bool:
        return bool(_pattern(self).fullmatch(text))


PLAIN = Form()


@cache
def _bodies(decimal: str) -> tuple[str, str]:
    """Digits with groups of thousands and a fraction; and those with an exponent, which have no groups."""
    other = re.escape("," if decimal == "." else ".")
    sign = re.escape(decimal)
    groups = "|".join(f"(?:{each}[0-9]{{3}})+" for each in (other, _BLANK, _APOSTROPHE))
    indian = f"[1-9][0-9]?(?:{other}[0-9]{{2}})+{other}[0-9]{{3}}"
    plain = f"(?:[0-9]+(?:{sign}[0-9]*)?|{sign}[0-9]+)"
    grouped = f"(?:(?:[1-9][0-9]{{0,2}}(?:{groups})|{indian})(?:{sign}[0-9]*)?)"
    return f"(?:{plain}|{grouped})", f"{plain}[eE][-+]?[0-9]+"


def _regex(decimal: str, unit: str) -> str:
    """What a number with this decimal sign and unit looks like, to Python's regular expressions and to Arrow's."""
    body, scientific = _bodies(decimal)
    minus = f"[{_MINUS}+]?"
    if not unit:
        return f"{minus}(?:{body}|{scientific})|\\({body}\\)"
    after = f"{minus}{body}{_BLANK}?{unit}|\\({body}{_BLANK}?{unit}\\)"
    if unit == "%":
        return f"{after}|{minus}%{_BLANK}?{body}"
    return (
        f"{after}|{minus}{_BLANK}?{unit}{_BLANK}?{minus}{body}|\\({unit}{_BLANK}?{body}\\)|{unit}{_BLANK}?\\({body}\\)"
    )


@cache
def _pattern(form: Form) -> re.Pattern[str]:
    return re.compile(_regex(form.decimal, re.escape(form.unit)))


ANY_NUMBER = {
    sign: re.compile("|".join(f"(?:{_regex(sign, unit)})" for unit in ("", "%", _CURRENCY))) for sign in SIGNS.values()
}

UNIT = re.compile(f"%|{_CURRENCY}")


def form_of(text: str, decimal: str) -> Form:
    """That of a number with this decimal sign, and with the unit that stands at it."""
    found = UNIT.search(text)
    return Form(decimal, found[0] if found else "")


def is_number(text: str) -> bool:
    """Whether a text is a number in some form."""
    return any(each.fullmatch(text) for each in ANY_NUMBER.values())


def to_numbers(texts: pa.StringArray, form: Form) -> NDArray[np.float64] | None:
    """Texts as numbers, NaN where a value is missing; None if one of them is not a number of this form."""
    if form == PLAIN:
        values = _cast(texts)
        if values is not None:
            return values
    fits = pc.match_substring_regex(texts, f"^(?:{_pattern(form).pattern})$")
    if pc.any(pc.invert(fits)).as_py():
        return None
    if form.unit:
        texts = pc.replace_substring(texts, form.unit, "")
    texts = pc.replace_substring_regex(texts, f"[{_MINUS}(]", "-")
    texts = pc.replace_substring_regex(texts, f"[^-0-9eE{form.decimal}]", "")
    texts = pc.replace_substring(texts, form.decimal, ".")
    if form.unit == "%":
        # Not divided by 100: 12.3 / 100 is not the number that is written 0.123.
        texts = pc.binary_join_element_wise(texts, "e-2", "")
    return _cast(texts)


def _cast(texts: pa.StringArray) -> NDArray[np.float64] | None:
    try:
        values: NDArray[np.float64] = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None
    # Arrow also takes the words nan and inf. A number that is too large becomes an infinity, which is found later, and
    # one that is too small 0, which would not be.
    zeros = texts.filter(pa.array(values == 0))
    if (pc.max(pc.binary_length(zeros)).as_py() or 0) > len("1e-99") and (
        pc.any(pc.match_substring_regex(zeros, "^[^eE]*[1-9]")).as_py()
    ):
        return None
    return values if int(np.isnan(values).sum()) == texts.null_count and not _words(texts, values) else None


def _words(texts: pa.StringArray, values: NDArray[np.float64]) -> bool:
    return any(re.search(r"[a-df-zA-DF-Z]", texts[int(row)].as_py()) for row in np.flatnonzero(np.isinf(values)))
