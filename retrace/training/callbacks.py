"""What looks on while a network trains: called after each epoch, in the order of the trainer's list.

The first three are part of every training run (trainer.py): what they have noted is its result. What they hold, a
checkpoint holds too.
"""

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor
from tqdm import tqdm

from retrace.artifacts.live import LOSS_OF_MEAN, Live
from retrace.networks.activations import UNIT_HEALTH
from retrace.networks.network import Network
from retrace.params.train import Train
from retrace.runtime.signals import DeferredSignals
from retrace.training.checkpoint import Checkpoints
from retrace.training.members import Member

if TYPE_CHECKING:
    from retrace.training.trainer import Trainer


class Epoch(NamedTuple):
    """What an epoch gave.

    number:      from 1; active: which members trained in it; rates: their learning rates in its last step.
    step_losses: [steps, replicas] float32, training loss of each step.
    values:      of each replica: training loss, validation loss, validation accuracy, then the gradient norm of each
                 layer and the unit health of each watched one.
    of_mean:     validation log loss of the mean of the replicas' probabilities, where that ships; else 0.
    """

    number: int
    active: list[bool]
    rates: Sequence[float]
    step_losses: Tensor
    values: list[list[float]]
    of_mean: float

    def validation_loss(self, replica: int) -> float:
        return self.values[replica][1]


class Callback:
    """To be extended."""

    def on_epoch_end(self, trainer: "Trainer", epoch: Epoch) -> None:
        """What it is there for."""

    def facts(self) -> dict[str, Any]:
        """What a checkpoint must hold of it, as JSON can."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold of it and what changes in place, in the same shape."""
        return {}

    def resume(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Be as it was when the checkpoint was written, but for `tensors()`, into which these were copied."""


class History(Callback):
    """A row for each epoch and replica that trained in it, in the columns of `header`; the loss of every step."""

    def __init__(self, network: Network, members: Sequence[Member]):
        section = members[0].section
        health, _ = UNIT_HEALTH.get(section.activation, ("", None))
        self.header = [
            *("epoch", "replica", "train_loss", "validation_loss", "validation_accuracy", "learning_rate"),
            *(f"gradient_norm_layer_{place + 1}" for place in range(len(network.layers))),
            *(f"{health}_layer_{place + 1}" for place in network.watched if health),
            *([LOSS_OF_MEAN] if section.ship == "mean" else []),
        ]
        self.of_mean = section.ship == "mean"
        self.rows: list[list[float | int]] = []
        self.step_losses: list[Tensor] = []
        self.epochs = [0 for _ in members]

    def on_epoch_end(self, trainer: "Trainer", epoch: Epoch) -> None:
        last, losses = [epoch.of_mean] if self.of_mean else [], epoch.step_losses.cpu().clone()
        for replica, values in enumerate(epoch.values):
            if epoch.active[replica]:
                self.rows.append([epoch.number, replica, *values[:3], epoch.rates[replica], *values[3:], *last])
                self.epochs[replica] = epoch.number
            else:
                losses[:, replica] = math.nan
        self.step_losses.append(losses)

    def facts(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def grown(self) -> dict[str, Tensor]:
        """What gets longer from epoch to epoch, for a checkpoint."""
        return {"history": torch.tensor(self.rows, dtype=torch.float64), "step_losses": torch.cat(self.step_losses)}

    def resume(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.epochs = list(facts["epochs"])
        # Epoch and replica are whole numbers, and written as such.
        self.rows = [[int(row[0]), int(row[1]), *row[2:]] for row in tensors["history"].tolist()]
        self.step_losses = [tensors["step_losses"]]


class BestWeights(Callback):
    """state: of each replica at its best epoch, by name; best_epoch: from 1; best_loss: its validation loss."""

    def __init__(self, network: Network):
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        self.best_epoch = [0 for _ in range(network.replicas)]
        self.best_loss = [math.inf for _ in range(network.replicas)]

    def on_epoch_end(self, trainer: "Trainer", epoch: Epoch) -> None:
        improved = torch.zeros(len(epoch.active), dtype=torch.bool)
        for replica, active in enumerate(epoch.active):
            if active and epoch.validation_loss(replica) < self.best_loss[replica]:
                self.best_loss[replica], self.best_epoch[replica] = epoch.validation_loss(replica), epoch.number
                improved[replica] = True
        mask = improved.to(trainer.device)[:, None, None]
        for name, tensor in trainer.network.state_dict().items():
            torch.where(mask, tensor, self.state[name], out=self.state[name])

    def facts(self) -> dict[str, Any]:
        return {"best_epoch": self.best_epoch, "best_loss": self.best_loss}

    def tensors(self) -> dict[str, Tensor]:
        return {f"best.{name}": tensor for name, tensor in self.state.items()}

    def resume(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.best_epoch, self.best_loss = list(facts["best_epoch"]), list(facts["best_loss"])


class EarlyStopping(Callback):
    """Ends a replica after `train.patience` epochs without a better validation loss of its own.

    Where the mean of the replicas ships: all of them, after so many without a better one of the mean.
    """

    def __init__(self, best: BestWeights, section: Train):
        self.best, self.patience, self.of_mean = best, section.patience, section.ship == "mean"
        self.mean_losses: list[float] = []

    def on_epoch_end(self, trainer: "Trainer", epoch: Epoch) -> None:
        if self.of_mean:
            self.mean_losses.append(epoch.of_mean)
            if self._waited(epoch.number, best_of(self.mean_losses)):
                trainer.active = [False for _ in trainer.active]
            return
        for replica, best in enumerate(self.best.best_epoch):
            if self._waited(epoch.number, best):
                trainer.active[replica] = False

    def _waited(self, epoch: int, best: int) -> bool:
        return self.patience is not None and epoch - best >= self.patience

    def facts(self) -> dict[str, Any]:
        return {"mean_losses": self.mean_losses}

    def resume(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.mean_losses = list(facts["mean_losses"])


def best_of(losses: list[float]) -> int:
    """The epoch, from 1, of the lowest loss."""
    return 1 + min(range(len(losses)), key=losses.__getitem__)


class LiveHistory(Callback):
    """The history so far in `.retrace/live.csv`, for `retrace follow`."""

    def __init__(self, live: Live):
        self.live = live

    def on_epoch_end(self, trainer: "Trainer", epoch: Epoch) -> None:
        self.live(trainer.history.header, trainer.history.rows)


class Progress(Callback):
    """A bar on a terminal. done: epochs before this process."""

    def __init__(self, section: Train, done: int):
        self.replicas = section.replicas
        self.bar = tqdm(total=section.epochs, initial=done, desc="train", unit="epoch", disable=None, file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def on_epoch_end(self, trainer: "Trainer", epoch: Epoch) -> None:
        _, _, train, validation, _, rate, *_ = trainer.history.rows[-1]
        said = f"train {train:.4f}, validation {validation:.4f}, learning rate {rate:.3g}, {self.replicas} replicas"
        self.bar.set_postfix_str(said, refresh=False)
        self.bar.update()


class Checkpointing(Callback):
    """A checkpoint where one is due, or where the end was asked for, which comes then."""

    def __init__(self, checkpoints: Checkpoints, signals: DeferredSignals):
        self.checkpoints, self.signals = checkpoints, signals

    def on_epoch_end(self, trainer: "Trainer", epoch: Epoch) -> None:
        self.checkpoints.maybe_save(epoch.number, trainer.snapshot, now=self.signals.received is not None)
        self.signals.raise_pending()
