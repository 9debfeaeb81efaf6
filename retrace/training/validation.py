"""How good the replicas are, and what ships, on rows that are not trained on."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from retrace.networks.activations import UNIT_HEALTH
from retrace.networks.network import Network
from retrace.networks.probabilities import class_probabilities, unsmoothed
from retrace.params.train import Train
from retrace.training.losses import LOSSES, shares, targets
from retrace.training.rows import Rows

# Rows that go through the network at once, and those on which the health of the units is judged.
ROWS_AT_ONCE = 8192


class Judged(NamedTuple):
    """loss, accuracy: [replicas], on all rows; health: [replicas] of each watched layer's units.

    of_mean: the log loss of the mean of the replicas' probabilities, where that ships; else 0.
    """

    loss: Tensor
    accuracy: Tensor
    health: list[Tensor]
    of_mean: float


class Validation:
    """rows: on any device; weights: of the classes [classes], or None where all rows count alike."""

    def __init__(self, network: Network, rows: Rows, section: Train, weights: Tensor | None, device: torch.device):
        self.network, self.section, self.device = network, section, device
        self.rows = Rows(rows.x.to(device), rows.y.to(device))
        self.loss = LOSSES[section.loss]
        every = torch.ones(max(2, network.outputs), device=device) if weights is None else weights
        self.shares = shares(every, self.rows.y)

    @torch.no_grad()
    def judge(self) -> Judged:
        assert self.shares is not None
        replicas, outputs = self.section.replicas, self.network.outputs
        rows, of_mean = len(self.rows.x), 0.0
        loss, correct = torch.zeros(replicas, device=self.device), torch.zeros(replicas, device=self.device)
        health: list[Tensor] = []
        for start in range(0, rows, ROWS_AT_ONCE):
            x = self.rows.x[start : start + ROWS_AT_ONCE].expand(replicas, -1, -1)
            y = targets(self.rows.y[start : start + ROWS_AT_ONCE], outputs).expand(replicas, -1)
            share = self.shares[start : start + ROWS_AT_ONCE].expand(replicas, -1)
            seen = self.network.observe(x)
            logits = unsmoothed(seen.logits, self.section.label_smoothing)
            loss += self.loss(logits, y, 0.0, share)[0]
            predicted = (logits[..., 0] >= 0) if logits.shape[2] == 1 else logits.argmax(2)
            correct += (predicted == y).sum(1)
            if self.section.ship == "mean":
                of_mean -= float((share[0] * log_mean(logits, y[0])).sum())
            if start == 0 and self.section.activation in UNIT_HEALTH:
                _, measure = UNIT_HEALTH[self.section.activation]
                health = [measure(outputs) for outputs in seen.watched]
        return Judged(loss, correct / rows, health, of_mean)


@torch.no_grad()
def accuracy(network: Network, rows: Rows, shipped: int | None, section: Train) -> float:
    """Of what ships, on some of the rows, which may stand in any order. shipped: a replica; None: the mean of all."""
    some = slice(None, None, math.ceil(len(rows.x) / ROWS_AT_ONCE))
    logits = network(rows.x[some].expand(section.replicas, -1, -1))
    probabilities = class_probabilities(logits, section.label_smoothing)
    answer = probabilities.mean(0) if shipped is None else probabilities[shipped]
    return float((answer.argmax(1) == rows.y[some]).double().mean())


def log_mean(logits: Tensor, target: Tensor) -> Tensor:
    """Logits [replicas, rows, outputs], targets [rows] as the losses want them -> [rows] float64.

    The logarithm of the mean of the probabilities that the replicas give to the right class.
    """
    logits = logits.double()
    if logits.shape[2] == 1:
        logs = F.logsigmoid(torch.where(target.bool(), logits[..., 0], -logits[..., 0]))
    else:
        logs = torch.log_softmax(logits, 2).gather(2, target.expand(len(logits), -1)[..., None])[..., 0]
    return logs.logsumexp(0) - math.log(len(logits))
