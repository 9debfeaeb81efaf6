"""Stage `create`: what data is there?

Reads   a generator, a table that comes with scikit-learn, or a person's own in data/tables (section `create`)
Writes  data/dataset.parquet, one row an example: the features, the class index (int64), and what else the table holds
        data/schema.json, names, kinds and counts (retrace/artifacts/schema.py)
"""

# First, so that a library that cannot be loaded is one line, too.
from retrace.runtime.run import run  # isort: split

import os
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from retrace.artifacts.schema import PATH as SCHEMA
from retrace.artifacts.schema import Schema, warn, write_schema
from retrace.artifacts.tables import write_pieces
from retrace.data.generators import DATASETS
from retrace.data.reading import open_source
from retrace.data.table import convert, look
from retrace.params.create import Create
from retrace.params.reader import read
from retrace.runtime.disk import prepare
from retrace.runtime.errors import BAD_DATA, Fault
from retrace.runtime.memory import need
from retrace.runtime.text import shown

DATASET = Path("data/dataset.parquet")


def create(section: Create) -> tuple[pa.Table, Schema]:
    """The data set that the section asks for, made or of scikit-learn's, as a table and its schema."""
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
    """Raise Fault where an experiment in a folder of its own (--temp, --queue) did not get the project's table."""
    project = Path(os.environ.get("DVC_ROOT") or ".")
    if path.exists() or not (project / path).exists():
        return
    file, note = (shlex.quote(str(each)) for each in (path, path.with_name(f"{path.name}.dvc")))
    raise Fault(
        BAD_DATA,
        f"{path} (create.table.path) is not in this experiment's folder, which has what git knows and nothing else;"
        f" run: git add {file}, or: dvc add {file} && git add {note}; then the same `dvc exp run` again",
    )


def main() -> None:
    section = read(Create)
    if section.dataset == "table":
        in_experiment(Path(section.table.path))
        source = open_source(section)
        prepare([DATASET], sum(part.stat().st_size for part in source.parts), "leave rows or columns out of the table")
        found = look(section, source)
        warn("create", found.findings, SCHEMA)
        # Not all of it is in memory at any time.
        name, schema, pieces = section.table.path, found.schema, convert(found)
    else:
        # Those that come with scikit-learn have no keys, and are small.
        keys = getattr(section, section.dataset, None)
        size = 8 * section.rows * (getattr(keys, "features", 2) + 1) if keys else 0
        prepare([DATASET], size, f"lower create.rows (now {section.rows:,})")
        need(2 * size, f"create: {section.rows:,} rows", f"lower create.rows (now {section.rows:,})")
        table, schema = create(section)
        name, pieces = schema.dataset, iter([table])
    write_pieces(DATASET, pieces)
    write_schema(schema)
    kinds = Counter(map(schema.kind, schema.features))
    listed = f"{len(schema.features)} features"
    if len(kinds) > 1 or "numeric" not in kinds:
        listed += f" ({', '.join(f'{count} {kind}' for kind, count in kinds.most_common())})"
    classes = ", ".join(f"{name} {count:,}" for name, count in zip(schema.classes, schema.counts, strict=True))
    print(shown(f"create: {name}, {sum(schema.counts):,} rows, {listed}; {schema.target}: {classes}"))


if __name__ == "__main__":
    run(main, "use fewer rows (create.rows) or columns")
