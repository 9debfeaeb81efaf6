"""Short trainings of many kinds, and a digest of each: run on several processors, and compared.

    python -m campaigns.digests     a line for each training: digest, name

Small networks, whose bytes every x86-64 processor with AVX2 must give (contract 8 in docs/testing.md).
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch

from retrace.networks.activations import ACTIVATIONS
from retrace.networks.architectures import ARCHITECTURES
from retrace.networks.arithmetic import is_portable, set_portable
from retrace.networks.entrance import Shape
from retrace.networks.initializers import INITIALIZERS
from retrace.training.device import make_deterministic
from retrace.training.losses import LOSSES
from retrace.training.members import members_of
from retrace.training.optimizers import OPTIMIZERS
from retrace.training.rows import Rows
from retrace.training.schedules import SCHEDULES
from retrace.training.trainer import fit
from tests.conftest import train_section

BASE: dict[str, Any] = {"replicas": 4, "hidden": [16, 16], "epochs": 3, "batch_size": 32}
EDGES = [[-1.0, 0.0, 1.0], [-0.5, 0.5, 0.7, 2.0]]
CATEGORIES: dict[str, Any] = {"one_hot": [6, 2], "embedded": [(4, 4), (2, 3)]}


def trainings() -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Name, classes, changes of BASE."""
    for name in ACTIVATIONS:
        yield name, 2, {"activation": name}
        yield f"{name}, three classes, adamw", 3, {"activation": name, "optimizer_name": "adamw"}
    for name in OPTIMIZERS:
        decay = {"optimizer_weight_decay": 0.01, "optimizer_momentum": 0.5}
        yield f"{name}, decay, momentum", 3, {"optimizer_name": name, "optimizer_learning_rate": 0.01, **decay}
    for name in LOSSES:
        for classes in (2, 5):
            yield f"{name}, {classes} classes, smoothed", classes, {"loss": name, "label_smoothing": 0.1}
    for name in INITIALIZERS:
        yield f"init {name}", 2, {"init": name, "optimizer_name": "adam"}
    for name in SCHEDULES:
        yield f"schedule {name}", 2, {"schedule_name": name, "schedule_step_epochs": 1}
    yield "dropout, clip", 2, {"dropout": 0.2, "gradient_clip": 0.05}
    yield "mean of all", 3, {"ship": "mean", "input_scale_rate": 10.0, "optimizer_name": "adamw", "scaled": True}
    yield "residual", 3, {"architecture": "residual", "hidden": [16, 16, 16], "optimizer_name": "adamw"}


def rows(count: int, classes: int, seed: int) -> Rows:
    random = torch.Generator().manual_seed(seed)
    codes = [torch.randint(0, size, (count, 1), generator=random).float() for size in (6, 2, 4, 2)]
    numbers = torch.randn(count, 2, generator=random)
    total = numbers[:, 0] * numbers[:, 1] + torch.cat(codes, 1).sum(1)
    return Rows(torch.cat([numbers, *codes], 1), total.long() % classes)


def digest(classes: int, changes: dict[str, Any]) -> str:
    changes = {**BASE, **changes}
    scaled = changes.pop("scaled", False)
    section = train_section(**changes)
    inputs = 2 + 5 + 8 + 7  # numbers, bins, one-hot inputs, vectors
    widths = [inputs, *section.hidden, 1 if classes == 2 else classes]
    shape = Shape(widths, section.activation, edges=EDGES, **CATEGORIES)
    network = ARCHITECTURES[section.architecture](section.replicas, shape, scaled)
    result = fit(network, rows(300, classes, 0), rows(100, classes, 1), members_of(section), torch.device("cpu"))
    made = hashlib.sha256()
    for _, tensor in sorted(result.state.items()):
        made.update(tensor.contiguous().numpy().tobytes())
    made.update(torch.cat(result.step_losses).numpy().tobytes())
    made.update(repr((result.history, result.best_epoch, result.best_loss, result.mean_losses)).encode())
    return made.hexdigest()


if __name__ == "__main__":
    set_portable(True)
    assert is_portable()
    make_deterministic(torch.device("cpu"), tf32=False)
    for name, classes, changes in trainings():
        print(digest(classes, changes)[:16], name, flush=True)
