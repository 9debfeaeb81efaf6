"""Loss and gradients of a step; of a large one in shards, so that cores share it, or machines.

A step is cut into shards by its size alone, and what they give is added up in their order: so the bytes are the same,
however many threads or processes compute them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median

import torch
from torch import Tensor

from retrace.networks.arithmetic import use_one_thread
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

# How often a team makes a step to see what it takes.
TRIALS = 5

# Of each member the mean over the rows [members], and of all parameters, in their order.
LossAndGradients = tuple[Tensor, list[Tensor]]


def shards_of(weights: int, rows: int, device: torch.device) -> int:
    """Into how many a step is cut; weights: of one network; rows: of a step."""
    is_large = rows >= FEWEST_ROWS and 6 * weights * rows >= FEWEST_FLOPS
    return SHARDS if device.type == "cpu" and is_large else 1


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
        self.shards = shards_of(network.weights, rows, device)
        self.threads = min(threads, self.shards)

    @contextmanager
    def of_epoch(self, epoch: int) -> Iterator[Callable[[Tensor, Tensor], LossAndGradients]]:
        """A function of the rows of a step, x [members, rows, features], y [members, rows]: to be asked in order."""
        if self.shards == 1:
            yield partial(self._at_once, dropout(self.members, epoch, self.device))
            return
        added = self.team.added if self.team else _added
        with self._shards_of_epoch(epoch) as own:
            yield lambda x, y: added(own(x, y))

    def team_seconds(self, x: Tensor, y: Tensor) -> tuple[float, float]:
        """What a step takes this process of a team until its own shards are computed, and until all are added up.

        Medians. All of the team must ask. Raises PeerLostError.
        """
        assert self.team
        computed, added = [], []
        with self._shards_of_epoch(1) as own:
            for _ in range(TRIALS):
                started = time.perf_counter()
                found = list(own(x, y))
                computed.append(time.perf_counter() - started)
                self.team.added(found)
                added.append(time.perf_counter() - started)
        return median(computed), median(added)

    @contextmanager
    def _shards_of_epoch(self, epoch: int) -> Iterator[Callable[[Tensor, Tensor], Iterable[LossAndGradients]]]:
        """As of_epoch, but of each shard; of a team, its own ones."""
        own = self.team.own(self.shards) if self.team else slice(None)
        masks = [dropout(self.members, epoch, self.device, shard) for shard in range(self.shards)][own]
        with side_by_side(self.threads, use_one_thread) as each:

            def of_step(x: Tensor, y: Tensor) -> Iterable[LossAndGradients]:
                shares = row_weights(self.weights, y)
                if shares is None:
                    shares = torch.full(y.shape, 1 / y.shape[1])
                parts = (torch.tensor_split(rows, self.shards, 1)[own] for rows in (x, y, shares))
                return each(self._of_shard, *parts, masks)

            yield of_step

    def _at_once(self, masks: Dropout | None, x: Tensor, y: Tensor) -> LossAndGradients:
        return self._of(x, y, row_weights(self.weights, y), masks)

    def _of_shard(self, x: Tensor, y: Tensor, shares: Tensor, masks: Dropout | None) -> LossAndGradients:
        if not x.shape[1]:  # of the last rows of an epoch there may be fewer than shards
            return torch.zeros(len(x)), [torch.zeros_like(parameter) for parameter in self.network.parameters()]
        loss, gradients = self._of(x, y, shares, masks)
        # In one layout, whoever computed them: sums over them may depend on it.
        return loss, [gradient.contiguous() for gradient in gradients]

    # A thread has a mode of its own.
    @torch.no_grad()
    def _of(self, x: Tensor, y: Tensor, shares: Tensor | None, masks: Dropout | None) -> LossAndGradients:
        passed = self.network.forward_pass(x, masks)
        loss, gradient = self.loss(passed.logits, y, self.smoothing, shares)
        return loss, passed.backward(gradient)


def _added(shards: Iterable[LossAndGradients]) -> LossAndGradients:
    (loss, gradients), *others = shards
    for more, of_shard in others:
        loss += more
        torch._foreach_add_(gradients, of_shard)
    return loss, gradients
