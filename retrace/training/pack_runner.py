"""Who trains a pack: this process, or one for each core, or nodes of a cluster, where the work is worth that.

No byte of the result tells.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from retrace.networks.network import Network
from retrace.runtime.cores import cores
from retrace.runtime.workers import Workers, shared_memory
from retrace.training.cluster_packs import ClusterPacks, Nodes, begun_on_nodes
from retrace.training.gradients import shards_of
from retrace.training.members import Member, shared
from retrace.training.pack import Data, Pack, PackState, allocate
from retrace.training.validation import zeros_on

# Of one core, about: what a step takes whatever its size, and what it computes in a second.
STEP_SECONDS = 150e-6
FLOPS_A_SECOND = 25e9
# Of another process a further thread is worth so much, where it shares large steps.
THREAD_WORTH = 0.9
# What another process costs: to be made and ended, and in each epoch to be asked and waited for.
WORKER_SECONDS, ASKING_SECONDS = 0.1, 0.5e-3
# The same of a process on a node of a cluster, which is there when it is counted.
NODE_ASKING_SECONDS = 5e-3
# That a training run is so much quicker by more processes is worth having them.
WORTHWHILE_SECONDS = 1.0


class PackRunner:
    """All members of a network, trained by an epoch at a time. state: of all of them, in the network's order.

    nodes: which train them, else this machine. Raises ValueError for members that cannot train side by side.
    """

    def __init__(
        self,
        network: Network,
        data: Data,
        members: Sequence[Member],
        device: torch.device,
        nodes: Nodes | None = None,
    ):
        if any(shared(member.section) != shared(members[0].section) for member in members):
            raise ValueError("members of a pack may differ in settings of their own only")
        if nodes and not _quicker_there(network, data, members, device, nodes):
            nodes = None
        self.count = packs_worth_having(network, data, members, device, nodes)
        # Of large steps of a single pack, each core computes some of the rows. In a copy of a process whose threads had
        # computed, threads were seen to wait for ever for MKL's memory: so there are none beside other processes.
        threads = cores() if self.count == 1 else 1
        zeros = _shared_zeros if self.count > 1 and nodes is None else zeros_on(device)
        self.state: PackState = allocate(network, data, members, zeros, members[0].section.ship == "mean")
        self.parts = evenly(len(members), self.count)
        self.packs = [
            Pack(network.of(part), data, members[part], self.state.of(part), device, threads) for part in self.parts
        ]
        self.data, self.steps = data, self.packs[0].steps
        self.nodes = nodes
        self.workers: Workers | ClusterPacks | None = None

    def __enter__(self) -> Self:
        does = [f"train: {_said(pack.members)}" for pack in self.packs]
        if self.nodes:
            self.workers = begun_on_nodes(self.nodes, self.data, self.packs, does)
        elif self.count > 1:
            if torch.get_num_threads() > 1:  # the other threads are not copied, and would be waited for for ever
                raise RuntimeError(
                    "torch must compute on one thread (make_deterministic) where packs train in parallel"
                )
            functions = [lambda request, pack=pack: pack.train_epoch(*request) for pack in self.packs]
            self.workers = Workers(functions, does)
            self.workers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.workers:
            self.workers.__exit__(*error)
        self.workers = None

    def train_epoch(self, epoch: int, active: Sequence[bool]) -> None:
        """As Pack.train_epoch, for all members; a pack in which none is active rests."""
        own = [active[part] for part in self.parts]
        if self.workers:
            self.workers.ask([(epoch, some) if any(some) else None for some in own])
        else:
            self.packs[0].train_epoch(epoch, active)


def evenly(count: int, parts: int) -> list[slice]:
    """So many places, cut into parts of about equal length."""
    bounds = [round(place * count / parts) for place in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(bounds)]


def _said(members: Sequence[Member]) -> str:
    first, last = members[0].replica, members[-1].replica
    return f"replica {first}" if first == last else f"replicas {first} to {last}"


def packs_worth_having(
    network: Network, data: Data, members: Sequence[Member], device: torch.device, nodes: Nodes | None = None
) -> int:
    """How many processes train in parallel: as many as make the run surely quicker; 1 on a GPU of this machine."""
    if len(members) == 1 or (device.type != "cpu" and not nodes):
        return 1

    def seconds(packs: int) -> float:
        return _seconds(network, data, members, device, packs, nodes)

    def find_room(packs: int) -> bool:
        width = math.ceil(len(members) / packs)
        return not nodes or nodes.share(data, members[0].section, device, packs, width).cores > 0

    most = min(nodes.cluster.cores if nodes else cores(), len(members))
    quickest = min(filter(find_room, range(1, most + 1)), key=seconds, default=1)
    return quickest if nodes or seconds(1) - seconds(quickest) > WORTHWHILE_SECONDS else 1


def _quicker_there(network: Network, data: Data, members: Sequence[Member], device: torch.device, nodes: Nodes) -> bool:
    """Whether nodes train them no slower than this machine does, which may have more cores for a few packs; if not,
    a line says so. What nodes take to share steps is not known yet, and taken for nothing.
    """
    there, here = (packs_worth_having(network, data, members, device, each) for each in (nodes, None))
    together = max(1, nodes.cluster.cores // there)
    times = [
        _seconds(network, data, members, device, there, nodes, together),
        _seconds(network, data, members, device, here),
    ]
    if times[1] < times[0]:
        print("train: trained here, which takes some {1:,.0f} s; on the nodes it would be {0:,.0f} s".format(*times))
    return times[0] <= times[1]


def _seconds(
    network: Network,
    data: Data,
    members: Sequence[Member],
    device: torch.device,
    packs: int,
    nodes: Nodes | None = None,
    together: int = 1,
) -> float:
    """What training takes, about, in so many packs; together: cores of nodes that share the steps of each."""
    section, rows, judged = members[0].section, len(data.training.x), len(data.validation.x)
    if not nodes and packs == 1:
        together = cores()
    threads = min(shards_of(network.weights, min(section.batch_size, rows), device), together)
    width = math.ceil(len(members) / packs) / (1 + THREAD_WORTH * (threads - 1))
    epoch = seconds_an_epoch(network.weights, width, rows, judged, section.batch_size)
    if nodes:
        return section.epochs * (epoch + NODE_ASKING_SECONDS * packs)
    return section.epochs * (epoch + ASKING_SECONDS * (packs > 1)) + WORKER_SECONDS * packs * (packs > 1)


def seconds_an_epoch(weights: int, members: float, rows: int, judged: int, batch_size: int) -> float:
    """What one core takes, about, for a pack of so many members of so many weights each; judged: validation rows."""
    # Forward, and backward twice as much, each a multiplication and an addition; validation rows go forward only.
    flops = 2 * weights * (3 * rows + judged)
    return math.ceil(rows / batch_size) * STEP_SECONDS + members * flops / FLOPS_A_SECOND


def _shared_zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    size = math.prod(shape) * dtype.itemsize
    return torch.frombuffer(shared_memory(size), dtype=dtype, count=math.prod(shape)).view(shape)
