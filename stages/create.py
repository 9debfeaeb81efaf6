"""Stage `create`: what data is there?

Reads   a generator, a table that comes with scikit-learn, or a person's own in data/tables (section `create`)
Writes  data/dataset.parquet, one row an example: the features, the class index (int64), and what else the table holds
        data/schema.json, names, kinds and counts (retrace/artifacts/schema.py)
"""

from retrace.runtime.run import run

from retrace.artifacts.findings import warn
from retrace.artifacts.paths import DATASET
from retrace.artifacts.schema import SCHEMA, write_schema
from retrace.artifacts.tables import write_pieces
from retrace.data.dataset import open_dataset, summary
from retrace.params.create import Create
from retrace.params.reader import read


def main() -> None:
    name, schema, pieces = open_dataset(read(Create))
    warn("create", schema.findings, SCHEMA)
    write_pieces(DATASET, pieces)
    write_schema(schema)
    print(f"create: {summary(name, schema)}")


if __name__ == "__main__":
    run(main, "use fewer rows (create.rows) or columns")
