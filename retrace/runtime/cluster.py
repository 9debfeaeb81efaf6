"""Work on the machines of a Ray cluster, where RAY_ADDRESS names one; no byte of a result tells.

A machine of the cluster, a node, is given work only if it computes as this one does: see `Cluster`. What is done there
is in cluster_work.py.

Ray passes on what it is given as pickles, between processes that may run code on each other's machines anyway: who can
reach the ports of a cluster can do that, too (docs/cluster.md). Nothing that lies in a file is unpickled.
"""

import logging
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from retrace.runtime.cluster_address import ADDRESS, HEAD_SECONDS, require_answer, silent
from retrace.runtime.cluster_node import Facts, Mismatch, nothing, reason_of, run_checked
from retrace.runtime.errors import MACHINE_FAULT, UserError

INSTALL = "run: make setup EXTRAS=ray"
# Work that takes so long on this machine is worth joining a cluster, and starting processes there which import torch.
WORTH_JOINING_SECONDS = 30.0
JOINING_SECONDS = 30.0
# What is waited for a node that is asked for the first time, for nodes when none is left, and for Ray when work ends.
NODE_SECONDS, NO_NODE_SECONDS, LEAVING_SECONDS = 60.0, 20.0, 5.0
# How long one waits for an answer before one looks whether head and nodes are still there.
LOOK_SECONDS = 1.0
# Ray's own label of a node.
NODE = "ray.io/node-id"
# Of memory, what a process takes that has loaded torch and Ray, before it does anything.
PROCESS_BYTES = 400 << 20


class Cluster:
    """Within `with` this process is one of the cluster's.

    name: of the stage, for messages. check: computes what must be the same on a node as here, by name, and makes the
    process ready for the work; it must be importable there, since it is passed on by its name, with its arguments.
    on_gpus: whether a process takes a GPU and not a core. Raises UserError (status 4) where no cluster answers, and
    where no node of it computes as this machine does.
    """

    def __init__(self, name: str, check: Callable[[], Facts], on_gpus: bool = False):
        self.name, self.check, self.resource = name, check, "GPU" if on_gpus else "CPU"
        self.address = os.environ[ADDRESS]
        self.refused: dict[str, Mismatch] = {}
        self.nodes: list[dict[str, Any]] = []
        self._looked = self._none_since = self._silent_since = 0.0

    def __enter__(self) -> Self:
        require_answer(self.address)
        try:
            import ray
        except ImportError:
            raise UserError(
                MACHINE_FAULT, f"{ADDRESS}={self.address}: Ray is not installed here; {INSTALL}, or unset {ADDRESS}"
            ) from None
        self.ray = ray
        if reason := within(JOINING_SECONDS, self._join):
            raise UserError(MACHINE_FAULT, f"{ADDRESS}={self.address}: {reason}; or unset {ADDRESS}")
        # What Ray would say of a lost process, in colours and on standard output, is said by who asked it.
        ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: None
        try:
            self.head = self.ray.get_runtime_context().gcs_address
            self.shared = self.put((self.check(), self.check))
            self.run = ray.remote(run_checked)
            self._check_nodes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        within(LEAVING_SECONDS, self.ray.shutdown)

    def _join(self) -> None:
        # The code that this process runs is the code that nodes run, whatever is installed there.
        environment: dict[str, Any] = {"py_modules": [str(Path(__file__).parents[1])], "excludes": ["**/__pycache__"]}
        # Ray passes it to a shell as it is. (Another node must have it at the same place then.)
        if (python := shlex.quote(sys.executable)) != sys.executable:
            environment["py_executable"] = python
        self.ray.init(
            address=self.address,
            runtime_env=environment,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )

    @property
    def cores(self) -> int:
        """Processes that the nodes have room for, one a core, or one a GPU."""
        return sum(
            min(int(node["Resources"][self.resource]), int(node["Resources"].get("memory", 0) // PROCESS_BYTES))
            for node in self.nodes
        )

    @property
    def free(self) -> int:
        """Of the cores, or GPUs, those that nothing keeps at this moment."""
        return int(self.ray.available_resources().get(self.resource, 0))

    def put(self, content: Any) -> Any:
        """A reference, for requests: it travels to a node once, whose processes share its arrays."""
        try:
            return self.ray.put(content)
        except (self.ray.exceptions.ObjectStoreFullError, self.ray.exceptions.OutOfDiskError) as error:
            fix = f"give it more (ray start --object-store-memory), free some of its disk, or unset {ADDRESS}"
            reason = f"Ray has no room for the rows on this machine ({reason_of(error)})"
            raise UserError(MACHINE_FAULT, f"{self.name}: {reason}; {fix}") from None

    def cores_each(self, processes: int, most: int, memory: int) -> int:
        """How many cores each of so many processes can have, up to `most`, so that all find room; 0: they do not.

        memory: bytes of each beside those of the process itself. Of GPUs each has one.
        """
        if self.resource == "GPU":
            return min(most, int(processes <= self.cores))
        most_of_node = [int(node["Resources"].get("memory", 0)) // (memory + PROCESS_BYTES) for node in self.nodes]
        nodes = [*zip((int(node["Resources"]["CPU"]) for node in self.nodes), most_of_node, strict=True)]
        found = [each for each in range(1, most + 1) if sum(min(of // each, top) for of, top in nodes) >= processes]
        return max(found, default=0)

    @property
    def said(self) -> str:
        nodes, cores = len(self.nodes), f"{self.cores:,} {self.resource}{'s' if self.cores > 1 else ''}"
        return f"on {nodes:,} node{'s' if nodes > 1 else ''} of the cluster at {self.address}, {cores}"

    def _check_nodes(self) -> None:
        """Each once, also where it has no core free."""
        self._look()
        asked = {self.submit(nothing, (), {NODE: node["NodeID"]}, cores=0): node for node in self.nodes}
        if asked:
            self.ray.wait([*asked], num_returns=len(asked), timeout=NODE_SECONDS)
        for reference, node in asked.items():
            here = node["NodeID"], node["NodeManagerHostname"]
            try:
                answer = self.ray.get(reference, timeout=0)
            except self.ray.exceptions.GetTimeoutError:
                answer = Mismatch(*here, f"no answer in {NODE_SECONDS:g} s")
            except (self.ray.exceptions.TaskUnschedulableError, self.ray.exceptions.NodeDiedError):
                self.refused[here[0]] = Mismatch(*here, "it is gone")  # which the head does not know at once
                continue
            except self.ray.exceptions.RayError as error:
                answer = Mismatch(*here, reason_of(error))
            if isinstance(answer, Mismatch):
                self.refuse(answer)
        self._look()
        if not self.nodes:
            raise self._no_node()

    def _look(self) -> None:
        """See which nodes are there, have what the work takes, and are not refused."""
        self._looked = time.monotonic()
        alive = [node for node in self.ray.nodes() if node["Alive"] and node["NodeID"] not in self.refused]
        self.nodes = [node for node in alive if node["Resources"].get(self.resource, 0)]

    def refuse(self, mismatch: Mismatch) -> None:
        """Give this node no more work, and say so once. Raises UserError where no other one is left."""
        if mismatch.node not in self.refused:
            self.refused[mismatch.node] = mismatch
            print(f"{self.name}: {mismatch.host} is given no work: {mismatch.what}", file=sys.stderr)
        self._look()
        if not self.nodes:
            raise self._no_node()

    def _no_node(self) -> UserError:
        fix = "set train.device: cpu, or unset" if self.resource == "GPU" else "unset"
        if self.refused:
            last = [*self.refused.values()][-1]
            why = f"computes as this machine does (the last one, {last.host}: {last.what}); install the same there, or"
        else:
            why = f"has a {self.resource} to give; start one there (ray start --address), or"
        return UserError(MACHINE_FAULT, f"{self.name}: no node of the cluster at {self.address} {why} {fix} {ADDRESS}")

    def options(self, where: dict[str, str], cores: float, memory: int) -> dict[str, Any]:
        """Of a process, for Ray. where: labels of its node, on top of that it is not a refused one.

        memory: bytes beside those of the process itself. Raises UserError where no node has so many: Ray would wait.
        """
        memory += PROCESS_BYTES if cores or memory else 0
        largest = max((int(node["Resources"].get("memory", 0)) for node in self.nodes), default=memory)
        if memory > largest:
            needed, there = (f"{size / 2**30:,.1f} GiB" for size in (memory, largest))
            raise UserError(
                MACHINE_FAULT,
                f"{self.name}: a pack takes {needed} of memory, and the largest node of the cluster gives {there} (ray"
                f" start --memory); lower train.batch_size, or unset {ADDRESS}",
            )
        if self.refused and NODE not in where:
            where = {**where, NODE: f"!in({','.join(sorted(self.refused))})"}
        taken = {"num_gpus": cores, "num_cpus": 0} if self.resource == "GPU" else {"num_cpus": cores}
        return {**taken, "memory": memory, "label_selector": where}

    def submit(
        self,
        function: Callable[..., Any],
        request: Iterable[Any],
        where: dict[str, str] | None = None,
        cores: float = 1,
        memory: int = 0,
        spread: bool = False,
    ) -> Any:
        """A reference to (what the function answers, what it raises), or to a Mismatch.

        What of the request was `put` into the cluster arrives as it was, its arrays shared by a node's processes.
        where, cores, memory: as `options` has them; spread: on another node than others, if there is one.
        """
        options = self.options(where or {}, cores, memory) | {"max_retries": 0}
        if spread:
            options["scheduling_strategy"] = "SPREAD"
        return self.run.options(**options).remote(self.shared, function, *request)

    def done(self, references: list[Any]) -> list[Any]:
        """Those of them that are answered, or lost, at the latest after a second.

        Raises UserError where the head is gone, or no node is left.
        """
        done, others = self.ray.wait(references, timeout=LOOK_SECONDS)
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._require_head()
            self._require_nodes()
        # All at once: to ask for one after the other takes longer the more there are.
        return [*done, *(self.ray.wait(others, num_returns=len(others), timeout=0)[0] if others else ())]

    def _require_head(self) -> None:
        now = time.monotonic()
        if not silent(self.head):
            self._silent_since = 0.0
            return
        self._silent_since = self._silent_since or now
        if now - self._silent_since > HEAD_SECONDS:
            raise UserError(
                MACHINE_FAULT,
                f"{self.name}: the head of the cluster at {self.address} is gone; start it again, or unset {ADDRESS},"
                " then run the same again: it goes on with what is kept",
            )

    def _require_nodes(self) -> None:
        if self._silent_since:  # who could tell is not there
            self._looked = time.monotonic()
            return
        self._look()
        if self.nodes:
            self._none_since = 0.0
            return
        self._none_since = self._none_since or self._looked
        if self._looked - self._none_since > NO_NODE_SECONDS:
            raise self._no_node()


@contextmanager
def joined(name: str, seconds: float, check: Callable[[], Facts], on_gpus: bool) -> Iterator[Cluster | None]:
    """A cluster, where one is named and work of so many seconds on this machine is worth it; arguments as Cluster's."""
    if not os.environ.get(ADDRESS):
        yield None
    elif seconds < WORTH_JOINING_SECONDS:
        print(
            f"{name}: some {seconds:,.0f} s of work, done here; a cluster is asked from {WORTH_JOINING_SECONDS:g} s on"
        )
        yield None
    else:
        with Cluster(name, check, on_gpus) as cluster:
            print(f"{name}: {cluster.said}")
            yield cluster


def within(seconds: float, work: Callable[[], None]) -> str:
    """Why it could not be done, or not in that time; "" where it could. With a dead head Ray waits for a minute.

    In a thread of its own, in which Ray leaves alone what this process does at a signal.
    """
    reasons = ["its head does not answer any more; start it anew"]

    def do() -> None:
        try:
            work()
            reasons[0] = ""
        except Exception as error:
            reasons[0] = _why_not_joined(error)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(seconds)
    return reasons[0]


def _why_not_joined(error: Exception) -> str:
    text = reason_of(error)
    if "Version mismatch" in text:
        return f"another Ray or Python runs there ({text}); install the same on both"
    if isinstance(error, ConnectionError) or "node_ip" in text or "raylet" in text:
        own = "this machine must be one of its nodes (ray start --address with that address)"
        return f"it cannot be joined from here: {own}, and have its token, where it asks for one (RAY_AUTH_MODE=token)"
    return f"the cluster cannot be joined ({text}); start it anew"
