"""The network: an ordinary stack of linear layers and activations, with all replicas side by side.

A layer of `torch.nn.Linear` holds one weight matrix. Here it holds one for each replica, stacked along a first axis,
and one batched matrix product (`torch.baddbmm`) serves them all: for small networks the time of a training step is
mostly the overhead of calling operations, so that eight replicas cost little more than one. Replicas never mix: row r
of every result depends on row r of the weights and inputs alone.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.network.activations import ACTIVATIONS


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


class Inputs(NamedTuple):
    """What the first layer works on.

    dense:  [replicas, rows, numbers and vectors] float32.
    places: [replicas, rows, one-hot categories] int64: the row of the first layer's weight that belongs to each row's
            code, counted through all replicas' weights; the one after the last where no input is 1. None: no category.
    codes:  [replicas, rows, embedded categories] int64.
    """

    dense: Tensor
    places: Tensor | None
    codes: Tensor


class Network(nn.Module):
    """widths: inputs, hidden layers, outputs (logits: one for two classes, else one a class).

    The inputs are numbers, then as many for each one-hot category as it has codes, then the vectors of the embedded
    ones. What comes in are numbers and codes: where one input is 1 and its neighbours are 0, the first layer looks up
    the weights of the one, which is the same as a product with all of them and takes a fraction of its time.

    one_hot: codes of each category; a code beyond them is none of its inputs.
    embedded: (codes, width) of each; a code beyond them has a vector of its own, which stays zero.
    """

    offsets: Tensor
    counts: Tensor

    def __init__(
        self,
        replicas: int,
        widths: Sequence[int],
        activation: str,
        one_hot: Sequence[int] = (),
        embedded: Sequence[tuple[int, int]] = (),
    ):
        super().__init__()
        self.replicas = replicas
        self.activation = ACTIVATIONS[activation]
        layers = [Linear(replicas, inputs, outputs) for inputs, outputs in pairwise(widths)]
        self.layers: Sequence[Linear] = nn.ModuleList(layers)  # type: ignore[assignment]
        tables = [Embedding(replicas, codes + 1, width) for codes, width in embedded]
        self.embeddings: Sequence[Embedding] = nn.ModuleList(tables)  # type: ignore[assignment]
        self.vectors = sum(width for _, width in embedded)
        self.numbers = widths[0] - sum(one_hot) - self.vectors
        counts = torch.tensor(one_hot, dtype=torch.int64)
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("offsets", self.numbers + counts.cumsum(0) - counts, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [replicas, rows, columns], numbers and codes -> logits [replicas, rows, outputs]."""
        return self.finish(self.first(self.enter(x)))

    def enter(self, x: Tensor) -> Inputs:
        numbers, codes = x[..., : self.numbers], x[..., self.numbers :].long()
        one_hot, embedded = codes[..., : len(self.counts)], codes[..., len(self.counts) :]
        if self.embeddings:
            vectors = [table(code) for table, code in zip(self.embeddings, embedded.unbind(2), strict=True)]
            numbers = torch.cat([numbers, *vectors], 2)
        if not len(self.counts):
            return Inputs(numbers, None, embedded)
        inputs = self.layers[0].weight.shape[1]
        starts = inputs * torch.arange(self.replicas, device=x.device)[:, None, None]
        places = torch.where(one_hot < self.counts, starts + self.offsets + one_hot, self.replicas * inputs)
        return Inputs(numbers, places, embedded)

    def first(self, inputs: Inputs) -> Tensor:
        """The sums of the first layer [replicas, rows, units]."""
        layer = self.layers[0]
        if inputs.places is None:
            return torch.baddbmm(layer.bias, inputs.dense, layer.weight)
        replicas, _, units = layer.weight.shape
        weight = layer.weight[:, : self.numbers]
        if self.vectors:
            weight = torch.cat([weight, layer.weight[:, -self.vectors :]], 1)
        looked_up = F.embedding_bag(
            inputs.places.flatten(0, 1),
            torch.cat([layer.weight.flatten(0, 1), layer.weight.new_zeros(1, units)]),
            mode="sum",
        )
        return torch.baddbmm(layer.bias, inputs.dense, weight) + looked_up.view(replicas, -1, units)

    def finish(self, z: Tensor) -> Tensor:
        """From the sums of the first layer to the logits [replicas, rows, outputs]."""
        for layer in self.layers[1:]:
            z = layer(self.activation.forward(z))
        return z

    def expand(self, x: Tensor) -> Tensor:
        """Numbers and codes as all of the first layer's inputs [replicas, rows, inputs]."""
        dense, _, _ = self.enter(x)
        codes = x[..., self.numbers : self.numbers + len(self.counts)].long()
        one_hot = [
            F.one_hot(code, count + 1)[..., :-1].float()
            for code, count in zip(codes.unbind(2), self.counts.tolist(), strict=True)
        ]
        return torch.cat([dense[..., : self.numbers], *one_hot, dense[..., self.numbers :]], 2)

    def classify(self, expanded: Tensor) -> Tensor:
        """As `forward`, from all inputs: a one-hot category may be in part one code and in part another."""
        z: Tensor = self.layers[0](expanded)
        return self.finish(z)


def to_torch_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """This module's state dict as torch.nn.Linear has it: weight [replicas, out, in], bias [replicas, out].

    Embeddings are laid out as torch.nn.Embedding has them anyway. The way torch.func.stack_module_state lays out
    stacked modules; the first axis of one replica can be dropped.
    """
    return {
        name: (tensor if _table(name) else tensor.mT if name.endswith("weight") else tensor.squeeze(1)).contiguous()
        for name, tensor in state.items()
    }


def from_torch_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: (tensor if _table(name) else tensor.mT if name.endswith("weight") else tensor.unsqueeze(1)).contiguous()
        for name, tensor in state.items()
    }


def _table(name: str) -> bool:
    return name.startswith("embeddings.")
