"""The leak guard: what would invalidate the result stops the stage, what may do so is found and shown.

What can be counted is asked of every data set and of all rows; what takes a guess, of a person's own table, and of so
many rows that it takes a second or two.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retrace.artifacts.findings import Finding
from retrace.artifacts.paths import DATASET
from retrace.artifacts.schema import Schema
from retrace.artifacts.table_columns import Columns, class_indices, pieces_of
from retrace.data.checks.adversarial import ALIKE, ERRORS, adversarial_validation
from retrace.data.checks.columns import FEWEST_JUDGED, TELLING, as_numbers, constant, single_feature_score
from retrace.data.checks.duplicates import duplicates, seen_before
from retrace.data.groups import Hashes, SplitRows, values
from retrace.data.values import Floats, one_chunk
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.text import listed

Rows = NDArray[np.int64]

# Rows of a split and numbers in all that the guesses are made from: 10,000 rows up to 50 columns, then fewer, since
# time goes with their product; 500 rows still show what a column gives away.
MOST_ROWS, MOST_NUMBERS, FEWEST_ROWS = 10_000, 500_000, 500


class Examination(NamedTuple):
    """findings: of `create`, then of the splits; found: of the splits only; checked: what was asked, with numbers."""

    findings: list[Finding]
    found: list[Finding]
    checked: list[str]


def examine(
    table: Columns, schema: Schema, splits: SplitRows, method: str, column: str | None, hashes: Hashes
) -> Examination:
    """method, column: how the splits were made (split.method, not auto); hashes [rows]: see `row_hashes`.

    Raises UserError if nothing can be learned.
    """
    target = class_indices(table, schema.target)
    found: list[Finding] = []
    checked = _columns(table, schema, splits, found)
    checked += [*_duplicates(hashes, target, schema, found), *_seen(hashes, splits, method, found)]
    if schema.own:
        drawn = _drawn(table, schema, splits)
        checked += _single_features(drawn, schema, target, found)
        checked += _adversarial(drawn, table, schema, method, column, hashes, found)
    else:
        checked.append(
            "Not asked of a data set that was made or comes with scikit-learn: whether one column alone tells the"
            " class, and whether training and test rows can be told apart."
        )
    return Examination([*schema.findings, *found], found, checked)


# --- counted --------------------------------------------------------------------------------------------------------


def _duplicates(hashes: Hashes, target: NDArray[np.integer], schema: Schema, found: list[Finding]) -> list[str]:
    count = len(target)
    same = duplicates(hashes, target, len(schema.classes))
    if same.uninformative:
        raise UserError(
            BAD_DATA,
            f"{DATASET}: the features ({listed(schema.features)}) tell nothing about {listed([schema.target])}:"
            " rows that agree in them have the classes as all rows have, so that always naming the largest one"
            f" ({max(schema.counts):,} of {count:,} rows) cannot be beaten; bring columns that tell more, or correct"
            " create.table.target",
        )
    if same.differing:
        found.append(
            Finding(
                "twins_of_two_classes",
                "",
                f"{same.differing:,} of {count:,} rows have a twin (the same features) of another class: no classifier"
                f" can be right on more than {same.best:,} of the {count:,} rows ({_percent(same.best / count)})",
                "create.columns" if schema.own else "create.dataset",
            )
        )
    if not same.rows:
        return ["Twins: no two rows have the same features."]
    return [
        f"Twins: {same.rows:,} of {count:,} rows share their features with another one,"
        + (f" {same.differing:,} of them with one of another class." if same.differing else " all of the same class.")
    ]


def _seen(hashes: Hashes, splits: SplitRows, method: str, found: list[Finding]) -> list[str]:
    seen, count = seen_before(hashes, splits.train, splits.test), len(splits.test)
    if seen:
        found.append(
            Finding(
                "twins_across_sides",
                "",
                f"{seen:,} of {count:,} test rows ({_percent(seen / count)}) have a twin among the training rows, which"
                f" split.method: {method} does not keep together",
                "split.method",
            )
        )
    return [f"Test rows that have a twin among the training rows: {seen:,} of {count:,}."]


def _columns(table: Columns, schema: Schema, splits: SplitRows, found: list[Finding]) -> list[str]:
    known = {(finding.kind, finding.column) for finding in schema.findings}
    still = []
    train = np.zeros(table.num_rows, dtype=np.bool_)
    train[splits.train] = True
    for name in schema.features:
        if constant(pieces_of(table, name), train):
            still.append(name)
            everywhere = constant(pieces_of(table, name))
            if ("constant", name) in known:
                continue
            if everywhere:
                text, kind = f"column {name} is the same in every row", "constant"
                param = "create.columns.ignored" if schema.own else "create.dataset"
            else:
                text = f"column {name} is the same in all {len(splits.train):,} training rows, but not in the others"
                kind, param = "constant_in_training", "split.method"
            found.append(Finding(kind, name, text, param))
    if len(still) == len(schema.features):
        raise UserError(
            BAD_DATA,
            f"{DATASET}: no feature varies in the {len(splits.train):,} training rows ({listed(still)}), so that"
            " nothing can be learned; change split.method, or bring columns that vary",
        )
    checked = [f"Columns that are the same in all training rows: {len(still):,} of {len(schema.features):,}."]
    if schema.own:
        names = sum(each.kind == "identifier" and each.column in schema.features for each in schema.findings)
        checked.append(f"Features that count or name the rows, or whom they are about: {names:,}.")
    return checked


# --- guessed from some rows -----------------------------------------------------------------------------------------


class _Drawn(NamedTuple):
    """Rows by number, some of each split, and the features of all of them by name, as numbers [rows, of either kind].

    others: of validation and test together. Each of the two questions has test rows, or others, of its own.
    """

    train: Rows
    others: Rows
    test: Rows
    numbers: dict[str, tuple[Floats, Floats]]


def _drawn(table: Columns, schema: Schema, splits: SplitRows) -> _Drawn:
    """Each column is read once."""
    most, random = _rows(schema), np.random.default_rng(0)
    train, others = _some(splits.train, most, random), _some(np.concatenate(splits[1:]), most, random)
    random = np.random.default_rng(0)
    train, test = _some(splits.train, most, random), _some(splits.test, most, random)
    rows = (np.concatenate([train, others]), np.concatenate([train, test]))
    numbers = {}
    for name in schema.features:
        column = one_chunk(table.column(name))
        one, other = (as_numbers(pa.chunked_array([column.take(pa.array(each))])) for each in rows)
        numbers[name] = (one, other)
        del column  # before the next one is read
    return _Drawn(train, others, test, numbers)


def _single_features(drawn: _Drawn, schema: Schema, target: NDArray[np.integer], found: list[Finding]) -> list[str]:
    if len(schema.features) == 1:
        return ["One column alone tells the class: not asked, since there is one only."]
    train, others = drawn.train, drawn.others
    count = len(train) + len(others)
    if count < FEWEST_JUDGED:
        return [f"One column alone tells the class: not asked, {count} rows are too few (less than {FEWEST_JUDGED})."]
    rows = np.concatenate([train, others])
    labels, known = target[rows], np.arange(count) < len(train)
    scores = {}
    for name in schema.features:
        scores[name] = single_feature_score(drawn.numbers[name][0], labels, known, schema.kind(name) != "categorical")
        if scores[name] >= TELLING:
            found.append(
                Finding(
                    "tells_the_class",
                    name,
                    f"column {name} alone tells {schema.target}: balanced accuracy {scores[name]:.4f} on {count:,}"
                    " rows, each judged by the other side; is it known before the class is?",
                    "create.columns.ignored",
                )
            )
    best = max(scores, key=lambda name: scores[name])
    return [
        f"The column that alone tells most about the class: {best}, balanced accuracy {scores[best]:.4f} on {count:,}"
        f" rows (a warning from {TELLING} on)."
    ]


def _adversarial(
    drawn: _Drawn,
    table: Columns,
    schema: Schema,
    method: str,
    column: str | None,
    hashes: Hashes,
    found: list[Finding],
) -> list[str]:
    # The column that divides the rows divides them by intent.
    features = [name for name in schema.features if name != column]
    if not features:
        return ["Training and test rows can be told apart: not asked, since the only column is what divides them."]
    train, rows = drawn.train, np.concatenate([drawn.train, drawn.test])
    # Which rows were put into a split together. By time each row is on its own.
    if method == "time":
        groups = np.arange(len(rows), dtype=np.uint64)
    elif method == "group":
        groups = values(table.column(str(column)))[rows].astype(np.uint64)
    else:
        groups = hashes[rows]
    numbers = np.column_stack([drawn.numbers[name][1] for name in features])
    result = adversarial_validation(numbers, np.arange(len(rows)) >= len(train), groups)
    if result is None:
        return ["Training and test rows can be told apart: not asked, they are too few, or too many are twins."]
    moved = features[result.column]
    auc = f"AUC {result.auc:.3f} ± {result.error:.3f}"
    if result.surely:
        found.append(
            Finding(
                "sides_differ",
                moved,
                f"training and test rows can be told apart: {auc} (0.5 where they are alike); column {moved} moved"
                f" most (its cumulative shares differ by up to {result.distance:.2f})",
                "split.method",
            )
        )
    less = f", {column} left out, which divides them" if len(features) < len(schema.features) else ""
    return [
        f"Training and test rows told apart by gradient boosting on {len(rows):,} rows{less}: {auc}, 0.5 where"
        f" they are alike (a warning where it is over {ALIKE} by more than {ERRORS:g} standard errors)."
    ]


def _rows(schema: Schema) -> int:
    return min(MOST_ROWS, max(MOST_NUMBERS // len(schema.features), FEWEST_ROWS))


def _some(rows: Rows, most: int, random: np.random.Generator) -> Rows:
    return rows if len(rows) <= most else np.sort(random.choice(rows, most, replace=False))


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
