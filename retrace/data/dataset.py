"""The data set that the section `create` asks for: of a generator, of scikit-learn, or a person's own table."""

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from retrace.artifacts.paths import DATASET
from retrace.artifacts.schema import Schema
from retrace.data.reading import open_source
from retrace.data.table import convert, inspect
from retrace.params.create import Create
from retrace.runtime.disk import require_disk
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.memory import require_memory
from retrace.runtime.text import shown


class Dataset(NamedTuple):
    """name: the generator's, or the path of the table; pieces: the rows, as tables of one schema.

    The pieces of a person's own table are converted as they are taken: not all of it is in memory at any time.
    """

    name: str
    schema: Schema
    pieces: Iterator[pa.Table]


def open_dataset(section: Create) -> Dataset:
    """Raises UserError for a table that is not one, and where disk or memory have no room for the data set."""
    return _of_table(section) if section.dataset == "table" else _generated(section)


def _of_table(section: Create) -> Dataset:
    in_experiment(Path(section.table.path))
    source = open_source(section)
    require_disk([DATASET], sum(part.stat().st_size for part in source.parts), "leave rows or columns out of the table")
    found = inspect(section, source)
    return Dataset(section.table.path, found.schema, convert(found))


def _generated(section: Create) -> Dataset:
    # Those that come with scikit-learn have no keys, and are small.
    keys = getattr(section, section.dataset, None)
    size = 8 * section.rows * (getattr(keys, "features", 2) + 1) if keys else 0
    require_disk([DATASET], size, f"lower create.rows (now {section.rows:,})")
    require_memory(2 * size, f"create: {section.rows:,} rows", f"lower create.rows (now {section.rows:,})")
    table, schema = create(section)
    return Dataset(schema.dataset, schema, iter([table]))


def create(section: Create) -> tuple[pa.Table, Schema]:
    """The data set that the section asks for, made or of scikit-learn's, as a table and its schema."""
    # Here, because scikit-learn takes two thirds of a second to load, and a table needs nothing of it.
    from retrace.data.generators import DATASETS

    made = DATASETS[section.dataset](section)
    columns = dict(zip(made.feature_names, made.features.T, strict=True))
    table = pa.table({**columns, made.target_name: made.target.astype(np.int64)})
    counts = np.bincount(made.target, minlength=len(made.class_names))
    schema = Schema(
        dataset=section.dataset,
        features=made.feature_names,
        target=made.target_name,
        classes=made.class_names,
        counts=[int(count) for count in counts],
        density=made.density,
    )
    return table, schema


def in_experiment(path: Path) -> None:
    """Raise UserError where an experiment in a folder of its own (--temp, --queue) did not get the project's table."""
    project = Path(os.environ.get("DVC_ROOT") or ".")
    if path.exists() or not (project / path).exists():
        return
    file, note = (shlex.quote(str(each)) for each in (path, path.with_name(f"{path.name}.dvc")))
    raise UserError(
        BAD_DATA,
        f"{path} (create.table.path) is not in this experiment's folder, which has what git knows and nothing else;"
        f" run: git add {file}, or: dvc add {file} && git add {note}; then the same `dvc exp run` again",
    )


def summary(name: str, schema: Schema) -> str:
    """One line: how many rows, features of each kind, and rows of each class."""
    kinds = Counter(map(schema.kind, schema.features))
    listed = f"{len(schema.features)} features"
    if len(kinds) > 1 or "numeric" not in kinds:
        listed += f" ({', '.join(f'{count} {kind}' for kind, count in kinds.most_common())})"
    classes = ", ".join(f"{name} {count:,}" for name, count in zip(schema.classes, schema.counts, strict=True))
    return shown(f"{name}, {sum(schema.counts):,} rows, {listed}; {schema.target}: {classes}")
