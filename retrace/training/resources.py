"""What a training run takes of disk and memory, asked before it begins, and not when hours have gone by."""

import math

import torch

from retrace.artifacts.paths import TRAIN, VALIDATION
from retrace.artifacts.tables import count_rows
from retrace.artifacts.training import HISTORY, TRAINING
from retrace.networks.model import Description
from retrace.params.train import Train
from retrace.runtime.disk import require_disk
from retrace.runtime.memory import require_memory


def require_room(description: Description, section: Train, device: torch.device) -> None:
    """Raise UserError (status 4) where disk or memory have no room for this training run."""
    training, validation = (count_rows(path) for path in (TRAIN, VALIDATION))
    rows = training + validation
    require_memory(
        memory_bytes(description, section, training, validation, device),
        f"train: {rows:,} rows of {description.preprocessing.width:,} columns and {section.replicas:,} networks of"
        f" {description.weights:,} weights",
        f"use fewer rows or columns, or {fewer(section)}",
    )
    require_disk(
        [TRAINING, HISTORY.path], output_bytes(description, section, training), "lower train.epochs or train.replicas"
    )


def fewer(section: Train) -> str:
    """How a training run takes less memory with the same rows."""
    return f"lower train.batch_size (now {section.batch_size:,}) or train.replicas (now {section.replicas:,})"


def output_bytes(description: Description, section: Train, rows: int) -> int:
    """Bytes of what `train` writes, about: weights, histories, the loss of each step."""
    # With patience nobody can know the end; it trains at least so long.
    epochs = section.epochs if section.patience is None else min(section.epochs, section.patience + 1)
    steps = math.ceil(rows / section.batch_size)
    columns = 6 + 2 * (len(description.layers) + 1)
    # A number is 4 bytes, or a dozen in text.
    return 4 * (section.replicas + 1) * description.weights + epochs * section.replicas * (4 * steps + 14 * columns)


def memory_bytes(description: Description, section: Train, training: int, validation: int, device: torch.device) -> int:
    """Bytes of main memory that it takes at least: the rows, and on the CPU weights, gradients and a step's outputs."""
    rows = training + validation
    numbers = rows * description.preprocessing.width
    if section.ship == "mean":  # of each replica and validation row a float64
        numbers += 2 * section.replicas * validation
    if device.type == "cpu":
        # The weights at the beginning, now, and at their best, and their gradients; with factors of the inputs also the
        # product that the first layer works with.
        batch, (inputs, units) = min(section.batch_size, rows), description.layers[0]
        outputs = inputs + sum(outputs for _, outputs in description.layers)
        product = inputs * units if section.input_scale_rate else 0
        numbers += section.replicas * (4 * description.weights + product + 2 * batch * outputs)
    return 4 * numbers
