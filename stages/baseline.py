"""Stage `baseline`: what would a simple model get?

Reads   data/train.parquet, data/validation.parquet, data/test.parquet, data/schema.json
Writes  reports/baseline.json     accuracy and log loss of each on the test rows
        reports/baseline.parquet  of each its predicted class index at each test row (NAME), and its log loss there
                                  (NAME_log_loss)

Majority class, logistic regression and gradient boosting of scikit-learn, fitted on the training rows, or on some of
them (baseline.rows). Nobody should ship a network that loses to a line.
"""

from retrace.runtime.run import run

from retrace.artifacts.baseline import write_baseline, write_baseline_rows
from retrace.artifacts.schema import read_schema
from retrace.evaluation.baselines import baseline, on_each_row, read_rows, report, require_room
from retrace.params.baseline import Baseline
from retrace.params.reader import read


def main() -> None:
    section = read(Baseline)
    schema = read_schema()
    require_room(schema, section)
    train, validation, test = read_rows(schema, section)
    results = baseline(train, validation, test, schema, section)
    scores = {name: report(result, test.y) for name, result in results.items()}
    write_baseline_rows({name: on_each_row(result, test.y) for name, result in results.items()})
    write_baseline(scores)
    accuracies = ", ".join(f"{name} {each.accuracy:.4f}" for name, each in scores.items())
    print(f"baseline: accuracy on {len(test.y):,} test rows: {accuracies}")


if __name__ == "__main__":
    run(main, "use fewer rows or columns")
