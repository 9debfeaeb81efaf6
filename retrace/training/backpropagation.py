"""Backpropagation, written out (Rumelhart, Hinton and Williams 1986): the same gradients as autograd's, in fewer calls.

For networks this small a training step is mostly the overhead of calling operations, and autograd's bookkeeping is more
than half of it. What it would do for a stack of linear layers fits into `backward`; tests hold it against autograd.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from retrace.networks.network import Inputs, Network

# activations [replicas, rows, units] -> mask of the same shape: 0 for a silenced unit, else 1 / (share that is kept)
Dropout = Callable[[Tensor], Tensor]


class ForwardPass(NamedTuple):
    """A forward pass, all [replicas, rows, units]: layers' inputs; hidden layers' sums, outputs and masks; logits.

    entered: of the first layer, whose input is not all in `inputs`.
    """

    inputs: list[Tensor]
    sums: list[Tensor]
    outputs: list[Tensor]
    masks: list[Tensor]
    logits: Tensor
    entered: Inputs


def forward(network: Network, x: Tensor, dropout: Dropout | None = None) -> ForwardPass:
    """As `network(x)`, keeping what `backward` needs."""
    entered = network.enter(x)
    inputs, sums, outputs, masks = [entered.dense], [], [], []
    z = network.first(entered)
    for layer in network.layers[1:]:
        x = network.activation.forward(z)
        outputs.append(x)
        if dropout is not None:
            masks.append(dropout(x))
            x = x * masks[-1]
        sums.append(z)
        inputs.append(x)
        z = layer(x)
    return ForwardPass(inputs, sums, outputs, masks, z, entered)


def backward(network: Network, passed: ForwardPass, gradient: Tensor) -> list[Tensor]:
    """Gradients in the order of `network.parameters()`, from the gradient at the logits [replicas, rows, outputs]."""
    gradients: list[Tensor] = []
    for index in reversed(range(1, len(network.layers))):
        x = passed.inputs[index]
        gradients[:0] = torch.bmm(x.mT, gradient), gradient.sum(1, keepdim=True)
        gradient = torch.bmm(gradient, network.layers[index].weight.mT)
        if passed.masks:
            gradient = gradient.mul_(passed.masks[index - 1])
        gradient = network.activation.gradient(gradient, passed.sums[index - 1], passed.outputs[index - 1])
    first, bias = _of_first_weight(network, passed.entered, gradient), gradient.sum(1, keepdim=True)
    embeddings = _of_embeddings(network, passed.entered.codes, gradient)
    if network.scale is None:
        return [first, bias, *gradients, *embeddings]
    # What came out of `first_weight` is a product: each factor's gradient is that of the product times the other one.
    scale = (first * network.layers[0].weight).sum(2, keepdim=True)
    return [first.mul_(network.scale.weight), bias, *gradients, *embeddings, scale]


def _of_first_weight(network: Network, entered: Inputs, gradient: Tensor) -> Tensor:
    """Of `first_weight()`, from the gradient at the first layer's sums [replicas, rows, units], as are the next."""
    dense = torch.bmm(entered.dense.mT, gradient)
    if entered.places is None:
        return dense
    replicas, inputs, units = network.layers[0].weight.shape
    total = gradient.new_zeros(replicas * inputs + 1, units)
    for places in entered.places.unbind(2):  # rows with the same code add up
        total.index_add_(0, places.flatten(), gradient.flatten(0, 1))
    whole = total[:-1].view(replicas, inputs, units)
    whole[:, : network.dense] = dense[:, : network.dense]
    whole[:, inputs - network.vectors :] = dense[:, network.dense :]
    return whole


def _of_embeddings(network: Network, codes: Tensor, gradient: Tensor) -> list[Tensor]:
    """Of each table."""
    gradients = []
    first, scale = network.layers[0].weight, network.scale
    start = first.shape[1] - network.vectors
    for index, table in enumerate(network.embeddings):
        width = table.weight.shape[2]
        own = first[:, start : start + width]
        own = own if scale is None else own * scale.weight[:, start : start + width]
        vectors = torch.bmm(gradient, own.mT)
        total = torch.zeros_like(table.weight)
        total.flatten(0, 1).index_add_(0, table.places(codes[..., index]).flatten(), vectors.flatten(0, 1))
        gradients.append(total)
        start += width
    return gradients
