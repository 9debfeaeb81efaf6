"""Stage `split`: who may see which row?

Reads   data/dataset.parquet, data/schema.json
Writes  data/train.parquet, data/validation.parquet, data/test.parquet
        reports/data.md, what is suspicious about the data and its splits; reports/data.json, the same for programs

The test rows depend on `test_size`, `method`, `column` and `seed` only: validation rows are taken out of the others.
Rows with the same features are duplicates: they are in one split, since a model that has seen one has seen the other.
(But for `time`, where a later duplicate is a later row.) A stratified split gives every class with three distinct rows
or more at least one each for training, validation and test.
"""

from retrace.runtime.run import run

from retrace.artifacts.findings import FINDINGS, warn
from retrace.artifacts.paths import DATASET
from retrace.artifacts.schema import read_schema
from retrace.artifacts.table_columns import TableColumns, class_indices
from retrace.data.checks.examine import examine
from retrace.data.checks.report import write_report
from retrace.data.groups import row_hashes
from retrace.data.split_files import require_room, write_splits
from retrace.data.splitting import method_of, split, summary
from retrace.params.reader import read
from retrace.params.split import Split


def main() -> None:
    section = read(Split)
    schema, table = read_schema(), TableColumns(DATASET)
    method = method_of(section, schema)
    require_room(table, method)
    target = class_indices(table, schema.target)
    hashes = row_hashes(table, schema.features)
    splits = split(table, schema, section, hashes)
    examination = examine(table, schema, splits, method, section.column, hashes)
    del hashes  # of a long table as much as a column
    write_splits(table, splits)
    write_report(schema, splits, target, method, examination)
    warn("split", examination.found, FINDINGS)
    print(f"split: {summary(splits, target, schema)}")


if __name__ == "__main__":
    run(main, "leave rows or columns out of the table")
