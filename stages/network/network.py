"""The network: an ordinary stack of linear layers and activations, with all replicas side by side.

A layer of `torch.nn.Linear` holds one weight matrix. Here it holds one for each replica, stacked along a first axis,
and one batched matrix product (`torch.baddbmm`) serves them all: for small networks the time of a training step is
mostly the overhead of calling operations, so that eight replicas cost little more than one. Replicas never mix: row r
of every result depends on row r of the weights and inputs alone.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from stages.network.activations import ACTIVATIONS


class Linear(nn.Module):
    """`torch.nn.Linear` for each replica: x [replicas, rows, inputs] -> [replicas, rows, outputs], float32.

    The weight is kept as [replicas, inputs, outputs], the transpose of torch's, which saves a step of its own.
    """

    def __init__(self, replicas: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(replicas, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(replicas, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class Network(nn.Module):
    """widths: inputs, hidden layers, outputs (logits: one for two classes, else one a class)."""

    def __init__(self, replicas: int, widths: Sequence[int], activation: str):
        super().__init__()
        self.replicas = replicas
        self.activation = ACTIVATIONS[activation]
        layers = [Linear(replicas, inputs, outputs) for inputs, outputs in pairwise(widths)]
        self.layers: Sequence[Linear] = nn.ModuleList(layers)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """x [replicas, rows, inputs] -> logits [replicas, rows, outputs]."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation.forward(layer(x))
        logits: Tensor = last(x)
        return logits


def to_torch_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """This module's state dict as torch.nn.Linear has it: weight [replicas, out, in], bias [replicas, out].

    The way torch.func.stack_module_state lays out stacked modules; the first axis of one replica can be dropped.
    """
    return {
        name: (tensor.mT if name.endswith("weight") else tensor.squeeze(1)).contiguous()
        for name, tensor in state.items()
    }


def from_torch_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: (tensor.mT if name.endswith("weight") else tensor.unsqueeze(1)).contiguous()
        for name, tensor in state.items()
    }
