"""Trainings and studies on a real Ray cluster: the bytes of this machine, whatever becomes of nodes."""

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cluster import EAGER, RayCluster, all_end, needs_ray, processes_of, stage, start
from tests.conftest import ROOT
from tests.faults.test_resume import FOLDER, digests, make, there, untrained
from tests.project import finished, turn
from tests.test_study import SMALL, forget, written
from tests.test_train import as_before  # noqa: F401 - a fixture

pytestmark = needs_ray
EPOCHS = 80
# How long that takes depends on what else the machine does.
MEASURED = """
from retrace.training.cluster_packs import ClusterPacks
measured = ClusterPacks.step_seconds
ClusterPacks.step_seconds = lambda packs: (measured(packs), ({}, {}))[1]
"""


@pytest.fixture(scope="module")
def cluster():
    with RayCluster(3) as made:
        yield made


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Trained here, which nothing ended."""
    folder = make(
        tmp_path_factory.mktemp("cluster") / "whole", "mean", epochs=EPOCHS, patience="null", replicas=7, batch_size=4
    )
    ended(start(stage("train"), folder=folder))
    return folder


def ended(process: subprocess.Popen[str], status: int = 0) -> str:
    _, said = process.communicate(timeout=300)
    assert process.returncode == status, said
    return said


def at_work(cluster: RayCluster, process: subprocess.Popen[str], folder: Path, actors: int = 3) -> None:
    """Waits until packs train on nodes."""
    deadline = time.monotonic() + 120
    while len(processes_of(cluster, "_Actor")) < actors or not list(folder.glob(f"{FOLDER}/*/last.checkpoint")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_nodes_give_the_bytes_of_one_machine_also_when_one_is_killed_and_another_joins(whole, cluster, tmp_path):
    many = untrained(whole, tmp_path / "many")
    process = start(stage("train"), cluster, folder=many)
    at_work(cluster, process, many)
    cluster.remove()
    cluster.add()
    said = ended(process)
    assert re.search(
        r"^train: replicas \d to \d: its process on the cluster was lost; resumes in another one$", said, re.MULTILINE
    )
    assert digests(many) == digests(whole)


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """As `whole`, of a single replica with large steps."""
    folder = tmp_path_factory.mktemp("cluster") / "large"
    wide = {"hidden": "[192, 192]", "batch_size": 2500, "replicas": 1, "learning_rate": 0.001}
    make(folder, "mean", epochs=60, count=10_000, patience="null", **wide)
    ended(start(stage("train"), folder=folder))
    return folder


def test_nodes_share_the_steps_of_one_replica_also_when_one_is_killed(large, cluster, tmp_path):
    """Each computes some of the rows."""
    many = untrained(large, tmp_path / "many")
    process = start(EAGER + MEASURED.format(0.03, 0.04) + stage("train"), cluster, folder=many)
    at_work(cluster, process, many, actors=2)
    processes_of(cluster, "_Actor")[1].kill()
    said = ended(process)
    assert re.search(
        r"^train: replica 0: its process on the cluster was lost; resumes in another one$", said, re.MULTILINE
    )
    assert digests(many) == digests(large)


def test_where_an_exchange_takes_longer_than_it_saves_one_machine_trains(large, cluster, tmp_path):
    one = untrained(large, tmp_path / "one")
    process = start(EAGER + MEASURED.format(0.03, 0.5) + stage("train"), cluster, folder=one)
    out, said = process.communicate(timeout=100)
    assert (process.returncode, said) == (0, "")
    assert re.search(
        r"^train: steps are not shared by 2 processes on nodes: with the exchange of gradients one takes 500 ms,"
        " and 60 ms without$",
        out,
        re.MULTILINE,
    )
    assert "train: trained here: the nodes have no more cores for a single network than this machine" in out
    assert digests(one) == digests(large)


CLOSED = """
import socket
from retrace.training import cluster_packs
closed = socket.socket()
closed.bind(("", 0))
cluster_packs.MEETING_SECONDS = 2
cluster_packs.store_for_meetings = lambda host: type("Store", (), {"port": closed.getsockname()[1]})
"""


def test_where_ports_are_closed_one_machine_trains(large, cluster, tmp_path):
    one = untrained(large, tmp_path / "one")
    process = start(EAGER + CLOSED + stage("train"), cluster, folder=one)
    out, said = process.communicate(timeout=100)
    assert (process.returncode, said) == (0, "")
    assert "train: steps are not shared by processes on nodes, which do not reach each other; open all ports" in out
    assert "train: trained here: the nodes have no more cores for a single network than this machine" in out
    assert all_end(cluster, "_Actor")
    assert digests(one) == digests(large)


def test_a_replica_with_small_steps_is_trained_here(whole, cluster, tmp_path):
    single = untrained(whole, tmp_path / "single")
    turn(single, {"train.replicas": 1})
    out, _ = start(stage("train"), cluster, folder=single).communicate(timeout=100)
    assert "train: a single replica is trained here: its steps are too small to be shared" in out.splitlines()


def test_begun_on_nodes_it_goes_on_here(whole, cluster, tmp_path):
    cut = untrained(whole, tmp_path / "cut")
    process = start(stage("train"), cluster, folder=cut)
    at_work(cluster, process, cut)
    process.send_signal(signal.SIGINT)
    said = ended(process, 130)
    assert "train: ends after this epoch, which is saved; again, and it ends at once" in said.splitlines()
    assert there(cut) == []
    assert all_end(cluster, "_Actor")
    ended(start(stage("train"), folder=cut))
    assert digests(cut) == digests(whole)


def test_a_study_on_nodes_has_the_bytes_of_one_here(cluster, tmp_path):
    folder = finished(tmp_path / "small one")
    turn(folder, SMALL)
    ended(start(stage("study"), folder=folder))
    before = written(folder)
    forget(folder)
    process = start(stage("study"), cluster, folder=folder)
    out, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (0, "")
    assert "study: on 3 nodes of the cluster at " in out
    assert written(folder) == before


def test_little_work_is_done_here(whole, cluster, tmp_path):
    """And Ray is not even loaded."""
    few = untrained(whole, tmp_path / "few")
    code = "import sys\nsys.modules['ray'] = None\n" + stage("train", eager=False)
    process = start(code, cluster, folder=few)
    said, wrong = process.communicate(timeout=100)
    assert process.returncode == 0, wrong
    assert re.search(r"^train: some \d+ s of work, done here; a cluster is asked from 30 s on$", said, re.MULTILINE)
    assert digests(few) == digests(whole)


def test_other_code_is_seen_and_so_are_other_bytes(whole, tmp_path):
    """What a node is compared by, asked in processes with the library, and with a copy that differs in a comment."""
    stale = tmp_path / "stale"
    shutil.copytree(ROOT / "retrace", stale / "retrace", ignore=shutil.ignore_patterns("__pycache__"))
    with open(stale / "retrace/training/pack.py", "a") as file:
        file.write("# another version\n")
    code = """
import json, sys
from retrace.artifacts.paths import TRAIN
from retrace.artifacts.schema import read_schema
from retrace.params.reader import read_verbatim
from retrace.params.train import Train
from retrace.training.cluster_packs import CODE_OF_PACKS
from retrace.training.node_check import NodeCheck
from retrace.training.rows import read_rows
from retrace.training.training_run import set_up
run = set_up(*read_verbatim(Train), read_schema())
rows = read_rows(TRAIN, run.schema, run.preprocessing)
check = NodeCheck.of(CODE_OF_PACKS, run.section, run.description, rows, run.device)
check.x[0, 0] += float(sys.argv[1])
print(json.dumps(check()))
"""

    def facts(*arguments: str, **variables: str) -> dict[str, str]:
        out, wrong = start(code, None, *arguments, folder=whole, **variables).communicate(timeout=100)
        return json.loads(out) if out else pytest.fail(wrong)

    ours = facts("0")
    assert facts("0") == ours
    theirs = facts("0", PYTHONPATH=str(stale))
    assert {name for name in ours if theirs[name] != ours[name]} == {"the code of retrace"}
    others = facts("0.001")
    assert {name for name in ours if others[name] != ours[name]} == {"the digest of a short training"}


@pytest.mark.parametrize("name", ["train", "study"])
def test_without_an_address_nothing_of_ray_is_asked_for(name, whole, tmp_path):
    """It is not there."""
    if name == "study":
        turn(folder := finished(tmp_path / "small one"), SMALL)
    else:
        folder = untrained(whole, tmp_path / "few")
    code = "import sys\nsys.modules['ray'] = None\n" + stage(name)
    assert "luster" not in ended(start(code, folder=folder))
