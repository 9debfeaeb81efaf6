"""The multilayer perceptron: linear layers with an activation between each two."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrace.networks.activations import GraphBuilder
from retrace.networks.layers import product
from retrace.networks.network import Dropout, Network, Outputs, Quick, RestForwardPass


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
            x = self.activation(z)
            watched.append(x)
            z = layer(x if dropout is None else x * dropout(x))
        return Outputs(z, watched)

    def rest_pass(self, z: Tensor, dropout: Dropout | None = None) -> RestForwardPass:
        kept = []  # of each hidden layer: sums, outputs, mask, what the next layer sees
        later = list(self.layers)[1:]  # a slice would be a module, made at each step
        for layer in later:
            a = self.activation.forward(z)
            mask = None if dropout is None else dropout(a)
            x = a if mask is None else a * mask
            kept.append((z, a, mask, x))
            z = layer(x)

        def backward(gradient: Tensor) -> tuple[Tensor, list[Tensor]]:
            gradients: list[Tensor] = []
            for layer, (z, a, mask, x) in zip(reversed(later), reversed(kept), strict=True):
                gradients[:0] = product(x.mT, gradient), gradient.sum(1, keepdim=True)
                gradient = product(gradient, layer.weight.mT)
                if mask is not None:
                    gradient = gradient.mul_(mask)
                gradient = self.activation.gradient(gradient, z, a)
            return gradient, gradients

        return RestForwardPass(z, backward)

    def onnx_rest(self, graph: GraphBuilder, z: str) -> str:
        for layer in self.layers[1:]:
            z = layer.onnx(graph, self.activation.onnx(graph, z))
        return z

    def quick(self) -> Quick | None:
        # Without bins there is little to look up; embedded categories have vectors of each replica's own.
        return Lookup(self) if len(self.bins) and not self.embeddings else None


class Lookup:
    """A trained MLP for rows that all replicas are asked about, its first layer out of tables: a third of the time.

    What a number adds to the sums, by itself and by its bins, is a line within each bin: where it begins and how far it
    goes are looked up, in place of a product with all the bins. A category's code is looked up as in `Entrance.first`.
    One replica after the other, whose sums stay in the processor's cache.

    tables: [replicas, rows, units]: where each bin begins, how far it goes, each code, the bias, zeros for no code.
    """

    def __init__(self, network: MLP):
        """Raises ValueError without bins, and for embedded categories, of which each replica has its own vectors."""
        if network.embeddings or not len(network.bins):
            raise ValueError("only bins and one-hot categories can be looked up for all replicas")
        self.activation, self.layers = network.activation, network.layers[1:]
        bins, weight = network.bins, network.first_weight().detach()
        counts = torch.bincount(bins.columns, minlength=network.numbers)
        self.plain, self.binned = (counts == 0).nonzero()[:, 0], counts.nonzero()[:, 0]
        self.residuals = network.residuals
        first_bin = network.numbers + len(self.residuals)
        self.weight = torch.cat([weight[:, self.plain], weight[:, network.numbers : first_bin]], 1)
        counts = counts[self.binned]
        self.first_bins, self.low, self.slope = counts.cumsum(0) - counts, bins.low, bins.slope
        # Between a number's bins; a row with fewer of them is filled up with infinity.
        inner = [low[1:] for low in torch.split(bins.low, counts.tolist())]
        self.edges = nn.utils.rnn.pad_sequence(inner, batch_first=True, padding_value=math.inf)
        # Sums over many bins and their differences: in float64, so that nothing is lost.
        exact = weight.double()
        own, rises = exact[:, bins.columns], exact[:, first_bin : network.dense]
        before = rises.cumsum(1) - rises
        before -= before[:, self.first_bins.repeat_interleave(counts)]
        begins, goes = before + own * bins.low[:, None], rises + own / bins.slope[:, None]
        codes = exact[:, network.dense : network.dense + int(network.counts.sum())]
        bias = network.layers[0].bias.detach()
        self.tables = torch.cat([begins, goes, codes, bias, torch.zeros_like(bias)], 1).float()
        self.counts, self.offsets = network.counts, network.offsets - network.dense + 2 * len(bins)
        self.numbers = network.numbers

    def __call__(self, x: Tensor) -> Tensor:
        """x [rows, columns] -> logits [replicas, rows, outputs], as `Network.forward`, but for rounding."""
        numbers = x[:, : self.numbers]
        plain = torch.cat([x[:, self.plain], self.residuals(numbers)], 1)
        bags, amounts = self._bags(numbers, x[:, self.numbers :].long())
        logits = []
        for replica, table in enumerate(self.tables):
            z = F.embedding_bag(bags, table, mode="sum", per_sample_weights=amounts)
            if plain.shape[1]:
                z.addmm_(plain, self.weight[replica])
            for layer in self.layers:
                z = torch.addmm(layer.bias[replica], self.activation.forward(z), layer.weight[replica])
            logits.append(z)
        return torch.stack(logits)

    def _bags(self, numbers: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the tables that add up to each row's sums, and how much of each [rows, looked up]."""
        zeros = self.tables.shape[1] - 1
        bias = torch.full((len(numbers), 1), zeros - 1)
        binned = numbers[:, self.binned]
        bins = self.first_bins + torch.searchsorted(self.edges, binned.T.contiguous(), right=True).T
        known = torch.where(codes < self.counts, self.offsets + codes, zeros)
        places = torch.cat([bins, bins + len(self.low), bias, known], 1)
        amounts = torch.ones(places.shape)
        amounts[:, bins.shape[1] : 2 * bins.shape[1]] = (binned - self.low[bins]) * self.slope[bins]
        return places, amounts
