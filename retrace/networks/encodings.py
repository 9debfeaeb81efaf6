"""What a network makes of numbers before its first layer, without anything to learn."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from retrace.preprocessing.description import Residual


class Residuals(nn.Module):
    """Of each pair of numbers the part of the first that the second does not explain (preprocessing/description.py).

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
