"""Backpropagation, written out (Rumelhart, Hinton and Williams 1986): the same gradients as autograd's, in fewer calls.

For networks this small a training step is mostly the overhead of calling operations, and autograd's bookkeeping is more
than half of it. What it would do for a stack of linear layers fits into `backward`; tests hold it against autograd.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stages.network.network import Network

# activations [replicas, rows, units] -> mask of the same shape: 0 for a silenced unit, else 1 / (share that is kept)
Dropout = Callable[[Tensor], Tensor]


class Pass(NamedTuple):
    """A forward pass, all [replicas, rows, units]: each layer's input, each hidden layer's sum and mask, the logits."""

    inputs: list[Tensor]
    sums: list[Tensor]
    masks: list[Tensor]
    logits: Tensor


def forward(network: Network, x: Tensor, dropout: Dropout | None = None) -> Pass:
    """As `network(x)`, keeping what `backward` needs."""
    inputs, sums, masks = [x], [], []
    *hidden, last = network.layers
    for layer in hidden:
        z = layer(x)
        x = network.activation.forward(z)
        if dropout is not None:
            masks.append(dropout(x))
            x = x * masks[-1]
        sums.append(z)
        inputs.append(x)
    return Pass(inputs, sums, masks, last(x))


def backward(network: Network, passed: Pass, gradient: Tensor) -> list[Tensor]:
    """Gradients in the order of `network.parameters()`, from the gradient at the logits [replicas, rows, outputs]."""
    gradients: list[Tensor] = []
    for index in reversed(range(len(network.layers))):
        x = passed.inputs[index]
        gradients[:0] = torch.bmm(x.mT, gradient), gradient.sum(1, keepdim=True)
        if index == 0:
            break
        gradient = torch.bmm(gradient, network.layers[index].weight.mT)
        if passed.masks:
            # Where a unit was silenced its output is 0 whatever the sum was; the activation's own output is x / mask
            # elsewhere, so that the derivative is taken from the sum.
            gradient = gradient * passed.masks[index - 1]
            x = network.activation.forward(passed.sums[index - 1])
        gradient = network.activation.gradient(gradient, passed.sums[index - 1], x)
    return gradients
