"""The training loop: all members side by side, each as if it trained alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from retrace.networks.initializers import initialize
from retrace.networks.layout import folded
from retrace.networks.network import Network
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.training.callbacks import BestWeights, Callback, EarlyStopping, Epoch, History
from retrace.training.checkpoint import Snapshot
from retrace.training.cluster_packs import Nodes
from retrace.training.members import Member
from retrace.training.pack import Data
from retrace.training.pack_runner import PackRunner
from retrace.training.randomness import INITIAL, generator
from retrace.training.result import TrainingResult
from retrace.training.rows import AnyRows
from retrace.training.training_warnings import warn
from retrace.training.validation import accuracy


def fit(
    network: Network,
    train: AnyRows,
    validation: AnyRows,
    members: Sequence[Member],
    device: torch.device,
    callbacks: Sequence[Callback] = (),
    resume_from: Snapshot | None = None,
    nodes: Nodes | None = None,
) -> TrainingResult:
    """Initialize and train the network; raises UserError (status 4) in the step in which a loss is no longer finite.

    resume_from: of the same training, which goes on from there. nodes: which train it, else this machine.
    """
    draw_initial_weights(network, members)
    trainer = Trainer(network.to(device), train, validation, members, device, callbacks, nodes)
    if resume_from:
        trainer.resume(resume_from)
    return trainer.run()


def draw_initial_weights(network: Network, members: Sequence[Member]) -> None:
    """Each member's from its own seed, as its own section says."""
    for place, member in enumerate(members):
        section, source = member.section, generator(member.section.seed, member.replica, INITIAL)
        one = network.of(slice(place, place + 1))
        initialize(one, section.init, section.init_scale, section.activation, [source])


class Trainer:
    """Of one training run. active: which members still train; epoch: the last one that is over.

    The callbacks come after each epoch in their order, after those that make up the result.
    """

    def __init__(
        self,
        network: Network,
        train: AnyRows,
        validation: AnyRows,
        members: Sequence[Member],
        device: torch.device,
        callbacks: Sequence[Callback] = (),
        nodes: Nodes | None = None,
    ):
        self.network, self.members, self.device = network, members, device
        self.section = members[0].section  # where it is the same for all
        counts = torch.bincount(train.y, minlength=max(2, network.outputs))
        self.data = Data(train.to(device), validation.to(device), counts)
        self.runner = PackRunner(network, self.data, members, device, nodes)
        self.state = self.runner.state
        self.active = [True] * len(members)
        self.epoch = 0
        self.history, self.best = History(network, members), BestWeights(network)
        self.stopping = EarlyStopping(self.best, self.section)
        self.own: list[Callback] = [self.history, self.best, self.stopping]
        self.callbacks = [*self.own, *callbacks]
        self.initial = [group.weights.clone() for group in self.state.groups]

    def run(self) -> TrainingResult:
        """Train to the end; raises UserError (status 4) where a loss is not finite, or where nothing is learned."""
        with self.runner:
            while self.epoch < self.section.epochs and any(self.active):
                self.runner.train_epoch(self.epoch + 1, self.active)
                epoch = self._closed(self.epoch + 1)
                self.epoch = epoch.number
                for callback in self.callbacks:
                    callback.on_epoch_end(self, epoch)
        learned = zip(self.initial, self.state.groups, strict=True)
        if all(torch.equal(old, group.weights) for old, group in learned):
            raise UserError(
                MACHINE_FAULT,
                "train: no weight changed in the whole training: every gradient was zero;"
                " choose another train.init or train.activation, or a larger train.optimizer.learning_rate",
            )
        return self._result()

    def _closed(self, epoch: int) -> Epoch:
        rates = [rate for pack in self.runner.packs for rate in pack.rates(epoch, self.runner.steps - 1)]
        right = self.state.right
        of_mean = 0.0 if right is None else self.runner.packs[0].validation.loss_of_mean(right)
        losses, values = self.state.step_losses.T, self.state.values.tolist()
        return Epoch(epoch, list(self.active), rates, losses, values, of_mean)

    def _result(self) -> TrainingResult:
        result = TrainingResult.of(self.history, self.best, self.stopping, self.runner.steps)
        self.network.load_state_dict(result.state)
        if self.state.right is not None:
            for pack in self.runner.packs:
                pack.validation.judge()
            result.mean_loss = self.runner.packs[0].validation.loss_of_mean(self.state.right)
        smoothing = self.members[result.shipped or 0].section.label_smoothing
        training, validation, _ = self.data
        of_training, of_validation = (
            accuracy(self.network, rows, result.shipped, smoothing) for rows in (training, validation)
        )
        warn(result, self.section, of_training, of_validation, len(validation.x))
        result.state = folded({name: tensor.cpu() for name, tensor in result.state.items()})
        return result

    def snapshot(self) -> Snapshot:
        """All that the next epoch needs and that cannot be derived."""
        facts = {"epoch": self.epoch, "active": self.active}
        for callback in self.own:
            facts |= callback.facts()
        return Snapshot(facts, {**self._tensors(), **self.history.grown()})

    def _tensors(self) -> dict[str, Tensor]:
        """What changes in place from epoch to epoch; the first axis of each is the members'."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for callback in self.own:
            tensors |= callback.tensors()
        for place, group in enumerate(self.state.groups):
            tensors |= {f"optimizer.{name}.{place}": each for name, each in group.state.items()}
        return tensors

    def resume(self, resume_from: Snapshot) -> None:
        """Be what it was when the snapshot was taken; raises UserError where this is of another training."""
        try:
            for name, tensor in self._tensors().items():
                if resume_from.tensors[name].shape != tensor.shape:
                    raise ValueError(f"{name} has another shape")
                tensor.copy_(resume_from.tensors[name])
            for callback in self.own:
                callback.resume(resume_from.facts, resume_from.tensors)
            self.active, self.epoch = list(resume_from.facts["active"]), int(resume_from.facts["epoch"])
        except (KeyError, TypeError, ValueError) as error:
            raise resume_from.unfit(error) from None
