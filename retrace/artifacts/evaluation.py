"""What `evaluate` writes beside the scores: tables for people, for `plot` and for `dvc plots`."""

from pathlib import Path
from typing import NamedTuple

from retrace.artifacts.table_files import CsvFile, ParquetFile

# scikit-learn's.
CLASSIFICATION_REPORT = Path("reports/classification_report.txt")

# Rows of each actual class; behind it a column for each predicted class.
CONFUSION_MATRIX = CsvFile(Path("reports/confusion_matrix.csv"), ("actual",), texts=("actual",))
# The same for `dvc plots`, a row for each test row.
CLASSES = CsvFile(Path("reports/classes.csv"), ("actual", "predicted"), texts=("actual", "predicted"))
# Of the second of two classes, else of each class against the rest.
ROC = CsvFile(Path("reports/roc.csv"), ("class", "false_positive_rate", "true_positive_rate"), texts=("class",))
PRECISION_RECALL = CsvFile(Path("reports/precision_recall.csv"), ("class", "recall", "precision"), texts=("class",))
# A row for each bin of the likeliest class's probability that has test rows.
CALIBRATION = CsvFile(Path("reports/calibration.csv"), ("low", "high", "confidence", "accuracy", "rows"))
# A row for each replica; shipped: 1 for the model, or each of its mean. Behind it a column for each metric.
REPLICAS = CsvFile(Path("reports/replicas.csv"), ("replica", "shipped", "best_epoch", "best_validation_loss"))
# What the model loses when a column is shuffled, the column that it needs most first.
IMPORTANCE = CsvFile(
    Path("reports/importance.csv"),
    (
        "column",
        *("accuracy_drop", "accuracy_drop_low", "accuracy_drop_high"),
        *("log_loss_increase", "log_loss_increase_low", "log_loss_increase_high"),
        "rows",
    ),
    texts=("column",),
)


class Slice(NamedTuple):
    """The test rows with one value, or range of values, of a column; accuracy with its Wilson interval."""

    column: str
    value: str
    rows: int
    correct: int
    accuracy: float
    low: float
    high: float


# The worst first.
SLICES = CsvFile(Path("reports/slices.csv"), Slice._fields, texts=("column", "value"))

# A row for each test row: class indices, a probability_I for each class, and its place in the plane of the pictures.
PREDICTIONS = ParquetFile(Path("reports/predictions.parquet"), ("actual", "predicted", "x", "y"))
# Training rows in that plane.
PROJECTION = ParquetFile(Path("reports/projection.parquet"), ("actual", "x", "y"))
# Points all over that plane; probability: of the second of two classes, else of the likeliest.
BOUNDARY = ParquetFile(Path("reports/boundary.parquet"), ("x", "y", "predicted", "probability"))
