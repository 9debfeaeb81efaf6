"""The multilayer perceptron: linear layers with an activation between each two."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from retrace.networks.activations import GraphBuilder
from retrace.networks.lookup import Lookup
from retrace.networks.network import Dropout, Network, Outputs, Quick, RestPass


class MLP(Network):
    """widths: inputs, hidden layers, outputs. With no hidden layer it is logistic regression.

    Its gradients are written out (Rumelhart, Hinton and Williams 1986), the same as autograd's in fewer calls: for
    networks this small a training step is mostly the overhead of calling operations, and autograd's bookkeeping is more
    than half of it.
    """

    @staticmethod
    def linear(widths: Sequence[int]) -> list[tuple[int, int]]:
        return list(pairwise(widths))

    @property
    def watched(self) -> list[int]:
        return list(range(len(self.layers) - 1))

    def rest(self, z: Tensor, dropout: Dropout | None = None) -> Outputs:
        watched = []
        for layer in self.layers[1:]:
            x = self.activation.forward(z)
            watched.append(x)
            z = layer(x if dropout is None else x * dropout(x))
        return Outputs(z, watched)

    def rest_pass(self, z: Tensor, dropout: Dropout | None = None) -> RestPass:
        kept = []  # of each hidden layer: sums, outputs, mask, what the next layer sees
        for layer in self.layers[1:]:
            a = self.activation.forward(z)
            mask = None if dropout is None else dropout(a)
            x = a if mask is None else a * mask
            kept.append((z, a, mask, x))
            z = layer(x)

        def backward(gradient: Tensor) -> tuple[Tensor, list[Tensor]]:
            gradients: list[Tensor] = []
            for layer, (z, a, mask, x) in zip(reversed(self.layers[1:]), reversed(kept), strict=True):
                gradients[:0] = torch.bmm(x.mT, gradient), gradient.sum(1, keepdim=True)
                gradient = torch.bmm(gradient, layer.weight.mT)
                if mask is not None:
                    gradient = gradient.mul_(mask)
                gradient = self.activation.gradient(gradient, z, a)
            return gradient, gradients

        return RestPass(z, backward)

    def onnx_rest(self, graph: GraphBuilder, z: str) -> str:
        for layer in self.layers[1:]:
            z = layer.onnx(graph, self.activation.onnx(graph, z))
        return z

    def quick(self) -> Quick | None:
        # Without bins there is little to look up; embedded categories have vectors of each replica's own.
        return Lookup(self) if len(self.bins) and not self.embeddings else None
