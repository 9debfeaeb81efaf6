"""What a training run takes of disk and memory, asked before it begins, and not when hours have gone by."""

import math

import torch

from retrace.artifacts.paths import TRAIN, VALIDATION
from retrace.artifacts.schema import Schema
from retrace.artifacts.tables import count_rows, largest_group
from retrace.artifacts.training import HISTORY, TRAINING
from retrace.data.values import sources
from retrace.networks.model import Description
from retrace.params.train import Train
from retrace.runtime.cores import cores
from retrace.runtime.disk import require_disk
from retrace.runtime.memory import available, require_memory
from retrace.training.gradients import shards_of
from retrace.training.row_windows import windows_bytes
from retrace.training.rows import nothing_to_fit
from retrace.training.stored import BYTES

# In memory, of a number of a training row to which the preprocessing is fitted, and of a category: as it is read, and
# the copies that pandas and scikit-learn make of it (measured: 43 of a number).
FIT_BYTES, FIT_BYTES_OF_CATEGORY = 44, 16
# Of the memory that is free a window is advised to take this share, and to be a round number.
WINDOW_SHARE = 0.25
ROUND, MOST = (1, 2, 5), 1_000_000


def require_room_to_fit(schema: Schema, section: Train) -> None:
    """Raise UserError (status 4) where memory has no room for the rows to which the preprocessing is fitted."""
    if nothing_to_fit(schema, section):
        return
    count, columns = count_rows(TRAIN), len(schema.features)
    rows = min(count, section.window or count)
    fix = "use fewer rows or columns"
    if section.window is not None:
        fix = f"lower train.window (now {section.window:,}), or use fewer columns"
    elif window := window_to_set(count, columns):
        fix = f"set train.window: {window}, or {fix}"
    kinds = [(name, schema.kind(name)) for name in schema.features]
    categories = sum(kind == "categorical" for _, kind in kinds)
    numbers = len(list(sources(kinds)))  # of a date several
    each = FIT_BYTES * numbers + FIT_BYTES_OF_CATEGORY * categories
    require_memory(each * rows, f"train: the preprocessing of {rows:,} rows of {columns:,} columns", fix)


def window_to_set(rows: int, width: int) -> int | None:
    """A round number of rows, fewer than there are, for which there is room; None where there is none."""
    each = (FIT_BYTES + 2 * BYTES * cores()) * width
    sizes = [step * 10**power for power in range(2, 7) for step in ROUND]
    return max((size for size in sizes if size <= min(rows - 1, MOST, WINDOW_SHARE * available() / each)), default=None)


def require_room(description: Description, section: Train, device: torch.device) -> None:
    """Raise UserError (status 4) where disk or memory have no room for this training run."""
    training, validation = (count_rows(path) for path in (TRAIN, VALIDATION))
    rows, fix = training + validation, f"use fewer rows or columns, or {fewer(section)}"

    processes, group = min(cores(), section.replicas), largest_group(TRAIN)

    def needed(window: int | None) -> int:
        own = section.model_copy(update={"window": window})
        return memory_bytes(description, own, training, validation, device, processes, group)

    window = window_to_set(training, description.preprocessing.width) if section.window is None else None
    if window and needed(window) <= available():
        fix = f"set train.window: {window}, {fix}"
    require_memory(
        needed(section.window),
        f"train: {rows:,} rows of {description.preprocessing.width:,} columns and {section.replicas:,} networks of"
        f" {description.weights:,} weights",
        fix,
    )
    require_disk(
        [TRAINING, HISTORY.path], output_bytes(description, section, training), "lower train.epochs or train.replicas"
    )


def fewer(section: Train) -> str:
    """How a training run takes less memory with the same rows."""
    window = "" if section.window is None else f"train.window (now {section.window:,}), "
    return f"lower {window}train.batch_size (now {section.batch_size:,}) or train.replicas (now {section.replicas:,})"


def output_bytes(description: Description, section: Train, rows: int) -> int:
    """Bytes of what `train` writes, about: weights, histories, the loss of each step."""
    # With patience nobody can know the end; it trains at least so long.
    epochs = section.epochs if section.patience is None else min(section.epochs, section.patience + 1)
    steps = math.ceil(rows / section.batch_size)
    columns = 6 + 2 * (len(description.layers) + 1)
    # A number is 4 bytes, or a dozen in text.
    return 4 * (section.replicas + 1) * description.weights + epochs * section.replicas * (4 * steps + 14 * columns)


def memory_bytes(
    description: Description,
    section: Train,
    training: int,
    validation: int,
    device: torch.device,
    processes: int = 1,
    group: int = 0,
    team: int = 1,
    own_rows: bool = True,
) -> int:
    """Bytes of main memory that it takes at least: the rows, and on the CPU weights, gradients and a step's outputs.

    training, validation: rows; processes: that train side by side; group: rows that are brought to the disk at once,
    where they do not all stay in memory; team: processes that share each step, of one of them; own_rows: whether they
    are in the memory of this one, and not in one that it shares.
    """
    rows = training + validation
    width = description.preprocessing.width
    numbers = rows * width if own_rows else 0
    if section.window is not None and section.window < training:
        windows = windows_bytes(section.window, width, processes) // BYTES
        # They may lie on the disk, but for the classes, and the row group that is being brought there.
        stored = max(windows, group * width) + rows // 2
        numbers = min(numbers + windows, stored)
    if section.ship == "mean":  # of each replica and validation row a float64
        numbers += 2 * section.replicas * validation
    if device.type == "cpu":
        # The weights at the beginning, now, and at their best, and their gradients, of a large step also those of its
        # shards, of a team all of those that are sent and received, each twice; with factors of the inputs also the
        # product that the first layer works with.
        batch, (inputs, units) = min(section.batch_size, rows), description.layers[0]
        outputs = inputs + sum(outputs for _, outputs in description.layers)
        product = inputs * units if section.input_scale_rate else 0
        shards = shards_of(description.weights, min(batch, training), device)
        sets = 1 if shards == 1 else 1 + shards if team == 1 else 1 + 2 * shards + 2 * shards // team
        numbers += section.replicas * ((3 + sets) * description.weights + product + 2 * batch * outputs)
    return 4 * numbers
