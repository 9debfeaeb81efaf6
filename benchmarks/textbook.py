"""The loop that textbooks have, against which Retrace is measured."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Inputs, hidden layers with ReLU, logits."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train_epoch(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    criterion: Callable[[Tensor, Tensor], Any],
) -> None:
    """criterion: (what the network gives, y) -> the loss."""
    for x, y in batches:
        optimizer.zero_grad()
        loss = criterion(network(x), y)
        loss.backward()
        optimizer.step()
        loss.item()


def binary_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """logits [rows, 1], y [rows] float32."""
    return nn.functional.binary_cross_entropy_with_logits(logits.squeeze(1), y)
