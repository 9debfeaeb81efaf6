"""Seconds that a training spends on its checkpoints, of all its seconds: a small network, and one of many weights."""

import time
from collections.abc import Callable
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import torch

from retrace.networks.network import Network
from retrace.params.reader import read
from retrace.params.train import Train
from retrace.training.checkpoint import Checkpoints, Snapshot
from retrace.training.device import make_deterministic
from retrace.training.rows import Rows
from retrace.training.trainer import fit

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
    spent, sizes = 0.0, []

    def keep(epoch: int, snapshot: Callable[[], Snapshot]) -> None:
        nonlocal spent
        begin = time.monotonic()
        checkpoints.offer(epoch, snapshot)
        spent += time.monotonic() - begin
        if checkpoints.epoch == epoch:
            sizes.append((checkpoints.folder / "last.checkpoint").stat().st_size)

    fit(Network(section.replicas, [features, *hidden, 1], section.activation), rows, rows, section, x.device, keep=keep)
    seconds = time.monotonic() - clock
    checkpoints.remove()
    return Cost(spent, seconds - spent, len(sizes), sizes[-1] if sizes else 0)
