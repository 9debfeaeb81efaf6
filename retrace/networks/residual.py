"""A residual MLP with layer norm: ResNet of Gorishniy, Rubachev, Khrulkov and Babenko 2021 (arXiv 2106.11959).

Theirs has batch norm, by which a row's answer in training depends on the rows beside it; layer norm (Ba, Kiros and
Hinton 2016) does not, so that a row is answered alike in training and in use.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrace.networks.activations import GraphBuilder
from retrace.networks.network import Dropout, Network, Outputs

EPSILON = 1e-5  # torch's


class LayerNorm(nn.Module):
    """`torch.nn.LayerNorm` for each replica: [replicas, rows, units] -> the same shape."""

    def __init__(self, replicas: int, units: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(replicas, 1, units))
        self.bias = nn.Parameter(torch.zeros(replicas, 1, units))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, F.layer_norm(x, x.shape[2:], eps=EPSILON), self.weight)

    def onnx(self, graph: GraphBuilder, x: str) -> str:
        ones = graph.constant(np.ones(self.weight.shape[2]), np.float32)
        normed = graph.op("LayerNormalization", x, ones, epsilon=EPSILON)
        scaled = graph.op("Mul", normed, graph.constant(self.weight, np.float32))
        return graph.op("Add", scaled, graph.constant(self.bias, np.float32))


class ResidualMLP(Network):
    """widths: inputs, the width of the stream, units of each block, outputs.

    x is linear(inputs), then for each block x + linear(dropout(activation(linear(norm(x))))); the logits are
    linear(activation(norm(x))).
    """

    norms: Sequence[LayerNorm]

    @staticmethod
    def linear(widths: Sequence[int]) -> list[tuple[int, int]]:
        inputs, stream, *blocks, outputs = widths
        inner = [pair for units in blocks for pair in ((stream, units), (units, stream))]
        return [(inputs, stream), *inner, (stream, outputs)]

    @classmethod
    def size(cls, widths: Sequence[int]) -> int:
        _, stream, *blocks, _ = widths
        return super().size(widths) + 2 * stream * (len(blocks) + 1)

    def build(self, replicas: int, widths: Sequence[int]) -> None:
        _, stream, *blocks, _ = widths
        self.norms = nn.ModuleList(LayerNorm(replicas, stream) for _ in [*blocks, stream])  # type: ignore[assignment]

    @property
    def watched(self) -> list[int]:
        return list(range(1, len(self.layers) - 1, 2))

    def rest(self, z: Tensor, dropout: Dropout | None = None) -> Outputs:
        watched, layers, x = [], iter(self.layers[1:]), z
        for norm in self.norms[:-1]:
            a = self.activation(next(layers)(norm(x)))
            watched.append(a)
            x = x + next(layers)(a if dropout is None else a * dropout(a))
        return Outputs(next(layers)(self.activation(self.norms[-1](x))), watched)

    def onnx_rest(self, graph: GraphBuilder, z: str) -> str:
        layers, x = iter(self.layers[1:]), z
        for norm in self.norms[:-1]:
            a = self.activation.onnx(graph, next(layers).onnx(graph, norm.onnx(graph, x)))
            x = graph.op("Add", x, next(layers).onnx(graph, a))
        return next(layers).onnx(graph, self.activation.onnx(graph, self.norms[-1].onnx(graph, x)))
