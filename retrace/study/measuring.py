"""Trains the networks of a study's settings, those of one shape side by side, and says how good they are.

A setting's networks can stop at a rung and go on later, among others: what they learn does not depend on that
(contract 7). A network whose loss is no longer finite is a result here, and not the end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrace.networks.network import Network
from retrace.networks.probabilities import class_probabilities
from retrace.params.train import Train
from retrace.study.prepared import Prepared
from retrace.training.callbacks import best_of
from retrace.training.members import Member
from retrace.training.pack import Pack, PackState, allocate
from retrace.training.trainer import draw_initial_weights
from retrace.training.validation import log_mean, zeros_on

Floats = NDArray[np.float64]
# A pack is made anew without those that have ended, when these are at least so large a part of it.
WORTH_CLOSING_RANKS = 1 / 3


class Task(NamedTuple):
    """Networks of one setting, which differ in seed only, to be trained to the end of epoch `budget`.

    folder: of the rows; judged: whether it is wanted what they say of each validation row.
    """

    section: Train
    replicas: range
    budget: int
    folder: Path
    judged: bool = False

    @property
    def members(self) -> list[Member]:
        return [Member(self.section, replica) for replica in self.replicas]


class Measured(NamedTuple):
    """losses, accuracies, best_epochs: of each network at its best epoch, by log loss on the validation rows.

    epochs:  how many each trained; weights: of each network, how many.
    score:   log loss of what would ship, see `log_loss` and Judged: no row has a say in what it judges, since the best
             of many epochs would look better than it is, and the more so the more the loss goes up and down; inf where
             a network diverged.
    over:    whether further epochs would change nothing.
    """

    losses: list[float]
    accuracies: list[float]
    best_epochs: list[int]
    epochs: list[int]
    score: float
    over: bool
    weights: int

    @property
    def diverged(self) -> bool:
        return math.isinf(self.score)


class Judged(NamedTuple):
    """right: [networks, validation rows], the logarithm of the probability that each network gives to the right class,
    at the epoch that was best on the *other* half of the rows; so no row has a say in what it judges.

    probabilities: [networks, validation rows, classes], at each network's best epoch.
    """

    right: Floats
    probabilities: Floats


@dataclass
class Course:
    """A task under way: where its networks are, and what they have been at best. Arrays: the first axis is theirs.

    parameters: of the network in its order, each with what the optimizer remembers of it, by name; best: its weights.
    right:      see Judged; half_losses: the lowest log loss so far on each half of the rows [2, networks].
    """

    task: Task
    epoch: int = 0
    parameters: list[dict[str, NDArray[np.float32]]] = field(default_factory=list)
    best: list[NDArray[np.float32]] = field(default_factory=list)
    best_losses: list[float] = field(init=False)
    best_epochs: list[int] = field(init=False)
    accuracies: list[float] = field(init=False)
    epochs: list[int] = field(init=False)
    half_losses: Floats = field(init=False)
    right: Floats = field(default_factory=lambda: np.empty((0, 0)))
    of_mean: list[float] = field(default_factory=list)
    diverged: bool = False
    over: bool = False

    def __post_init__(self) -> None:
        count = len(self.task.replicas)
        self.best_losses, self.best_epochs = [math.inf] * count, [0] * count
        self.accuracies, self.epochs = [0.0] * count, [0] * count
        self.half_losses = np.full((2, count), math.inf)

    @property
    def wants_more(self) -> bool:
        return not self.over and self.epoch < self.task.budget

    def note(self, epoch: int, seen: "Seen", network: Network, places: slice) -> None:
        """What an epoch gave; places: of its members in the network."""
        self.epoch = epoch
        if not seen.finite[places].all():
            self.over = self.diverged = True
            return
        losses, section = seen.losses[places].tolist(), self.task.section
        if not len(self.right):
            self.right = np.empty(seen.right[places].shape)
        of_mean = section.ship == "mean"
        for place, loss in enumerate(losses):
            if not of_mean and self._waited(epoch - 1, self.best_epochs[place]):
                continue  # it has stopped before; others of the same setting train on
            self.epochs[place] = epoch
            member = places.start + place
            if loss < self.best_losses[place]:
                self.best_losses[place], self.best_epochs[place] = loss, epoch
                self.accuracies[place] = float(seen.accuracies[member])
                if self.task.judged:
                    self._keep(network, place, member)
            for half, other in ((0, 1), (1, 0)):
                if (of_half := float(seen.halves[half, member])) < self.half_losses[half, place]:
                    self.half_losses[half, place] = of_half
                    self.right[place, other::2] = seen.right[member, other::2]
        if of_mean:
            self.of_mean.append(float(log_loss(seen.right[places], True) @ seen.weights))
            self.over = self._waited(epoch, best_of(self.of_mean))
        else:
            self.over = all(self._waited(epoch, best) for best in self.best_epochs)
        self.over |= epoch == section.epochs

    def _waited(self, epoch: int, best: int) -> bool:
        patience = self.task.section.patience
        return patience is not None and epoch - best >= patience

    def _keep(self, network: Network, place: int, member: int) -> None:
        parameters = [parameter.detach() for parameter in network.parameters()]
        if not self.best:
            count = len(self.task.replicas)
            self.best = [np.zeros((count, *parameter.shape[1:]), np.float32) for parameter in parameters]
        for kept, parameter in zip(self.best, parameters, strict=True):
            kept[place] = parameter[member].cpu().numpy()

    def measured(self, prepared: Prepared) -> Measured:
        section, epochs, best = self.task.section, list(self.epochs), list(self.best_epochs)
        weights = prepared.describe(section).weights
        if self.diverged:
            count = len(epochs)
            return Measured([math.inf] * count, [0.0] * count, best, epochs, math.inf, True, weights)
        score = float(log_loss(self.right, section.ship == "mean") @ prepared.weights)
        return Measured(list(self.best_losses), list(self.accuracies), best, epochs, score, self.over, weights)


class Seen(NamedTuple):
    """What an epoch gave of all members of a pack: arrays [members], but right [members, validation rows], and halves:
    the log loss on the even and on the odd rows [2, members]. weights: each row's share of the log loss.
    """

    finite: NDArray[np.bool_]
    losses: Floats
    accuracies: Floats
    right: Floats
    halves: Floats
    weights: Floats


@torch.no_grad()
def train(courses: Sequence[Course], prepared: Prepared, device: torch.device) -> None:
    """Train to the end of their budgets courses of one shape and rows that are all at the same epoch."""
    while pending := [course for course in courses if course.wants_more]:
        _train_together(pending, prepared, device)


def _train_together(courses: Sequence[Course], prepared: Prepared, device: torch.device) -> None:
    """Until all are where they shall be, or until so many have ended that the others train faster without them."""
    members = [member for course in courses for member in course.task.members]
    ends = np.cumsum([len(course.task.replicas) for course in courses]).tolist()
    places = [slice(end - len(course.task.replicas), end) for course, end in zip(courses, ends, strict=True)]
    section, start = courses[0].task.section, courses[0].epoch
    network = prepared.describe(section).network(len(members), scaled=section.input_scale_rate > 0)
    if not start:
        draw_initial_weights(network, members)
    network = network.to(device)

    state = allocate(network, prepared.data, members, zeros_on(device), right=True)
    if start:
        for course, own in zip(courses, places, strict=True):
            _put(course, network, state, own)
    pack = Pack(network, prepared.data, members, state, device)
    nobody = [False] * len(members)
    for epoch in range(start + 1, max(course.task.budget for course in courses) + 1):
        pack.train_epoch(epoch, nobody)
        seen = _look(state, prepared.weights)
        for course, own in zip(courses, places, strict=True):
            if course.wants_more:
                course.note(epoch, seen, network, own)
        ended = sum(len(course.task.replicas) for course in courses if not course.wants_more)
        if ended >= WORTH_CLOSING_RANKS * len(members):
            break
    for course, own in zip(courses, places, strict=True):
        if course.over:
            course.parameters = []
        else:
            _take(course, network, state, own)


def _look(state: PackState, weights: Floats) -> Seen:
    assert state.right is not None
    right: Floats = state.right.cpu().numpy()
    lost = -(right * weights)
    finite = torch.isfinite(state.step_losses).all(1)
    for group in state.groups:
        finite &= torch.isfinite(group.weights).all(1)
    halves = [lost[:, half::2].sum(1) for half in (0, 1)]
    losses = lost.sum(1)
    whole = finite.cpu().numpy() & np.isfinite(losses)
    return Seen(whole, losses, state.values[:, 2].double().cpu().numpy(), right, np.stack(halves), weights)


def _put(course: Course, network: Network, state: PackState, places: slice) -> None:
    """Make a pack's members what the course's networks were."""
    for parameter, content in zip(network.parameters(), course.parameters, strict=True):
        parameter.data[places] = torch.from_numpy(content["weights"])
    for group, place, columns in _columns(network, state):
        for name, table in group.items():
            remembered = course.parameters[place].get(name)
            if remembered is not None:
                table[places, columns] = torch.from_numpy(remembered)


def _take(course: Course, network: Network, state: PackState, places: slice) -> None:
    course.parameters = [{"weights": each.detach()[places].cpu().numpy().copy()} for each in network.parameters()]
    for group, place, columns in _columns(network, state):
        for name, table in group.items():
            course.parameters[place][name] = table[places, columns].cpu().numpy().copy()


def _columns(network: Network, state: PackState) -> list[tuple[dict[str, Tensor], int, slice]]:
    """What an optimizer remembers, by name, the place of a parameter, and its columns there.

    By parameter, since how parameters are grouped depends on who else is in the pack.
    """
    sizes = [parameter[0].numel() for parameter in network.parameters()]
    found = []
    for group in state.groups:
        start = 0
        for place in group.places:
            found.append((group.state, place, slice(start, start + sizes[place])))
            start += sizes[place]
    return found


@torch.no_grad()
def judge(course: Course, prepared: Prepared) -> Judged:
    """What the networks of a judged course that has not diverged say of the validation rows."""
    section = course.task.section
    network = prepared.describe(section).network(len(course.task.replicas), scaled=section.input_scale_rate > 0)
    for parameter, content in zip(network.parameters(), course.best, strict=True):
        parameter.data.copy_(torch.from_numpy(content))
    x = prepared.data.validation.x[:].cpu()
    logits = network(x.expand(network.replicas, -1, -1))
    return Judged(course.right, class_probabilities(logits, section.label_smoothing).double().numpy())


def log_loss(right: Floats, of_mean: bool) -> Floats:
    """Of each row, of what would ship: the networks' mean, or a single one, in the mean over them.

    right: [networks, rows], as in Judged; the result: [rows].
    """
    found: Floats = -log_mean(torch.from_numpy(right)).numpy() if of_mean else -right.mean(0)
    return found
