"""Layers with all replicas side by side.

A layer of `torch.nn.Linear` holds one weight matrix. Here it holds one for each replica, stacked along a first axis,
and one batched matrix product (`torch.baddbmm`) serves them all: for small networks the time of a training step is
mostly the overhead of calling operations, so that eight replicas cost little more than one. Replicas never mix: row r
of every result depends on row r of the weights and inputs alone.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrace.networks.activations import GraphBuilder


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

    def onnx(self, graph: GraphBuilder, x: str) -> str:
        product = graph.op("MatMul", x, graph.constant(self.weight, np.float32))
        return graph.op("Add", product, graph.constant(self.bias, np.float32))


class Embedding(nn.Module):
    """`torch.nn.Embedding` for each replica, a vector a code: codes [replicas, rows] -> [replicas, rows, width]."""

    def __init__(self, replicas: int, codes: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(replicas, codes, width))

    def places(self, codes: Tensor) -> Tensor:
        """Codes as rows of all replicas' tables, one below the other."""
        replicas, count, _ = self.weight.shape
        return codes + count * torch.arange(replicas, device=codes.device)[:, None]

    def forward(self, codes: Tensor) -> Tensor:
        return F.embedding(self.places(codes), self.weight.flatten(0, 1))


class InputScale(nn.Module):
    """A factor for each input of the first layer and each replica, which begins at 1 and is learned.

    With a high learning rate of its own it finds out early which inputs matter (Holzmueller et al. 2024, RealMLP).
    """

    def __init__(self, replicas: int, inputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(replicas, inputs, 1))
