"""A person's own table as a data set: read twice, once to learn what its columns are and once to convert them.

Memory holds a block of it at a time, however long it is.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrace.artifacts.findings import Finding
from retrace.artifacts.schema import Schema
from retrace.data import suspicions
from retrace.data.conversion import (
    FLOAT32_WHOLE,
    FLOAT64_WHOLE,
    LARGEST,
    converted,
    floats,
    has_zone,
    in_order,
    kind_of_type,
    label_texts,
)
from retrace.data.kinds import CARRIED, FEATURES, FEWEST_ROWS, kind_of
from retrace.data.numbers import PLAIN
from retrace.data.profile import Profile
from retrace.data.source import Source
from retrace.data.text_patterns import MOST_NAMED
from retrace.data.values import label, sources
from retrace.params.create import Create
from retrace.params.messages import suggest
from retrace.params.reader import fault
from retrace.runtime.errors import BAD_DATA, UserError

MOST_CLASSES = 1000
ROWS_TOGETHER = 262_144  # of a row group


@dataclass
class InspectedTable:
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
        """How the dates of each feature that is one are written, where that is known (data/values.py)."""
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


def inspect(section: Create, source: Source) -> InspectedTable:
    """Read the table once. Raises UserError, naming row and column, where no classifier can be trained on it."""
    target = section.table.target
    given = section.columns.kinds()
    for name, kind in given.items():
        if name not in source.names or name == target:
            what = "is the target" if name == target else f"is not a column of the table{suggest(name, source.names)}"
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
            raise UserError(
                BAD_DATA,
                f"{source.path}: the target {target} has more than {MOST_CLASSES:,} different values; a classifier"
                " needs classes: name another create.table.target",
            )
        for name in source.names:
            if name != target:
                _update_profile(profiles, name, block.column(name), section, source, coded)
        rows += block.num_rows
    if rows < FEWEST_ROWS:
        raise UserError(BAD_DATA, f"{source.path} has {rows} rows; at least {FEWEST_ROWS} are needed")
    if len(labels) < 2:
        raise UserError(
            BAD_DATA,
            f"{source.path}: the target {target} is {next(iter(labels))!r} in every row; two classes are needed",
        )
    classes = in_order(labels)
    found = InspectedTable(
        source,
        target,
        profiles,
        {name: given.get(name) or kind_of(profile) for name, profile in profiles.items()},
        classes,
        [labels[name] for name in classes],
        list(source.notes),
    )
    _check(found, given)
    return found


def convert(found: InspectedTable) -> Iterator[pa.Table]:
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


def _no_header(source: Source, block: pa.RecordBatch, marks: pa.StringArray, target: str, rows: int) -> None:
    """Raise UserError where a row repeats the header, as in files that were put one behind the other."""
    row = -1 if source.typed else pc.index(marks, target).as_py()
    if row >= 0 and all(
        source.texts(block.column(name).slice(row, 1), ())[0].as_py() in (name, "") for name in source.names
    ):
        raise UserError(BAD_DATA, f"{source.path}: row {rows + row + 1:,} repeats the header; delete it")


def _update_profile(
    profiles: dict[str, Profile],
    name: str,
    column: pa.Array,
    section: Create,
    source: Source,
    labels: pa.DictionaryArray,
) -> None:
    if name not in profiles:
        profiles[name] = Profile(name, kind_of_type(column.type) if source.typed else None)
        profiles[name].zoned = int(has_zone(column.type))
    profile = profiles[name]
    if profile.typed == "nested":
        if section.columns.kinds().get(name) != "ignored":
            raise UserError(
                BAD_DATA,
                f"{source.path}: column {name} holds {column.type}, which no network takes as it is; list it in"
                " create.columns.ignored",
            )
        profile.rows += len(column)
        profile.missing += len(column)
        return
    if profile.typed == "numeric":
        profile.add_numbers(floats(column), labels)
    else:
        texts = source.texts(column)
        # What a person has said to be no number may look like one in two ways, and a text of Parquet is none by itself.
        kind = section.columns.kinds().get(name, "text" if source.typed else "numeric")
        profile.add(texts, source.forms.of(name, texts) if kind == "numeric" else PLAIN, labels)


def _check(found: InspectedTable, given: dict[str, str]) -> None:
    """Faults that make a result worthless, and what else a person should know."""
    path, target = found.source.path, found.target
    for name, kind in found.kinds.items():
        profile = found.profiles[name]
        if kind == "mixed":
            assert profile.oddest
            row, text = profile.oddest
            raise UserError(
                BAD_DATA,
                f"{path}: column {name}, row {row:,}: {text!r} is not a number{_with_unit(found.source, name)}, but"
                f" {profile.numbers:,} of {profile.present:,} values are; fix it, add it to create.reading.missing, or"
                " list the column in create.columns.categorical",
            )
        # One that is larger still is refused by its row, when it is converted.
        if kind == "numeric" and profile.whole and FLOAT64_WHOLE <= max(-profile.low, profile.high) <= LARGEST:
            value = profile.high if profile.high >= FLOAT64_WHOLE else profile.low
            raise UserError(
                BAD_DATA,
                f"{path}: column {name} holds whole numbers up to {value:.0f}, which are not exact from 2^53 on; list"
                " it in create.columns.categorical or create.columns.identifier",
            )
    features = [name for name, kind in found.kinds.items() if kind in FEATURES]
    parts = {label(name, part): name for name, part in sources((name, found.kinds[name]) for name in features) if part}
    for name in features:
        if name in parts:
            raise UserError(
                BAD_DATA,
                f"{path}: column {name} is called as that part of column {parts[name]} is, which is a date; give it"
                " another name, or list it in create.columns.ignored",
            )
    constant = [name for name in features if _constant(found.profiles[name])]
    if len(constant) == len(features):
        why = "every other column is empty, ignored or an identifier"
        named = [name for name, kind in found.kinds.items() if kind == "identifier" and name not in given]
        if named:
            why = "; ".join(suspicions.left_out(found.profiles[name]) for name in named[:MOST_NAMED])
        raise UserError(
            BAD_DATA,
            f"{path}: no column but {target} varies, so that nothing can be learned"
            + (f" (constant: {', '.join(constant)})" if constant else f"; {why}"),
        )
    for name in features:
        profile = found.profiles[name]
        if _copies(profile, len(found.classes)):
            raise UserError(
                BAD_DATA,
                f"{path}: column {name} is the target {target} in other words: each of its values goes with one"
                " class and back; list it in create.columns.ignored",
            )
        if name in constant:
            found.findings.append(
                Finding("constant", name, f"column {name} is the same in every row", "create.columns.ignored")
            )
        # What is larger still is not a number to the network, and is refused by its row.
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
            text = f"column {name} is empty and is not a feature"
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
