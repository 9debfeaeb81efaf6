"""What a careful person would ask about a column: is it a code, a placeholder, two spellings, a number as a text?"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from stages.datasets.kinds import FEATURES, FEWEST_ROWS, Profile, kind_of, names_rows
from stages.datasets.schema import Finding

_AMOUNT = r"[-+(]?\s*\d[\d\s.,'\u2019]*\)?"
_MONTH = r"(jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-zä]*\.?"
# What texts of a column may be, in words, the first that nearly all of them match; and what to do about it.
LOOKS = (
    (r"[-+(]?\s*([$€£¥₹]|[A-Z]{3}\s)\s*" + _AMOUNT, "amounts of money", "leave out the sign of the currency"),
    (_AMOUNT + r"\s*([$€£¥₹]|[A-Z]{3})", "amounts of money", "leave out the sign of the currency"),
    (_AMOUNT + r"\s*%", "percentages", "leave out the %"),
    (r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(\s*[ap]\.?m\.?)?", "times of day", "write hours or minutes as a number"),
    (r"\d{1,2}[-/.]\d{1,2}[-/.]\d{4}(\D.*)?", "dates with the day or the month first", "write 2026-01-31"),
    (r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(\D.*)?", "dates", "write 2026-01-31"),
    (rf"\d{{1,2}}[-.\s]+{_MONTH}[-,\s]*(\d{{2}}|\d{{4}})(\D.*)?", "dates", "write 2026-01-31"),
    (rf"{_MONTH}\s*\d{{1,2}},?\s+\d{{4}}(\D.*)?", "dates", "write 2026-01-31"),
    (r"\S+@\S+\.\w+", "e-mail addresses", "they name somebody"),
    (r"(https?|ftp)://\S+", "web addresses", "they name something"),
    (r"[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}", "UUIDs", "they name something"),
    (r"[-+\N{MINUS SIGN}]?\d+([.,'\u2019\s]\d+)*", "numbers written in another way", "write 1234.5"),
    (r"[-+<>≤≥~]?\s*\d+([.,]\d+)?\s?[^\W\d]{1,4}", "numbers with a unit", "leave out the unit"),
)
_LOOKS = [(re.compile(pattern, re.IGNORECASE), what, fix) for pattern, what, fix in LOOKS]
NEARLY_ALL = 0.9
# Texts by which people say that they have no value.
_NOTHING = re.compile(
    r"[-.\u2013\u2014?_/*]+|#?n\.?[/.]?a\.?|#n/a|<na>|nan|nil|none|null|missing|unknown|not available|unbekannt",
    re.IGNORECASE,
)
# Numbers by which people say so, if they stand apart from all others.
_PLACEHOLDER = re.compile(r"-?(9{2,}|8{2,})|-1|-9|0")
LONG = 6  # digits of whole numbers that may be those of a person or a thing, if all have as many
FAR = 5  # times the usual distance of neighbouring values
APART = 0.05  # of the range of all others
MOST_NAMED = 3


def of_column(profile: Profile, kind: str, given: bool, missing: Iterable[str]) -> Iterator[Finding]:
    """kind: what the column is taken for; given: whether a person said so; missing: texts that stand for no value."""
    name = profile.name
    if kind == "numeric":
        yield from _numbers(profile)
    if kind in FEATURES and not given:
        yield from _identifier(profile, kind)
    if kind in FEATURES and profile.zeros is not None and not given:
        yield _zeros(profile, kind)
    if kind != "categorical":
        return
    values = profile.values or {}
    if not given and (seen := looks_like(profile)):
        text = f"column {name} looks like {seen[0]} ({profile.examples[0]!r}) and is taken as a category: {seen[1]}"
        yield Finding("looks_like", name, text, "create.columns")
    yield from _spellings(f"column {name}", name, values)
    nothing = [text for text in values if _NOTHING.fullmatch(text) and text not in missing]
    if nothing:
        rows = sum(values[text] for text in nothing)
        text = f"column {name}: {_named(nothing)} ({_rows(rows)}) may stand for a missing value, and is a category"
        yield Finding("missing_value", name, text, "create.reading.missing")


def of_labels(target: str, labels: Mapping[str, int]) -> Iterator[Finding]:
    yield from _spellings(f"the target {target}", "", labels)
    for text in labels:
        if _NOTHING.fullmatch(text):
            line = (
                f"the target {target}: {text!r} ({_rows(labels[text])}) may stand for a missing value, and is a class"
            )
            yield Finding("missing_value", "", f"{line}; leave such rows out where it does", "create.table.path")


def left_out(profile: Profile) -> str:
    """Why a column of texts is no feature."""
    name = profile.name
    if seen := looks_like(profile):
        what = f"column {name} looks like {seen[0]} ({profile.examples[0]!r}), and is no feature"
        return f"{what}, since most rows have one of their own: {seen[1]}"
    text = f"column {name} names the row or nearly so, and is no feature"
    if profile.values is not None and len(profile.values) < profile.present:
        return f"{text}; split.method: group with split.column: {name} keeps rows on one side that share a value"
    return text


def looks_like(profile: Profile) -> tuple[str, str] | None:
    """What nearly all texts of a column are, in words, and what to do about it."""
    if profile.typed not in (None, "text") or profile.date_format or profile.numbers == profile.present:
        return None
    texts = profile.examples
    for pattern, what, fix in _LOOKS:
        if texts and sum(bool(pattern.fullmatch(text)) for text in texts) >= NEARLY_ALL * len(texts):
            return what, fix
    return None


def _identifier(profile: Profile, kind: str) -> Iterator[Finding]:
    """A feature that is called as what names the row, or whose whole numbers hardly ever repeat and are long."""
    whole = kind == "categorical" or (kind == "numeric" and profile.whole)
    if not whole or profile.rows < FEWEST_ROWS or kind_of(profile) == "identifier":
        return
    distinct = len(profile.values) if profile.values is not None else profile.present
    share = distinct / profile.present
    long = (
        kind == "numeric" and share > NEARLY_ALL / 2 and LONG <= len(f"{profile.low:.0f}") == len(f"{profile.high:.0f}")
    )
    if long or (names_rows(profile.name) and distinct > 10):
        called = " and is called an id" if names_rows(profile.name) else ""
        seen = f"has {distinct:,} different values in {profile.present:,} rows{called}"
        if distinct == profile.present:
            seen = f"is different in every row{called}"
        text = (
            f"column {profile.name} {seen}, as if it named whom or what a row is about, and is a feature: list it"
            " there, and where it repeats, keep its rows on one side with split.method: group and split.column:"
            f" {profile.name}"
        )
        yield Finding("identifier", profile.name, text, "create.columns.identifier")


def _zeros(profile: Profile, kind: str) -> Finding:
    start = f"column {profile.name} has whole numbers that begin with 0, such as {profile.zeros!r}, as codes have"
    if kind == "numeric":
        return Finding("codes", profile.name, f"{start}, and is taken as a number", "create.columns.categorical")
    return Finding(
        "codes", profile.name, f"{start}, and is a category, since some differ in that only", "create.columns"
    )


def _numbers(profile: Profile) -> Iterator[Finding]:
    """A number such as people write for none, in several rows, that stands apart from the others at an end of them."""
    low, high = profile.low, profile.high
    step = profile.step if profile.step > 0 else profile.under_high - profile.over_low
    ends = [
        (low, profile.low_rows, profile.over_low - low, (profile.over_low, high)),
        (high, profile.high_rows, high - profile.under_high, (low, profile.under_high)),
    ]
    for value, rows, gap, (least, most) in ends:
        if rows < 2 or not (least < most and np.isfinite(gap)) or not _PLACEHOLDER.fullmatch(f"{value:.10g}"):
            continue
        # That nothing was counted or spent is the usual case, and not a gap.
        usual = value == 0 and (value == high or 2 * rows > profile.present)
        if (gap >= max(FAR * step, APART * (most - least)) and not usual) or (value < 0 <= least and profile.whole):
            others = f"all others ({least:g} to {most:g})"
            text = f"column {profile.name}: {value:.10g} ({_rows(rows)}) stands apart from {others}"
            # As a text that stands for none it would do so in every column.
            of_file = profile.typed is None and abs(value) > 90
            fix = "" if of_file else ": leave the cells empty, then"
            param = "create.reading.missing" if of_file else "create.table.path"
            yield Finding("placeholder", profile.name, f"{text} and may stand for a missing value{fix}", param)


def _spellings(where: str, column: str, values: Mapping[str, int]) -> Iterator[Finding]:
    """Values that a person would take for one."""
    alike: dict[str, list[str]] = {}
    for text in values:
        alike.setdefault(_as_read(text), []).append(text)
    several = [texts for texts in alike.values() if len(texts) > 1]
    if several:
        named = "; ".join(_named(sorted(texts, key=lambda text: -values[text])) for texts in several[:MOST_NAMED])
        more = f"; and {len(several) - MOST_NAMED:,} more such" if len(several) > MOST_NAMED else ""
        text = f"{where} has values that a person would take for the same: {named}{more}; write them alike"
        yield Finding("spellings", column, text, "create.table.path")


def _as_read(text: str) -> str:
    """The same for texts that look the same: case, blanks, composed letters, fractions of zeros."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = " ".join("".join(letter for letter in plain if unicodedata.category(letter) != "Cf").split())
    if re.fullmatch(r"[-+]?(0|[1-9]\d*)(\.0*)?", plain):
        return str(float(plain))
    return unicodedata.normalize("NFC", plain)


def _named(texts: list[str]) -> str:
    """Ascii where two of them would look the same."""
    shown = [repr(text) for text in texts[:MOST_NAMED]]
    composed = [unicodedata.normalize("NFKC", text) for text in texts[:MOST_NAMED]]
    return " and ".join(map(ascii, texts[:MOST_NAMED]) if len({*composed}) < len(shown) else shown)


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
