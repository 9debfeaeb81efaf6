"""Processes on several machines that share the steps of a pack: each computes some of the shards, and adds up all.

So all take the same step, and hold the same weights. They exchange gradients by torch.distributed, over Gloo.
"""

import os
import socket
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

import psutil
import torch
from torch import Tensor, distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

# What the others of a team are waited for where all are known to be there, and where some may still have to begin.
MEETING_SECONDS, BEGINNING_SECONDS = 60, 180


class Meeting(NamedTuple):
    """Where the processes of a team meet, and who one of them is.

    host, port: of the store in which they find each other; name: of the team there; rank: from 0, of `size`; seconds:
    what the others are waited for.
    """

    host: str
    port: int
    name: str
    rank: int
    size: int
    seconds: int = BEGINNING_SECONDS


class PeerLostError(Exception):
    """Another process of the team is gone, or never came."""


def store_for_meetings(host: str) -> TCPStore:
    """Serves as long as it lives; host: this machine's own address, as the others see it."""
    return TCPStore(host, 0, is_master=True, wait_for_workers=False)


class Team:
    """This process among those of its team; there can be one in a process. Raises PeerLostError, as all it does."""

    def __init__(self, meeting: Meeting):
        host, port, name, self.rank, self.size, seconds = meeting
        limit = timedelta(seconds=seconds)
        try:
            os.environ["GLOO_SOCKET_IFNAME"] = _interface(host)
            store = PrefixStore(name, TCPStore(host, port, is_master=False, timeout=limit))
            distributed.init_process_group("gloo", timeout=limit, store=store, rank=self.rank, world_size=self.size)
        except (RuntimeError, OSError) as error:
            raise PeerLostError(_first_line(error)) from None

    def own(self, shards: int) -> slice:
        """Which of so many shards this one computes; there are some for each."""
        return slice(self.rank * shards // self.size, (self.rank + 1) * shards // self.size)

    def added(self, own: Iterable[tuple[Tensor, list[Tensor]]]) -> tuple[Tensor, list[Tensor]]:
        """Loss [members] and gradients [members, ...] of all shards, added up in their order; own: this one's."""
        flat = []
        for loss, gradients in own:
            flat.append(torch.cat([part.flatten(1) for part in (loss[:, None], *gradients)], 1))
            shapes = [gradient.shape for gradient in gradients]
        total, *others = (shard for of_process in self._exchanged(torch.stack(flat)) for shard in of_process)
        for shard in others:
            total += shard
        return _apart(total, shapes)

    def _exchanged(self, own: Tensor) -> list[Tensor]:
        every = [torch.empty_like(own) for _ in range(self.size)]
        try:
            distributed.all_gather(every, own)
        except RuntimeError as error:
            raise PeerLostError(_first_line(error)) from None
        return every


def _apart(row: Tensor, shapes: Sequence[torch.Size]) -> tuple[Tensor, list[Tensor]]:
    loss, *gradients = torch.split(row, [1, *(shape[1:].numel() for shape in shapes)], 1)
    return loss[:, 0].clone(), [part.reshape(shape).contiguous() for part, shape in zip(gradients, shapes, strict=True)]


def _interface(host: str) -> str:
    """The name of that by which this machine reaches the host."""
    family, kind, _, _, address = socket.getaddrinfo(host, 1, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as asking:
        asking.connect(address)  # sends nothing
        own = asking.getsockname()[0]
    found = [name for name, addresses in psutil.net_if_addrs().items() if own in {each.address for each in addresses}]
    return found[0] if found else ""


def _first_line(error: Exception) -> str:
    """Behind it the places in torch's own code may follow."""
    return str(error).partition("\n")[0]
