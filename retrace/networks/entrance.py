"""The way into every network: from a row's numbers and codes to the sums of its first layer, with gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrace.networks.activations import GraphBuilder
from retrace.networks.encodings import Bins, Residuals
from retrace.networks.layers import Embedding, InputScale, Linear, affine, product
from retrace.preprocessing.description import Residual


@dataclass(frozen=True)
class Shape:
    """widths: inputs of the first layer, what train.hidden says, logits (one for two classes, else one a class).

    The inputs are numbers, their residuals, then the bins of numbers, then as many for each one-hot category as it has
    codes, then the vectors of the embedded ones.

    one_hot: codes of each category; a code beyond them is none of its inputs.
    embedded: (codes, width) of each; a code beyond them has a vector of its own, which stays zero.
    edges: of the bins of each number, of the first ones where not all have any.
    residuals, indicators: as preprocessing.apply has them.
    """

    widths: Sequence[int]
    activation: str
    one_hot: Sequence[int] = ()
    embedded: Sequence[tuple[int, int]] = ()
    edges: Sequence[Sequence[float]] = ()
    residuals: Sequence[Residual] = ()
    indicators: Mapping[int, int] = field(default_factory=dict)


class Inputs(NamedTuple):
    """What the first layer works on.

    dense:  [replicas, rows, numbers, residuals, bins and vectors] float32.
    places: [replicas, rows, one-hot categories] int64: the row of the first layer's weight that belongs to each row's
            code, counted through all replicas' weights; the one after the last where no input is 1. None: no category.
    codes:  [replicas, rows, embedded categories] int64.
    """

    dense: Tensor
    places: Tensor | None
    codes: Tensor


class Entrance(nn.Module):
    """The first of `layers` and what stands before it, for all replicas side by side.

    Where one input is 1 and its neighbours are 0, the first layer looks up the weights of the one, which is the same as
    a product with all of them and takes a fraction of its time.
    """

    layers: Sequence[Linear]
    offsets: Tensor
    counts: Tensor

    def add_inputs(self, replicas: int, shape: Shape, scaled: bool) -> None:
        """Make what stands before the first layer; scaled: whether each input has a factor that is learned."""
        self.replicas, inputs = replicas, shape.widths[0]
        tables = [Embedding(replicas, codes + 1, width) for codes, width in shape.embedded]
        self.embeddings: Sequence[Embedding] = nn.ModuleList(tables)  # type: ignore[assignment]
        self.bins = Bins(shape.edges)
        self.scale = InputScale(replicas, inputs) if scaled else None
        self.vectors = sum(width for _, width in shape.embedded)
        self.dense = inputs - sum(shape.one_hot) - self.vectors
        self.numbers = self.dense - len(self.bins) - len(shape.residuals)
        self.residuals = Residuals(shape.residuals, shape.indicators, self.numbers)
        # Whether the first layer takes a row as it is.
        self.plain = not (shape.one_hot or shape.embedded or len(self.bins) or len(shape.residuals))
        counts = torch.tensor(shape.one_hot, dtype=torch.int64)
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("offsets", self.dense + counts.cumsum(0) - counts, persistent=False)

    def enter(self, x: Tensor) -> Inputs:
        if self.plain:
            return Inputs(x, None, x[..., x.shape[-1] :])
        numbers, codes = x[..., : self.numbers], x[..., self.numbers :].long()
        one_hot, embedded = codes[..., : len(self.counts)], codes[..., len(self.counts) :]
        if self.embeddings or len(self.bins) or len(self.residuals):
            vectors = [table(code) for table, code in zip(self.embeddings, embedded.unbind(2), strict=True)]
            numbers = torch.cat([*self.of_numbers(numbers), *vectors], 2)
        if not len(self.counts):
            return Inputs(numbers, None, embedded)
        inputs = self.layers[0].weight.shape[1]
        starts = inputs * torch.arange(self.replicas, device=x.device)[:, None, None]
        places = torch.where(one_hot < self.counts, starts + self.offsets + one_hot, self.replicas * inputs)
        return Inputs(numbers, places, embedded)

    def of_numbers(self, numbers: Tensor) -> list[Tensor]:
        """[..., numbers], and what is made of them: residuals, bins."""
        made = [part(numbers) for part in (self.residuals, self.bins) if len(part)]
        return [numbers, *made]

    def first(self, inputs: Inputs) -> Tensor:
        """The sums of the first layer [replicas, rows, units]."""
        bias, weight = self.layers[0].bias, self.first_weight()
        if inputs.places is None:
            return affine(bias, inputs.dense, weight)
        replicas, _, units = weight.shape
        dense = weight[:, : self.dense]
        if self.vectors:
            dense = torch.cat([dense, weight[:, -self.vectors :]], 1)
        rows = weight.new_zeros(replicas * weight.shape[1] + 1, units)
        rows[:-1].view(weight.shape).copy_(weight)
        looked_up = F.embedding_bag(inputs.places.flatten(0, 1), rows, mode="sum")
        return affine(bias, inputs.dense, dense) + looked_up.view(replicas, -1, units)

    def first_weight(self) -> Tensor:
        """Of the first layer [replicas, inputs, units], times the factors of the inputs, where they have any."""
        weight = self.layers[0].weight
        return weight if self.scale is None else weight * self.scale.weight

    def expand(self, x: Tensor) -> Tensor:
        """Numbers and codes [rows, columns] as points of a space [rows, numbers, one-hot inputs, vectors].

        Residuals and bins follow from the numbers; each replica has vectors of its own, which stand one replica's after
        another's.
        """
        dense, _, _ = self.enter(x.expand(self.replicas, -1, -1))
        vectors = dense[..., self.dense :].transpose(0, 1).flatten(1)
        codes = x[..., self.numbers : self.numbers + len(self.counts)].long()
        one_hot = [
            F.one_hot(code, count + 1)[..., :-1].float()
            for code, count in zip(codes.unbind(1), self.counts.tolist(), strict=True)
        ]
        return torch.cat([x[..., : self.numbers], *one_hot, vectors], 1)

    def first_of_points(self, points: Tensor) -> Tensor:
        """As `first`, from what `expand` gives: there a one-hot category may be in part one code, in part another."""
        own = self.replicas * self.vectors
        same, vectors = points[:, : points.shape[1] - own], points[:, points.shape[1] - own :]
        numbers, one_hot = same[:, : self.numbers], same[:, self.numbers :]
        inputs = torch.cat([*self.of_numbers(numbers), one_hot], 1).expand(self.replicas, -1, -1)
        if self.vectors:
            inputs = torch.cat([inputs, vectors.view(len(vectors), self.replicas, -1).transpose(0, 1)], 2)
        return affine(self.layers[0].bias, inputs, self.first_weight())

    def onnx_first(self, graph: GraphBuilder, dense: Sequence[str], embedded: Sequence[str]) -> str:
        """`first` in ONNX: the name of the sums.

        dense: names of what all replicas see, each float32 [rows, some inputs]; embedded: of codes, int64 [rows].
        """
        weight, own = self.first_weight(), self.layers[0].weight.shape[1] - self.vectors
        products = [(graph.op("Concat", *dense, axis=1), weight[:, :own])] if dense else []
        if embedded:
            tables = [graph.constant(table.weight, np.float32) for table in self.embeddings]
            vectors = [graph.op("Gather", *pair, axis=1) for pair in zip(tables, embedded, strict=True)]
            products.append((graph.op("Concat", *vectors, axis=2), weight[:, own:]))
        parts = [graph.op("MatMul", part, graph.constant(each, np.float32)) for part, each in products]
        sums = parts[0] if len(parts) == 1 else graph.op("Add", *parts)
        return graph.op("Add", sums, graph.constant(self.layers[0].bias, np.float32))

    def entrance_parameters(self) -> list[Tensor]:
        """In the order of `first_gradients`, but for the first layer's bias, which comes second."""
        tables = [table.weight for table in self.embeddings]
        return [self.layers[0].weight, self.layers[0].bias, *tables, *([self.scale.weight] if self.scale else [])]

    def first_gradients(self, entered: Inputs, gradient: Tensor) -> list[Tensor]:
        """Of the first layer's weight, the embeddings and the factors of the inputs.

        gradient: at the first layer's sums [replicas, rows, units], as in the next two.
        """
        first, embeddings = self._of_first_weight(entered, gradient), self._of_embeddings(entered.codes, gradient)
        if self.scale is None:
            return [first, *embeddings]
        # What came out of `first_weight` is a product: a factor's gradient is that of the product times the other one.
        scale = (first * self.layers[0].weight).sum(2, keepdim=True)
        return [first.mul_(self.scale.weight), *embeddings, scale]

    def _of_first_weight(self, entered: Inputs, gradient: Tensor) -> Tensor:
        """Of `first_weight()`."""
        dense = product(entered.dense.mT, gradient)
        if entered.places is None:
            return dense
        replicas, inputs, units = self.layers[0].weight.shape
        total = gradient.new_zeros(replicas * inputs + 1, units)
        for places in entered.places.unbind(2):  # rows with the same code add up
            total.index_add_(0, places.flatten(), gradient.flatten(0, 1))
        whole = total[:-1].view(replicas, inputs, units)
        whole[:, : self.dense] = dense[:, : self.dense]
        whole[:, inputs - self.vectors :] = dense[:, self.dense :]
        return whole

    def _of_embeddings(self, codes: Tensor, gradient: Tensor) -> list[Tensor]:
        """Of each table."""
        gradients = []
        first, scale = self.layers[0].weight, self.scale
        start = first.shape[1] - self.vectors
        for index, table in enumerate(self.embeddings):
            width = table.weight.shape[2]
            own = first[:, start : start + width]
            own = own if scale is None else own * scale.weight[:, start : start + width]
            vectors = product(gradient, own.mT)
            total = torch.zeros_like(table.weight)
            total.flatten(0, 1).index_add_(0, table.places(codes[..., index]).flatten(), vectors.flatten(0, 1))
            gradients.append(total)
            start += width
        return gradients
