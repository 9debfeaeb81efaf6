"""Layers with all replicas side by side.

A layer of `torch.nn.Linear` holds one weight matrix. Here it holds one for each replica, stacked along a first axis,
and one batched matrix product (`torch.baddbmm`) serves them all: for small networks the time of a training step is
mostly the overhead of calling operations, so that eight replicas cost little more than one. Replicas never mix: row r
of every result depends on row r of the weights and inputs alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retrace.networks.activations import GraphBuilder


@dataclass(frozen=True)
class Role:
    """How a parameter is optimized: whether weight decay pulls it to zero; whether its rate is that of input scales."""

    decays: bool = True
    scales_input: bool = False


def product(a: Tensor, b: Tensor) -> Tensor:
    """`torch.bmm`, but each replica's result is the same whether it is alone or among others.

    For a lone replica and a single row or column torch takes a routine for vectors, which adds in another order: there
    the replica is taken twice. On the CPU; a GPU's products may depend on how many there are.
    """
    return torch.bmm(_twice(a), _twice(b))[:1] if _is_vector(a, b) else torch.bmm(a, b)


def affine(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """`torch.baddbmm`, as `product` is torch.bmm."""
    return (
        torch.baddbmm(bias, _twice(x), _twice(weight))[:1] if _is_vector(x, weight) else torch.baddbmm(bias, x, weight)
    )


class _Affine(torch.autograd.Function):
    """`affine` for autograd, whose own products would be torch.bmm's."""

    @staticmethod
    def forward(ctx: Any, bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return affine(bias, x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return gradient.sum(1, keepdim=True), product(gradient, weight.mT), product(x.mT, gradient)


def _is_vector(a: Tensor, b: Tensor) -> bool:
    return b.shape[0] == 1 and 1 in (a.shape[1], b.shape[2])


def _twice(lone: Tensor) -> Tensor:
    return lone.expand(2, -1, -1)


class Linear(nn.Module):
    """`torch.nn.Linear` for each replica: x [replicas, rows, inputs] -> [replicas, rows, outputs], float32.

    The weight is kept as [replicas, inputs, outputs], the transpose of torch's, which saves a step of its own.
    """

    def __init__(self, replicas: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(replicas, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(replicas, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return _Affine.apply(self.bias, x, self.weight)  # type: ignore[no-untyped-call,no-any-return]
        return affine(self.bias, x, self.weight)

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
        # Not torch.nn.functional.embedding: for the replicas' tables in one it would copy them at each step.
        return self.weight[torch.arange(len(self.weight), device=codes.device)[:, None], codes]


class InputScale(nn.Module):
    """A factor for each input of the first layer and each replica, which begins at 1 and is learned.

    With a high learning rate of its own it finds out early which inputs matter (Holzmueller et al. 2024, RealMLP).
    """

    def __init__(self, replicas: int, inputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(replicas, inputs, 1))
