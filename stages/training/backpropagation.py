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
    """A forward pass, all [replicas, rows, units]: each layer's input, each hidden layer's sum and mask, the logits.

    codes: [replicas, rows, embeddings] int64, see Network.
    """

    inputs: list[Tensor]
    sums: list[Tensor]
    masks: list[Tensor]
    logits: Tensor
    codes: Tensor


def forward(network: Network, x: Tensor, dropout: Dropout | None = None) -> Pass:
    """As `network(x)`, keeping what `backward` needs."""
    codes = network.codes(x)
    x = network.embed(x)
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
    return Pass(inputs, sums, masks, last(x), codes)


def backward(network: Network, passed: Pass, gradient: Tensor) -> list[Tensor]:
    """Gradients in the order of `network.parameters()`, from the gradient at the logits [replicas, rows, outputs]."""
    gradients: list[Tensor] = []
    for index in reversed(range(len(network.layers))):
        x = passed.inputs[index]
        gradients[:0] = torch.bmm(x.mT, gradient), gradient.sum(1, keepdim=True)
        if index == 0:
            gradients += _of_embeddings(network, passed.codes, gradient)
            break
        gradient = torch.bmm(gradient, network.layers[index].weight.mT)
        if passed.masks:
            # Where a unit was silenced its output is 0 whatever the sum was; the activation's own output is x / mask
            # elsewhere, so that the derivative is taken from the sum.
            gradient = gradient * passed.masks[index - 1]
            x = network.activation.forward(passed.sums[index - 1])
        gradient = network.activation.gradient(gradient, passed.sums[index - 1], x)
    return gradients


def _of_embeddings(network: Network, codes: Tensor, gradient: Tensor) -> list[Tensor]:
    """Of each table, from the gradient at the first layer's sums [replicas, rows, units]."""
    gradients = []
    start = network.layers[0].weight.shape[1] - sum(table.weight.shape[2] for table in network.embeddings)
    for index, table in enumerate(network.embeddings):
        width = table.weight.shape[2]
        vectors = torch.bmm(gradient, network.layers[0].weight[:, start : start + width].mT)
        total = torch.zeros_like(table.weight)
        # Rows with the same code add up.
        total.flatten(0, 1).index_add_(0, table.places(codes[..., index]).flatten(), vectors.flatten(0, 1))
        gradients.append(total)
        start += width
    return gradients
