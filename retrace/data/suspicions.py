"""What a careful person would ask about a column: is it a code, a placeholder, two spellings, a number as a text?"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from retrace.artifacts.findings import Finding
from retrace.data.kinds import FEATURES, FEWEST_ROWS, kind_of, names_rows
from retrace.data.numbers import form_of, to_numbers
from retrace.data.profile import Profile
from retrace.data.text_patterns import MANGLED, MOST_NAMED, NEARLY_ALL, NO_VALUE, PERIODS, TWINS, looks_like, quoted
from retrace.data.values import FALSE, TRUE

# Numbers by which people and programs say so, if they stand apart from all others.
_PLACEHOLDER = re.compile(
    r"-?(9{2,}(\.9+)?|8{2,}|7{3,})|-1|-9|0|1900|12345(6789?)?|255|32767|-32768|65535|2147483647|-2147483648|4294967295"
    r"|-?1e\+\d+|-?3\.402\d*e\+38|9\.9692\d*e\+36"
)

# As survey codes do, each for another reason: 97, 98, 99.
_BESIDE = re.compile(r"-?9*[6-9]|-?([6-9])\1+")
_SURE = re.compile(r"-?9{3,}(\.9+)?|-32768|-?2147483648|-?1e\+\d+|-?3\.402\d*e\+38|9\.9692\d*e\+36")
LONG = 6  # digits of whole numbers that may be those of a person or a thing, if all have as many
FAR = 5  # times the usual distance of neighbouring values
APART = 0.05  # of the range of all others


# What is not seen, or stands above a letter.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f\u00ad\u0300-\u036f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe0e\ufe0f\ufeff]"
)

_NO_YEAR = "(9999|2999|[01]001|0000)"

_NO_DAY = re.compile(
    rf"{_NO_YEAR}[-/.]|(1[89]00|1970|1753|1601)[-/.]0?1[-/.]0?1\b|1899-12-3[01]|(2099)[-/.]12[-/.]31"
    rf"|\d+[-/.]\d+[-/.]{_NO_YEAR}|0?1[-/.]0?1[-/.](1[89]00|1970|1753|1601)|31[-/.]12[-/.]2099|12[-/.]31[-/.]2099"
)

_DAY = re.compile(r"(19|20|21)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")

_TIME = re.compile(
    r"time|date|datum|stamp|epoch|(^|[_\W])(ts|day|tag)$|(_at|_on|[a-z]At)$|^(when|created|updated|modified|since|until)$",
    re.IGNORECASE,
)


def of_column(profile: Profile, kind: str, given: bool, missing: Iterable[str]) -> Iterator[Finding]:
    """kind: what the column is taken for; given: whether a person said so; missing: texts that stand for no value."""
    name = profile.name
    if kind == "numeric":
        yield from _numbers(profile)
    if kind in FEATURES and not given:
        times = _times(profile) if kind == "numeric" else None
        yield from [times] if times else _identifier(profile, kind)
    if kind in FEATURES and profile.zeros is not None and not given:
        yield _zeros(profile, kind)
    if kind == "datetime":
        yield from _days(profile)
    if kind != "categorical":
        return
    values = profile.values or {}
    if not given and (seen := looks_like(profile)):
        text = f"column {name} looks like {seen[0]} and is taken as a category: {seen[1]}"
        yield Finding("looks_like", name, text, "create.columns")
    yield from _mangled(profile)
    yield from _spellings(f"column {name}", name, values)
    nothing = [text for text in values if NO_VALUE.fullmatch(text or "-") and text not in missing]
    if nothing:
        rows = sum(values[text] for text in nothing)
        text = f"column {name}: {quoted(nothing)} ({_rows(rows)}) may stand for a missing value, and is a category"
        yield _no_value("missing_value", profile, text)


def of_labels(target: str, labels: Mapping[str, int]) -> Iterator[Finding]:
    yield from _spellings(f"the target {target}", "", labels)
    for text in labels:
        if NO_VALUE.fullmatch(text):
            line = (
                f"the target {target}: {text!r} ({_rows(labels[text])}) may stand for a missing value, and is a class"
            )
            yield Finding("missing_value", "", f"{line}; leave such rows out where it does", "create.table.path")


def left_out(profile: Profile) -> str:
    """Why a column of texts is not a feature."""
    name = profile.name
    if seen := looks_like(profile):
        what = f"column {name} looks like {seen[0]}, and is not a feature"
        return f"{what}, since most rows have one of their own: {seen[1]}"
    text = f"column {name} names the row or nearly so, and is not a feature"
    if profile.values is not None and len(profile.values) < profile.present:
        return f"{text}; split.method: group with split.column: {name} keeps rows on one side that share a value"
    return text


def _mangled(profile: Profile) -> Iterator[Finding]:
    """Days without a year beside other texts, which are not months either."""
    values = profile.values or {}
    days = [text for text in values if MANGLED.fullmatch(text)]
    others = [text for text in values if not (MANGLED.fullmatch(text) or PERIODS.fullmatch(text))]
    if days and len(others) > (1 - NEARLY_ALL) * len(values):
        text = (
            f"column {profile.name}: {quoted(days)} ({_rows(sum(values[text] for text in days))}) may be what a"
            " spreadsheet made of another text, of 1-2 or MARCH1 for instance: write the file anew from its source,"
            " cells as texts"
        )
        yield Finding("looks_like", profile.name, text, "create.table.path")


def _times(profile: Profile) -> Finding | None:
    """Numbers that are dates or times to another program."""
    name, low, high = profile.name, profile.low, profile.high
    what = ""
    if profile.rows < FEWEST_ROWS:
        return None
    if profile.whole and low >= 19_000_101 and high <= 21_001_231:
        if profile.values is not None and all(_DAY.fullmatch(f"{float(text):.0f}") for text in profile.values):
            what = "dates"
    elif _TIME.search(name):
        units = {"days of a spreadsheet": 1 / 86_400, "seconds": 1, "milliseconds": 1_000, "microseconds": 1e6}
        for unit, each in units.items():
            # From 1990 to 2050; a spreadsheet counts from 1900.
            first = 25_569 if each < 1 else 0
            if 631_152_000 * each <= low - first and high - first <= 2_524_608_000 * each:
                what = unit if first else f"{unit} since 1970"
    if not what:
        return None
    text = f"column {name} looks like {what} ({low:.0f} to {high:.0f}) and is taken as a number: write 2026-01-31"
    return Finding("looks_like", name, text, "create.table.path")


def _identifier(profile: Profile, kind: str) -> Iterator[Finding]:
    """A feature that counts or names the rows, or whom they are about.

    Measured whole numbers may be all different, too: they count as names only if they also rise or fall with every row,
    lack no number in between, are long and all of one length, or are called an id.
    """
    number, name = kind == "numeric", profile.name
    if not (kind == "categorical" or (number and profile.whole)) or profile.rows < FEWEST_ROWS:
        return
    if kind_of(profile) == "identifier":
        return
    distinct, called = profile.distinct, names_rows(name)
    seen_rows = profile.present if profile.values is not None else profile.counted
    long = distinct > NEARLY_ALL / 2 * seen_rows and (LONG <= len(f"{profile.low:.0f}") == len(f"{profile.high:.0f}"))
    of_each_row = number and not profile.missing
    if of_each_row and (profile.rising or profile.falling):
        seen = f"{'rises' if profile.rising else 'falls'} with every row"
    elif of_each_row and profile.dense:
        seen = f"has each whole number from {profile.low:.0f} to {profile.high:.0f} once"
    elif not ((number and long) or (called and distinct > 10)):
        return
    elif distinct == profile.present:
        seen = "is different in every row"
    else:
        more = "" if profile.values is not None else "more than "
        seen = f"has {more}{distinct:,} different values in {profile.present:,} rows"
    seen += " and is called an id" if called else ""
    text = (
        f"column {name} {seen}, as if it named whom or what a row is about, and is a feature: list it there, and where"
        f" it repeats, keep its rows on one side with split.method: group and split.column: {name}"
    )
    yield Finding("identifier", name, text, "create.columns.identifier")


def _zeros(profile: Profile, kind: str) -> Finding:
    assert profile.zeros is not None
    what = "whole numbers that begin with 0" if profile.zeros.isdecimal() else "numbers that begin with 0"
    if "e" in profile.zeros.lower():
        what = "numbers with an E and no sign"
    start = f"column {profile.name} has {what}, such as {profile.zeros!r}, as codes have"
    if kind == "numeric":
        return Finding("codes", profile.name, f"{start}, and is taken as a number", "create.columns.categorical")
    why = ", since some differ in that only" if profile.respelled else ""
    return Finding("codes", profile.name, f"{start}, and is a category{why}", "create.columns")


def _numbers(profile: Profile) -> Iterator[Finding]:
    """Numbers such as people write for none that stand apart from all others at an end of them."""
    for ends, others in ((profile.lowest, profile.highest), (profile.highest, profile.lowest)):
        for count in range(len(ends) - 1, 0, -1):
            if text := _apart(profile, [*ends.items()][:count], [*ends][count], next(iter(others))):
                yield _no_value("placeholder", profile, text, apart=any(abs(value) <= 90 for value in [*ends][:count]))
                break


def _apart(profile: Profile, outer: list[tuple[float, int]], inner: float, end: float) -> str:
    """What to say of the outermost values, if they stand apart. inner: the next value; end: the other end of all."""
    texts = [f"{value:.10g}" for value, _ in outer]
    rows = sum(rows for _, rows in outer)
    value, (least, most) = outer[-1][0], sorted((inner, end))
    gap = abs(inner - value)
    # One row may be what it is.
    if not np.isfinite([value, gap]).all() or least == most or (rows < 2 and not _SURE.fullmatch(texts[0])):
        return ""
    if not all(map((_PLACEHOLDER if len(texts) == 1 else _BESIDE).fullmatch, texts)):
        return ""
    # That nothing was counted or spent is the usual case, and not a gap.
    usual = value == 0 and (end < 0 or 2 * rows > profile.present)
    step = profile.step if profile.step > 0 else most - least
    if (gap < max(FAR * step, APART * (most - least)) or usual) and not value < 0 <= least:
        return ""
    stands = "stands" if len(texts) == 1 else "stand"
    named = [text for value, _ in outer for text in _written(profile, value)]
    return (
        f"column {profile.name}: {' and '.join(named)} ({_rows(rows)}) {stands} apart from all others"
        f" ({least:g} to {most:g}) and may stand for a missing value"
    )


def _written(profile: Profile, value: float) -> list[str]:
    """How a number stands in the file, which is what create.reading.missing is compared with: -999.0, $999.00."""
    written: dict[str, None] = {}
    if profile.typed is None and profile.values:
        texts = pa.array([*profile.values], pa.string())
        for decimal in (".", ","):
            if (values := to_numbers(texts, form_of(texts[0].as_py(), decimal))) is not None:
                written |= dict.fromkeys(texts.filter(values == value).to_pylist())
    return [*written] or [f"{value:.10g}"]


def _days(profile: Profile) -> Iterator[Finding]:
    """Dates by which programs say that they have none, in several rows."""
    found = {text: rows for text, rows in (profile.values or {}).items() if _NO_DAY.match(text)}
    rows = sum(found.values())
    if 1 < rows < profile.present / 2:
        text = f"column {profile.name}: {quoted([*found])} ({_rows(rows)}) may stand for a missing value"
        yield _no_value("placeholder", profile, text)


def _no_value(kind: str, profile: Profile, text: str, apart: bool = False) -> Finding:
    """apart: what stands for none here is a value in other columns."""
    # In a file with types no text stands for none.
    if profile.typed or apart:
        return Finding(kind, profile.name, f"{text}: leave the cells empty, then", "create.table.path")
    return Finding(kind, profile.name, text, "create.reading.missing")


def _spellings(where: str, column: str, values: Mapping[str, int]) -> Iterator[Finding]:
    """Values that a person would take for one."""
    alike: dict[str, list[str]] = {}
    read = {text: _as_read(text, zeros=not column) for text in values}
    if {*read.values()} <= {*TRUE, *FALSE}:
        read = {text: str(plain in TRUE) for text, plain in read.items()}
    for text, plain in read.items():
        alike.setdefault(plain.replace("o", "0").replace("l", "1"), []).append(text)
    several = [texts for texts in alike.values() if len(texts) > 1]
    if several:
        named = "; ".join(quoted(sorted(texts, key=lambda text: -values[text])) for texts in several[:MOST_NAMED])
        more = f"; and {len(several) - MOST_NAMED:,} more such" if len(several) > MOST_NAMED else ""
        text = f"{where} has values that a person would take for the same: {named}{more}; write them alike"
        yield Finding("spellings", column, text, "create.table.path")


def _as_read(text: str, zeros: bool) -> str:
    """The same for texts that look the same but for case, blanks, hyphens and points between letters, accents, quotes,
    & for and, ae for \u00e4, letters of another alphabet, fractions of zeros; with zeros, also zeros before a number.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().translate(TWINS)
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", plain) if not _UNSEEN.match(letter))
    plain = " ".join(plain.split())
    plain = plain.strip("\"'").rstrip(".,;:") or plain
    if re.fullmatch(r"[-+]?\d+([.,]0*)?(e\d)?" if zeros else r"[-+]?(0|[1-9]\d*)([.,]0*)?(e\d)?", plain):
        return str(float(plain.replace(",", ".")) + 0.0)
    plain = re.sub(r"\s*&\s*", "and", plain)
    plain = re.sub(r"\s*([/)])\s*|\s*(\()\s*", r"\1\2", plain)
    plain = re.sub(r"(?<=[^\W\d_])[-_\s.']+(?=[^\W\d_])", "", plain)
    plain = re.sub(r"(?<=\w)([aou])e(?=\w)", r"\1", plain)
    return plain


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
