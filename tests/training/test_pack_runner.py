"""Where a training run trains, and in how many packs: what is quicker, as far as that can be told beforehand."""

import pytest
import torch

from retrace.networks.entrance import Shape
from retrace.networks.mlp import MLP
from retrace.training import pack_runner
from retrace.training.cluster_packs import Nodes
from retrace.training.members import members_of
from retrace.training.pack import Data
from retrace.training.rows import Rows
from tests.cluster import cluster_of
from tests.conftest import train_section
from tests.networks.test_arithmetic import description
from tests.training.test_packs import CPU

NUMBERS = 30


def arguments(rows, hidden, **changes):
    """What packs_worth_having is asked with, but for the nodes."""
    section = train_section(hidden=hidden, **changes)
    classes = (torch.zeros(count, dtype=torch.int16) for count in (rows, 100))
    data = Data(*(Rows(torch.empty(len(y), NUMBERS), y) for y in classes), torch.tensor([rows, 0]))
    network = MLP(section.replicas, Shape([NUMBERS, *hidden, 1], "relu"))
    return network, data, members_of(section), CPU


def nodes_of(hidden, *nodes):
    """nodes: cores, and GiB of memory."""
    cluster = cluster_of(*((cores, gigabytes << 30) for cores, gigabytes in nodes))
    return Nodes(cluster, description(hidden, NUMBERS))


def test_processes_are_made_where_they_pay(monkeypatch):
    def packs(cores, rows, hidden, replicas=16, epochs=10):
        monkeypatch.setattr(pack_runner, "cores", lambda: cores)
        return pack_runner.packs_worth_having(*arguments(rows, hidden, replicas=replicas, epochs=epochs))

    assert packs(2, 100_000, [128, 128]) == 2
    assert packs(16, 100_000, [128, 128]) == 16
    assert packs(16, 100_000, [128, 128], replicas=3) == 3
    assert packs(1, 100_000, [128, 128]) == 1
    assert packs(2, 600, [10], replicas=8, epochs=100) == 1
    assert packs(2, 600, [10], replicas=1024, epochs=1) == 1


SHORT = {"hidden": [64, 64], "batch_size": 32, "replicas": 64, "epochs": 3000}
LONG = {"hidden": [128, 128], "batch_size": 128, "replicas": 64, "epochs": 10}
WIDE = {"hidden": [512, 512], "batch_size": 4096, "replicas": 1, "epochs": 10}


@pytest.mark.parametrize(
    ("here", "rows", "section", "nodes", "there"),
    [
        (16, 2_000, SHORT, [(16, 64)] * 3, False),  # nodes lose with asking what they gain
        (2, 2_000, SHORT, [(16, 64)] * 3, True),
        (16, 1_000_000, LONG, [(16, 64)] * 3, True),
        (16, 1_000_000, LONG, [(8, 64)], False),
        (2, 100_000, WIDE, [(4, 64)] * 2, True),  # whether sharing steps pays is measured there
        (8, 100_000, WIDE, [(2, 64)], False),
    ],
)
def test_nodes_train_what_they_train_no_slower(here, rows, section, nodes, there, monkeypatch, capsys):
    monkeypatch.setattr(pack_runner, "cores", lambda: here)
    given = arguments(rows, **section)
    runner = pack_runner.PackRunner(*given, nodes_of(section["hidden"], *nodes))
    assert (runner.nodes is not None) is there
    assert capsys.readouterr().out.startswith("train: trained here, which takes some ") is not there
    if not there:
        assert runner.count == pack_runner.packs_worth_having(*given)


def test_on_nodes_there_are_as_many_packs_as_find_room():
    """A replica and its rows take little, but for the validation rows' outputs and a large batch."""
    section = {**LONG, "batch_size": 100_000}

    def packs(*nodes):
        return pack_runner.packs_worth_having(*arguments(200_000, **section), nodes_of(section["hidden"], *nodes))

    assert packs(*[(16, 512)] * 2) == 32
    few = packs(*[(16, 8)] * 2)
    assert 1 < few < 32
    assert few <= packs(*[(16, 12)] * 2) <= 32


def test_nodes_have_the_rows_once():
    """However many packs a node has: they share them."""
    _, data, members, device = arguments(1_000_000, **LONG)
    share = nodes_of(LONG["hidden"], (16, 64)).share(data, members[0].section, device, 16, 4)
    assert share.memory < 4 * NUMBERS * 1_000_000
