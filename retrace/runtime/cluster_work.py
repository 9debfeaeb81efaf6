"""Work on a cluster: what any node can do, and what goes on in one process from one request to the next.

Interfaces and errors are those of this machine's own processes (Workers.each and Workers.ask).
"""

import copy
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Self

from retrace.runtime.cluster import LEAVING_SECONDS, PROCESS_BYTES, Cluster, within
from retrace.runtime.cluster_node import Facts, Mismatch, PeerLost, mismatch_here, reason_of
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.runtime.workers import answered, first_of

# How often a request is made whose process is lost: what was killed twice is likely to be killed once more.
ATTEMPTS = 3
# Requests under way beyond one a core, so that none waits for the next one; more would be kept in memory for nothing.
AHEAD = 2
# A request is made a second time where a core is idle and it takes so many times as long as others did, and so many
# seconds: its node may be slow, or about to go.
LATE, LATE_SECONDS = 2.0, 1.0
# What is waited at the end for second answers, to compare them with the first ones.
LAST_SECONDS = 0.5
# A process for which no core gets free for so long is put beside others, and given up where no memory gets free, too.
PLACING_SECONDS = 90.0


class Request(NamedTuple):
    """arguments: of the function; what of them was put into the cluster travels once; memory: bytes that it takes."""

    arguments: tuple[Any, ...]
    memory: int = 0


class Tasks:
    """Asks any node what the function answers to requests.

    digest: of an answer; where a request was answered twice, both must have the same (contract 7).
    """

    def __init__(self, cluster: Cluster, function: Callable[..., Any], digest: Callable[[Any], str]):
        self.cluster, self.function, self.digest = cluster, function, digest
        self.running: dict[Any, int] = {}
        self.begun: dict[Any, float] = {}

    def each(
        self, requests: Sequence[Any], does: Sequence[str], made: Callable[[Any], Request]
    ) -> Generator[tuple[int, Any], None, None]:
        """Answers as they come: (place of the request, answer). Raises what the function raises.

        made: of a request what is sent, when it is sent. One whose process or node is lost is made again, ATTEMPTS
        times in all; then UserError (status 4), with what it does. UserError, too, where two answers to a request
        differ, where no node has so much memory, and as Cluster.done.
        """
        waiting, lost = deque(range(len(requests))), Counter[int]()
        answers, twins, took = dict[int, str](), set[int](), list[float]()
        try:
            while len(answers) < len(requests) or self._worth_waiting():
                while waiting and len(self.running) < self.cluster.cores + AHEAD:
                    place = waiting.popleft()
                    self._submit(place, made(requests[place]), spread=lost[place] > 0)
                for place in self._late(twins, took) if not waiting else ():
                    twins.add(place)
                    self._submit(place, made(requests[place]), spread=True)
                for reference in self.cluster.done([*self.running]):
                    place, seconds = self.running.pop(reference), time.monotonic() - self.begun.pop(reference)
                    try:
                        answer = self.cluster.ray.get(reference)
                    except self.cluster.ray.exceptions.RayError as error:
                        lost[place] += 1
                        if place in answers or place in self.running.values():
                            continue
                        if lost[place] >= ATTEMPTS:  # more, where two were under way at a time
                            raise _lost(does[place], reason_of(error)) from None
                        print(f"{does[place]}: its process on the cluster was lost; begins anew", file=sys.stderr)
                        waiting.appendleft(place)
                        continue
                    if isinstance(answer, Mismatch):
                        self.cluster.refuse(answer)
                        if place not in answers and place not in self.running.values():
                            waiting.appendleft(place)
                        continue
                    answer, fault = answer
                    if fault is not None:
                        raise fault
                    # It lies in memory that the cluster takes back, and that nobody may change.
                    answer = copy.deepcopy(answer)
                    found = self.digest(answer) if place in twins else ""
                    if place in answers:
                        if found != answers[place]:
                            raise differs(does[place])
                        continue
                    answers[place] = found
                    took.append(seconds)
                    yield place, answer
        finally:
            within(LEAVING_SECONDS, self._cancel)
            self.running, self.begun = {}, {}

    def _submit(self, place: int, request: Request, spread: bool) -> None:
        reference = self.cluster.submit(self.function, request.arguments, memory=request.memory, spread=spread)
        self.running[reference], self.begun[reference] = place, time.monotonic()

    def _late(self, twins: set[int], took: Sequence[float]) -> list[int]:
        """Requests to be made a second time."""
        idle = self.cluster.cores - len(self.running)
        if not took or idle <= 0:
            return []
        late = time.monotonic() - max(LATE_SECONDS, LATE * statistics.median(took))
        found = [place for reference, place in self.running.items() if self.begun[reference] < late]
        found = [place for place in found if place not in twins][:idle]
        # Some may not have begun, where there is no memory for them, or other work.
        return found[: self.cluster.free] if found else []

    def _worth_waiting(self) -> bool:
        """Whether a second answer comes soon, when all first ones are there."""
        return bool(self.running and self.cluster.ray.wait([*self.running], timeout=LAST_SECONDS)[0])

    def _cancel(self) -> None:
        if not self.cluster.ray.is_initialized():  # to cancel would join it anew
            return
        for reference in self.running:
            self.cluster.ray.cancel(reference, force=True)


class Actors:
    """A process on some node for each of `does`, which goes on from one request to the next.

    make: called there for the function that answers, with what `given` says of the place at that moment: where a
    process or its node is lost, another one begins from there, and is asked the same again. memory: bytes of each;
    cores: that it takes. team: how many neighbours go on together only; where one is lost, all begin anew. given is
    also told how often that was.
    """

    def __init__(
        self,
        cluster: Cluster,
        make: Callable[..., Callable[[Any], Any]],
        given: Callable[[int, int], tuple[Any, ...]],
        does: Sequence[str],
        memory: int = 0,
        cores: int = 1,
        team: int = 1,
    ):
        self.cluster, self.make, self.given, self.does = cluster, make, given, does
        self.memory, self.cores, self.team = memory, cores, team
        self.begun = Counter[int]()  # of each team, how often anew
        self.actors: list[Any] = []
        self.ready: list[Any] = []  # of each that was not seen to be there: what it answers first
        self.since: list[float] = []  # and when it was asked for
        self.sharing = set[int]()  # those without a core of their own

    def __enter__(self) -> Self:
        self.kind = self.cluster.ray.remote(_Actor)
        self.actors = [self._actor(place, self.cores) for place in range(len(self.does))]
        self.ready = [actor.placed.remote() for actor in self.actors]
        self.since = [time.monotonic()] * len(self.does)
        return self

    def __exit__(self, *error: object) -> None:
        within(LEAVING_SECONDS, self._kill)
        self.actors = []

    def _kill(self) -> None:
        for actor in self.actors:
            self.cluster.ray.kill(actor)

    def _actor(self, place: int, cores: float) -> Any:
        options = self.cluster.options({}, cores, self.memory)
        options |= {"max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
        given = self.given(place, self.begun[place // self.team])
        return self.kind.options(**options).remote(self.cluster.shared, self.make, *given)

    def ask(self, requests: Sequence[Any]) -> list[Any]:
        """The answers to a request for each, or None where there is none to ask.

        Raises as Workers.ask; UserError, too, where a process is lost ATTEMPTS times or finds no memory, and as
        Cluster.done.
        """
        places = [place for place, request in enumerate(requests) if request is not None]
        answers: list[Any] = [None] * len(requests)
        running = {self.actors[place].ask.remote(requests[place]): place for place in places}
        lost, faults = Counter[int](), []
        while running:
            for reference in self.cluster.done([*running]):
                if reference not in running:  # another one of its team was lost meanwhile
                    continue
                place = running.pop(reference)
                try:
                    answer = self.cluster.ray.get(reference)
                except self.cluster.ray.exceptions.RayError as error:
                    answer = PeerLost(reason_of(error))
                if isinstance(answer, PeerLost):
                    team = place // self.team
                    lost[team] += 1
                    if lost[team] == ATTEMPTS:
                        raise _lost(self.does[place], answer.why)
                    does = self.does[place]
                    print(f"{does}: its process on the cluster was lost; resumes in another one", file=sys.stderr)
                    self._all_anew(team, requests, running)
                    continue
                if isinstance(answer, Mismatch):
                    self.cluster.refuse(answer)
                    self._all_anew(place // self.team, requests, running)
                    continue
                answers[place], fault = answer
                if fault is not None:
                    faults.append(fault)
                    self._forget(place // self.team, running)  # who is waiting for it would do so for long
            for reference, place in list(running.items()):
                if self._waits_too_long(place):
                    if place in self.sharing:
                        raise self._no_memory(place)
                    print(f"{self.does[place]}: no core of the cluster is free; shares one", file=sys.stderr)
                    del running[reference]
                    running[self._anew(place, 0, requests)] = place
        if faults:
            raise first_of(faults)
        return answers

    def _waits_too_long(self, place: int) -> bool:
        """For a core; of a GPU none can be shared so, since a process would see all of them."""
        if self.cluster.resource == "GPU" or self.ready[place] is None:
            return False
        if self.cluster.ray.wait([self.ready[place]], timeout=0)[0]:
            self.ready[place] = None
            return False
        return time.monotonic() - self.since[place] > PLACING_SECONDS

    def _no_memory(self, place: int) -> UserError:
        needed = (self.memory + PROCESS_BYTES) / 2**30
        return UserError(
            MACHINE_FAULT,
            f"{self.does[place]}: no node of the cluster has {needed:,.1f} GiB of memory free; end what else runs"
            " there, or unset RAY_ADDRESS, then run the same again",
        )

    def _all_anew(self, team: int, requests: Sequence[Any], running: dict[Any, int]) -> None:
        self.begun[team] += 1
        running |= {self._anew(place, self.cores, requests): place for place in self._forget(team, running)}

    def _forget(self, team: int, running: dict[Any, int]) -> range:
        """Wait for no answer of the team any more; returns its places."""
        places = range(team * self.team, (team + 1) * self.team)
        for reference in [each for each, place in running.items() if place in places]:
            del running[reference]
        return places

    def _anew(self, place: int, cores: float, requests: Sequence[Any]) -> Any:
        with suppress(Exception):
            self.cluster.ray.kill(self.actors[place])
        (self.sharing.discard if cores else self.sharing.add)(place)
        self.actors[place] = self._actor(place, cores)
        self.ready[place], self.since[place] = self.actors[place].placed.remote(), time.monotonic()
        return self.actors[place].ask.remote(requests[place])


class _Actor:
    def __init__(
        self, shared: tuple[Facts, Callable[[], Facts]], make: Callable[..., Callable[[Any], Any]], *given: Any
    ):
        self.mismatch = mismatch_here(*shared)
        if self.mismatch is None:
            self.work, self.fault = answered(make, *given)

    def placed(self) -> None:
        """Answered when the process is there."""

    def ask(self, request: Any) -> Any:
        if self.mismatch is not None:
            return self.mismatch
        answer, fault = (None, self.fault) if self.fault is not None else answered(self.work, request)
        return answer if isinstance(answer, PeerLost) else (answer, fault)


def _lost(does: str, reason: str) -> UserError:
    return UserError(
        MACHINE_FAULT, f"{does}: its process on the cluster was lost {ATTEMPTS} times ({reason}); run the same again"
    )


def differs(does: str) -> UserError:
    return UserError(
        MACHINE_FAULT,
        f"{does}: two nodes of the cluster gave different bytes for it; leave out of the cluster what is unlike the"
        " others (its processor, say), and run the same again",
    )
