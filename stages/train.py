"""Stage `train`: fit the network, all replicas side by side.

Reads   data/train.parquet, data/validation.parquet, data/schema.json
Writes  models/model.safetensors     weights of the replica that ships, as torch.nn.Linear lays them out;
                                     with ship: mean those of all replicas, stacked along a first axis
        models/replicas.safetensors  best weights of every replica, stacked along a first axis
        models/model.json            names, widths, preprocessing, SHA-256 of both
        models/training.json         device and why, best epoch and validation loss of each replica
        reports/history.csv          a row for each epoch and replica
        reports/loss.csv             training and validation loss of what ships, for `dvc plots`
        reports/steps.parquet        training loss of every step, a column a replica
        .retrace/train.json          when and how long; DVC does not know it, since a clock is not a result
        .retrace/live.json, live.csv what is under way, for `make follow`; DVC does not know them either
        .checkpoints/train           what a training that is cut off goes on from; gone when it has come to its end
"""

# First, so that a library that cannot be loaded is one line, too.
from retrace.runtime.run import run  # isort: split

from pathlib import Path

from retrace.runtime.single_instance import alone, end_unless_alone

BUSY = Path(".retrace/train.lock")
ANOTHER = "train: another training is under way in this folder; wait for it, or end it first"
# Before torch is loaded, whose seconds nobody should wait to be turned away.
# ruff: noqa: E402
if __name__ == "__main__":
    end_unless_alone(BUSY, ANOTHER)

import hashlib
import math
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa
import torch

from retrace.artifacts.live import Live, Training
from retrace.artifacts.schema import Schema, read_schema
from retrace.artifacts.tables import count_rows, write_table
from retrace.networks.model import Description
from retrace.networks.model_files import save
from retrace.params.reader import fault, read_verbatim
from retrace.params.train import Train
from retrace.preprocessing.apply import Preprocessing
from retrace.runtime.atomic import write_csv, write_json
from retrace.runtime.disk import prepare
from retrace.runtime.memory import need, within
from retrace.runtime.processes import born
from retrace.runtime.signals import Postponed
from retrace.runtime.text import listed
from retrace.training.checkpoint import Checkpoints, Snapshot, fingerprint
from retrace.training.device import choose, make_deterministic
from retrace.training.rows import Rows, fit_preprocessing, read_rows
from retrace.training.trainer import Fit, Keep, Watch, fit

TRAIN = Path("data/train.parquet")
VALIDATION = Path("data/validation.parquet")
MODELS = Path("models")
TRAINING = Path("models/training.json")
HISTORY = Path("reports/history.csv")
LOSS = Path("reports/loss.csv")
STEPS = Path("reports/steps.parquet")
CLOCK = Path(".retrace/train.json")


def train(
    training: Rows,
    validation: Rows,
    description: Description,
    section: Train,
    device: torch.device,
    watch: Watch | None = None,
    keep: Keep | None = None,
    begun: Snapshot | None = None,
) -> Fit:
    """Fit the network to the training rows, judged on the validation rows after each epoch; or go on with that."""
    if isinstance(section.class_weights, list) and len(section.class_weights) != len(description.classes):
        classes = listed(description.classes)
        raise fault(
            Train, "class_weights", f"must hold a weight for each of the {len(description.classes)} classes ({classes})"
        )
    network = description.network(section.replicas, scaled=section.input_scale_rate > 0)
    return fit(network, training, validation, section, device, watch, keep, begun)


def describe(schema: Schema, section: Train, preprocessing: Preprocessing) -> Description:
    return Description(
        features=schema.features,
        kinds=schema.kinds,
        target=schema.target,
        classes=schema.classes,
        hidden=list(section.hidden),
        activation=section.activation,
        embedding_width=section.embedding_width if preprocessing.embedded else 0,
        preprocessing=preprocessing,
        label_smoothing=section.label_smoothing,
    )


def written(description: Description, section: Train, rows: int) -> int:
    """Bytes of what this stage writes, about: weights, histories, the loss of each step."""
    # With patience nobody can know the end; it trains at least so long.
    epochs = section.epochs if section.patience is None else min(section.epochs, section.patience + 1)
    steps = math.ceil(rows / section.batch_size)
    columns = 6 + 2 * len(description.widths)
    # A number is 4 bytes, or a dozen in text.
    return 4 * (section.replicas + 1) * description.weights + epochs * section.replicas * (4 * steps + 14 * columns)


def taken(description: Description, section: Train, rows: int, device: torch.device) -> int:
    """Bytes of main memory that it takes at least: the rows, and on the CPU weights, gradients and a step's outputs."""
    numbers = rows * description.preprocessing.width
    if device.type == "cpu":
        # The weights at the beginning, now, and at their best, and their gradients; with factors of the inputs also the
        # product that the first layer works with.
        batch, (inputs, units, *_) = min(section.batch_size, rows), description.widths
        product = inputs * units if section.input_scale_rate else 0
        numbers += section.replicas * (4 * description.weights + product + 2 * batch * sum(description.widths))
    return 4 * numbers


def of_mean(result: Fit) -> dict[str, int | float]:
    """What training.json says of the mean of the replicas; the loss is that of the best weights."""
    return {
        "best_epoch": result.mean_epoch,
        "best_validation_loss": result.mean_loss,
        "epochs": len(result.mean_losses),
    }


def losses_of_shipped(result: Fit) -> list[tuple[int | float, ...]]:
    """Epoch, training and validation loss; of the mean: the mean of the training losses, and the loss of the mean."""
    if result.shipped is not None:
        return [(row[0], row[2], row[3]) for row in result.history if row[1] == result.shipped]
    training: dict[int, list[float]] = {}
    for row in result.history:
        training.setdefault(int(row[0]), []).append(row[2])
    return [
        (epoch, sum(losses) / len(losses), of_mean)
        for (epoch, losses), of_mean in zip(training.items(), result.mean_losses, strict=True)
    ]


def keeper(checkpoints: Checkpoints, asked: Postponed) -> Keep:
    """After each epoch: a checkpoint where one is due, or where the end was asked for, which comes then."""

    def keep(epoch: int, snapshot: Callable[[], Snapshot]) -> None:
        checkpoints.offer(epoch, snapshot, now=asked.asked is not None)
        asked.obey()

    return keep


def main() -> None:
    # Two would write the same files, and the slower one would win.
    with alone(BUSY, ANOTHER):
        _main()


def _main() -> None:
    started, clock = datetime.now(UTC), time.monotonic()
    section, params = read_verbatim(Train)
    schema = read_schema()
    device, reason = choose(section)
    make_deterministic(device, section.tf32)
    preprocessing = fit_preprocessing(TRAIN, schema, section)
    description = describe(schema, section, preprocessing)
    counts = [count_rows(path) for path in (TRAIN, VALIDATION)]
    fewer = f"lower train.batch_size (now {section.batch_size:,}) or train.replicas (now {section.replicas:,})"
    need(
        taken(description, section, sum(counts), device),
        f"train: {sum(counts):,} rows of {preprocessing.width:,} columns and {section.replicas:,} networks of"
        f" {description.weights:,} weights",
        f"use fewer rows or columns, or {fewer}",
    )
    # Now, and not when hours have gone by.
    prepare([TRAINING, HISTORY], written(description, section, counts[0]), "lower train.epochs or train.replicas")
    training = read_rows(TRAIN, schema, preprocessing)
    validation = read_rows(VALIDATION, schema, preprocessing)
    widths = " - ".join(map(str, description.widths))
    print(f"train: on {device} ({reason}); {section.replicas} replicas of {widths}; {len(training.x):,} rows")
    shaping = fingerprint(params, description.content(), (TRAIN, VALIDATION), device)
    checkpoints = Checkpoints(shaping, started, clock)
    pid = os.getpid()
    facts = Training(checkpoints.started, pid, born(pid), params, schema.dataset, f"{device} ({reason})")
    line = "train: ends after this epoch, which is saved; again, and it ends at once"
    with Live(facts) as live, Postponed(line) as asked, within("train", fewer):
        keep = keeper(checkpoints, asked)
        result = train(training, validation, description, section, device, live, keep, checkpoints.snapshot)

    shipped = result.shipped
    save(MODELS, description, result.state, shipped)
    write_json(
        TRAINING,
        {
            "device": str(device),
            "device_reason": reason,
            "precision": "tf32" if section.tf32 else "float32",
            "shipped": shipped,
            "steps_per_epoch": result.steps_per_epoch,
            "replicas": [
                {"best_epoch": epoch, "best_validation_loss": loss, "epochs": epochs}
                for epoch, loss, epochs in zip(result.best_epoch, result.best_loss, result.epochs, strict=True)
            ],
            **({"mean": of_mean(result)} if shipped is None else {}),
        },
    )
    write_csv(HISTORY, result.header, result.history)
    write_csv(LOSS, ["epoch", "train", "validation"], losses_of_shipped(result))
    steps = torch.cat(result.step_losses).T
    write_table(STEPS, pa.table({f"replica_{index}": column.numpy() for index, column in enumerate(steps)}))
    write_json(
        CLOCK,
        {
            "started": checkpoints.started,
            "seconds": round(checkpoints.seconds, 3),
            "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
            # Ties these times to the model they belong to: the run cache can bring back another one.
            "model": hashlib.sha256((MODELS / "model.safetensors").read_bytes()).hexdigest(),
        },
    )
    checkpoints.remove()
    if shipped is None:
        ships, epoch, loss = f"the mean of {section.replicas} replicas", result.mean_epoch, result.mean_loss
    else:
        ships, epoch, loss = f"replica {shipped}", result.best_epoch[shipped], result.best_loss[shipped]
    print(
        f"train: {max(result.epochs)} epochs of {result.steps_per_epoch} steps; {ships} ships, best epoch {epoch},"
        f" validation loss {loss:.4f}"
    )


if __name__ == "__main__":
    run(main, "use fewer rows or columns")
