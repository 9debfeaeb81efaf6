"""Packs that train on the nodes of a Ray cluster, an epoch at a time: what they are after it is here, too.

So a checkpoint holds all of them as ever, and a pack whose node is lost goes on elsewhere from the epoch before.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from retrace.networks.model import Description
from retrace.params.train import Train
from retrace.runtime.cluster import Cluster
from retrace.runtime.cluster_node import PeerLost, reason_of
from retrace.runtime.cluster_work import Actors, differs
from retrace.training.gradients import shards_of
from retrace.training.members import Member
from retrace.training.pack import Data, Pack, PackState, allocate
from retrace.training.resources import memory_bytes
from retrace.training.rows import Rows
from retrace.training.team import BEGINNING_SECONDS, MEETING_SECONDS, Meeting, PeerLostError, Team, store_for_meetings
from retrace.training.validation import zeros_on

# What runs on a node begins here.
CODE_OF_PACKS = "retrace/training/cluster_packs.py"

# Of how many processes a pack can be shared by.
TEAMS = (1, 2, 4, 8)
# Asks a process nothing but to be there; and those that share steps, what one takes.
PLACED, MEASURE = "placed", "measure"

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


class Share(NamedTuple):
    """processes: that share the steps of a pack; cores, memory: of each, in bytes."""

    processes: int
    cores: int
    memory: int

    @property
    def together(self) -> int:
        """Cores of all processes of a pack."""
        return self.processes * self.cores


class Nodes(NamedTuple):
    """A cluster on which packs train; description: of the network, by which a node makes its own."""

    cluster: Cluster
    description: Description

    def share(
        self, data: Data, section: Train, device: torch.device, packs: int, members: int, processes: int = 1
    ) -> Share:
        """What each of so many processes of each pack can have, if all are to find room; members: of a pack."""
        rows = len(data.training.x), len(data.validation.x)
        own, own_rows = section.model_copy(update={"replicas": members}), device.type != "cpu"
        memory = memory_bytes(self.description, own, *rows, device, team=processes, own_rows=own_rows)
        most = shards_of(self.description.weights, min(section.batch_size, rows[0]), device) // processes
        return Share(processes, self.cluster.cores_each(packs * processes, most, memory), memory)


def begun_on_nodes(nodes: Nodes, data: Data, packs: Sequence[Pack], does: Sequence[str]) -> "ClusterPacks | None":
    """The packs at work there; None where this machine has as many cores for a single pack, and trains it.

    Several processes share the steps of a pack, as few as have the most cores together, if that was measured to be
    quicker than one.
    """
    here = packs[0].gradients.threads if len(packs) == 1 else 0
    rows = nodes.cluster.put(rowset(data))
    section, device = packs[0].members[0].section, packs[0].device
    members = max(len(pack.members) for pack in packs)
    room = [nodes.share(data, section, device, len(packs), members, processes) for processes in TEAMS]
    alone = max(1, here, room[0].cores)
    for each in sharing(room, alone):
        with ExitStack() as stack:
            begun = stack.enter_context(ClusterPacks(nodes, rows, packs, does, each))
            measured = begun.step_seconds()
            if isinstance(measured, str):
                print(
                    "train: steps are not shared by processes on nodes, which do not reach each other; open all ports"
                    f" between nodes (docs/cluster.md): {measured}"
                )
                break
            computing, shared = measured
            single = computing * each.together / alone
            if shared < single:
                stack.pop_all()
                return begun
            print(
                f"train: steps are not shared by {each.processes} processes on nodes: with the exchange of gradients"
                f" one takes {1e3 * shared:,.0f} ms, and {1e3 * single:,.0f} ms without"
            )
    if alone > here:
        return ClusterPacks(nodes, rows, packs, does, room[0]._replace(cores=alone)).__enter__()
    print("train: trained here: the nodes have no more cores for a single network than this machine")
    return None


def sharing(room: Sequence[Share], alone: int) -> list[Share]:
    """Of these, from few processes to many, what is worth trying, the most cores first: each has more than all before.

    alone: cores of one process.
    """
    found: list[Share] = []
    for each in room:
        if each.together > max([alone, *(other.together for other in found)]):
            found.append(each)
    return found[::-1]


class ClusterPacks:
    """Trains the packs, whose state is here; does: what each is at work on. Asked as Workers are.

    rows: a Rowset, put into the cluster; share: of each process that is at work on a pack.
    """

    def __init__(self, nodes: Nodes, rows: Any, packs: Sequence[Pack], does: Sequence[str], share: Share):
        self.packs, self.does, self.processes = packs, does, share.processes
        # A node's own first GPU, where it is one: Ray shows a process no other.
        (cluster, description), device = nodes, packs[0].device.type
        if self.processes > 1:
            self.host = cluster.ray.util.get_node_ip_address()
            self.store = store_for_meetings(self.host)

        def given(place: int, begun: int) -> tuple[Any, ...]:
            number, rank = divmod(place, self.processes)
            pack, meeting = packs[number], None
            if self.processes > 1:
                seconds = BEGINNING_SECONDS if begun else MEETING_SECONDS
                meeting = Meeting(self.host, self.store.port, f"{number}/{begun}", rank, self.processes, seconds)
            right = pack.state.right is not None
            return rows, description, pack.members, device, share.cores, meeting, right, _arrays(pack.state)

        each = [one for one in does for _ in range(self.processes)]
        self.actors = Actors(cluster, _make, given, each, share.memory, share.cores, self.processes)

    def __enter__(self) -> Self:
        self.actors.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.actors.__exit__(*error)

    def ask(self, requests: Sequence[tuple[int, Sequence[bool]] | None]) -> None:
        """(epoch, active) for each pack, as Pack.train_epoch has it; raises what it raises."""
        answers = self.actors.ask([each for each in requests for _ in range(self.processes)])
        for number, pack in enumerate(self.packs):
            own = answers[number * self.processes :][: self.processes]
            if own[0] is None:
                continue
            if len({digest for digest, _ in own}) > 1:
                raise differs(self.does[number])
            _fill(pack.state, own[0][1])

    def step_seconds(self) -> tuple[float, float] | str:
        """What a step takes the quickest process for its own rows, and the slowest until all is exchanged; measured.

        Or why the processes of a pack do not reach each other.
        """
        count = len(self.packs) * self.processes
        self.actors.ask([PLACED] * count)  # for what is not there the others would wait
        answers = self.actors.ask([MEASURE] * count)
        if reasons := [each for each in answers if isinstance(each, str)]:
            return reasons[0]
        return min(own for own, _ in answers), max(until_all for _, until_all in answers)


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

    def answer(request: Any) -> Any:
        if request == PLACED:
            return None
        try:
            if meeting and not pack.gradients.team:
                pack.gradients.team = Team(meeting)
            if request == MEASURE:
                return pack.team_seconds()
            pack.train_epoch(*request)
        except PeerLostError as error:
            return reason_of(error) if request == MEASURE else PeerLost(reason_of(error))
        return _digest(state), _arrays(state) if meeting is None or meeting.rank == 0 else []

    return answer


def _digest(state: PackState) -> str:
    """Of the weights, which all processes of a team must have."""
    found = hashlib.sha256()
    for group in state.groups:
        found.update(group.weights.cpu().numpy().tobytes())
    return found.hexdigest()


def _arrays(state: PackState) -> Arrays:
    return [tensor.cpu().numpy() for tensor in state.tensors()]


def _fill(state: PackState, arrays: Arrays) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tensor, array in zip(state.tensors(), arrays, strict=True):
            tensor.copy_(torch.from_numpy(array))
