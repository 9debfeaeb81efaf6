"""Loss and gradients of a step; of a large one in shards, so that cores share it, or machines.

A step is cut into shards by its size alone, and what they give is added up in their order: so the bytes are the same,
however many threads or processes compute them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from retrace.networks.arithmetic import compute_on_one
from retrace.networks.network import Dropout, Network
from retrace.runtime.threads import side_by_side
from retrace.training.dropout import dropout
from retrace.training.losses import LOSSES, Smoothing, row_weights
from retrace.training.members import Member
from retrace.training.team import Team

SHARDS = 8
# What a step must be worth to be cut: rows, since products of few rows are slow; and operations of one network, some
# 10 ms of a core.
FEWEST_ROWS, FEWEST_FLOPS = 2048, 450e6

# Of each member the mean over the rows [members], and of all parameters, in their order.
LossAndGradients = tuple[Tensor, list[Tensor]]


def is_sharded(weights: int, rows: int, device: torch.device) -> bool:
    """Whether a step is cut: weights, of one network; rows, of a step."""
    return device.type == "cpu" and rows >= FEWEST_ROWS and 6 * weights * rows >= FEWEST_FLOPS


class Gradients:
    """Of the network's members, alike in what `shared` says.

    smoothing, weights: of each member, see losses.py; rows: of a step; threads: that share one; team: processes that
    do, set by whoever makes them.
    """

    team: Team | None = None

    def __init__(
        self,
        network: Network,
        members: Sequence[Member],
        smoothing: Smoothing,
        weights: Tensor | None,
        rows: int,
        device: torch.device,
        threads: int = 1,
    ):
        self.network, self.members, self.device = network, members, device
        self.loss, self.smoothing, self.weights = LOSSES[members[0].section.loss], smoothing, weights
        self.sharded = is_sharded(network.weights, rows, device)
        self.threads = min(threads, SHARDS) if self.sharded else 1

    @contextmanager
    def of_epoch(self, epoch: int) -> Iterator[Callable[[Tensor, Tensor], LossAndGradients]]:
        """A function of the rows of a step, x [members, rows, features], y [members, rows]: to be asked in order."""
        if not self.sharded:
            yield partial(self._at_once, dropout(self.members, epoch, self.device))
            return
        masks = [dropout(self.members, epoch, self.device, shard) for shard in range(SHARDS)]
        with side_by_side(self.threads, compute_on_one) as each:
            yield partial(self._in_shards, each, masks)

    def _at_once(self, masks: Dropout | None, x: Tensor, y: Tensor) -> LossAndGradients:
        return self._of(x, y, row_weights(self.weights, y), masks)

    def _in_shards(
        self,
        each: Callable[..., Iterable[LossAndGradients]],
        masks: Sequence[Dropout | None],
        x: Tensor,
        y: Tensor,
    ) -> LossAndGradients:
        shares = row_weights(self.weights, y)
        if shares is None:
            shares = torch.full(y.shape, 1 / y.shape[1])
        own = self.team.own(SHARDS) if self.team else slice(None)
        parts = (torch.tensor_split(rows, SHARDS, 1)[own] for rows in (x, y, shares))
        found = each(self._of, *parts, masks[own])
        (loss, gradients), *others = self.team.gathered(found) if self.team else found
        for more, of_shard in others:
            loss += more
            torch._foreach_add_(gradients, of_shard)
        return loss, gradients

    # A thread has a mode of its own.
    @torch.no_grad()
    def _of(self, x: Tensor, y: Tensor, shares: Tensor | None, masks: Dropout | None) -> LossAndGradients:
        if not x.shape[1]:  # of the last rows of an epoch there may be fewer than shards
            return torch.zeros(len(x)), [torch.zeros_like(parameter) for parameter in self.network.parameters()]
        passed = self.network.forward_pass(x, masks)
        loss, gradient = self.loss(passed.logits, y, self.smoothing, shares)
        return loss, passed.backward(gradient)
