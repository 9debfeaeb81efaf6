"""`retrace check FILE`: are these rows like those that the model was trained on?

Reads the model with models/reference.json, and FILE as `retrace predict` does. Prints a line for each column that is
unlike, the surest first. Ends with 0 where all is alike, with 6 where it is not. What is asked, and when a difference
counts, stands in retrace/evaluation/new_rows.py.
"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import click

from retrace.artifacts.paths import MODELS
from retrace.cli.predict import opened_for, predict, watch_of
from retrace.evaluation.new_rows import Difference, unlike_columns
from retrace.networks.model_files import load
from retrace.params.create import Create
from retrace.params.reader import read
from retrace.runtime.errors import BAD_DATA, UNLIKE, UserError
from retrace.runtime.text import shown

LONGEST = 40  # letters of a column's name


def check(path: Path) -> None:
    model, reading = load(MODELS), read(Create).reading
    watch = watch_of(model)
    deque(predict(model, opened_for(model, path, reading), reading, 0.5, False, watch), maxlen=0)
    if not watch.rows:
        raise UserError(BAD_DATA, f"{path} has no rows")
    asked = watch.differences()
    print(shown(f"check: {watch.rows:,} rows of {path} against {watch.reference.rows:,} training rows"))
    for line in table([each for each in asked if each.unlike]):
        print(line)
    if unlike := unlike_columns(asked):
        raise UserError(UNLIKE, f"check: {path} is unlike the training rows in {unlike}")
    print(f"check: nothing is unlike in {len(model.description.features):,} columns")


def table(unlike: list[Difference]) -> Iterator[str]:
    """Column, what differs, its share in training and here, the effect as a share of rows, how sure that is."""
    if not unlike:
        return
    rows = [("column", "what differs", "training", "here", "by", "chance if alike")]
    for each in unlike:
        name = shown(each.column)
        rows.append(
            (
                name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}...",
                each.what,
                "" if each.training is None else f"{each.training:.1%}",
                "" if each.here is None else f"{each.here:.1%}",
                f"{each.effect:.2f}",
                f"{each.p:.1g}" if each.p >= 1e-12 else "below 1e-12",
            )
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  " + "  ".join(cells).rstrip()


@click.command(epilog="Example: retrace check new.csv")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
def command(file: Path) -> None:
    """Whether the rows of FILE are like those that the model was trained on: exit status 0, or 6 where they are not.

    FILE is a CSV or Parquet file, or a folder of Parquet parts. Prints column, what differs, by what share of rows, and
    the chance of it where rows are alike. A column counts where the difference is both large and sure."""
    if not file.exists():
        raise UserError(BAD_DATA, f"{file} not found; name a CSV or Parquet file")
    check(file)
