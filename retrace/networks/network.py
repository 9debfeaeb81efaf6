"""The network: an ordinary stack of linear layers and activations, with all replicas side by side.

A layer of `torch.nn.Linear` holds one weight matrix. Here it holds one for each replica, stacked along a first axis,
and one batched matrix product (`torch.baddbmm`) serves them all: for small networks the time of a training step is
mostly the overhead of calling operations, so that eight replicas cost little more than one. Replicas never mix: row r
of every result depends on row r of the weights and inputs alone.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrace.networks.activations import ACTIVATIONS
from retrace.preprocessing.description import Residual


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


class Residuals(nn.Module):
    """Of each pair of numbers what the one does not explain of the other (see preprocessing.apply.Residual).

    indicators: place of a number -> that of the input which says that it was missing, where there is one.
    columns: numbers and indicators.
    """

    first: Tensor
    second: Tensor
    slope: Tensor
    center: Tensor
    spread: Tensor
    least: Tensor
    most: Tensor
    missing: Tensor

    def __init__(self, residuals: Sequence[Residual], indicators: Mapping[int, int], columns: int):
        super().__init__()
        for name in ("first", "second"):
            places = torch.tensor([getattr(each, name) for each in residuals], dtype=torch.int64)
            self.register_buffer(name, places, persistent=False)
        for name in ("slope", "center", "spread", "least", "most"):
            constants = torch.tensor([getattr(each, name) for each in residuals], dtype=torch.float32)
            self.register_buffer(name, constants, persistent=False)
        missing = torch.zeros(columns, len(residuals))
        for index, each in enumerate(residuals):
            for place in (each.first, each.second):
                if place in indicators:
                    missing[indicators[place], index] = 1
        self.register_buffer("missing", missing, persistent=False)
        # Asked at each step: of the tensor, it would make a GPU wait for its queue.
        self.may_be_missing = bool(missing.any())

    def __len__(self) -> int:
        return len(self.first)

    def forward(self, numbers: Tensor) -> Tensor:
        """Numbers and indicators [..., columns] -> [..., residuals] float32."""
        first, second = numbers.index_select(-1, self.first), numbers.index_select(-1, self.second)
        residuals = first.sub_(second.mul_(self.slope)).sub_(self.center).div_(self.spread)
        residuals.clamp_(self.least, self.most)
        # A picture asks about points between rows, which are in part missing.
        return residuals.mul_((numbers @ self.missing) < 0.5) if self.may_be_missing else residuals


class Bins(nn.Module):
    """Piecewise-linear encoding of numbers (Gorishniy, Rubachev and Babenko 2022): an input for each bin of a number.

    It is 0 below the bin, 1 above it, and rises linearly within; but the first one goes on below, and the last one
    above, so that no two values look alike. edges: of each number's bins, ascending; none: no bins.
    """

    columns: Tensor
    low: Tensor
    slope: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, edges: Sequence[Sequence[float]]):
        super().__init__()
        counts = [max(0, len(each) - 1) for each in edges]
        low = torch.tensor([low for each in edges for low in each[:-1]])
        high = torch.tensor([high for each in edges for high in each[1:]])
        first = torch.tensor([index == 0 for count in counts for index in range(count)], dtype=torch.bool)
        last = torch.tensor([index == count - 1 for count in counts for index in range(count)], dtype=torch.bool)
        constants = {
            "columns": torch.arange(len(edges)).repeat_interleave(torch.tensor(counts, dtype=torch.int64)),
            "low": low,
            "slope": 1 / (high - low),
            "least": torch.where(first, -math.inf, 0.0),
            "most": torch.where(last, math.inf, 1.0),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    def __len__(self) -> int:
        return len(self.columns)

    def forward(self, numbers: Tensor) -> Tensor:
        """numbers [..., numbers] -> [..., bins of all numbers] float32."""
        inputs = numbers.index_select(-1, self.columns)
        return inputs.sub_(self.low).mul_(self.slope).clamp_(self.least, self.most)


class InputScale(nn.Module):
    """A factor for each input of the first layer and each replica, which begins at 1 and is learned.

    With a high learning rate of its own it finds out early which inputs matter (Holzmueller et al. 2024, RealMLP).
    """

    def __init__(self, replicas: int, inputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(replicas, inputs, 1))


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


class Network(nn.Module):
    """widths: inputs, hidden layers, outputs (logits: one for two classes, else one a class).

    The inputs are numbers, their residuals, then the bins of numbers, then as many for each one-hot category as it has
    codes, then the vectors of the embedded ones. What comes in are numbers and codes: where one input is 1 and its
    neighbours are 0, the first layer looks up the weights of the one, which is the same as a product with all of them
    and takes a fraction of its time.

    one_hot: codes of each category; a code beyond them is none of its inputs.
    embedded: (codes, width) of each; a code beyond them has a vector of its own, which stays zero.
    edges: of the bins of each number, of the first ones where not all have any.
    residuals, indicators: as preprocessing.apply has them.
    scaled: whether each input has a factor that is learned.
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
        edges: Sequence[Sequence[float]] = (),
        residuals: Sequence[Residual] = (),
        indicators: Mapping[int, int] = MappingProxyType({}),
        scaled: bool = False,
    ):
        super().__init__()
        self.replicas = replicas
        self.activation = ACTIVATIONS[activation]
        layers = [Linear(replicas, inputs, outputs) for inputs, outputs in pairwise(widths)]
        self.layers: Sequence[Linear] = nn.ModuleList(layers)  # type: ignore[assignment]
        tables = [Embedding(replicas, codes + 1, width) for codes, width in embedded]
        self.embeddings: Sequence[Embedding] = nn.ModuleList(tables)  # type: ignore[assignment]
        self.bins = Bins(edges)
        self.scale = InputScale(replicas, widths[0]) if scaled else None
        self.vectors = sum(width for _, width in embedded)
        self.dense = widths[0] - sum(one_hot) - self.vectors
        self.numbers = self.dense - len(self.bins) - len(residuals)
        self.residuals = Residuals(residuals, indicators, self.numbers)
        counts = torch.tensor(one_hot, dtype=torch.int64)
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("offsets", self.dense + counts.cumsum(0) - counts, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [replicas, rows, columns], numbers and codes -> logits [replicas, rows, outputs]."""
        return self.finish(self.first(self.enter(x)))

    def enter(self, x: Tensor) -> Inputs:
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
            return torch.baddbmm(bias, inputs.dense, weight)
        replicas, _, units = weight.shape
        dense = weight[:, : self.dense]
        if self.vectors:
            dense = torch.cat([dense, weight[:, -self.vectors :]], 1)
        looked_up = F.embedding_bag(
            inputs.places.flatten(0, 1),
            torch.cat([weight.flatten(0, 1), weight.new_zeros(1, units)]),
            mode="sum",
        )
        return torch.baddbmm(bias, inputs.dense, dense) + looked_up.view(replicas, -1, units)

    def first_weight(self) -> Tensor:
        """Of the first layer [replicas, inputs, units], times the factors of the inputs, where they have any."""
        weight = self.layers[0].weight
        return weight if self.scale is None else weight * self.scale.weight

    def finish(self, z: Tensor) -> Tensor:
        """From the sums of the first layer to the logits [replicas, rows, outputs]."""
        for layer in self.layers[1:]:
            z = layer(self.activation.forward(z))
        return z

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

    def classify(self, expanded: Tensor) -> Tensor:
        """As `forward`, from points of the space: a one-hot category may be in part one code and in part another."""
        own = self.replicas * self.vectors
        same, vectors = expanded[:, : expanded.shape[1] - own], expanded[:, expanded.shape[1] - own :]
        numbers, one_hot = same[:, : self.numbers], same[:, self.numbers :]
        inputs = torch.cat([*self.of_numbers(numbers), one_hot], 1).expand(self.replicas, -1, -1)
        if self.vectors:
            inputs = torch.cat([inputs, vectors.view(len(vectors), self.replicas, -1).transpose(0, 1)], 2)
        return self.finish(torch.baddbmm(self.layers[0].bias, inputs, self.first_weight()))


class Lookup:
    """A trained network for rows that all replicas are asked about, its first layer out of tables: a third of the time.

    What a number adds to the sums, by itself and by its bins, is a line within each bin: where it begins and how far it
    goes are looked up, in place of a product with all the bins. A category's code is looked up as in `Network.first`.
    One replica after the other, whose sums stay in the processor's cache.

    tables: [replicas, rows, units]: where each bin begins, how far it goes, each code, the bias, zeros for no code.
    """

    def __init__(self, network: Network):
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


# Of the share that label smoothing gave each class: so likely it is at least, once that is taken out again.
POSSIBLE = 0.1


def class_probabilities(logits: Tensor, smoothing: float = 0.0) -> Tensor:
    """Logits [replicas, rows, outputs] -> probabilities [replicas, rows, classes] float64.

    smoothing: of the labels in training, which is taken out: where the chances of K classes are p, labels smoothed by e
    make a network answer q = (1 - e) p + e / K. Smoothing keeps it from being too sure of single rows, and is no part
    of the answer: p = max((q - e / K) / (1 - e), POSSIBLE e / K), over the sum of all classes.
    """
    if logits.shape[2] == 1:
        second = torch.sigmoid(logits.double())
        probabilities = torch.cat([1 - second, second], 2)
    else:
        # Classes first, so that a few of them are as quick as many: five times as quick with three.
        probabilities = torch.softmax(logits.movedim(2, 0).contiguous().double(), 0).movedim(0, 2)
    if not smoothing:
        return probabilities
    share = smoothing / probabilities.shape[2]
    probabilities = ((probabilities - share) / (1 - smoothing)).clamp_min(POSSIBLE * share)
    return probabilities / probabilities.sum(2, keepdim=True)


def unsmoothed(logits: Tensor, smoothing: float) -> Tensor:
    """Logits of any network [replicas, rows, outputs] -> those of its answer, as `class_probabilities` has it.

    float64; as they are where there was no smoothing.
    """
    if not smoothing:
        return logits
    logs = class_probabilities(logits, smoothing).log()
    return logs[..., 1:] - logs[..., :1] if logits.shape[2] == 1 else logs


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """This module's state dict without the factors of the inputs: the first layer's weights have them in them."""
    state = dict(state)
    scale = state.pop("scale.weight", None)
    if scale is not None:
        state["layers.0.weight"] = state["layers.0.weight"] * scale
    return state


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
