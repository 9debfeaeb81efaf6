"""Which rows an epoch takes together (train.window), and reading them, the next ones while the present ones train.

The training rows are cut into groups of neighbours, GROUPS to a window. An epoch draws an order of the groups and takes
a window's worth of them at a time; within a window each network then has an order of its own. So rows are read in long
stretches, and yet a window holds rows from all over the table. Whether they lie in memory or in a file does not show.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from retrace.training.randomness import GROUPS_ORDER, generator
from retrace.training.stored import BYTES, Inputs

# Fewer would leave more neighbours together, more would read shorter stretches. With 16 a window of a million rows of
# 30 inputs is read in stretches of 7 MB.
GROUPS = 16

# Rows of the table, from and to.
Group = tuple[int, int]


def windows_of(rows: int, window: int | None, seed: int, epoch: int) -> list[list[Group]]:
    """The groups of each window of an epoch, in the order of the table; all rows at once where a window holds them.

    The order follows from seed and epoch, and not from the replica: those that train side by side read the same.
    """
    if window is None or window >= rows:
        return [[(0, rows)]]
    size = window // GROUPS
    count = -(-rows // size)
    drawn = torch.randperm(count, generator=generator(seed, 0, epoch, GROUPS_ORDER)).tolist()
    return [
        [(group * size, min(group * size + size, rows)) for group in sorted(drawn[first : first + GROUPS])]
        for first in range(0, count, GROUPS)
    ]


def windows_bytes(window: int, width: int, processes: int) -> int:
    """Of memory, that reading windows of so many rows takes, two of which each process has at a time."""
    return 2 * window * width * BYTES * processes


class WindowReader:
    """Reads windows of x, each into one of two buffers, while the one before is used."""

    def __init__(self, x: Inputs, window: int):
        self.x = x
        self.buffers = [torch.empty(window, x.shape[1], device=x.device) for _ in range(2)]

    def read(self, windows: Sequence[Sequence[Group]]) -> Iterator[Tensor]:
        """x [rows of the window, inputs] of each; it holds other rows when the one after the next is asked for."""
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._fill, 0, windows[0])
            for place in range(1, len(windows) + 1):
                present = coming.result()
                if place < len(windows):
                    coming = reader.submit(self._fill, place % 2, windows[place])
                yield present

    def _fill(self, buffer: int, groups: Sequence[Group]) -> Tensor:
        x, done = self.buffers[buffer], 0
        for start, stop in groups:
            part = x[done : done + stop - start]
            if isinstance(self.x, Tensor):
                part.copy_(self.x[start:stop])
            else:
                self.x.read_into(part, start)
            done += stop - start
        return x[:done]
