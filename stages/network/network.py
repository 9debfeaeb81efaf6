"""The network: an ordinary stack of linear layers and activations, with all replicas side by side.

A layer of `torch.nn.Linear` holds one weight matrix. Here it holds one for each replica, stacked along a first axis,
and one batched matrix product (`torch.baddbmm`) serves them all: for small networks the time of a training step is
mostly the overhead of calling operations, so that eight replicas cost little more than one. Replicas never mix: row r
of every result depends on row r of the weights and inputs alone.
"""

from collections.abc import Sequence
from itertools import pairwise

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


class Network(nn.Module):
    """widths: inputs, hidden layers, outputs (logits: one for two classes, else one a class).

    embeddings: (codes, width) of each. As many of the last columns of x are codes, and not numbers: each is replaced by
    its vector, and with these vectors the first layer has as many inputs as `widths` says.
    """

    def __init__(
        self, replicas: int, widths: Sequence[int], activation: str, embeddings: Sequence[tuple[int, int]] = ()
    ):
        super().__init__()
        self.replicas = replicas
        self.activation = ACTIVATIONS[activation]
        layers = [Linear(replicas, inputs, outputs) for inputs, outputs in pairwise(widths)]
        self.layers: Sequence[Linear] = nn.ModuleList(layers)  # type: ignore[assignment]
        tables = [Embedding(replicas, codes, width) for codes, width in embeddings]
        self.embeddings: Sequence[Embedding] = nn.ModuleList(tables)  # type: ignore[assignment]

    def codes(self, x: Tensor) -> Tensor:
        """[replicas, rows, embeddings] int64: the last columns of x."""
        return x[..., x.shape[2] - len(self.embeddings) :].long()

    def embed(self, x: Tensor) -> Tensor:
        """What the first layer gets: x with a vector in place of each code."""
        if not self.embeddings:
            return x
        codes = self.codes(x).unbind(2)
        vectors = [table(each) for table, each in zip(self.embeddings, codes, strict=True)]
        return torch.cat([x[..., : -len(vectors)], *vectors], 2)

    def forward(self, x: Tensor) -> Tensor:
        """x [replicas, rows, columns] -> logits [replicas, rows, outputs]."""
        return self.classify(self.embed(x))

    def classify(self, x: Tensor) -> Tensor:
        """x [replicas, rows, inputs], embedded -> logits [replicas, rows, outputs]."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation.forward(layer(x))
        logits: Tensor = last(x)
        return logits


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
