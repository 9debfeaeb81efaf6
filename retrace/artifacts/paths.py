"""Where the files lie whose content has its type elsewhere: rows of data, which data/schema.json describes; a page for
people; the model, whose files retrace/networks/ reads and writes; pictures.

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

# train
MODELS = Path("models")
MODEL = Path("models/model.json")
WEIGHTS = Path("models/model.safetensors")
# Which DVC does not know: held while a training run is under way.
TRAIN_LOCK = Path(".retrace/train.lock")

# plot
FIGURES = Path("reports/figures")
