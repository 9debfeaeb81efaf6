"""All outs of the graph and of a study, on one machine and on clusters whose nodes are killed at any moment."""

import re
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from ruamel.yaml import YAML

from campaigns.test_processors import PROCESSORS, QEMU
from tests.cluster import EAGER, RayCluster, needs_ray, stage, start
from tests.faults.test_resume import digests, make, untrained
from tests.project import TINY, copy_project, environment, finished, turn
from tests.test_study import SMALL, forget, written
from tests.test_train import as_before  # noqa: F401 - a fixture

pytestmark = needs_ray
# Work enough for a cluster, by the estimate of `train`.
LARGE = {**TINY, "create.rows": 6_000, "train.replicas": 12, "train.hidden": [128, 128], "train.epochs": 200}
LARGE |= {"train.optimizer.learning_rate": 0.01}
# A study whose packs take long enough to be under way when a node is killed.
LONG = {"train.epochs": 600, "train.hidden": [64, 64], "study.trials": 40}


def outs(folder: Path) -> dict[str, str]:
    stages = YAML(typ="safe").load(folder / "dvc.lock")["stages"]
    return {out["path"]: out["md5"] for each in stages.values() for out in each.get("outs", ())}


def repro(folder: Path, cluster: RayCluster | None = None) -> tuple[dict[str, str], str]:
    """All outs of a real `dvc repro`, nothing of which was made before, and what it said."""
    variables = {"RETRACE_WORKERS": "1"} | ({"RAY_ADDRESS": cluster.address} if cluster else {})
    command = ["dvc", "repro", "--force", "--no-run-cache"]
    done = subprocess.run(command, cwd=folder, env=environment() | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return outs(folder), done.stdout


def test_every_out_of_the_graph_is_the_same_on_one_two_and_three_nodes(tmp_path, cases):
    folder = copy_project(tmp_path / "large", LARGE)
    before, _ = repro(folder)
    assert len(before) > 30
    for nodes in cases((2,), (1, 2, 3)):
        with RayCluster(nodes) as cluster:
            after, said = repro(folder, cluster)
        assert f"on {nodes} node" in said
        assert after == before


@pytest.mark.parametrize("what", ["train", "study"])
def test_nodes_may_be_killed_at_any_moment(what, tmp_path, cases):
    """And others join."""
    random = np.random.default_rng(cases(0, None))
    if what == "study":
        folder = finished(tmp_path / "small one")
        turn(folder, SMALL | LONG)
    else:
        folder = make(tmp_path / "whole", "mean", epochs=80, patience="null", replicas=7, batch_size=4)
    started = time.monotonic()
    process = start(stage(what), folder=folder)
    assert process.wait(300) == 0
    seconds, before = time.monotonic() - started, written(folder) if what == "study" else digests(folder)
    lost = 0
    with RayCluster(3) as cluster:
        for number in range(cases(2, 20)):
            if what == "study":
                forget(folder)
            one = folder if what == "study" else untrained(folder, tmp_path / str(number))
            process = start(stage(what), cluster, folder=one)
            time.sleep(random.uniform(5, 12 + seconds / 3))
            cluster.remove()
            cluster.add()
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
            lost += "was lost" in said
            assert (written(one) if what == "study" else digests(one)) == before
    assert lost >= cases(0, 5), "some of them while it was under way"


@pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 (Debian's qemu-user)")
def test_nodes_with_other_processors_give_the_same_bytes(tmp_path):
    """One process here, one on an Intel without AVX-512, one on an AMD; the settings for small networks allow it."""
    folder = make(tmp_path / "whole", "mean", epochs=5, patience="null")
    process = start(stage("train"), folder=folder)
    assert process.wait(300) == 0
    mixed = f"""
kinds = iter(["", *{PROCESSORS}])
options = cluster.Cluster.options
def on_another(self, where, cores, memory):
    found, kind = options(self, where, cores, memory), next(kinds) if cores else ""
    if kind:
        found["runtime_env"] = {{"py_executable": f"{QEMU} -cpu {{kind}} {{sys.executable}}"}}
    return found
cluster.Cluster.options = on_another
"""
    many = untrained(folder, tmp_path / "many")
    with RayCluster(3) as cluster:
        process = start(EAGER + mixed + stage("train", eager=False), cluster, folder=many)
        emulated = set()
        while process.poll() is None:
            found = psutil.Process(cluster.process.pid).children(recursive=True)
            emulated |= {each.pid for each in found if each.name().startswith("qemu")}
            time.sleep(1)
        out, said = process.communicate()
    assert process.returncode == 0, said
    assert "on 3 nodes" in out
    assert len(emulated) >= len(PROCESSORS)
    # Each did its part, and none was replaced by a process of this processor.
    assert not re.search("given no work|lost|shares", said), said
    assert digests(many) == digests(folder)
