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
from retrace.artifacts.paths import DATASET, TEST, TRAIN, VALIDATION
from retrace.artifacts.schema import read_schema
from retrace.artifacts.tables import read_table, write_pieces
from retrace.data.checks.examine import examine
from retrace.data.checks.report import write_report
from retrace.data.splitting import method_of, pieces, require_room, split, summary
from retrace.params.reader import read
from retrace.params.split import Split


def main() -> None:
    section = read(Split)
    schema = read_schema()
    require_room(schema)
    table = read_table(DATASET).unify_dictionaries()
    target = table.column(schema.target).to_numpy()
    splits = split(table, schema, section)
    method = method_of(section, schema)
    examination = examine(table, schema, splits, method, section.column)
    write_report(schema, splits, target, method, examination)
    for path, rows in zip((TRAIN, VALIDATION, TEST), splits, strict=True):
        write_pieces(path, pieces(table, rows))
    warn("split", examination.found, FINDINGS)
    print(f"split: {summary(splits, target, schema)}")


if __name__ == "__main__":
    run(main, "leave rows or columns out of the table")
