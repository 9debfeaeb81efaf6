"""How good the members are on rows that are not trained on."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from retrace.networks.activations import UNIT_HEALTH
from retrace.networks.arithmetic import use_one_thread
from retrace.networks.network import Network
from retrace.networks.probabilities import class_probabilities, unsmoothed
from retrace.runtime.threads import side_by_side
from retrace.training.losses import LOSSES, Smoothing, row_weights, targets
from retrace.training.members import Member, neighbours_alike
from retrace.training.rows import AnyRows

# Rows that go through the network at once, and those on which the health of the units is judged.
ROWS_AT_ONCE = 8192

# Zeros of a shape and dtype, on the training's device.
Zeros = Callable[..., Tensor]


def zeros_on(device: torch.device) -> Zeros:
    def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(*shape, dtype=dtype, device=device)

    return zeros


class Judged(NamedTuple):
    """loss, accuracy: [members], on all rows; health: [members] of each watched layer's units."""

    loss: Tensor
    accuracy: Tensor
    health: list[Tensor]


class Validation:
    """rows: on the device; weights: of the classes [members, classes], or None where all rows count alike.

    right: where it is asked for, [members, rows] float64, to be filled with the logarithm of the probability that each
    member gives to each row's class.
    """

    def __init__(
        self,
        network: Network,
        rows: AnyRows,
        members: Sequence[Member],
        weights: Tensor | None,
        right: Tensor | None = None,
        threads: int = 1,
    ):
        self.network, self.rows, self.right, self.threads = network, rows, right, threads
        self.smoothing = neighbours_alike([member.section.label_smoothing for member in members])
        section = members[0].section
        self.loss, self.activation = LOSSES[section.loss], section.activation
        classes = max(2, network.outputs)
        self.plain = Smoothing([0.0] * len(members), classes)
        weights = torch.ones(1, classes, device=rows.y.device) if weights is None else weights
        alike = weights[:1] if torch.equal(weights, weights[:1].expand_as(weights)) else weights
        every = row_weights(alike, rows.y.expand(len(alike), -1))
        assert every is not None
        self.row_weights = every.expand(len(members), -1)

    @torch.no_grad()
    def judge(self) -> Judged:
        count = len(self.rows.x)
        with side_by_side(self.threads, use_one_thread) as each:
            first, *others = each(self._judge, range(0, count, ROWS_AT_ONCE))
        loss, correct, health = first
        for of_some, correct_of_some, _ in others:
            loss, correct = loss + of_some, correct + correct_of_some
        return Judged(loss, correct / count, health)

    # A thread has a mode of its own.
    @torch.no_grad()
    def _judge(self, start: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Of the rows from there on: [members] loss, right answers; of the first ones also the units' health."""
        members, some = self.network.replicas, slice(start, start + ROWS_AT_ONCE)
        loss, correct = (torch.zeros(members, device=self.rows.y.device) for _ in range(2))
        x = self.rows.x[some].to(self.rows.y.device).expand(members, -1, -1)
        y = targets(self.rows.y[some], self.network.outputs).expand(members, -1)
        seen = self.network.observe(x)
        for part, smoothing in self.smoothing:
            logits, own = unsmoothed(seen.logits[part], smoothing), y[part]
            loss[part] = self.loss(logits, own, self.plain, self.row_weights[part, some])[0]
            predicted = (logits[..., 0] >= 0) if logits.shape[2] == 1 else logits.argmax(2)
            correct[part] = (predicted == own).sum(1).float()
            if self.right is not None:
                self.right[part, some] = log_right(logits, own)
        if start or self.activation not in UNIT_HEALTH:
            return loss, correct, []
        _, measure = UNIT_HEALTH[self.activation]
        return loss, correct, [measure(outputs) for outputs in seen.watched]

    def loss_of_mean(self, right: Tensor) -> float:
        """The log loss of the mean of all members' probabilities; right: as above, of all of them."""
        return -float((self.row_weights[0] * log_mean(right)).sum())


@torch.no_grad()
def accuracy(network: Network, rows: AnyRows, shipped: int | None, smoothing: float) -> float:
    """Of what ships, on some of the rows, which may stand in any order. shipped: a replica; None: the mean of all."""
    some = slice(None, None, math.ceil(len(rows.x) / ROWS_AT_ONCE))
    logits = network(rows.x[some].to(rows.y.device).expand(network.replicas, -1, -1))
    probabilities = class_probabilities(logits, smoothing)
    answer = probabilities.mean(0) if shipped is None else probabilities[shipped]
    return float((answer.argmax(1) == rows.y[some]).double().mean())


def log_right(logits: Tensor, target: Tensor) -> Tensor:
    """Logits [members, rows, outputs], targets [members, rows] as the losses want them -> [members, rows] float64.

    The logarithm of the probability that each member gives to the right class.
    """
    logits = logits.double()
    if logits.shape[2] == 1:
        return F.logsigmoid(torch.where(target.bool(), logits[..., 0], -logits[..., 0]))
    return torch.log_softmax(logits, 2).gather(2, target[..., None])[..., 0]


def log_mean(right: Tensor) -> Tensor:
    """[members, rows] -> [rows] float64: the logarithm of the mean of the probabilities, from their logarithms."""
    return right.logsumexp(0) - math.log(len(right))
