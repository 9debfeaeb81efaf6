"""Activations of the hidden layers, registered by name, each with its derivative and its form in ONNX.

To add one: a line in ACTIVATIONS, its name in `retrace/params/train.py` and in params.yaml; a test finds what is
missing. The derivative may be left to autograd, `Activation(F.mish, node("Mish"))`: right, but slower than one that is
written out.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class GraphBuilder(Protocol):
    """What an ONNX graph is built with (retrace/serving/onnx_builder.py); values go by their names."""

    def constant(self, values: Any, kind: Any) -> str: ...

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str: ...


class Activation(NamedTuple):
    """forward: z -> a. onnx: the same in a graph. backward: (gradient of a, z, a) -> gradient of z.

    All element-wise, any one shape.
    """

    forward: Callable[[Tensor], Tensor]
    onnx: Callable[[GraphBuilder, str], str]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None

    def gradient(self, gradient: Tensor, z: Tensor, a: Tensor) -> Tensor:
        if self.backward is not None:
            return self.backward(gradient, z, a)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            return torch.autograd.grad(self.forward(z), z, gradient)[0]


def gelu(z: Tensor) -> Tensor:
    """Hendrycks and Gimpel 2016: z times the normal distribution's share below z.

    F.gelu is the same but for rounding, by which processors differ there, and not in erf and exp.
    """
    return z * _share_below(z)


def gelu_gradient(gradient: Tensor, z: Tensor, a: Tensor) -> Tensor:
    return gradient * (_share_below(z) + z * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi))


def _share_below(z: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))


def node(kind: str, **attributes: Any) -> Callable[[GraphBuilder, str], str]:
    """An activation that ONNX has an operator of its own for."""
    return lambda graph, z: graph.op(kind, z, **attributes)


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": Activation(torch.sigmoid, node("Sigmoid"), lambda gradient, z, a: gradient * (a * (1 - a))),
    "tanh": Activation(torch.tanh, node("Tanh"), lambda gradient, z, a: gradient * (1 - a * a)),
    "relu": Activation(
        torch.relu, node("Relu"), lambda gradient, z, a: torch.ops.aten.threshold_backward(gradient, a, 0)
    ),
    "leaky_relu": Activation(F.leaky_relu, node("LeakyRelu", alpha=0.01)),
    "elu": Activation(F.elu, node("Elu", alpha=1.0)),
    "gelu": Activation(gelu, node("Gelu", approximate="none"), gelu_gradient),
    "silu": Activation(
        F.silu,
        lambda graph, z: graph.op("Mul", z, graph.op("Sigmoid", z)),
        lambda gradient, z, a: torch.ops.aten.silu_backward(gradient, z),
    ),
    "identity": Activation(lambda z: z, lambda graph, z: z, lambda gradient, z, a: gradient),
}


def dead(outputs: Tensor) -> Tensor:
    """Share of ReLU units [replicas] that are 0 on every row of outputs [replicas, rows, units]: they learn no more."""
    return (outputs <= 0).all(1).float().mean(1)


def saturated(outputs: Tensor, derivative: Callable[[Tensor], Tensor], steepest: float) -> Tensor:
    """Share of outputs [replicas, rows, units], by replica, whose derivative is under 1 % of the steepest one."""
    return (derivative(outputs) < 0.01 * steepest).float().mean((1, 2))


# What an epoch's history says about the units of a hidden layer: column name and share [replicas] in 0 to 1. The
# derivatives are written in terms of the activation's output.
UNIT_HEALTH: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "relu": ("dead", dead),
    "sigmoid": ("saturated", lambda outputs: saturated(outputs, lambda s: s * (1 - s), 0.25)),
    "tanh": ("saturated", lambda outputs: saturated(outputs, lambda t: 1 - t**2, 1.0)),
}
