"""Work on a cluster, with the interface of this machine's own processes (Workers.each and Workers.ask)."""

import copy
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self

from retrace.runtime.cluster import LEAVING_SECONDS, TRIES, Cluster, Facts, Unlike, answered, in_time, unlike_here
from retrace.runtime.errors import MACHINE_FAULT, UserError

# A request is asked of a second node where cores have nothing else to do and it takes so many times as long as others
# did, and so many seconds: its node may be slow, or about to go.
LATE, LATE_SECONDS = 2.0, 1.0
# What is waited at the end for second answers, to compare them with the first ones.
LAST_SECONDS = 0.5


class Tasks:
    """Asks any node what the function answers to a request: a tuple of its arguments.

    digest: of an answer; where a request was answered twice, both must have the same (contract 7).
    """

    def __init__(self, cluster: Cluster, function: Callable[..., Any], digest: Callable[[Any], str]):
        self.cluster, self.function, self.digest = cluster, function, digest
        self.memory: Sequence[int] = ()
        self.running: dict[Any, int] = {}
        self.begun: dict[Any, float] = {}

    def each(self, requests: Sequence[Any], does: Sequence[str], memory: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Answers as they come: (place of the request, answer). Raises what the function raises.

        memory: bytes that each takes, for the cluster's own account.

        A request whose process or node is lost is asked again, TRIES times in all; then UserError (status 4), with what
        it does.
        """
        self.memory = memory
        waiting, lost = deque(range(len(requests))), Counter[int]()
        answers, twins, took = dict[int, str](), set[int](), list[float]()
        try:
            while len(answers) < len(requests) or self._worth_waiting():
                while waiting:
                    self._submit(waiting.popleft(), requests)
                self._help_the_late(requests, twins, took)
                for reference in self.cluster.done([*self.running]):
                    place, seconds = self.running.pop(reference), time.monotonic() - self.begun.pop(reference)
                    try:
                        answer = self.cluster.ray.get(reference)
                    except self.cluster.ray.exceptions.RayError as error:
                        if place in answers:
                            continue
                        lost[place] += 1
                        if lost[place] == TRIES:
                            raise _lost(does[place], error) from None
                        if place not in self.running.values():
                            waiting.append(place)
                        continue
                    if isinstance(answer, Unlike):
                        self.cluster.refuse(answer)
                        if place not in answers:
                            waiting.append(place)
                        continue
                    answer, fault = answer
                    if fault is not None:
                        raise fault
                    # It lies in memory that the cluster takes back, and that nobody may change.
                    answer = copy.deepcopy(answer)
                    found = self.digest(answer) if place in twins else ""
                    if place in answers:
                        if found != answers[place]:
                            raise _differs(does[place])
                        continue
                    answers[place] = found
                    took.append(seconds)
                    yield place, answer
        finally:
            in_time(self._cancel, LEAVING_SECONDS)
            self.running, self.begun = {}, {}

    def _worth_waiting(self) -> bool:
        """Whether a second answer comes soon, when all first ones are there."""
        return bool(self.running and self.cluster.ray.wait([*self.running], timeout=LAST_SECONDS)[0])

    def _submit(self, place: int, requests: Sequence[Any]) -> None:
        reference = self.cluster.submit(self.function, requests[place], memory=self.memory[place])
        self.running[reference], self.begun[reference] = place, time.monotonic()

    def _cancel(self) -> None:
        for reference in self.running:
            self.cluster.ray.cancel(reference, force=True)

    def _help_the_late(self, requests: Sequence[Any], twins: set[int], took: Sequence[float]) -> None:
        if not took or len(self.running) >= self.cluster.cores:
            return
        late = max(LATE_SECONDS, LATE * statistics.median(took))
        for reference, place in list(self.running.items()):
            alone = place not in twins and len(self.running) < self.cluster.cores
            if alone and time.monotonic() - self.begun[reference] > late:
                twins.add(place)
                self._submit(place, requests)


class Seats:
    """A process on some node for each of `does`, which goes on from one request to the next.

    make: called there for the function that answers, with what `given` says of the place at that moment: where a
    process or its node is lost, another one begins from there, and is asked the same again. Raises as Cluster.
    """

    def __init__(
        self,
        cluster: Cluster,
        make: Callable[..., Callable[[Any], Any]],
        given: Callable[[int], tuple[Any, ...]],
        does: Sequence[str],
        memory: int = 0,
    ):
        self.cluster, self.make, self.given, self.does, self.memory = cluster, make, given, does, memory
        self.actors: list[Any] = []

    def __enter__(self) -> Self:
        self.kind = self.cluster.ray.remote(_Seat)
        self.actors = [self._seat(place, cores=1) for place in range(len(self.does))]
        return self

    def __exit__(self, *error: object) -> None:
        in_time(self._kill, LEAVING_SECONDS)
        self.actors = []

    def _kill(self) -> None:
        for actor in self.actors:
            self.cluster.ray.kill(actor)

    def _seat(self, place: int, cores: float) -> Any:
        options = self.cluster.options(None, cores, self.memory) | {"max_restarts": 0, "max_task_retries": 0}
        del options["max_retries"]
        return self.kind.options(**options).remote(self.cluster.shared, self.make, *self.given(place))

    def ask(self, requests: Sequence[Any]) -> list[Any]:
        """The answers to a request for each, or None where there is none to ask; raises as Workers.ask."""
        places = [place for place, request in enumerate(requests) if request is not None]
        answers: list[Any] = [None] * len(requests)
        running = {self.actors[place].ask.remote(requests[place]): place for place in places}
        lost, faults = Counter[int](), []
        while running:
            for reference in self.cluster.done([*running]):
                place = running.pop(reference)
                try:
                    answer = self.cluster.ray.get(reference)
                except self.cluster.ray.exceptions.RayError as error:
                    lost[place] += 1
                    if lost[place] == TRIES:
                        raise _lost(self.does[place], error) from None
                    print(f"{self.does[place]}: its node was lost; goes on on another one", file=sys.stderr)
                    running[self._again(place, requests)] = place
                    continue
                if isinstance(answer, Unlike):
                    self.cluster.refuse(answer)
                    running[self._again(place, requests)] = place
                    continue
                answers[place], fault = answer
                if fault is not None:
                    faults.append(fault)
        if faults:
            raise min(faults, key=lambda fault: getattr(fault, "place", (0, 0)))
        return answers

    def _again(self, place: int, requests: Sequence[Any]) -> Any:
        with suppress(Exception):
            self.cluster.ray.kill(self.actors[place])
        # Beside others where no core is free: it would be waited for until one is, by those who keep them.
        self.actors[place] = self._seat(place, cores=0)
        return self.actors[place].ask.remote(requests[place])


class _Seat:
    def __init__(
        self, shared: tuple[Facts, Callable[[], Facts]], make: Callable[..., Callable[[Any], Any]], *given: Any
    ):
        self.unlike = unlike_here(*shared)
        self.work = None if self.unlike else partial(answered, make(*given))

    def ask(self, request: Any) -> Any:
        return self.unlike if self.work is None else self.work(request)


def _lost(does: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(
        MACHINE_FAULT, f"{does}: its process on the cluster was lost {TRIES} times ({reason}); run the same again"
    )


def _differs(does: str) -> UserError:
    return UserError(
        MACHINE_FAULT,
        f"{does}: two nodes of the cluster gave different bytes for it; leave out of the cluster what is unlike the"
        " others (its processor, say), and run the same again",
    )
