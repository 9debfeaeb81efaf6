"""The rows of an epoch, in an order of its own for each member, batch by batch."""

from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor

from retrace.training.losses import targets
from retrace.training.members import Member
from retrace.training.randomness import generator
from retrace.training.row_windows import WindowReader, windows_of
from retrace.training.rows import AnyRows

# Rows of a block that are gathered at once: one large gather instead of one a step, in at most this many bytes.
BLOCK_BYTES = 4 * 2**20

# x [members, batch, features] and targets [members, batch]
Batch = tuple[Tensor, Tensor]


class Batches:
    """rows: on the training's device, or in a file; outputs: of the network."""

    def __init__(self, rows: AnyRows, outputs: int, members: Sequence[Member]):
        self.rows, self.outputs, self.members, self.device = rows, outputs, members, rows.y.device
        section, count = members[0].section, len(rows.x)
        self.size, self.seed = section.batch_size, section.seed
        # Of rows that are all used at once none need to be copied together.
        self.window = None if section.window is None or section.window >= count else section.window
        self.reader = None if self.window is None else WindowReader(rows.x, self.window)
        # A permutation of a window's rows for each member, refilled at each.
        self.order = torch.empty(len(members), self.window or count, dtype=torch.int32)

    def of(self, epoch: int) -> Generator[Batch, None, None]:
        """The batch of each step. One may begin in a window and end in the next: there are as many as without any."""
        rest: Batch | None = None
        windows = windows_of(len(self.rows.x), self.window, self.seed, epoch)
        for place, (x, y) in enumerate(self._windows(windows)):
            order = self._order(epoch, place, len(x))
            start, stop = 0, len(x)
            if rest:
                start = min(self.size - rest[1].shape[1], stop)
                head = self._gather(x, y, order[:, :start])
                rest = torch.cat([rest[0], head[0]], 1), torch.cat([rest[1], head[1]], 1)
                if rest[1].shape[1] == self.size:
                    yield rest
                    rest = None
            if place < len(windows) - 1:
                stop -= (stop - start) % self.size
            yield from self._blocks(x, y, order[:, start:stop])
            if stop < len(x):
                rest = self._gather(x, y, order[:, stop:])
        if rest:
            yield rest

    def _windows(self, windows: list[list[tuple[int, int]]]) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = self.rows
        if self.reader is None:
            yield x[:], y
            return
        for groups, some in zip(windows, self.reader.read(windows), strict=True):
            yield some.to(self.device), torch.cat([y[start:stop] for start, stop in groups])

    def _order(self, epoch: int, window: int, rows: int) -> Tensor:
        """[members, rows]: of each member its own."""
        found = self.order[:, :rows]
        for order, member in zip(found, self.members, strict=True):
            source = generator(member.section.seed, member.replica, epoch, window=window)
            torch.randperm(rows, generator=source, dtype=torch.int32, out=order)
        return found

    def _blocks(self, x: Tensor, y: Tensor, order: Tensor) -> Iterator[Batch]:
        row_bytes = len(self.members) * (x.shape[1] + 1) * x.element_size()
        block = max(1, BLOCK_BYTES // (row_bytes * self.size)) * self.size
        for start in range(0, order.shape[1], block):
            some = self._gather(x, y, order[:, start : start + block])
            yield from zip(*(torch.split(each, self.size, 1) for each in some), strict=True)

    def _gather(self, x: Tensor, y: Tensor, order: Tensor) -> Batch:
        indices = order.to(self.device)
        # A fifth of the time of x[indices].
        found = x.index_select(0, indices.flatten()).view(*indices.shape, -1)
        return found, targets(y[indices], self.outputs)
