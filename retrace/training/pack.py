"""A pack: members that train side by side in one process, an epoch at a time.

What a member learns depends on its settings, its seed and the rows alone, to the byte: not on who else is in its pack
(contract 7 in docs/testing.md). So a pack may be cut into smaller ones, which share their memory with it.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple

import torch
from torch import Tensor

from retrace.networks.activations import UNIT_HEALTH
from retrace.networks.network import Network
from retrace.params.train import Train
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.training.batches import Batches
from retrace.training.gradients import Gradients
from retrace.training.losses import Smoothing, class_weights
from retrace.training.members import Member
from retrace.training.optimizers import Group, Optimization, Rates, lay_out
from retrace.training.roots import root
from retrace.training.rows import AnyRows
from retrace.training.schedules import learning_rates
from retrace.training.validation import Validation, Zeros

# Steps of an epoch whose gradient norms are averaged into the history; all of them would cost a fifth of the time.
GRADIENT_SAMPLES = 8
# Asking whether a loss is finite makes a GPU wait for its queue; there it is asked once in this many steps.
CUDA_CHECK_INTERVAL = 64


# What is looked at, in the order of a step; the last two after the last one.
CHECKED = ("loss", "gradient norm", "validation loss", "largest weight")


class DivergedError(UserError):
    """A number of a member is not finite any more.

    place: (step of the epoch, what comes first in a step, member): the first is what one process would have met.
    """

    def __init__(self, message: str, place: tuple[int, int, int]):
        super().__init__(MACHINE_FAULT, message)
        self.place = place

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return DivergedError, (str(self), self.place)


class PackState(NamedTuple):
    """What a pack changes as it trains, a row for each member; a smaller pack has some of the rows.

    groups:      weights, and what the optimizer remembers.
    step_losses: training loss of each step of the last epoch [members, steps] float32.
    values:      after it, [members, ...] float32: training loss, validation loss and accuracy, gradient norm of each
                 layer, unit health of each watched one.
    right:       [members, validation rows] float64, see Validation; None where nobody asks for it.
    """

    groups: list[Group]
    step_losses: Tensor
    values: Tensor
    right: Tensor | None

    def tensors(self) -> list[Tensor]:
        """All of it, in an order that follows from the network and the optimizer."""
        groups = [each for group in self.groups for each in (group.weights, *group.state.values())]
        return [*groups, self.step_losses, self.values, *([] if self.right is None else [self.right])]

    def of(self, members: slice) -> "PackState":
        right = None if self.right is None else self.right[members]
        return PackState(
            [group.of(members) for group in self.groups], self.step_losses[members], self.values[members], right
        )


class Data(NamedTuple):
    """training, validation: on the training's device, or in a file; counts: training rows of each class."""

    training: AnyRows
    validation: AnyRows
    counts: Tensor


def allocate(network: Network, data: Data, members: Sequence[Member], zeros: Zeros, right: bool) -> PackState:
    """Room for all members; the network's weights move there. right: whether PackState.right is wanted."""
    section = members[0].section
    steps = math.ceil(len(data.training.x) / section.batch_size)
    health = len(network.watched) if section.activation in UNIT_HEALTH else 0
    return PackState(
        lay_out(network, [member.section.optimizer for member in members], zeros),
        zeros(len(members), steps),
        zeros(len(members), 3 + len(network.layers) + health),
        zeros(len(members), len(data.validation.x), dtype=torch.float64) if right else None,
    )


class Pack:
    """members: in the order of the network's replicas, alike in what `shared` says; threads: that share a step."""

    def __init__(
        self,
        network: Network,
        data: Data,
        members: Sequence[Member],
        state: PackState,
        device: torch.device,
        threads: int = 1,
    ):
        self.network, self.data, self.members, self.state, self.device = network, data, members, state, device
        sections = [member.section for member in members]
        self.section, classes = sections[0], max(2, network.outputs)
        smoothing = Smoothing([section.label_smoothing for section in sections], classes, device)
        each = [class_weights(section.class_weights, data.counts) for section in sections]
        weights = None if each[0] is None else torch.stack([one for one in each if one is not None]).to(device)
        rows = min(self.section.batch_size, len(data.training.x))
        self.gradients = Gradients(network, members, smoothing, weights, rows, device, threads)
        self.validation = Validation(network, data.validation, members, weights, state.right, self.gradients.threads)
        self.optimization = Optimization(
            state.groups, [section.optimizer for section in sections], [each.input_scale_rate for each in sections]
        )
        self.clips = any(section.gradient_clip for section in sections)
        # A tensor also where all are alike: torch divides a number by a tensor in another way than a tensor by one.
        self.clip = torch.tensor([section.gradient_clip or math.inf for section in sections], device=device)
        self.batches = Batches(data.training, network.outputs, members)
        self.steps = state.step_losses.shape[1]
        self.rates = rates_of(sections, self.steps)
        self.check_interval = 1 if device.type == "cpu" else CUDA_CHECK_INTERVAL
        self.sampled = {self.steps - 1 - round(i * self.steps / GRADIENT_SAMPLES) for i in range(GRADIENT_SAMPLES)}

    @torch.no_grad()
    def train_epoch(self, epoch: int, active: Sequence[bool]) -> None:
        """One pass over the training rows, and a judgement on the validation rows, both into `state`.

        active: whose numbers must stay finite. Raises DivergedError in the step in which a loss of one of these is not.
        Of a team the first one judges.
        """
        norms = self.run_steps(epoch, active)
        if self.gradients.team is None or self.gradients.team.rank == 0:
            self._judge(norms, active, epoch)

    @torch.no_grad()
    def run_steps(self, epoch: int, active: Sequence[bool]) -> Tensor:
        """The pass over the training rows; returns mean gradient norms [layers, members]."""
        losses, norms = self.state.step_losses, []
        # Closed at once where a step fails: rows may be read beside it.
        with closing(self.batches.of(epoch)) as batches, self.gradients.of_epoch(epoch) as loss_and_gradients:
            for step, (x, y) in enumerate(batches):
                losses[:, step], gradients = loss_and_gradients(x, y)
                if (step + 1) % self.check_interval == 0 or step == self.steps - 1:
                    self._check_finite(active, epoch, step)
                if self.clips:
                    self._clip(gradients, active, epoch, step)
                if step in self.sampled:
                    norms.append(self._layer_norms(gradients))
                self.optimization.step(gradients, self.rates(epoch, step), (epoch - 1) * self.steps + step)
        return torch.stack(norms, 2).mean(2)

    @torch.no_grad()
    def team_seconds(self) -> tuple[float, float]:
        """What a step takes a process of a team, see Gradients.team_seconds; nothing is learned from it."""
        with closing(self.batches.of(1)) as batches:
            return self.gradients.team_seconds(*next(batches))

    def _judge(self, norms: Tensor, active: Sequence[bool], epoch: int) -> None:
        loss, accuracy, health = self.validation.judge()
        rows, batch = len(self.data.training.x), self.section.batch_size
        sizes = torch.full((self.steps,), batch, device=self.device)
        sizes[-1] = rows - batch * (self.steps - 1)
        train_loss = (self.state.step_losses * sizes).sum(1) / rows
        self.state.values.copy_(torch.stack([train_loss, loss, accuracy, *norms, *health], 1))
        finite = torch.stack([torch.isfinite(group.weights).all(1) for group in self.state.groups]).all(0).tolist()
        for member, (reached, whole) in enumerate(zip(loss.tolist(), finite, strict=True)):
            if active[member] and not math.isfinite(reached):
                raise self._diverged("validation loss", reached, member, epoch, self.steps - 1)
            # A saturated output hides an infinite weight from the loss.
            if active[member] and not whole:
                raise self._diverged("largest weight", math.inf, member, epoch, self.steps - 1)

    def _check_finite(self, active: Sequence[bool], epoch: int, last: int) -> None:
        """Look at the losses since the last check, up to step `last`; one that is not finite ends the training."""
        if not any(active):
            return
        losses = self.state.step_losses
        if self.check_interval == 1 and math.isfinite(losses[:, last].sum().item()):
            return
        first = last // self.check_interval * self.check_interval
        for step, row in enumerate(losses[:, first : last + 1].T.tolist(), start=first):
            for member, value in enumerate(row):
                if active[member] and not math.isfinite(value):
                    raise self._diverged("loss", value, member, epoch, step)

    def _clip(self, gradients: list[Tensor], active: Sequence[bool], epoch: int, step: int) -> None:
        """Shorten each member's whole gradient to `gradient_clip`, as torch.nn.utils.clip_grad_norm_ does for one."""
        squares = gradients[0].new_zeros(len(self.members))
        # One after the other: torch adds rows in an order that depends on how many members there are.
        for gradient in gradients:
            squares += gradient.square().sum((1, 2))
        norms = root(squares)
        if not math.isfinite(norms.sum().item()):
            for member, norm in enumerate(norms.tolist()):
                if not math.isfinite(norm) and active[member]:
                    raise self._diverged("gradient norm", norm, member, epoch, step)
        factors = (self.clip / (norms + 1e-6)).clamp(max=1.0)[:, None, None]
        torch._foreach_mul_(gradients, [factors] * len(gradients))

    def _diverged(self, what: str, value: float, member: int, epoch: int, step: int) -> DivergedError:
        rate = self.rates(epoch, step)[member]
        fix = "lower train.optimizer.learning_rate, or set train.gradient_clip or train.scaling: standard"
        if (epoch, step, what) == (1, 0, "loss"):  # nothing was learned yet: it is the start that is wrong
            fix = "choose another train.init or a smaller train.init_scale, or set train.scaling: standard"
        return DivergedError(
            f"train: epoch {epoch}, step {step + 1}: the {what} of replica {self.members[member].replica} is {value}"
            f" at learning rate {rate:g}; {fix}",
            (step, CHECKED.index(what), self.members[member].replica),
        )

    def _layer_norms(self, gradients: list[Tensor]) -> Tensor:
        """Euclidean norm of weight and bias gradient together, [layers, members]."""
        squares = [gradient.square().sum((1, 2)) for gradient in gradients[: 2 * len(self.network.layers)]]
        return root(torch.stack([weight + bias for weight, bias in zip(squares[::2], squares[1::2], strict=True)]))


def rates_of(sections: Sequence[Train], steps: int) -> Callable[[int, int], Rates]:
    """The members' learning rates as a function of epoch (from 1) and step (from 0), for `steps` steps an epoch."""
    own, kinds = [], []
    for section in sections:
        kind = (section.optimizer.learning_rate, section.schedule)
        if kind not in kinds:
            kinds.append(kind)
            own.append(learning_rates(section, steps))
    places = [kinds.index((section.optimizer.learning_rate, section.schedule)) for section in sections]

    def rates(epoch: int, step: int) -> Rates:
        each = [rate(epoch, step) for rate in own]
        return [each[place] for place in places]

    return rates
