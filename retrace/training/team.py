"""Processes on several machines that share the steps of a pack: each computes some of the shards, and adds up all.

So all take the same step, and hold the same weights. They exchange gradients by torch.distributed, over Gloo.
"""

import os
import socket
import time
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

import psutil
import torch
from torch import Tensor, distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

# How often an exchange is made to see what it takes.
TRIALS = 5


class Meeting(NamedTuple):
    """Where the processes of a team meet, and who one of them is.

    host, port: of the store in which they find each other; name: of the team there; rank: from 0, of `size`.
    """

    host: str
    port: int
    name: str
    rank: int
    size: int


class PeerLostError(Exception):
    """Another process of the team is gone, or never came."""


def store_for_meetings(host: str) -> TCPStore:
    """Serves as long as it lives; host: this machine's own address, as the others see it."""
    return TCPStore(host, 0, is_master=True, wait_for_workers=False)


class Team:
    """This process among those of its team; there can be one in a process. Raises PeerLostError, as all it does."""

    def __init__(self, meeting: Meeting):
        host, port, name, self.rank, self.size = meeting
        os.environ["GLOO_SOCKET_IFNAME"] = _interface(host)
        try:
            store = PrefixStore(name, TCPStore(host, port, is_master=False))
            distributed.init_process_group("gloo", store=store, rank=self.rank, world_size=self.size)
        except RuntimeError as error:
            raise PeerLostError(str(error)) from None

    def own(self, shards: int) -> slice:
        """Which of so many shards this one computes; there are some for each."""
        return slice(self.rank * shards // self.size, (self.rank + 1) * shards // self.size)

    def gathered(self, own: Iterable[tuple[Tensor, list[Tensor]]]) -> list[tuple[Tensor, list[Tensor]]]:
        """Losses and gradients of all shards in their order, from those of one's own; each [members, ...] float32."""
        own = list(own)
        flat = torch.stack([torch.cat([part.flatten(1) for part in (loss[:, None], *all_)], 1) for loss, all_ in own])
        shapes = [gradient.shape for gradient in own[0][1]]
        return [_apart(row, shapes) for rows in self._exchanged(flat) for row in rows]

    def seconds(self, numbers: int) -> float:
        """What it takes to exchange so many of each process, as a median; all must ask."""
        flat, took = torch.zeros(numbers), []
        for _ in range(TRIALS):
            started = time.perf_counter()
            self._exchanged(flat)
            took.append(time.perf_counter() - started)
        return median(took)

    def _exchanged(self, own: Tensor) -> list[Tensor]:
        every = [torch.empty_like(own) for _ in range(self.size)]
        try:
            distributed.all_gather(every, own)
        except RuntimeError as error:
            raise PeerLostError(str(error)) from None
        return every


def _apart(row: Tensor, shapes: Sequence[torch.Size]) -> tuple[Tensor, list[Tensor]]:
    loss, *gradients = torch.split(row, [1, *(shape[1:].numel() for shape in shapes)], 1)
    # Laid out as if they were computed here: sums over them may depend on it.
    return loss[:, 0].clone(), [part.reshape(shape).contiguous() for part, shape in zip(gradients, shapes, strict=True)]


def _interface(host: str) -> str:
    """The name of that by which this machine reaches the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((host, 1))  # sends nothing
        own = asking.getsockname()[0]
    found = [name for name, addresses in psutil.net_if_addrs().items() if own in {each.address for each in addresses}]
    return found[0] if found else ""
