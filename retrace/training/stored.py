"""Rows that do not fit into memory, as the network sees them, in a file; what is sliced of them is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

from retrace.runtime.scratch import Scratch, closing_scratch

# float32
BYTES = 4


class StoredInputs:
    """As a tensor, float32 [rows, inputs], but that a slice of its rows is read from a file, whole rows at a time."""

    device = torch.device("cpu")

    def __init__(self, file: Scratch, width: int):
        self.file, self.width, self.start, self.count = file, width, file.size, 0

    def append(self, x: Tensor) -> None:
        """More rows, of which there will be no more when others share the file."""
        self.file.append(x.numpy().data)
        self.count += len(x)

    def __len__(self) -> int:
        return self.count

    @property
    def shape(self) -> tuple[int, int]:
        return self.count, self.width

    def __getitem__(self, rows: slice) -> Tensor:
        start, stop, step = rows.indices(self.count)
        some = range(start, stop, step)
        found = torch.empty(len(some), self.width)
        if step == 1:
            self.read_into(found, start)
        else:
            for place, row in enumerate(some):
                self.read_into(found[place : place + 1], row)
        return found

    def read_into(self, x: Tensor, row: int) -> None:
        """Fill x [some rows, inputs], which is contiguous, with the rows from this one on."""
        if x.numel():
            self.file.read_into(x.numpy().data, self.start + row * self.width * BYTES)


# What the network sees of rows [rows, inputs].
Inputs: TypeAlias = Tensor | StoredInputs


@contextmanager
def place_for(rows: int, width: int, fix: str) -> Iterator[Scratch]:
    """On the disk, of so many rows. Raises UserError (status 4) where there is none."""
    with closing_scratch(rows * width * BYTES, f"{rows:,} rows of {width:,} inputs", fix) as file:
        yield file
