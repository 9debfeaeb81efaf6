"""Stage `create`: what data is there?

Reads   a generator, or a table that comes with scikit-learn (section `create`)
Writes  data/dataset.parquet, one row an example: the features (float64) and the class index (int64)
        data/schema.json, names, kinds and counts (stages/datasets/schema.py)
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.datasets.generators import DATASETS
from stages.datasets.schema import Schema, write_schema
from stages.files.tables import write_table
from stages.params.create import Create
from stages.params.reader import read
from stages.process.run import run

DATASET = Path("data/dataset.parquet")


def create(section: Create) -> tuple[pa.Table, Schema]:
    """The data set that the section asks for, as a table and its schema."""
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


def main() -> None:
    table, schema = create(read(Create))
    write_table(DATASET, table)
    write_schema(schema)
    classes = ", ".join(f"{name} {count:,}" for name, count in zip(schema.classes, schema.counts, strict=True))
    print(
        f"create: {schema.dataset}, {table.num_rows:,} rows, {len(schema.features)} features;"
        f" {schema.target}: {classes}"
    )


if __name__ == "__main__":
    run(main)
