"""`retrace predict INPUT OUTPUT`: what the trained model says of each row of a table.

INPUT is a CSV file (.csv, .tsv, .txt, also .gz), a Parquet file or a folder of Parquet parts; OUTPUT ends with .csv or
.parquet and gets the label and the probability of each class, and with --keep the columns of INPUT before them. Rows go
through in pieces, so that memory does not grow with the file. If INPUT has the target, the last line says how many are
right. In a CSV file a text that a spreadsheet would take for a formula gets a `'` before it, as in all of this project;
Parquet has each text as it is.
"""

import itertools
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from retrace.artifacts.paths import MODELS
from retrace.artifacts.schema import SCHEMA, read_schema
from retrace.data.conversion import converted, label_texts
from retrace.data.numbers import PLAIN, Form
from retrace.data.reading import open_table
from retrace.data.source import Source
from retrace.evaluation.new_rows import Watch, unlike_columns
from retrace.evaluation.served_threshold import served_threshold
from retrace.networks.model import Description, Model, decide
from retrace.networks.model_files import load
from retrace.params.create import Create, Reading
from retrace.params.evaluate import Evaluate
from retrace.params.reader import read
from retrace.preprocessing.apply import AS_TEXTS, sure
from retrace.preprocessing.description import Category, Preprocessing, Unusable
from retrace.preprocessing.reference import REFERENCE, read_reference
from retrace.runtime.atomic import FORMULA, write
from retrace.runtime.cores import cores
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import restore
from retrace.runtime.text import listed, shown
from retrace.runtime.threads import side_by_side

WITHOUT_LABEL = "leave the column out, or the row"
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?([eE][-+]?\d+)?")
WHOLE = re.compile(r"-?\d{1,15}")
# Threads that ask the network; reading and writing, which one does for all, take a third of the time.
MOST_THREADS = 4
WATCHED = 4096  # rows of a piece that are held against the training rows, which costs time


class Piece(NamedTuple):
    """Of the input. start: rows before it; raw: its features, as their kinds have them."""

    start: int
    block: pa.RecordBatch
    raw: pa.Table


class Answer(NamedTuple):
    """To a piece. actual: classes that its rows have, where the input has the target; right: how many were found."""

    raw: pa.Table
    probabilities: NDArray[np.float64]
    actual: pa.Array | None
    output: pa.Table
    right: int


def predict(
    model: Model, source: Source, reading: Reading, threshold: float, keep: bool, watch: Watch | None = None
) -> Iterator[tuple[pa.Table, int]]:
    """Pieces of the output, and how many of their rows are known to be right, since the input has the target.

    watch: sees the rows and the answers, and has no say.
    """
    description = model.description
    for name in description.features:
        if name not in source.names:
            raise UserError(
                BAD_DATA,
                f"{source.path}: column {name} is missing; the model needs {listed(description.features)}",
            )
    added = ["label", *(f"probability_{name}" for name in description.classes)]
    for name in added if keep else ():
        if name in source.names:
            raise UserError(
                BAD_DATA, f"{source.path}: column {name} would be lost: the output has one of its own; leave out --keep"
            )

    def answered(piece: Piece) -> Answer:
        with _named(source, piece.start):
            probabilities = sure(description.preprocessing, piece.raw, model.probabilities(piece.raw))
        labels = pa.array(description.classes, pa.string()).take(decide(probabilities, threshold))
        output = dict(zip(piece.block.schema.names, piece.block.columns, strict=True)) if keep else {}
        output |= zip(added, [labels, *map(np.ascontiguousarray, probabilities.T)], strict=True)
        right, actual = 0, None
        if description.target in source.names:
            actual = _actual(source, piece.block.column(description.target), description, piece.start)
            right = int(pc.sum(pc.equal(actual, labels)).as_py())
        return Answer(piece.raw, probabilities, actual, pa.table(output), right)

    pieces = _pieces(description, source, reading)
    # In each a thread of torch's, whose own setting it has: more would wait for each other.
    with side_by_side(min(cores(), MOST_THREADS), partial(torch.set_num_threads, 1)) as each:
        # The first one here, so that a small table, which has no other, needs no threads.
        for answer in itertools.chain(map(answered, itertools.islice(pieces, 1)), each(answered, pieces)):
            if watch:
                watch.add(answer.raw, answer.probabilities, answer.actual)
            yield answer.output, answer.right


def _pieces(description: Description, source: Source, reading: Reading) -> Iterator[Piece]:
    rows, preprocessing = 0, description.preprocessing
    for block in source.blocks():
        columns = {}
        with _named(source, rows):
            for name in description.features:
                kind = description.kind(name)
                column, missing = _as_in_training(preprocessing, source, name, kind, block.column(name), reading)
                date_format = preprocessing.date_formats.get(name)
                columns[name] = converted(source, name, kind, column, rows, date_format, missing)
        yield Piece(rows, block, pa.table(columns))
        rows += block.num_rows


@contextmanager
def _named(source: Source, start: int) -> Iterator[None]:
    """A value that the network cannot take as a line for the user; start: rows before the piece it is in."""
    try:
        yield
    except Unusable as error:
        raise UserError(
            BAD_DATA, f"{source.path}: column {error.column}, row {start + error.row + 1:,}: {error.value} {error.rule}"
        ) from None


def _as_in_training(
    preprocessing: Preprocessing, source: Source, name: str, kind: str, column: pa.Array, reading: Reading
) -> tuple[pa.Array, list[str]]:
    """A column, and the texts that stand for a missing value, also where training had another format of file."""
    category = preprocessing.category(name) if kind == "categorical" else None
    if not source.typed:
        values = [*category.values, *category.hidden] if category else []
        missing = [text for text in reading.missing if text not in values]
        return _as_known(category, column, missing) if category and category.typed else column, missing
    typed = column.type.value_type if isinstance(column.type, pa.DictionaryType) else column.type
    if pa.types.is_primitive(typed) or pa.types.is_decimal(typed):
        if category and not category.typed:
            raise Unusable(name, 0, str(typed), AS_TEXTS)
    elif not pa.types.is_nested(typed):
        texts = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
        column = pc.if_else(pc.is_in(texts, pa.array(preprocessing.missing, pa.string())), None, texts)
    # Of a text such as '' pandas may have made it, unless training rows lacked values beside that text.
    if category and category.unread and category.missing == "none" and column.null_count:
        raise Unusable(name, pc.index(pc.is_null(column), True).as_py(), "None", category.unread)
    return column, []


def _as_known(category: Category, column: pa.Array, missing: list[str]) -> pa.Array:
    """Texts of a CSV file, 3.0 as the category 3: so pandas writes whole numbers in a column where one is missing."""
    known = {*category.values, *missing}
    wholes = [text for text in category.values if WHOLE.fullmatch(text) and f"{text}.0" not in known]
    if not wholes:
        return column
    texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    places = pc.index_in(texts, pa.array([f"{text}.0" for text in wholes], pa.string()))
    return pc.coalesce(pa.array(wholes, pa.string()).take(places), texts)


def _actual(source: Source, column: pa.Array, description: Description, rows: int) -> pa.Array:
    """The classes that the rows have, as texts."""
    actual = label_texts(source, column, description.target, rows, WITHOUT_LABEL)
    known = pc.is_in(actual, pa.array(description.classes, pa.string()))
    if not pc.all(known).as_py():
        row = pc.index(known, False).as_py()
        raise UserError(
            BAD_DATA,
            f"{source.path}: row {rows + row + 1:,}: the label {actual[row].as_py()!r} is not one of"
            f" the model's ({listed(description.classes)}); {WITHOUT_LABEL}",
        )
    return actual


def opened_for(model: Model, path: Path, reading: Reading) -> Source:
    """A file of new rows, read as the model's training rows were."""
    texts = frozenset([model.description.target, *model.description.kinds])
    source = open_table(path, reading, model.description.features[0])
    return replace(source, learned=_learned(model), apart=texts)


def watch_of(model: Model, most: int | None = None) -> Watch:
    """Raises UserError where the model's reference is missing, damaged or another model's."""
    reference = read_reference()
    known = [each.column for each in reference.columns]
    if known != model.description.features or len(reference.classes) != len(model.description.classes):
        raise UserError(BAD_DATA, f"{REFERENCE} is not of the model beside it; {restore(REFERENCE)}")
    return Watch(reference, model.description, most)


def _learned(model: Model) -> dict[str, Form]:
    """How the numbers were written that the model was trained on; where they were no texts, as programs write them."""
    if not SCHEMA.exists() or (schema := read_schema()).features != model.description.features:
        return {}
    if schema.number_formats is None:
        return dict.fromkeys(schema.features, PLAIN)
    return {name: Form(**form) for name, form in schema.number_formats.items()}


def harmless(table: pa.Table, path: Path) -> pa.Table:
    """The same for a CSV file, in which no text is a formula (see `atomic.write_csv`); path: of the input."""

    def marked(text: str | None, number: bool = False) -> str | None:
        formula = text is not None and FORMULA.match(text) and not (number and NUMBER.fullmatch(text))
        return f"'{text}" if formula else text

    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            column = column.cast(pa.string())
            distinct = pc.unique(column)
            texts = distinct.to_pylist()
            # A kept number may have any sign.
            plain = [marked(text, name != "label") for text in texts]
            if plain != texts:
                column = pa.array(plain, pa.string()).take(pc.index_in(column, distinct))
        elif not (pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)):
            raise UserError(
                BAD_DATA, f"{path}: column {name} holds {kind}, which CSV cannot; let OUTPUT end with .parquet"
            )
        columns.append(column)
    return pa.table(columns, [marked(name) for name in table.column_names])


@click.command(epilog="Example: retrace predict new.csv predictions.csv --keep")
@click.argument("input", type=click.Path(path_type=Path), metavar="INPUT")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT")
@click.option("--keep", is_flag=True, help="Write the columns of INPUT, too.")
def command(input: Path, output: Path, keep: bool) -> None:  # noqa: A002
    """Label and probability of each class for each row of INPUT, into OUTPUT.

    INPUT is a CSV or Parquet file, or a folder of Parquet parts; OUTPUT ends with .csv or .parquet."""
    if not input.exists():
        raise UserError(BAD_DATA, f"{input} not found; name a CSV or Parquet file")
    if output.suffix not in (".csv", ".parquet"):
        raise UserError(BAD_DATA, f"{output} must end with .csv or .parquet, which says how it is written")
    model, reading = load(MODELS), read(Create).reading
    source = opened_for(model, input, reading)
    watch = watch_of(model, WATCHED) if REFERENCE.exists() else None  # an older model has none
    pieces = predict(model, source, reading, served_threshold(read(Evaluate)), keep, watch)
    rows, right = 0, 0
    known = model.description.target in source.names

    def fill(file) -> None:  # type: ignore[no-untyped-def]
        nonlocal rows, right
        writer = None
        for table, hits in pieces:
            if output.suffix == ".csv":
                table = harmless(table, input)
            if writer is None:
                if output.suffix == ".parquet":
                    writer = pq.ParquetWriter(file, table.schema, write_page_checksum=True)
                else:
                    writer = pa_csv.CSVWriter(file, table.schema)
            writer.write_table(table)
            rows += table.num_rows
            right += hits
        if writer is None:
            raise UserError(BAD_DATA, f"{input} has no rows")
        writer.close()

    write(output, fill)
    scored = f"; {right:,} of them right ({right / rows:.4f})" if known else ""
    print(shown(f"predict: {rows:,} rows of {input} to {output}{scored}"))
    if watch and (unlike := unlike_columns(watch.differences())):
        print(
            shown(f"predict: warning: {input} is unlike the training rows in {unlike}; see: retrace check"),
            file=sys.stderr,
        )
