"""Who trains the networks of a study: this process, one for each core, or nodes of a cluster.

No byte of what is measured tells.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from copy import deepcopy
from typing import Any, NamedTuple, Self

import torch

from retrace.artifacts.schema import Schema
from retrace.params.train import Train
from retrace.preprocessing.description import Preprocessing
from retrace.runtime.cluster import Cluster
from retrace.runtime.cluster_work import Request, Tasks
from retrace.runtime.cores import cores
from retrace.runtime.memory import require_memory
from retrace.runtime.workers import Workers
from retrace.study.measuring import Course, Judged, Measured, judge, train
from retrace.study.prepared import MOST, Floats, Preparation, Prepared, way
from retrace.training.cluster_packs import Rowset, rowset
from retrace.training.members import shared
from retrace.training.pack_runner import WORTHWHILE_SECONDS, evenly, seconds_an_epoch
from retrace.training.resources import memory_bytes

# What runs on a node begins here.
CODE_OF_STUDIES = "retrace/study/crew.py"
# Networks of a block, about: more of them side by side are hardly quicker, and would be long under way.
WIDE = 32

Block = list[Course]
Done = tuple[Course, Measured, Judged | None]


class Kind(NamedTuple):
    """Courses that can train side by side; networks: of each; cost: of all, against other kinds."""

    courses: int
    networks: int
    cost: float


def seconds_of(prepared: Prepared, section: Train, epochs: int) -> float:
    """What one core takes, about, for so many epochs of one network."""
    rows, judged = (len(part.y) for part in prepared.data[:2])
    return epochs * seconds_an_epoch(prepared.describe(section).weights, WIDE, rows, judged, section.batch_size) / WIDE


def workers_worth_having(seconds: float, device: torch.device) -> int:
    """How many processes: where they make work of so many seconds surely quicker, one a core; 1 on a GPU."""
    return cores() if device.type == "cpu" and seconds * (1 - 1 / cores()) > WORTHWHILE_SECONDS else 1


class Crew:
    """count: of processes, there within `with`; 1: this one does it all. cluster: which does it, where there is one."""

    def __init__(self, preparation: Preparation, device: torch.device, count: int, cluster: Cluster | None = None):
        self.preparation, self.device, self.cluster = preparation, device, cluster
        self.processes = count
        self.workers: Workers | None = None
        self.rows: dict[tuple[Any, ...], Any] = {}  # what the cluster holds of them

    @property
    def count(self) -> int:
        """Of processes; on a cluster, of those that its nodes have room for at this moment."""
        return self.cluster.cores if self.cluster else self.processes

    def __enter__(self) -> Self:
        if self.count > 1 and not self.cluster:
            self.workers = Workers([self._work] * self.count, ["study"] * self.count, "dvc repro study/dvc.yaml")
            self.workers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.workers:
            self.workers.__exit__(*error)
        self.workers = None

    def run(self, courses: Iterable[Course]) -> Iterator[Done]:
        """Each as it is done, with what its networks say of the validation rows, where that is asked for."""
        blocks = self._blocks(courses)
        does = [_said(block) for block in blocks]
        if self.cluster:
            with closing(Tasks(self.cluster, _on_a_node, _digest).each(blocks, does, self._request)) as answers:
                for _, done in answers:
                    yield from done
        elif self.workers:
            for _, done in self.workers.each(blocks, does):
                yield from done
        else:
            for block in blocks:
                yield from self._work(block)

    def _prepared(self, block: Block) -> Prepared:
        return self.preparation(block[0].task.section, block[0].task.folder)

    def _work(self, block: Block) -> list[Done]:
        prepared = self._prepared(block)
        _require_room(block, prepared, self.device)
        return _done(block, prepared, self.device)

    def _request(self, block: Block) -> Request:
        """For a node; the rows, as these settings see them, travel to it once."""
        assert self.cluster
        prepared, own = self._prepared(block), _way_of(block)
        if own not in self.rows:
            while len(self.rows) >= MOST:
                del self.rows[next(iter(self.rows))]
            content = (prepared.schema, prepared.preprocessing, rowset(prepared.data), prepared.weights)
            self.rows[own] = self.cluster.put(content)
        memory = _bytes(block, prepared, self.device, own_rows=self.device.type != "cpu")
        return Request((self.rows[own], block, self.device.type), memory)

    def _blocks(self, courses: Iterable[Course]) -> list[Block]:
        """Courses that can train side by side, the longest first."""
        alike: dict[str, Block] = {}
        for course in courses:
            section, folder = course.task.section, str(course.task.folder)
            kind = [shared(section), folder, course.epoch, course.task.budget, course.task.judged]
            alike.setdefault(json.dumps(kind, sort_keys=True), []).append(course)
        kinds = [Kind(len(block), len(block[0].task.replicas), self._cost(block)) for block in alike.values()]
        parts = parts_of(kinds, self.count)
        blocks = [
            block[part]
            for block, count in zip(alike.values(), parts, strict=True)
            for part in evenly(len(block), count)
        ]
        if len({_way_of(block) for block in blocks}) <= MOST:
            return sorted(blocks, key=self._cost, reverse=True)
        # Those of a way one after the other, since not all ways are kept in memory.
        return sorted(blocks, key=lambda block: (str(_way_of(block)), -self._cost(block)))

    def _cost(self, block: Block) -> int:
        course = block[0]
        steps = 1 / course.task.section.batch_size
        wide = sum(len(each.task.replicas) for each in block) * (1 + sum(course.task.section.hidden))
        return math.ceil((course.task.budget - course.epoch) * (1e6 * steps + wide))


def _way_of(block: Block) -> tuple[Any, ...]:
    """Blocks of one way train on the same rows, prepared in the same way."""
    return (block[0].task.folder, *way(block[0].task.section))


def _done(block: Block, prepared: Prepared, device: torch.device) -> list[Done]:
    train(block, prepared, device)
    wanted = [course.task.judged and not course.diverged for course in block]
    judged = [judge(course, prepared) if each else None for course, each in zip(block, wanted, strict=True)]
    return [(course, course.measured(prepared), each) for course, each in zip(block, judged, strict=True)]


def _on_a_node(rows: tuple[Schema, Preprocessing, Rowset, Floats], block: Block, device: str) -> list[Done]:
    schema, preprocessing, arrays, weights = rows
    place = torch.device(device)
    # What arrives lies in memory that nobody may change.
    return _done(deepcopy(block), Prepared(schema, preprocessing, arrays.data(place), weights), place)


def _digest(done: Sequence[Done]) -> str:
    """SHA-256 of all that was learned and measured."""
    digest = hashlib.sha256()
    for course, measured, judged in done:
        digest.update(repr(measured).encode())
        arrays = [*course.best, course.right, *(each for content in course.parameters for each in content.values())]
        for array in (*arrays, *(judged or ())):
            digest.update(array.tobytes())
    return digest.hexdigest()


def _bytes(block: Block, prepared: Prepared, device: torch.device, own_rows: bool = True) -> int:
    """Of memory, that these networks take at least; own_rows: as memory_bytes has it."""
    networks = sum(len(course.task.replicas) for course in block)
    section = block[0].task.section.model_copy(update={"replicas": networks})
    training, validation = (len(part.y) for part in prepared.data[:2])
    return memory_bytes(prepared.describe(section), section, training, validation, device, own_rows=own_rows)


def _require_room(block: Block, prepared: Prepared, device: torch.device) -> None:
    """Raise UserError (status 4) where memory has no room for these networks."""
    require_memory(
        _bytes(block, prepared, device),
        _said(block),
        "leave such networks out of study.space, or lower train.batch_size; what was measured is kept",
    )


def parts_of(kinds: Sequence[Kind], count: int) -> list[int]:
    """In how many parts the courses of each kind are cut, for so many workers: of WIDE networks each, about.

    As many parts for one worker as for another, where there are enough courses: whoever has one more is waited for by
    the others.
    """
    parts = [min(each.courses, max(1, round(each.courses * each.networks / WIDE))) for each in kinds]
    wanted = count * math.ceil(sum(parts) / count)
    for _ in range(wanted - sum(parts)):
        left = [place for place, each in enumerate(kinds) if parts[place] < each.courses]
        if left:
            parts[max(left, key=lambda place: kinds[place].cost / parts[place])] += 1
    return parts


def _said(block: Block) -> str:
    section = block[0].task.section
    networks = sum(len(course.task.replicas) for course in block)
    some = "1 network" if networks == 1 else f"{networks:,} networks"
    return f"study: training {some} with hidden: {section.hidden}, batch_size: {section.batch_size:,}"
