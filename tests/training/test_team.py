"""Processes that share the steps of a pack: the bytes of one, whatever the network; and how many of them do."""

import hashlib
import json
import os
import socket
import subprocess
import time

import pytest
import torch

from retrace.params.train import Train
from retrace.runtime.cluster import PROCESS_BYTES
from retrace.training import gradients
from retrace.training.cluster_packs import TEAMS, Share, sharing
from retrace.training.gradients import SHARDS
from retrace.training.members import members_of
from retrace.training.pack import Data, Pack, allocate
from retrace.training.team import Meeting, PeerLostError, Team, store_for_meetings
from retrace.training.validation import zeros_on
from tests import warm
from tests.cluster import cluster_of
from tests.conftest import ROOT
from tests.training.test_gradients import RECIPES, network_of, section_of
from tests.training.test_packs import CPU, rows

HOST, EPOCHS = "127.0.0.1", 3


def trained(section: Train, meeting: Meeting | None, threads: int) -> list[str]:
    """Digests of the weights and of all that a pack has learned, by this process with others of its team."""
    torch.set_num_threads(1)
    gradients.FEWEST_ROWS = gradients.FEWEST_FLOPS = 1
    data = Data(rows(300, 0, 3), rows(61, 1, 3), torch.tensor([100, 120, 80]))
    network, members = network_of(section), members_of(section)
    state = allocate(network, data, members, zeros_on(CPU), section.ship == "mean")
    pack = Pack(network, data, members, state, CPU, threads)
    assert pack.gradients.shards > 1
    if meeting:
        pack.gradients.team = Team(meeting)
        assert min(pack.team_seconds()) > 0, "and nothing is learned from it"
    for epoch in range(1, EPOCHS + 1):
        pack.train_epoch(epoch, [True] * len(members))
    weights = [group.weights for group in state.groups]
    return [
        hashlib.sha256(b"".join(each.numpy().tobytes() for each in some)).hexdigest()
        for some in (weights, state.tensors())
    ]


def processes(name: str, size: int) -> list[list[str]]:
    store = store_for_meetings(HOST)
    code = "import sys; from tests.training.test_team import main; main(*sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [warm.forked(), "-c", code, name, str(store.port), str(rank), str(size)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    return [json.loads(each.communicate(timeout=200)[0]) for each in started]


def main(name: str, port: str, rank: str, size: str) -> None:
    meeting = Meeting(HOST, int(port), name, int(rank), int(size)) if size != "1" else None
    print(json.dumps(trained(section_of(name, replicas=2), meeting, 1 + int(rank) % 2)))


@pytest.mark.parametrize("name", RECIPES)
def test_a_team_gives_the_bytes_of_one_process(name, cases):
    """Of one thread or two; the last step has fewer rows than there are shards."""
    [(weights, everything)] = processes(name, 1)
    for size in cases(TEAMS[1:3], TEAMS[1:]):
        first, *others = processes(name, size)
        assert first == [weights, everything]
        assert {found for found, _ in others} == {weights}


def test_where_the_others_do_not_answer_it_ends_soon():
    """The port of the store is closed, or nobody else comes, or there is no such machine."""
    with socket.socket() as closed:
        closed.bind((HOST, 0))
        store = store_for_meetings(HOST)
        for host, port in [(HOST, closed.getsockname()[1]), (HOST, store.port), ("no such host.", 1)]:
            started = time.monotonic()
            with pytest.raises(PeerLostError) as caught:
                Team(Meeting(host, port, "nobody", 0, 2, seconds=1))
            assert time.monotonic() - started < 60
            assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("nodes", "packs", "here", "expected"),
    [
        ([(4, 9)], 1, 2, []),  # threads of a node do
        ([(1, 9)] * 8, 1, 1, [(8, 1), (4, 1), (2, 1)]),
        ([(4, 9)] * 2, 1, 4, [(2, 4)]),  # as few as can be
        ([(2, 9)] * 3, 1, 2, [(2, 2)]),
        ([(2, 9)] * 3, 1, 8, []),  # this machine has more
        ([(8, 9)] * 4, 1, 2, []),  # a node has a core for each shard
        ([(4, 1)] * 2, 2, 0, []),  # of memory there is as much as for one a node
        ([(4, 9)] * 4, 2, 0, [(2, 4)]),
        ([(1, 0), (1, 1), (1, 1)], 1, 1, [(2, 1)]),  # one has no memory
    ],
)
def test_as_few_processes_share_a_step_as_have_the_most_cores(nodes, packs, here, expected):
    """nodes: cores, and processes for which there is memory."""
    cluster = cluster_of(*((cores, count * (PROCESS_BYTES + 1)) for cores, count in nodes))
    room = [Share(size, cluster.cores_each(packs * size, SHARDS // size, 1), 1) for size in TEAMS]
    assert [each[:2] for each in sharing(room, max(here, room[0].cores))] == expected
