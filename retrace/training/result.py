"""What a training run gives."""

import math
from dataclasses import dataclass

from torch import Tensor

from retrace.training.callbacks import BestWeights, EarlyStopping, History, best_of


@dataclass
class TrainingResult:
    """
    state:       best weights of each replica, as in Network.state_dict() of a network without factors, on the CPU.
    best_epoch:  by replica, from 1; best_loss: its validation loss; epochs: how many it trained.
    history:     a row for each epoch and replica, in the columns of `header`.
    step_losses: [steps, replicas] float32, the training loss of every step; NaN after a replica has stopped.
    mean_losses: where the mean of the replicas ships: the validation log loss of that mean after each epoch.
    mean_loss:   that of the best weights together.
    """

    state: dict[str, Tensor]
    header: list[str]
    best_epoch: list[int]
    best_loss: list[float]
    epochs: list[int]
    steps_per_epoch: int
    history: list[list[float | int]]
    step_losses: list[Tensor]
    mean_losses: list[float]
    mean_loss: float = math.nan

    @classmethod
    def of(cls, history: History, best: BestWeights, stopping: EarlyStopping, steps: int) -> "TrainingResult":
        return cls(
            state=best.state,
            header=history.header,
            best_epoch=best.best_epoch,
            best_loss=best.best_loss,
            epochs=history.epochs,
            steps_per_epoch=steps,
            history=history.rows,
            step_losses=history.step_losses,
            mean_losses=stopping.mean_losses,
        )

    @property
    def shipped(self) -> int | None:
        """The replica with the best validation loss at its best epoch; None: the mean of all ships."""
        if self.mean_losses:
            return None
        return min(range(len(self.best_loss)), key=self.best_loss.__getitem__)

    @property
    def mean_epoch(self) -> int:
        """In which the mean of the replicas was best."""
        return best_of(self.mean_losses)
