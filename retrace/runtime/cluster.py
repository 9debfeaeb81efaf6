"""Work on the machines of a Ray cluster, where RAY_ADDRESS names one; no byte of a result tells.

A machine of the cluster, a node, is given work only if it computes as this one does: see `Cluster`. Work comes in two
forms, each with the interface that processes of this machine have (retrace/runtime/workers.py): `Tasks`, which any node
can do, and `Seats`, processes that keep what they are at work on from one request to the next.

Ray passes on what it is given as pickles, between processes that may run code on each other's machines anyway: who can
reach the ports of a cluster can do that, too (docs/cluster.md). Nothing that lies in a file is unpickled.
"""

import logging
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from retrace.runtime.errors import MACHINE_FAULT, UserError

ADDRESS = "RAY_ADDRESS"
INSTALL = "run: make setup EXTRAS=ray"
# Work that takes so long on this machine is worth joining a cluster, and starting processes there which import torch.
WORTHWHILE_SECONDS = 30.0
JOINING_SECONDS = 30.0
# A head that does not take a connection for so long is gone; Ray itself would end this process after a minute, without
# a word. And what is waited for a node that is asked for the first time, and for Ray to be left.
HEAD_SECONDS, NODE_SECONDS, LEAVING_SECONDS = 5.0, 60.0, 5.0
# How a client of HTTP/2 begins (RFC 9113, 3.4), with settings of which there are none; and the type of theirs.
SETTINGS = b"\4"
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS + b"\0\0\0\0\0"
# How long one waits for an answer before one looks whether the head is still there.
LOOK_SECONDS = 1.0
# Ray's own label of a node.
NODE = "ray.io/node-id"
# How often a request is asked again whose process was lost: what was killed twice is likely to be killed once more.
TRIES = 3

Facts = dict[str, str]


class Unlike(NamedTuple):
    """A node does not compute as this machine does; what: the first difference."""

    node: str
    host: str
    what: str


def _worth_joining(name: str, seconds: float) -> bool:
    """Whether a cluster is named, and work of so many seconds on this machine is worth it; says so where it is not."""
    if not os.environ.get(ADDRESS):
        return False
    if seconds < WORTHWHILE_SECONDS:
        print(f"{name}: some {seconds:,.0f} s of work, done here; a cluster is asked from {WORTHWHILE_SECONDS:g} s on")
        return False
    return True


class Cluster:
    """Within `with` this process is one of the cluster's.

    name: of the stage, for messages. likeness: computes what must be the same on a node as here, by name, and makes the
    process ready for the work; it must be importable there, since it is passed on by its name, with its arguments.
    on_gpus: whether a process takes a GPU and not a core. Raises UserError (status 4) where no cluster answers, and
    where no node of it computes as this machine does.
    """

    def __init__(self, name: str, likeness: Callable[[], Facts], on_gpus: bool = False):
        self.name, self.likeness, self.resource = name, likeness, "GPU" if on_gpus else "CPU"
        self.address = os.environ[ADDRESS]
        self.refused: set[str] = set()
        self.cores = self.memory = 0  # of all nodes, and bytes of the largest
        self._seen = time.monotonic()

    def __enter__(self) -> Self:
        _require_answer(self.address)
        try:
            import ray
        except ImportError:
            raise UserError(
                MACHINE_FAULT, f"{ADDRESS}={self.address}: Ray is not installed here; {INSTALL}, or unset {ADDRESS}"
            ) from None
        self.ray = ray
        if reason := in_time(self._join, JOINING_SECONDS):
            raise UserError(MACHINE_FAULT, f"{ADDRESS}={self.address}: {reason}; or unset {ADDRESS}")
        # What Ray would say of a lost process, in colours and on standard output, is said by who asked it.
        ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: None
        try:
            self.head = self.ray.get_runtime_context().gcs_address
            self.facts = self.likeness()
            self.shared = self.ray.put((self.facts, self.likeness))
            self.run = ray.remote(_run)
            self._ask_nodes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        in_time(self.ray.shutdown, LEAVING_SECONDS)

    def _join(self) -> None:
        self.ray.init(
            address=self.address,
            # The code that this process runs is the code that nodes run, whatever is installed there.
            runtime_env={"py_modules": [str(Path(__file__).parents[1])], "excludes": ["**/__pycache__"]},
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )

    def _ask_nodes(self) -> None:
        """Refuse nodes that compute otherwise; each is asked once, also where it has no core free."""
        nodes = self.nodes()
        asked = {self.submit(_nothing, (), {NODE: node["NodeID"]}, cores=0): node for node in nodes}
        self.ray.wait([*asked], num_returns=len(asked), timeout=NODE_SECONDS)
        for reference, node in asked.items():
            with suppress(self.ray.exceptions.RayError):
                answer = self.ray.get(reference, timeout=0)
                if isinstance(answer, Unlike):
                    self.refuse(answer)
                else:
                    self.cores += int(node["Resources"].get(self.resource, 0))
                    self.memory = max(self.memory, int(node["Resources"].get("memory", 0)))
        if not self.cores:
            where = f"{self.name}: no node of the cluster at {self.address}"
            raise UserError(
                MACHINE_FAULT, f"{where} has a {self.resource} and computes as this machine does; unset {ADDRESS}"
            )

    @property
    def said(self) -> str:
        nodes, cores = len(self.nodes()), f"{self.cores:,} {self.resource}{'s' if self.cores > 1 else ''}"
        return f"on {nodes:,} node{'s' if nodes > 1 else ''} of the cluster at {self.address}, {cores}"

    def nodes(self) -> list[dict[str, Any]]:
        """Those that are there, have what the work takes, and are not refused."""
        alive = [node for node in self.ray.nodes() if node["Alive"] and node["NodeID"] not in self.refused]
        return [node for node in alive if node["Resources"].get(self.resource, 0)]

    def refuse(self, unlike: Unlike) -> None:
        """Give this node no more work, and say so once."""
        if unlike.node not in self.refused:
            self.refused.add(unlike.node)
            print(f"{self.name}: {unlike.host} is given no work: {unlike.what}", file=sys.stderr)
        if not self.nodes():
            raise UserError(
                MACHINE_FAULT,
                f"{self.name}: no node of the cluster at {self.address} computes as this machine does (the last one,"
                f" {unlike.host}: {unlike.what}); install the same there, or unset {ADDRESS}",
            )

    def options(self, where: dict[str, str] | None, cores: float, memory: int) -> dict[str, Any]:
        """What Ray is told of a process; where: labels of its node, else any that is not refused.

        Raises UserError where no node has so many bytes of memory: Ray would wait for one.
        """
        if memory > self.memory:
            needed, there = (f"{size / 2**30:,.1f} GiB" for size in (memory, self.memory))
            raise UserError(
                MACHINE_FAULT,
                f"{self.name}: a pack takes {needed} of memory, and the largest node of the cluster gives {there} (ray"
                f" start --memory); lower train.batch_size, or unset {ADDRESS}",
            )
        if where is None:
            where = {NODE: f"!in({','.join(sorted(self.refused))})"} if self.refused else {}
        taken = {"num_gpus": cores, "num_cpus": 0} if self.resource == "GPU" else {"num_cpus": cores}
        return {**taken, "memory": memory, "label_selector": where, "max_retries": 0}

    def submit(
        self,
        function: Callable[..., Any],
        request: Iterable[Any],
        where: dict[str, str] | None = None,
        cores: float = 1,
        memory: int = 0,
    ) -> Any:
        """A reference to what the function answers, or to Unlike; what of the request was `put` arrives as it was."""
        return self.run.options(**self.options(where, cores, memory)).remote(self.shared, function, *request)

    def put(self, value: Any) -> Any:
        """A reference to the value; it travels to a node once, and its arrays are shared by the processes there."""
        return self.ray.put(value)

    def done(self, references: list[Any]) -> list[Any]:
        """Those of them that are answered, or lost, at the latest after a second; raises UserError for a dead head."""
        done, others = self.ray.wait(references, timeout=LOOK_SECONDS)
        if not done:
            self._require_head()
        # All at once: to ask for one after the other takes longer the more there are.
        return [*done, *(self.ray.wait(others, num_returns=len(others), timeout=0)[0] if others else ())]

    def _require_head(self) -> None:
        """Raise UserError where it has not answered for a while; called every second or so."""
        if not _silent(self.head):
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > HEAD_SECONDS:
            raise UserError(
                MACHINE_FAULT,
                f"{self.name}: the head of the cluster at {self.address} is gone; start it again, or unset {ADDRESS},"
                " then run the same again: it goes on with what is kept",
            )


@contextmanager
def joined(name: str, seconds: float, likeness: Callable[[], Facts], on_gpus: bool) -> Iterator[Cluster | None]:
    """A cluster, where one is named and work of so many seconds on this machine is worth it; arguments as Cluster's."""
    if not _worth_joining(name, seconds):
        yield None
        return
    with Cluster(name, likeness, on_gpus) as cluster:
        print(f"{name}: {cluster.said}")
        yield cluster


def _require_answer(address: str) -> None:
    """Raise UserError where nobody listens: Ray would try for a minute."""
    if address == "auto":  # of this machine
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isdigit():
        raise UserError(MACHINE_FAULT, f"{ADDRESS}={address}: must be HOST:PORT, as `ray start --head` prints it")
    if reason := _silent(address):
        raise UserError(
            MACHINE_FAULT,
            f"{ADDRESS}={address}: no head of a cluster answers there ({reason}); start it there: ray start --head"
            f" --port {port}, or unset {ADDRESS}",
        )


def _silent(address: str) -> str:
    """Why no head of a cluster can be there, "" where one may be: it speaks HTTP/2, and begins with its settings."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), HEAD_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":  # not so openly
                return ""
            connection.sendall(HELLO)
            found = connection.recv(9)
    except OSError as error:
        return error.strerror or str(error)
    return "" if found[3:4] == SETTINGS else "what listens there is no Ray"


def in_time(work: Callable[[], None], seconds: float) -> str:
    """Why it could not be done, or not in time; "" where it could. With a dead head Ray waits for a minute.

    In a thread of its own, in which Ray leaves alone what this process does at a signal.
    """
    reasons = ["its head does not answer any more; start it anew"]

    def do() -> None:
        try:
            work()
            reasons[0] = ""
        except Exception as error:
            reasons[0] = _reason(error)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(seconds)
    return reasons[0]


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "Version mismatch" in text:
        return f"another Ray or Python runs there ({text[:200]}); install the same on both"
    if isinstance(error, ConnectionError) or "node_ip" in text or "raylet" in text:
        return (
            "it cannot be joined from here: this machine must be one of its nodes (ray start --address with that"
            " address), and have its token, where it asks for one (RAY_AUTH_MODE=token)"
        )
    return f"the cluster cannot be joined ({text[:200]}); start it anew"


_here: Facts | None = None


def unlike_here(facts: Facts, likeness: Callable[[], Facts]) -> Unlike | None:
    """On a node: how this process differs from the one that asks; once in its life it finds out."""
    global _here
    import ray

    if _here is None:
        _here = likeness()
    for name, value in facts.items():
        if _here.get(name) != value:
            node = ray.get_runtime_context().get_node_id()
            return Unlike(node, socket.gethostname(), f"{name} is {_here.get(name)}, and {value} here")
    return None


def _run(shared: tuple[Facts, Callable[[], Facts]], function: Callable[..., Any], *request: Any) -> Any:
    return unlike_here(*shared) or answered(function, *request)


def answered(function: Callable[..., Any], *request: Any) -> tuple[Any, Exception | None]:
    """What it answers, and what it raises: of a kind that another process knows how to make."""
    try:
        return function(*request), None
    except UserError as error:
        return None, error
    except Exception as error:
        raised = RuntimeError(f"{type(error).__name__}: {error}")
        raised.add_note(traceback.format_exc())
        return None, raised


def _nothing() -> None:
    return None
