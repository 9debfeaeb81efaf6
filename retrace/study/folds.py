"""The rows for training and validation once more, in folds, each a folder with files of the same names.

Test rows are in none of them. Rows that the split keeps together stay together: duplicates, and groups of its column;
every fold has its share of each class. By time there are no folds, since a later row must not judge an earlier one.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retrace.artifacts.paths import TRAIN, VALIDATION
from retrace.artifacts.schema import Schema
from retrace.artifacts.tables import read_table, write_table
from retrace.data.groups import Hashes, row_hashes, shuffled_hash, together, values
from retrace.params.split import Split


def read_rows(folder: Path) -> pa.Table:
    """Those of a folder's train.parquet, then those of its validation.parquet."""
    return pa.concat_tables([read_table(folder / path.name) for path in (TRAIN, VALIDATION)]).unify_dictionaries()


def groups_of(table: pa.Table, schema: Schema, split: Split) -> Hashes:
    """[rows] of those that belong together: duplicates, and groups of the split's column."""
    groups = row_hashes(table, schema.features)
    return together(groups, values(table.column(split.column))) if split.method == "group" else groups


def fold_of_each(table: pa.Table, schema: Schema, split: Split, folds: int, seed: int) -> NDArray[np.int64]:
    """[rows], from 0; fewer folds where there are fewer groups."""
    groups = groups_of(table, schema, split)
    _, firsts, inverse = np.unique(groups, return_index=True, return_inverse=True)
    target = table.column(schema.target).to_numpy()
    # By class, and within it by chance; then dealt out like cards.
    order = np.lexsort((shuffled_hash(groups[firsts], seed), target[firsts]))
    dealt = np.empty(len(firsts), dtype=np.int64)
    dealt[order] = np.arange(len(firsts)) % folds
    found: NDArray[np.int64] = dealt[inverse]
    return found


def write_fold(table: pa.Table, held_out: NDArray[np.bool_], folder: Path) -> Path:
    """The rows that are held out for validation, the others for training."""
    for path, chosen in ((TRAIN, ~held_out), (VALIDATION, held_out)):
        write_table(folder / path.name, table.filter(pa.array(chosen)))
    return folder
