"""Where tables and pictures lie that pass between stages; a JSON file's path stands in the module of its content.

dvc.yaml names the same paths, as deps and outs.
"""

from pathlib import Path

# create
DATASET = Path("data/dataset.parquet")

# split
TRAIN = Path("data/train.parquet")
VALIDATION = Path("data/validation.parquet")
TEST = Path("data/test.parquet")
DATA = Path("reports/data.md")

# baseline
BASELINE_PREDICTIONS = Path("reports/baseline.parquet")

# train
MODELS = Path("models")
MODEL = Path("models/model.json")
WEIGHTS = Path("models/model.safetensors")
HISTORY = Path("reports/history.csv")
LOSS = Path("reports/loss.csv")
STEPS = Path("reports/steps.parquet")
# Which DVC does not know: held while a training run is under way.
TRAIN_LOCK = Path(".retrace/train.lock")

# evaluate
PREDICTIONS = Path("reports/predictions.parquet")
REPLICAS = Path("reports/replicas.csv")
SLICES = Path("reports/slices.csv")
IMPORTANCE = Path("reports/importance.csv")
CLASSIFICATION_REPORT = Path("reports/classification_report.txt")
CONFUSION_MATRIX = Path("reports/confusion_matrix.csv")
CLASSES = Path("reports/classes.csv")
ROC = Path("reports/roc.csv")
PRECISION_RECALL = Path("reports/precision_recall.csv")
CALIBRATION = Path("reports/calibration.csv")
BOUNDARY = Path("reports/boundary.parquet")
PROJECTION = Path("reports/projection.parquet")

# plot
FIGURES = Path("reports/figures")
