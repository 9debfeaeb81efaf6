"""Packs that train on the nodes of a Ray cluster, an epoch at a time: what they are after it is here, too.

So a checkpoint holds all of them as ever, and a pack whose node is lost goes on elsewhere from the epoch before.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from retrace.networks.model import Description
from retrace.runtime.cluster import Cluster
from retrace.runtime.cluster_node import PeerLost, reason_of
from retrace.runtime.cluster_work import Actors
from retrace.training.gradients import SHARDS
from retrace.training.members import Member
from retrace.training.pack import Data, Pack, PackState, allocate
from retrace.training.resources import memory_bytes
from retrace.training.rows import Rows
from retrace.training.team import Meeting, PeerLostError, Team, store_for_meetings
from retrace.training.validation import zeros_on

# What runs on a node begins here.
CODE_OF_PACKS = "retrace/training/cluster_packs.py"

# Asks processes that share steps what an exchange takes.
EXCHANGE = "exchange"

Arrays = list[NDArray[Any]]


class Rowset(NamedTuple):
    """Data as arrays, which processes of a node share.

    training, validation: x [rows, inputs] and y [rows], as in Rows; counts [classes]: training rows of each.
    """

    training: tuple[NDArray[np.float32], NDArray[np.int16]]
    validation: tuple[NDArray[np.float32], NDArray[np.int16]]
    counts: NDArray[np.int64]

    def data(self, device: torch.device) -> Data:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nobody may write there; nobody does
            training, validation = (
                Rows(*map(torch.from_numpy, rows)).to(device) for rows in (self.training, self.validation)
            )
            return Data(training, validation, torch.from_numpy(self.counts))


def rowset(data: Data) -> Rowset:
    """Of rows that are in memory; those in a file of this machine are trained on here."""
    assert isinstance(data.training, Rows)
    assert isinstance(data.validation, Rows)
    training, validation = ((rows.x.cpu().numpy(), rows.y.cpu().numpy()) for rows in (data.training, data.validation))
    return Rowset(training, validation, data.counts.cpu().numpy())


class Nodes(NamedTuple):
    """A cluster on which packs train; description: of the network, by which a node makes its own."""

    cluster: Cluster
    description: Description


class ClusterPacks:
    """Trains the packs, whose state is here; does: what each is at work on. Asked as Workers are.

    processes: that share the steps of a pack, where these are large; cores: of each.
    """

    def __init__(
        self, nodes: Nodes, data: Data, packs: Sequence[Pack], does: Sequence[str], processes: int = 1, cores: int = 1
    ):
        self.packs, self.processes = packs, processes
        # A node's own first GPU, where it is one: Ray shows a process no other.
        (cluster, description), device = nodes, packs[0].device.type
        rows = cluster.ray.put(rowset(data))
        if processes > 1:
            self.host = cluster.ray.util.get_node_ip_address()
            self.store = store_for_meetings(self.host)

        def given(place: int, begun: int) -> tuple[Any, ...]:
            number, rank = divmod(place, processes)
            pack, meeting = packs[number], None
            if processes > 1:
                meeting = Meeting(self.host, self.store.port, f"{number}/{begun}", rank, processes)
            right = pack.state.right is not None
            return rows, description, pack.members, device, cores, meeting, right, _arrays(pack.state)

        members = max((pack.members for pack in packs), key=len)
        section = members[0].section.model_copy(update={"replicas": len(members)})
        memory = memory_bytes(description, section, len(data.training.x), len(data.validation.x), packs[0].device)
        does = [each for each in does for _ in range(processes)]
        self.actors = Actors(cluster, _make, given, does, memory, cores, processes)

    def __enter__(self) -> Self:
        self.actors.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.actors.__exit__(*error)

    def ask(self, requests: Sequence[tuple[int, Sequence[bool]] | None]) -> None:
        """(epoch, active) for each pack, as Pack.train_epoch has it; raises what it raises."""
        for pack, answer in zip(self.packs, self._asked(requests), strict=True):
            if answer is not None:
                _fill(pack.state, answer)

    def exchange_seconds(self) -> float:
        """What a step takes beside computing, since its gradients go to the others; measured."""
        return float(max(self._asked([EXCHANGE] * len(self.packs))))

    def _asked(self, requests: Sequence[Any]) -> list[Any]:
        """Of all processes of each pack; what the first of them answers."""
        return self.actors.ask([each for each in requests for _ in range(self.processes)])[:: self.processes]


def _make(
    rows: Rowset,
    description: Description,
    members: Sequence[Member],
    device: str,
    threads: int,
    meeting: Meeting | None,
    right: bool,
    arrays: Arrays,
) -> Callable[[Any], Any]:
    """On a node: a pack as it is now, which trains an epoch when it is asked; or one of the processes that share it."""
    place = torch.device(device)
    data, section = rows.data(place), members[0].section
    network = description.network(len(members), scaled=section.input_scale_rate > 0).to(place)

    state = allocate(network, data, members, zeros_on(place), right)
    _fill(state, arrays)
    pack = Pack(network, data, members, state, place, threads)

    def answer(request: Any) -> Arrays | float | PeerLost:
        team = pack.gradients.team
        try:
            if meeting and not team:  # not before: the others may have to wait for a core
                team = pack.gradients.team = Team(meeting)
            if team and request == EXCHANGE:
                return team.seconds(SHARDS * len(members) * network.weights // team.size)
            pack.train_epoch(*request)
        except PeerLostError as error:
            return PeerLost(reason_of(error))
        return _arrays(state) if meeting is None or meeting.rank == 0 else []

    return answer


def _arrays(state: PackState) -> Arrays:
    return [tensor.cpu().numpy() for tensor in state.tensors()]


def _fill(state: PackState, arrays: Arrays) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tensor, array in zip(state.tensors(), arrays, strict=True):
            tensor.copy_(torch.from_numpy(array))
