"""A person's own table as a data set: read twice, once to learn what its columns are and once to convert them.

Memory holds a block of it at a time, however long it is.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrace.artifacts.schema import Finding, Schema
from retrace.data import suspicions
from retrace.data.kinds import (
    CARRIED,
    FEATURES,
    FEWEST_ROWS,
    Profile,
    kind_of,
    to_truths,
)
from retrace.data.numbers import PLAIN, to_numbers
from retrace.data.reading import Source, holds_texts
from retrace.data.values import TIMES, ZONED, label, sources, to_times
from retrace.params.create import Create
from retrace.params.reader import fault, suggest
from retrace.runtime.errors import BAD_DATA, Fault

MOST_CLASSES = 1000
# Whole numbers from here on are not all different as float64, and as float32 from the second one on.
FLOAT64_WHOLE, FLOAT32_WHOLE = 2.0**53, 2.0**24
LARGEST = float(np.finfo(np.float32).max)
ROWS_TOGETHER = 262_144  # of a row group

CATEGORY = pa.dictionary(pa.int32(), pa.string())


@dataclass
class Found:
    """A table that was looked through: its columns by name, and its classes in their order."""

    source: Source
    target: str
    profiles: dict[str, Profile]
    kinds: dict[str, str]
    classes: list[str]
    counts: list[int]
    findings: list[Finding] = field(default_factory=list)

    @property
    def date_formats(self) -> dict[str, str]:
        """How the dates of each feature that is one are written, where that is known (values/columns.py)."""
        known = {name: self.profiles[name].date_format for name, kind in self.kinds.items() if kind == "datetime"}
        return {name: each for name, each in known.items() if each}

    @property
    def schema(self) -> Schema:
        features = [name for name in self.source.names if self.kinds.get(name) in FEATURES]
        # A file with types may have a category of such a name.
        kept = [self.profiles[name].values for name in features if self.kinds[name] == "categorical"]
        texts = {text for values in kept for text in values or ()}
        return Schema(
            dataset=self.source.path.name.partition(".")[0],
            features=features,
            target=self.target,
            classes=self.classes,
            counts=self.counts,
            density=None,
            kinds={name: self.kinds[name] for name in features if self.kinds[name] != "numeric"},
            date_formats=self.date_formats,
            missing=[text for text in self.source.missing if text not in texts],
            carried=[name for name in self.source.names if self.kinds.get(name) in CARRIED],
            own=True,
            number_formats=None if self.source.typed else self._number_formats(),
            findings=self.findings,
        )

    def _number_formats(self) -> dict[str, dict[str, str]]:
        forms = self.source.forms.written().items()
        return {name: asdict(form) for name, form in forms if self.kinds.get(name) == "numeric"}


def look(section: Create, source: Source) -> Found:
    """Read the table once. Raises Fault where it is none that a classifier can be trained on, naming row and column."""
    target = section.table.target
    given = section.columns.kinds()
    for name, kind in given.items():
        if name not in source.names or name == target:
            what = "is the target" if name == target else f"is no column of the table{suggest(name, source.names)}"
            raise fault(Create, f"columns.{kind}", f"must name features; {name!r} {what}")
    profiles: dict[str, Profile] = {}
    labels: dict[str, int] = {}
    rows = 0
    for block in source.blocks():
        marks = label_texts(source, block.column(target), target, rows)
        _no_header(source, block, marks, target, rows)
        coded = marks.dictionary_encode()
        counts = np.bincount(coded.indices.to_numpy(), minlength=len(coded.dictionary))
        for name, count in zip(coded.dictionary.to_pylist(), counts.tolist(), strict=True):
            labels[name] = labels.get(name, 0) + count
        if len(labels) > MOST_CLASSES:
            raise Fault(
                BAD_DATA,
                f"{source.path}: the target {target} has more than {MOST_CLASSES:,} different values; a classifier"
                " needs classes: name another create.table.target",
            )
        for name in source.names:
            if name != target:
                _watch(profiles, name, block.column(name), section, source, coded)
        rows += block.num_rows
    if rows < FEWEST_ROWS:
        raise Fault(BAD_DATA, f"{source.path} has {rows} rows; at least {FEWEST_ROWS} are needed")
    if len(labels) < 2:
        raise Fault(
            BAD_DATA,
            f"{source.path}: the target {target} is {next(iter(labels))!r} in every row; two classes are needed",
        )
    classes = in_order(labels)
    found = Found(
        source,
        target,
        profiles,
        {name: given.get(name) or kind_of(profile) for name, profile in profiles.items()},
        classes,
        [labels[name] for name in classes],
        list(source.notes),
    )
    _judge(found, given)
    return found


def convert(found: Found) -> Iterator[pa.Table]:
    """Read the table again, as pieces of the data set: features, carried columns and class indices."""
    source, schema, date_formats = found.source, found.schema, found.date_formats
    order = pa.array(schema.classes, pa.string())
    names = [*schema.features, *schema.carried]
    pieces: list[pa.Table] = []
    rows, waiting = 0, 0
    for block in source.blocks():
        columns = {
            name: converted(source, name, found.kinds[name], block.column(name), rows, date_formats.get(name))
            for name in names
        }
        marks = label_texts(source, block.column(found.target), found.target, rows)
        columns[found.target] = pc.index_in(marks, order).cast(pa.int64())
        pieces.append(pa.table(columns))
        rows += block.num_rows
        waiting += block.num_rows
        if waiting >= ROWS_TOGETHER:
            yield pa.concat_tables(pieces).unify_dictionaries().combine_chunks()
            pieces, waiting = [], 0
    if pieces:
        yield pa.concat_tables(pieces).unify_dictionaries().combine_chunks()


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
        values = _floats(column)
        wrong = np.abs(values) >= FLOAT64_WHOLE
        if wrong.any():
            row = int(wrong.argmax())
            raise Fault(
                BAD_DATA,
                f"{source.path}: the target {target}, row {rows + row + 1:,}: {values[row]} is no class, since numbers"
                " with a point are not all different from 2^53 on; mend it, or store the labels as texts",
            )
        known = ~np.isnan(values)
        if (values[known] % 1 == 0).all():
            column = pa.array(np.where(known, values, 0).astype(np.int64), mask=~known)
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    try:
        texts = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise Fault(
            BAD_DATA,
            f"{source.path}: the target {target} holds {column.type}; its values must be texts, numbers or true"
            " and false",
        ) from None
    lacks = pc.or_kleene(pc.is_null(texts), pc.equal(texts, ""))
    if pc.any(lacks).as_py():
        row = rows + pc.index(lacks, True).as_py() + 1
        raise Fault(
            BAD_DATA,
            f"{source.path}: row {row:,} has no value in the target {target}; {fix}",
        )
    return texts


# --- the first reading ----------------------------------------------------------------------------------------------


def _no_header(source: Source, block: pa.RecordBatch, marks: pa.StringArray, target: str, rows: int) -> None:
    """Raise Fault where a row repeats the header, as in files that were put one behind the other."""
    row = -1 if source.typed else pc.index(marks, target).as_py()
    if row >= 0 and all(
        source.texts(block.column(name).slice(row, 1), ())[0].as_py() in (name, "") for name in source.names
    ):
        raise Fault(BAD_DATA, f"{source.path}: row {rows + row + 1:,} repeats the header; delete it")


def _watch(
    profiles: dict[str, Profile],
    name: str,
    column: pa.Array,
    section: Create,
    source: Source,
    labels: pa.DictionaryArray,
) -> None:
    if name not in profiles:
        profiles[name] = Profile(name, _kind_of_type(column.type) if source.typed else None)
        profiles[name].zoned = int(has_zone(column.type))
    profile = profiles[name]
    if profile.typed == "nested":
        if section.columns.kinds().get(name) != "ignored":
            raise Fault(
                BAD_DATA,
                f"{source.path}: column {name} holds {column.type}, which no network takes as it is; list it in"
                " create.columns.ignored",
            )
        profile.rows += len(column)
        profile.missing += len(column)
        return
    if profile.typed == "numeric":
        profile.add_numbers(_floats(column), labels)
    else:
        texts = source.texts(column)
        # What a person has said to be no number may look like one in two ways, and a text of Parquet is none by itself.
        kind = section.columns.kinds().get(name, "text" if source.typed else "numeric")
        profile.add(texts, source.forms.of(name, texts) if kind == "numeric" else PLAIN, labels)


def _kind_of_type(kind: pa.DataType) -> str:
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


def _floats(column: pa.Array) -> NDArray[np.float64]:
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    values: NDArray[np.float64] = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values  # a null becomes NaN


def _judge(found: Found, given: dict[str, str]) -> None:
    """Faults that make a result worthless, and what else a person should know."""
    path, target = found.source.path, found.target
    for name, kind in found.kinds.items():
        profile = found.profiles[name]
        if kind == "mixed":
            assert profile.oddest
            row, text = profile.oddest
            raise Fault(
                BAD_DATA,
                f"{path}: column {name}, row {row:,}: {text!r} is no number{_with_unit(found.source, name)}, but"
                f" {profile.numbers:,} of {profile.present:,} values are; mend it, add it to create.reading.missing, or"
                " list the column in create.columns.categorical",
            )
        # One that is larger still is refused by its row, when it is converted.
        if kind == "numeric" and profile.whole and FLOAT64_WHOLE <= max(-profile.low, profile.high) <= LARGEST:
            value = profile.high if profile.high >= FLOAT64_WHOLE else profile.low
            raise Fault(
                BAD_DATA,
                f"{path}: column {name} holds whole numbers up to {value:.0f}, which are not exact from 2^53 on; list"
                " it in create.columns.categorical or create.columns.identifier",
            )
    features = [name for name, kind in found.kinds.items() if kind in FEATURES]
    parts = {label(name, part): name for name, part in sources((name, found.kinds[name]) for name in features) if part}
    for name in features:
        if name in parts:
            raise Fault(
                BAD_DATA,
                f"{path}: column {name} is called as that part of column {parts[name]} is, which is a date; give it"
                " another name, or list it in create.columns.ignored",
            )
    constant = [name for name in features if _constant(found.profiles[name])]
    if len(constant) == len(features):
        why = "every other column is empty, ignored or an identifier"
        named = [name for name, kind in found.kinds.items() if kind == "identifier" and name not in given]
        if named:
            why = "; ".join(suspicions.left_out(found.profiles[name]) for name in named[: suspicions.MOST_NAMED])
        raise Fault(
            BAD_DATA,
            f"{path}: no column but {target} varies, so that nothing can be learned"
            + (f" (constant: {', '.join(constant)})" if constant else f"; {why}"),
        )
    for name in features:
        profile = found.profiles[name]
        if _copies(profile, len(found.classes)):
            raise Fault(
                BAD_DATA,
                f"{path}: column {name} is the target {target} in other words: each of its values goes with one"
                " class and back; list it in create.columns.ignored",
            )
        if name in constant:
            found.findings.append(
                Finding("constant", name, f"column {name} is the same in every row", "create.columns.ignored")
            )
        # What is larger still is no number to the network, and is refused by its row.
        size = max(-profile.low, profile.high) if found.kinds[name] == "numeric" and profile.whole else 0
        if FLOAT32_WHOLE < size <= LARGEST:
            text = (
                f"column {name} holds whole numbers over 2^24, which the network tells apart only roughly:"
                " train.scaling: standard helps, and where they only name something"
            )
            found.findings.append(Finding("large_numbers", name, text, "create.columns.categorical"))
        if kind_of(profile) == "identifier":
            # Only a person can have made it one.
            text = f"column {name} names the row or nearly so, but create.columns makes it a feature"
            found.findings.append(Finding("identifier", name, text, f"create.columns.{found.kinds[name]}"))
    for name, kind in found.kinds.items():
        profile = found.profiles[name]
        if name not in constant:
            found.findings += suspicions.of_column(profile, kind, name in given, found.source.missing)
        if name not in given and kind == "identifier":
            found.findings.append(Finding("left_out", name, suspicions.left_out(profile), "create.columns"))
        if name not in given and kind == "ignored":
            text = f"column {name} is empty and is no feature"
            found.findings.append(Finding("left_out", name, text, "create.columns.ignored"))

    found.findings += suspicions.of_labels(target, dict(zip(found.classes, found.counts, strict=True)))


def _with_unit(source: Source, name: str) -> str:
    form = source.forms.written().get(name, PLAIN)
    return f" with {form.unit}" if form.unit else ""


def _constant(profile: Profile) -> bool:
    return profile.missing == 0 and profile.values is not None and len(profile.values) == 1


def _copies(profile: Profile, classes: int) -> bool:
    pairs = profile.pairs
    if not pairs or len(pairs) != classes:
        return False
    return len({value for value, _ in pairs}) == len({label for _, label in pairs}) == classes


# --- the second reading ---------------------------------------------------------------------------------------------


def converted(
    source: Source,
    name: str,
    kind: str,
    column: pa.Array,
    rows: int,
    date_format: str | None = None,
    missing: Sequence[str] | None = None,
) -> pa.Array:
    """A column of a block as its kind has it; rows: that came before the block. Raises Fault, naming row and value.

    date_format: how dates are written, if that is known. missing: texts for no value, where they
    are not those of the source.
    """
    typed = _kind_of_type(column.type) if source.typed else None
    if typed == "nested":
        if kind in CARRIED:
            return pa.nulls(len(column), pa.string())
        raise Fault(
            BAD_DATA, f"{source.path}: column {name} holds {column.type}; store one value in each row, as {kind}"
        )
    if kind == "numeric":
        values = _floats(column) if typed in ("numeric", "boolean") else None
        if values is None:
            texts = source.texts(column, missing)
            form = source.forms.of(name, texts)
            values = to_numbers(texts, form)
            if values is None:
                what = f"a number with {form.unit}" if form.unit else "a number"
                text = texts[row := _first(texts, lambda some: to_numbers(some, form))].as_py()
                if form.fits(text):
                    raise Fault(
                        BAD_DATA,
                        f"{source.path}: column {name}, row {rows + row + 1:,}: {text!r} is closer to 0 than a number"
                        " of 64 bits can be; write 0",
                    )
                raise _no(source, name, texts, rows, what, lambda some: to_numbers(some, form))
        wrong = np.abs(values) > LARGEST
        if wrong.any():
            row = int(wrong.argmax())
            raise Fault(
                BAD_DATA,
                f"{source.path}: column {name}, row {rows + row + 1:,}: {values[row]} is not a finite number below"
                " 3.4e38; mend it, or leave the row out",
            )
        return pa.array(values, pa.float64(), from_pandas=True)
    if kind == "datetime" and typed == "datetime":
        if date_format and has_zone(column.type) != (date_format == ZONED):
            row = pc.index(pc.is_valid(column), True).as_py()
            if row >= 0:
                raise Fault(
                    BAD_DATA,
                    f"{source.path}: column {name}, row {rows + row + 1:,}: a {column.type} is not"
                    f" {TIMES[date_format]}; bring the column so",
                )
        return _microseconds(source, name, column, rows)
    if kind == "boolean" and typed == "boolean":
        return column
    texts = source.texts(column, missing)
    if kind == "boolean":
        truths = to_truths(texts)
        if truths is None:
            raise _no(source, name, texts, rows, "true or false (yes, no, 1 and 0 will do)", to_truths)
        return truths
    if kind == "datetime":
        times = to_times(texts, date_format)
        if times is None:
            raise _no(source, name, texts, rows, TIMES[date_format], lambda some: to_times(some, date_format))
        return times
    return texts.dictionary_encode().cast(CATEGORY) if kind == "categorical" else texts


def _microseconds(source: Source, name: str, column: pa.Array, rows: int) -> pa.TimestampArray:
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
        value = column.dictionary_decode()[row] if isinstance(column, pa.DictionaryArray) else column[row]
        raise Fault(
            BAD_DATA,
            f"{source.path}: column {name}, row {rows + row + 1:,}: {value.value} as {value.type} is no date up to the"
            " year 294,246; mend it, or list the column in create.columns.ignored",
        )
    return converted


def _no(
    source: Source, name: str, texts: pa.StringArray, rows: int, what: str, parse: Callable[[pa.StringArray], Any]
) -> Fault:
    """The fault of the first text that is not what its column's kind says, or does not go with those before it."""
    row = _first(texts, parse)
    return Fault(
        BAD_DATA,
        f"{source.path}: column {name}, row {rows + row + 1:,}: {texts[row].as_py()!r} is not {what}; mend it, add it"
        " to create.reading.missing, or change the column's kind in create.columns",
    )


def _first(values: pa.Array, parse: Callable[[pa.Array], Any]) -> int:
    """The row of the first value that cannot be parsed together with those before it."""
    return bisect_left(range(len(values)), True, key=lambda row: parse(values[: row + 1]) is None)
