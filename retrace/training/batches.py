"""The rows of an epoch, in an order of its own for each member, batch by batch."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from retrace.training.losses import targets
from retrace.training.members import Member
from retrace.training.randomness import generator
from retrace.training.rows import Rows

# Rows of a block that are gathered at once: one large gather instead of one a step, in at most this many bytes.
BLOCK_BYTES = 4 * 2**20


class Batches:
    """rows: on the training's device; outputs: of the network."""

    def __init__(self, rows: Rows, outputs: int, members: Sequence[Member]):
        self.x, self.y, self.outputs, self.members = *rows, outputs, members
        self.size = members[0].section.batch_size
        # A permutation of the rows for each member, refilled at each epoch.
        self.order = torch.empty(len(members), len(self.x), dtype=torch.int32)

    def of(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """x [members, batch, features] and targets [members, batch] of each step."""
        rows = self.x.shape[0]
        for order, member in zip(self.order, self.members, strict=True):
            source = generator(member.section.seed, member.replica, epoch)
            torch.randperm(rows, generator=source, dtype=torch.int32, out=order)
        row_bytes = len(self.members) * (self.x.shape[1] + 1) * self.x.element_size()
        block = max(1, BLOCK_BYTES // (row_bytes * self.size)) * self.size
        for start in range(0, rows, block):
            indices = self.order[:, start : start + block].to(self.x.device)
            # A fifth of the time of self.x[indices].
            x = self.x.index_select(0, indices.flatten()).view(*indices.shape, -1)
            y = targets(self.y[indices], self.outputs)
            yield from zip(torch.split(x, self.size, 1), torch.split(y, self.size, 1), strict=True)
