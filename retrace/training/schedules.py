"""The learning rate of every step, from the schedulers of torch.optim.lr_scheduler, registered by name.

step, exponential and cosine change the rate once an epoch, one_cycle and the warm-up at every step. The schedulers
drive an optimizer of one dummy parameter ahead of the training, so that the rates are known before it starts. To add
one: a function that builds the scheduler, registered in SCHEDULES, its name in `retrace/params/train.py` and in
params.yaml.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from retrace.params.train import Train

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

# A scheduler for the optimizer of a dummy parameter, and whether it is stepped every step instead of every epoch.
Build = Callable[["torch.optim.Optimizer", Train, int], "LRScheduler"]


def step(optimizer: Any, section: Train, steps: int) -> "LRScheduler":
    return torch.optim.lr_scheduler.StepLR(optimizer, section.schedule.step_epochs, section.schedule.gamma)


def exponential(optimizer: Any, section: Train, steps: int) -> "LRScheduler":
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, section.schedule.gamma)


def cosine(optimizer: Any, section: Train, steps: int) -> "LRScheduler":
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, section.epochs)


def one_cycle(optimizer: Any, section: Train, steps: int) -> "LRScheduler":
    """Smith and Topin 2018, with torch's shape; momentum stays as it is."""
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        section.optimizer.learning_rate,
        epochs=section.epochs,
        steps_per_epoch=steps,
        cycle_momentum=False,
    )


SCHEDULES: dict[str, Build | None] = {
    "constant": None,
    "step": step,
    "exponential": exponential,
    "cosine": cosine,
    "one_cycle": one_cycle,
}
EVERY_STEP = {"one_cycle"}


def learning_rates(section: Train, steps: int) -> Callable[[int, int], float]:
    """The rate as a function of epoch (from 1) and step in the epoch (from 0), for `steps` steps an epoch."""
    base = section.optimizer.learning_rate
    build = SCHEDULES[section.schedule.name]
    if build is None:
        rates = [base]
    else:
        # Imports torch._dynamo, for 1 to 2 seconds: only where a schedule asks for it.
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
        scheduler = build(optimizer, section, steps)
        optimizer.step()  # torch warns about a scheduler that runs ahead of its optimizer
        changes = section.epochs * (steps if section.schedule.name in EVERY_STEP else 1)
        rates = [float(scheduler.get_last_lr()[0])]
        for _ in range(changes - 1):
            scheduler.step()
            rates.append(float(scheduler.get_last_lr()[0]))
    warmup = section.schedule.warmup_epochs * steps

    def rate(epoch: int, step: int) -> float:
        position = (epoch - 1) * steps + step
        change = position if section.schedule.name in EVERY_STEP else epoch - 1
        value = rates[min(change, len(rates) - 1)]
        # Linear from 1/warmup of the rate at the first step to all of it at the last one of the warm-up.
        return value * min(1.0, (position + 1) / warmup) if warmup else value

    return rate
