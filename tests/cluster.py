"""A real Ray cluster of several nodes on this machine, in a process of its own, for tests."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self

import psutil
import pytest

from retrace.runtime.cluster import Cluster
from tests import warm
from tests.conftest import ROOT

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed; run: make setup EXTRAS=ray"
)

# Does what it is told, a line of JSON at a time, until nobody tells it anything any more.
SERVER = """
import json, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": int(sys.argv[1]), "include_dashboard": False})
nodes = []
print(cluster.address, flush=True)
for line in sys.stdin:
    what = json.loads(line)
    if "add" in what:
        nodes.append(cluster.add_node(num_cpus=1, **what["add"]))
    elif "remove" in what:
        cluster.remove_node(nodes.pop(what["remove"]), allow_graceful=False)
    else:
        cluster.head_node.kill_gcs_server(check_alive=False)
    print("done", flush=True)
cluster.shutdown()
"""

# A node that is gone is missed after two seconds in place of twenty, and one that is only slow in no less than before.
MISSED_SOON = {
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "4",
}

# Stages ask a cluster however little there is to do, and share out what there is to all cores.
EAGER = """
import sys
from retrace.runtime import cluster
from retrace.training import pack_runner
cluster.WORTH_JOINING_SECONDS = pack_runner.NODE_ASKING_SECONDS = 0
"""


def start(
    code: str, cluster: "RayCluster | None" = None, *arguments: str, folder: Any = ROOT, **variables: str
) -> subprocess.Popen[str]:
    """Python code in a process of its own, one core of this machine or all of the cluster's.

    What needs no cluster is forked (tests/warm.py): the bytes with which those of the cluster are compared.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RETRACE_WORKERS": "1"}
    environment.pop("RAY_ADDRESS", None)
    if cluster:
        environment["RAY_ADDRESS"] = cluster.address
    environment |= variables
    return subprocess.Popen(
        [sys.executable if "RAY_ADDRESS" in environment else warm.forked(), "-c", code, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stage(name: str, eager: bool = True) -> str:
    """As `python -m stages.NAME`."""
    return (
        f"{EAGER if eager else ''}\nfrom stages import {name}\nfrom retrace.runtime.run import run\nrun({name}.main)\n"
    )


def processes_of(cluster: "RayCluster", kind: str) -> list[psutil.Process]:
    """Those in which nodes do work of a kind: `ray::KIND`."""
    children = psutil.Process(cluster.process.pid).children(recursive=True)
    found = []
    for child in children:
        try:
            if child.cmdline()[:1] and kind in child.cmdline()[0]:
                found.append(child)
        except psutil.Error:  # it ended meanwhile
            pass
    return found


def all_end(cluster: "RayCluster", kind: str) -> bool:
    """Whether they do, soon: Ray kills them when it gets to it."""
    deadline = time.monotonic() + 30
    while processes_of(cluster, kind) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not processes_of(cluster, kind)


def cluster_of(*nodes: tuple[int, int]) -> Cluster:
    """One that is asked only what its nodes have: cores, and bytes of memory."""
    found = Cluster.__new__(Cluster)
    found.resource = "CPU"
    found.nodes = [{"Resources": {"CPU": cores, "memory": memory}} for cores, memory in nodes]
    return found


class RayCluster:
    """nodes: a core each, the head among them, which may have another number of them."""

    def __init__(self, nodes: int, head_cores: int = 1):
        self.nodes, self.head_cores = nodes, head_cores

    def __enter__(self) -> Self:
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **MISSED_SOON}
        environment.pop("RAY_ADDRESS", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self.head_cores)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        for _ in range(self.nodes - 1):
            self.add()
        return self

    def _tell(self, **what: Any) -> None:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(what), file=self.process.stdin, flush=True)
        while (line := self.process.stdout.readline()) != "done\n":
            assert line, "the cluster is gone"

    def add(self, **options: Any) -> None:
        """options: as ray.cluster_utils.Cluster.add_node has them."""
        self._tell(add=options)

    def remove(self, place: int = 0) -> None:
        """Kill a node: the oldest one but the head, or another by its place."""
        self._tell(remove=place)

    def behead(self) -> None:
        self._tell(behead=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        children = psutil.Process(self.process.pid).children(recursive=True)
        try:
            self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for child in children:
            if child.is_running():
                child.kill()
