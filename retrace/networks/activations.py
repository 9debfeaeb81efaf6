"""Activations of the hidden layers, registered by name, each with its derivative and its form in ONNX.

To add one: a line in ACTIVATIONS, its name in `retrace/params/train.py` and in params.yaml; a test finds what is
missing.

torch.sigmoid, F.softplus, F.silu and F.elu compute the last elements of a tensor by other code than the rest, and which
elements are the last depends on how many replicas there are. Here they are given the last ones in company, so that a
replica's bytes are the same alone and among others (docs/testing.md, contract 7). A test finds one for which they are
not.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

# Elements that a processor works on at once, at most.
AT_ONCE = 32


class GraphBuilder(Protocol):
    """What an ONNX graph is built with (retrace/serving/onnx_builder.py); values go by their names."""

    def constant(self, values: Any, kind: Any) -> str: ...

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str: ...


class Activation(NamedTuple):
    """forward: z -> a. onnx: the same in a graph. gradient: (gradient at a, z, a) -> gradient at z.

    All element-wise, any one shape. Called, it is `forward`, for autograd as well.
    """

    forward: Callable[[Tensor], Tensor]
    onnx: Callable[[GraphBuilder, str], str]
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __call__(self, z: Tensor) -> Tensor:
        return _WithGradient.apply(z, self) if z.requires_grad else self.forward(z)  # type: ignore[no-untyped-call]


class _WithGradient(torch.autograd.Function):
    """An activation for autograd, by its own gradient: autograd's is NaN where an exponential within is infinite."""

    @staticmethod
    def forward(ctx: FunctionCtx, z: Tensor, activation: Activation) -> Tensor:
        a = activation.forward(z)
        ctx.save_for_backward(z, a)
        ctx.activation = activation  # type: ignore[attr-defined]
        return a

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.activation.gradient(gradient, *ctx.saved_tensors), None


def _in_company(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function, element-wise, without other code for the last elements of a tensor; any one shape."""

    def whole(*tensors: Tensor) -> Tensor:
        count = tensors[0].numel()
        if (last := count % AT_ONCE) and not tensors[0].is_cuda:
            flat = [tensor.reshape(-1) for tensor in tensors]
            first = function(*(each[: count - last] for each in flat))
            company = function(*(F.pad(each[count - last :], (0, AT_ONCE - last)) for each in flat))
            return torch.cat([first, company[:last]]).view(tensors[0].shape)
        return function(*(tensor.contiguous() for tensor in tensors))

    return whole


sigmoid = _in_company(torch.sigmoid)
silu = _in_company(F.silu)
silu_gradient = _in_company(torch.ops.aten.silu_backward)
elu = _in_company(F.elu)


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
    "sigmoid": Activation(sigmoid, node("Sigmoid"), lambda gradient, z, a: gradient * (a * (1 - a))),
    "tanh": Activation(torch.tanh, node("Tanh"), lambda gradient, z, a: gradient * (1 - a * a)),
    "relu": Activation(
        torch.relu, node("Relu"), lambda gradient, z, a: torch.ops.aten.threshold_backward(gradient, a, 0)
    ),
    "leaky_relu": Activation(
        F.leaky_relu,
        node("LeakyRelu", alpha=0.01),
        lambda gradient, z, a: torch.ops.aten.leaky_relu_backward(gradient, z, 0.01, False),
    ),
    "elu": Activation(
        elu, node("Elu", alpha=1.0), lambda gradient, z, a: torch.where(z > 0, gradient, gradient * (a + 1))
    ),
    "gelu": Activation(gelu, node("Gelu", approximate="none"), gelu_gradient),
    "silu": Activation(
        silu,
        lambda graph, z: graph.op("Mul", z, graph.op("Sigmoid", z)),
        lambda gradient, z, a: silu_gradient(gradient, z),
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
