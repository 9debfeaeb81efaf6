"""The recipe for a table of one's own, by its size: what `make table` writes into params.yaml.

All its numbers are here. No stage reads them: once written, they stand in params.yaml like any other value.
"""

from typing import Any

Key = tuple[str, ...]

# Piecewise-linear inputs: each bin should see so many training rows; more bins than the most bring nothing.
ROWS_A_BIN, FEWEST_BINS, MOST_BINS = 128, 2, 16
# Of all numbers together, so that the first layer of a wide table does not take most of the time; with fewer than
# FEWEST_BINS for each number there are none.
MOST_BINS_IN_ALL = 1_000
# Of two lengths of the same thing, say, what decides may be the little by which they differ: the accuracy on 6,000
# diamonds rose from .721 to .776. In few rows such an input is one more to learn by heart: vehicle, 561 rows, had a
# validation loss of .385 without and .410 with them.
CLOSE, FEWEST_ROWS = 0.99, 1_000
# Steps get larger with a large table, three times the rows, twice the batch; a small one has so many of them an epoch,
# since it would end before it has learned: iris, 89 rows, had a log loss of .095 with 128 and .069 with 16.
BATCH, BATCH_ROWS, LARGEST_BATCH = 128, 50_000, 1024
FEWEST_STEPS, SMALLEST_BATCH = 4, 8
# Smoothed labels keep a network from learning single rows by heart, and are no part of its answer: see
# networks/probabilities.py. Over two other splits of fourteen tables the accuracy rose by .002, mlc_churn's from .949
# to .956.
SMOOTHING = 0.03
# Many classes need more units to be told apart, and have less to gain from what keeps a network from learning by heart:
# letter, 26 of them and 3,600 rows, had over two other splits an accuracy of .940 and a log loss of .205 with what the
# others have and .01 of smoothing (.03: .223), and .949 and .178 with all of this, in 2.3 times the time. Tables of
# three to six classes gained nothing by it.
MANY_CLASSES = 10
OF_MANY: dict[str, Any] = {
    "hidden": [256, 256, 256],
    "activation": "silu",
    "dropout": 0.05,
    "label_smoothing": 0.01,
}

# In section train, whatever the size. Left alone are the seed, the device and what these make idle: momentum, say.
ALWAYS: dict[str, Any] = {
    "replicas": 8,
    "ship": "mean",
    "scaling": "standard",
    "input_scale_rate": 50.0,
    "rare_below": 10,
    "embed_above": 64,
    "embedding_width": 8,
    "architecture": "mlp",
    "hidden": [128, 128],
    "activation": "relu",
    "dropout": 0.15,
    "init": "he_uniform",
    "loss": "cross_entropy",
    "class_weights": "none",
    "optimizer.name": "adamw",
    "optimizer.learning_rate": 0.002,
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.999,
    "optimizer.weight_decay": 0.1,
    "schedule.name": "constant",
    "schedule.warmup_epochs": 0,
    "gradient_clip": None,
    "epochs": 60,
    "patience": 12,
}

# Networks of a trial, one for each fold: with three, and 400 rows, the best of 64 trials promised .067 more than
# there was.
SEEDS_OF_STUDY = 5
# What `make study` searches for a table: around the recipe. All but the first two are settings of a network's own, so
# that most trials train side by side.
SPACE: dict[str, Any] = {
    "hidden": [[128, 128], [256, 256], [256, 256, 256]],
    "activation": ["relu", "silu"],
    "optimizer.learning_rate": {"low": 0.0005, "high": 0.01, "log": True},
    "optimizer.weight_decay": {"low": 0.01, "high": 1.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
    "label_smoothing": {"low": 0.0, "high": 0.1},
}

# How good a table's result can be nobody knows before: it must beat the majority class, and no baseline may beat it.
GATE: dict[str, Any] = {"min_accuracy": 0.0, "min_macro_f1": 0.0, "margin": 0.0, "beat_baselines": True}


def recipe(rows: int, numbers: int, classes: int) -> dict[Key, Any]:
    """Key -> value, of train, gate and study; rows: for training; numbers: that a row holds, four for a date."""
    found = bins(rows, numbers)
    sized = {
        "bins": found,
        "residuals_above": CLOSE if rows >= FEWEST_ROWS and found else 1.0,
        "batch_size": batch_size(rows),
        "label_smoothing": SMOOTHING,
    }
    of_many = OF_MANY if classes > MANY_CLASSES else {}
    train = {("train", *key.split(".")): value for key, value in (ALWAYS | sized | of_many).items()}
    study = {("study", "seeds"): SEEDS_OF_STUDY, ("study", "space"): SPACE}
    return train | {("gate", key): value for key, value in GATE.items()} | study


def bins(rows: int, numbers: int) -> int:
    wanted = min(MOST_BINS, max(FEWEST_BINS, rows // ROWS_A_BIN))
    affordable = min(wanted, MOST_BINS_IN_ALL // max(1, numbers))
    return affordable if affordable >= FEWEST_BINS else 0


def batch_size(rows: int) -> int:
    size, limit = BATCH, BATCH_ROWS
    while rows > limit and size < LARGEST_BATCH:
        size, limit = 2 * size, 3 * limit
    while rows < FEWEST_STEPS * size and size > SMALLEST_BATCH:
        size //= 2
    return size
