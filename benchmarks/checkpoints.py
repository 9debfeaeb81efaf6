"""Seconds that a training spends on its checkpoints, of all its seconds: a small network, and one of many weights."""

import time
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import torch

from retrace.networks.entrance import Shape
from retrace.networks.mlp import MLP
from retrace.params.reader import read
from retrace.params.train import Train
from retrace.training.callbacks import Callback, Epoch
from retrace.training.checkpoint import Checkpoints
from retrace.training.device import make_deterministic
from retrace.training.members import members_of
from retrace.training.rows import Rows
from retrace.training.trainer import Trainer, fit

# Features, hidden layers, optimizer, rows, epochs: some 10 s each.
SIZES = {
    "the default network": (2, [10], "sgd", 6_030, 600),
    "a large network": (64, [256, 128], "adam", 4_096, 60),
}


class Cost(NamedTuple):
    checkpoints: float
    rest: float
    written: int
    size: int


def main(folder: Path) -> dict[str, Cost]:
    make_deterministic(torch.device("cpu"), tf32=False)
    section = read(Train)
    with chdir(folder):  # checkpoints lie in the present one
        return {name: measure(section, *size) for name, size in SIZES.items()}


def measure(section: Train, features: int, hidden: list[int], optimizer: str, count: int, epochs: int) -> Cost:
    changes = {
        "hidden": hidden,
        "epochs": epochs,
        "optimizer": section.optimizer.model_copy(update={"name": optimizer}),
    }
    section = section.model_copy(update=changes)
    x = torch.randn(count, features, generator=torch.Generator().manual_seed(0))
    rows = Rows(x, (x[:, 0] * x[:, 1] > 0).int())
    clock = time.monotonic()
    checkpoints = Checkpoints("measured", datetime.now(UTC), clock)
    saving = Saving(checkpoints)
    network = MLP(section.replicas, Shape([features, *hidden, 1], section.activation))
    fit(network, rows, rows, members_of(section), x.device, [saving])
    seconds, spent, sizes = time.monotonic() - clock, saving.spent, saving.sizes
    checkpoints.remove()
    return Cost(spent, seconds - spent, len(sizes), sizes[-1] if sizes else 0)


class Saving(Callback):
    """Checkpoints as a training run makes them. spent: seconds; sizes: bytes of each."""

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints, self.spent, self.sizes = checkpoints, 0.0, list[int]()

    def on_epoch_end(self, trainer: Trainer, epoch: Epoch) -> None:
        begin = time.monotonic()
        self.checkpoints.maybe_save(epoch.number, trainer.snapshot)
        self.spent += time.monotonic() - begin
        if self.checkpoints.epoch == epoch.number:
            self.sizes.append((self.checkpoints.folder / "last.checkpoint").stat().st_size)
