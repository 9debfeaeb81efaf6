"""Who trains the networks of a study: this process, or one for each core. No byte of what is measured tells."""

import json
import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Self

import torch

from retrace.params.train import Train
from retrace.runtime.memory import require_memory
from retrace.runtime.workers import Workers, cores
from retrace.study.measuring import Course, Judged, Measured, judge, train
from retrace.study.prepared import Preparation, Prepared
from retrace.training.members import shared
from retrace.training.pack_runner import WORTHWHILE_SECONDS, seconds_an_epoch
from retrace.training.resources import memory_bytes

# Networks of a block, about: more of them side by side are hardly quicker, and would be long under way.
WIDE = 32

Block = list[Course]
Done = tuple[Course, Measured, Judged | None]


def workers_worth_having(prepared: Prepared, section: Train, epochs: int, device: torch.device) -> int:
    """How many processes: where they make so many epochs of networks surely quicker, one a core; 1 on a GPU."""
    epoch = seconds_an_epoch(prepared.describe(section).weights, WIDE, prepared.data, section.batch_size)
    seconds = epochs * epoch / WIDE
    return cores() if device.type == "cpu" and seconds * (1 - 1 / cores()) > WORTHWHILE_SECONDS else 1


class Crew:
    """count: of processes, there within `with`; 1: this one does it all."""

    def __init__(self, preparation: Preparation, device: torch.device, count: int):
        self.preparation, self.device, self.count = preparation, device, count
        self.workers: Workers | None = None

    def __enter__(self) -> Self:
        if self.count > 1:
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
        if self.workers:
            for _, done in self.workers.each(blocks, [_said(block) for block in blocks]):
                yield from done
        else:
            for block in blocks:
                yield from self._work(block)

    def _work(self, block: Block) -> list[Done]:
        prepared = self.preparation(block[0].task.section, block[0].task.folder)
        self._require_room(block, prepared)
        train(block, prepared, self.device)
        wanted = [course.task.judged and not course.diverged for course in block]
        judged = [judge(course, prepared) if each else None for course, each in zip(block, wanted, strict=True)]
        return [(course, course.measured(prepared), each) for course, each in zip(block, judged, strict=True)]

    def _require_room(self, block: Block, prepared: Prepared) -> None:
        """Raise UserError (status 4) where memory has no room for these networks."""
        networks = sum(len(course.task.replicas) for course in block)
        section = block[0].task.section.model_copy(update={"replicas": networks})
        rows = [len(part.y) for part in (prepared.data.training, prepared.data.validation)]
        require_memory(
            memory_bytes(prepared.describe(section), section, rows[0], rows[1], self.device),
            _said(block),
            "leave such networks out of study.space, or lower train.batch_size; what was measured is kept",
        )

    def _blocks(self, courses: Iterable[Course]) -> list[Block]:
        """Courses that can train side by side, the longest first; at least one for each worker where there are so many.

        Whoever is long under way at the end is waited for by the others.
        """
        alike: dict[str, Block] = {}
        for course in courses:
            section, folder = course.task.section, str(course.task.folder)
            kind = [shared(section), folder, course.epoch, course.task.budget, course.task.judged]
            alike.setdefault(json.dumps(kind, sort_keys=True), []).append(course)
        blocks = [part for block in alike.values() for part in _cut(block, WIDE)]
        while len(blocks) < self.count and max(map(len, blocks), default=1) > 1:
            widest = max(range(len(blocks)), key=lambda place: len(blocks[place]))
            block = blocks.pop(widest)
            blocks += [block[: len(block) // 2], block[len(block) // 2 :]]
        return sorted(blocks, key=self._cost, reverse=True)

    def _cost(self, block: Block) -> int:
        course = block[0]
        steps = 1 / course.task.section.batch_size
        wide = sum(len(each.task.replicas) for each in block) * (1 + sum(course.task.section.hidden))
        return math.ceil((course.task.budget - course.epoch) * (1e6 * steps + wide))


def _cut(block: Block, networks: int) -> list[Block]:
    """In parts of about equal width, of so many networks at most, or of one course."""
    each = len(block[0].task.replicas)
    parts = math.ceil(len(block) * each / max(networks, each))
    bounds = [round(place * len(block) / parts) for place in range(parts + 1)]
    return [block[slice(*pair)] for pair in pairwise(bounds)]


def _said(block: Block) -> str:
    section = block[0].task.section
    networks = sum(len(course.task.replicas) for course in block)
    some = "1 network" if networks == 1 else f"{networks:,} networks"
    return f"study: training {some} with hidden: {section.hidden}, batch_size: {section.batch_size:,}"
