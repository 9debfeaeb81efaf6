"""What runs on a node of a Ray cluster: nothing before it is known that it computes as the machine does that asks."""

import re
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from retrace.runtime.workers import answered

Facts = dict[str, str]


class Mismatch(NamedTuple):
    """A node does not compute as this machine does; what: the first difference, or why it could not be asked."""

    node: str
    host: str
    what: str


def reason_of(error: Exception) -> str:
    """A line of what Ray says, without its colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())[:200]


class PeerLost(NamedTuple):
    """What a process answers that cannot go on without another one of its team; why: for the message."""

    why: str


_here: Facts | None = None


def mismatch_here(facts: Facts, check: Callable[[], Facts]) -> Mismatch | None:
    """On a node: how this process differs from the one that asks; once in its life it finds out."""
    global _here
    import ray

    node = ray.get_runtime_context().get_node_id()
    if _here is None:
        try:
            _here = check()
        except Exception as error:
            return Mismatch(node, socket.gethostname(), f"{type(error).__name__}: {reason_of(error)}")
    for name, value in facts.items():
        if _here.get(name) != value:
            return Mismatch(node, socket.gethostname(), f"{name} is {_here.get(name)}, and {value} here")
    return None


def run_checked(shared: tuple[Facts, Callable[[], Facts]], function: Callable[..., Any], *request: Any) -> Any:
    return mismatch_here(*shared) or answered(function, *request)


def nothing() -> None:
    return None
