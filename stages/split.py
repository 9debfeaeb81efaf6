"""Stage `split`: who may see which row?

Reads   data/dataset.parquet, data/schema.json
Writes  data/train.parquet, data/validation.parquet, data/test.parquet, each in shuffled order

The test rows depend on `test_size`, `seed` and `stratified` only: validation rows are taken out of the others.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from stages.datasets.schema import Schema, read_schema
from stages.files.tables import read_table, write_table
from stages.params.reader import fault, read
from stages.params.split import Split
from stages.process.faults import BAD_DATA, Fault
from stages.process.run import run

DATASET = Path("data/dataset.parquet")
TRAIN = Path("data/train.parquet")
VALIDATION = Path("data/validation.parquet")
TEST = Path("data/test.parquet")


class Sides(NamedTuple):
    """Row numbers of each side, int64, shuffled."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split(table: pa.Table, schema: Schema, section: Split) -> Sides:
    """Divide the rows. Rows with the same features are twins: one of them is drawn, the others follow it.

    Raises Fault when a side would be empty or a class would be missing from the training or the test rows.
    """
    twins = table.select(schema.features).to_pandas().groupby(schema.features, sort=False, dropna=False).ngroup()
    target = table.column(schema.target).to_numpy()
    firsts = np.flatnonzero(~twins.duplicated())
    rest, test = _divide(firsts, target, section.test_size, section, "test_size")
    train, validation = _divide(rest, target, section.validation_size, section, "validation_size")
    if len(firsts) < len(target):
        members = pd.Series(np.arange(len(target))).groupby(twins.to_numpy()).indices
        train, validation, test = (
            np.concatenate([members[twins[row]] for row in side]) for side in (train, validation, test)
        )
    for name, side in (("training", train), ("validation", validation), ("test", test)):
        missing = np.bincount(target[side], minlength=len(schema.classes)) == 0
        if missing.any():
            index = int(missing.argmax())
            raise Fault(
                BAD_DATA,
                f"{DATASET}: class '{schema.classes[index]}' of {schema.target} has {schema.counts[index]} rows and"
                f" none of them is a {name} row; set split.stratified: true or make more rows",
            )
    return Sides(train, validation, test)


def _divide(
    rows: NDArray[np.int64], target: NDArray[np.int64], size: float, section: Split, key: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    try:
        kept, taken = train_test_split(
            rows,
            test_size=size,
            random_state=section.seed,
            stratify=target[rows] if section.stratified else None,
        )
    except ValueError as error:
        reason = str(error).split(". ")[0]  # its first sentence
        raise fault(Split, key, f"must suit the {len(rows)} distinct rows to divide ({reason})") from None
    return kept, taken


def main() -> None:
    section = read(Split)
    schema = read_schema()
    table = read_table(DATASET)
    sides = split(table, schema, section)
    target = table.column(schema.target).to_numpy()
    counts = []
    for path, rows in zip((TRAIN, VALIDATION, TEST), sides, strict=True):
        write_table(path, table.take(rows))
        per_class = np.bincount(target[rows], minlength=len(schema.classes))
        listed = ", ".join(f"{name} {count:,}" for name, count in zip(schema.classes, per_class, strict=True))
        counts.append(f"{path.stem} {len(rows):,} ({listed})")
    print("split: " + "; ".join(counts))


if __name__ == "__main__":
    run(main)
