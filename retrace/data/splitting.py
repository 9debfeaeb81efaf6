"""Divides the rows into those for training, validation and test.

Rows with the same features are duplicates: they are in one split, since a model that has seen one has seen the other.
(But by time, where a later duplicate is a later row.) Validation rows are taken out of those that are not test rows:
test rows do not depend on validation_size.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retrace.artifacts.paths import DATASET
from retrace.artifacts.schema import Schema
from retrace.artifacts.table_columns import Columns, class_indices
from retrace.data.groups import Hashes, SplitRows, class_counts, row_hashes, shuffled_hash, together, values
from retrace.data.stratify import Holders, divide
from retrace.params.reader import fault
from retrace.params.split import Split
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.text import listed, one_line, shown

FEWEST = 3  # distinct rows that a class needs: one each for training, validation and test


def split(table: Columns, schema: Schema, section: Split, hashes: Hashes | None = None) -> SplitRows:
    """Divide the rows: row numbers of each split, shuffled, but by time in the order of time.

    hashes [rows]: of the features (see `row_hashes`), where somebody has them. Raises UserError when a split would be
    empty or a class would be missing from one.
    """
    target = class_indices(table, schema.target)
    method = method_of(section, schema)
    if hashes is None:
        hashes = row_hashes(table, schema.features)
    if method == "time":
        splits = _by_time(_column(table, schema, section), section)
    elif method == "hash":
        splits = _by_hash(hashes, section)
    else:
        splits = _by_chance(table, schema, section, target, method, hashes)
    for name, rows, share in (
        ("training", splits.train, "lower split.test_size or split.validation_size"),
        ("validation", splits.validation, f"raise split.validation_size (now {section.validation_size:g})"),
        ("test", splits.test, f"raise split.test_size (now {section.test_size:g})"),
    ):
        missing = class_counts(target, len(schema.classes), rows) == 0
        if missing.any():
            raise _missing(target, hashes, schema, section, int(missing.argmax()), name, len(rows), share)
    return splits


def _missing(
    target: NDArray[np.integer],
    hashes: Hashes,
    schema: Schema,
    section: Split,
    index: int,
    name: str,
    rows: int,
    share: str,
) -> UserError:
    """The fault of a class with no training, validation or test row, and what is sure to help."""
    firsts, members, starts = _groups(hashes)
    distinct = _holders(firsts, members, starts, target, schema).distinct
    method = method_of(section, schema)
    if distinct.min() < FEWEST and method != "time":
        return _too_rare(schema, distinct)
    fixes = [share] if rows < len(schema.classes) and method != "stratified" else []
    if method != "stratified" and distinct.min() >= FEWEST:
        fixes.append("set split.method: stratified" + (" and split.column: null" if section.column else ""))
    if schema.own and len(schema.classes) > 2:
        fixes.append("leave its rows out of the table")
    if not fixes:  # by time, and rows of another time would come into another split
        fixes.append(f"add rows of it from the time of the {name} rows to the table")
    return UserError(
        BAD_DATA,
        f"{DATASET}: class '{one_line(schema.classes[index], 60)}' of {schema.target} has {schema.counts[index]} rows"
        f" and none of them is a {name} row; {', or '.join(fixes)}",
    )


def _too_rare(schema: Schema, distinct: NDArray[np.int64]) -> UserError:
    """The fault of classes that no method can divide. Only other rows help."""
    rare = np.flatnonzero(distinct < FEWEST)
    names = listed([f"'{one_line(schema.classes[index], 60)}' ({distinct[index]})" for index in rare])
    fix = "raise create.rows"
    if schema.own:
        fix = "add rows that differ in a feature"
        if len(schema.classes) - len(rare) >= 2:
            fix += ", or leave the rows of these classes out of the table"
    return UserError(
        BAD_DATA,
        f"{DATASET}: too few distinct rows in class {names} of {schema.target}; every class needs {FEWEST}: one"
        f" each for training, validation and test; {fix}",
    )


def method_of(section: Split, schema: Schema) -> str:
    """What `auto` means for this data set; any other method is what it is."""
    if section.method != "auto":
        return section.method
    return "stratified" if schema.own else "random"


def _by_chance(
    table: Columns, schema: Schema, section: Split, target: NDArray[np.integer], method: str, groups: Hashes
) -> SplitRows:
    """Random or stratified, by row or by group: of rows that belong together the first is drawn, the others follow."""
    if method == "group":
        groups = together(groups, values(_column(table, schema, section)))
    firsts, members, starts = _groups(groups)
    if method == "stratified":
        holders = _holders(firsts, members, starts, target, schema)
        if holders.distinct.min() < FEWEST:
            raise _too_rare(schema, holders.distinct)
        # Of what is kept, validation and training need one each.
        rest, test = divide(firsts, target[firsts], holders, section.test_size, section.seed, fewest=2)
        train, validation = divide(rest, target[rest], holders, section.validation_size, section.seed, fewest=1)
    else:
        rest, test = _divide(firsts, section.test_size, section.seed, "test_size")
        train, validation = _divide(rest, section.validation_size, section.seed, "validation_size")
    if len(firsts) == len(target):
        return SplitRows(train, validation, test)
    place = np.empty(len(target), dtype=np.int64)
    place[firsts] = np.arange(len(firsts))

    def followers(drawn: NDArray[np.int64]) -> NDArray[np.int64]:
        begin, length = starts[place[drawn]], np.diff(starts)[place[drawn]]
        # One range after another, without a loop: where each begins, and how far one is into it.
        within = np.arange(length.sum()) - np.repeat(length.cumsum() - length, length)
        rows: NDArray[np.int64] = members[np.repeat(begin, length) + within]
        return rows

    return SplitRows(followers(train), followers(validation), followers(test))


def _groups(names: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """First row of each group, in the order of the rows; all rows by group; where each group begins among them."""
    _, firsts, inverse, counts = np.unique(names, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(firsts, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    members = np.argsort(rank[inverse], kind="stable")
    return firsts[order], members, np.concatenate([[0], counts[order].cumsum()])


def _holders(
    firsts: NDArray[np.int64],
    members: NDArray[np.int64],
    starts: NDArray[np.int64],
    target: NDArray[np.integer],
    schema: Schema,
) -> Holders:
    first = np.empty(len(target), dtype=np.int64)
    first[members] = np.repeat(firsts, np.diff(starts))
    return Holders(first, target, len(schema.classes))


def _divide(rows: NDArray[np.int64], size: float, seed: int, key: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # A second and a half, which the other methods need not wait for.
    from sklearn.model_selection import train_test_split

    try:
        kept, taken = train_test_split(rows, test_size=size, random_state=seed)
    except ValueError as error:
        reason = str(error).split(". ")[0]  # its first sentence
        raise fault(Split, key, f"must suit the {len(rows)} distinct rows to divide ({reason})") from None
    return kept, taken


def _by_hash(hashes: Hashes, section: Split) -> SplitRows:
    """Each row's split follows from its own content: neither other rows nor their order have a say."""
    place = shuffled_hash(hashes, section.seed)
    order = np.argsort(place, kind="stable")
    # Along the scale from 0 to 1 test rows come first, then, on what is left of it, from 0 to 1 again, validation rows.
    left = 1 - section.test_size
    test = _first(place, order, lambda share: share < section.test_size)
    validation = _first(place, order, lambda share: (share - section.test_size) / left < section.validation_size)
    validation = max(test, validation)
    return SplitRows(order[validation:], order[test:validation], order[:test])


def _first(place: Hashes, order: NDArray[np.int64], chosen: Callable[[Any], Any]) -> int:
    """How many of the rows in this order are chosen by their place on the scale; these are the first ones."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if chosen(place[order[middle]] / 2.0**64):
            low = middle + 1
        else:
            high = middle
    return low


def _by_time(column: pa.ChunkedArray, section: Split) -> SplitRows:
    """Earlier rows for training, later ones for validation, the last ones for the test; equal times stay together."""
    time = values(_in_time(column))
    order = np.argsort(time, kind="stable")
    cut = _cut(time[order], round(len(order) * (1 - section.test_size)))
    start = _cut(time[order][:cut], round(cut * (1 - section.validation_size)))
    return SplitRows(order[:start], order[start:cut], order[cut:])


def _in_time(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts that are all numbers in the order of the numbers; ISO dates are in order as they are spelled."""
    if pa.types.is_string(column.type):
        try:
            return column.cast(pa.float64())
        except pa.ArrowInvalid:
            pass
    return column


def _cut(time: NDArray[np.int64], at: int) -> int:
    """The first row of the moment that `at` falls into."""
    return int(np.searchsorted(time, time[at])) if 0 <= at < len(time) else at


def _column(table: Columns, schema: Schema, section: Split) -> pa.ChunkedArray:
    there = [*schema.features, *schema.carried]
    if section.column not in there:
        raise fault(Split, "column", f"must be a column of the data set ({listed(there)})")
    column = table.column(section.column)
    if column.null_count:
        row = column.is_null().index(True).as_py() + 1
        raise UserError(
            BAD_DATA,
            f"{DATASET}: row {row:,} has no {section.column}, by which split.column divides; fill it in, or leave"
            " the row out",
        )
    return column


def summary(splits: SplitRows, target: NDArray[np.integer], schema: Schema) -> str:
    """One line: how many rows each split has, and of each class; target [rows]: class indices."""
    counts = []
    for name, rows in splits._asdict().items():
        per_class = class_counts(target, len(schema.classes), rows)
        classes = ", ".join(f"{label} {count:,}" for label, count in zip(schema.classes, per_class, strict=True))
        counts.append(f"{name} {len(rows):,} ({classes})")
    return shown("; ".join(counts))
