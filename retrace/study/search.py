"""The search: rounds of trials, each halved after every rung, trial 0 being the present setting.

Successive halving (Jamieson and Talwalkar 2016) that waits for all trials of a round: which ones train on depends on
nothing but their scores, and not on who was done first. A round of tpe is a bracket of BOHB (Falkner et al. 2018).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retrace.params.space import Searched, Settings, grid, value_of, with_settings
from retrace.params.study import Study
from retrace.params.train import Train
from retrace.study.crew import Crew
from retrace.study.live import Live
from retrace.study.measuring import Course, Measured, Task
from retrace.study.memo import Memo
from retrace.study.sampling import Told, ask, rounds

# A trial's number, and a part of its networks.
Place = tuple[int, int]

# Of the trials of a round, one in so many trains on after a rung, and with so many times the epochs.
FACTOR = 3


@dataclass
class Trial:
    """section: the whole one, with `settings` in it; budgets, measured: of each rung that it reached."""

    number: int
    round: int
    settings: Settings
    section: Train
    budgets: list[int] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    state: str = ""

    @property
    def score(self) -> float:
        return self.measured[-1].score

    @property
    def scores(self) -> list[float]:
        return [each.score for each in self.measured]


@dataclass(frozen=True)
class Search:
    """section: `train`, the present setting; memo: what was measured before.

    parts: folders of rows, and which of a trial's networks are trained and judged on each.
    """

    study: Study
    section: Train
    space: Sequence[Searched]
    crew: Crew
    memo: Memo
    live: Live
    parts: Sequence[tuple[Path, range]]

    def run(self) -> list[Trial]:
        trials: list[Trial] = []
        for place, count in enumerate(counts(self.study, self.space)):
            told = [Told(each.settings, each.scores, each.state == "complete") for each in trials]
            present = [] if place else [present_settings(self.space, self.section)]
            asked = ask(self.space, self.study.method, self.study.seed, place, told, count - len(present))
            own = [
                Trial(
                    len(trials) + number, place, settings, shortened(self.study, with_settings(self.section, settings))
                )
                for number, settings in enumerate([*present, *asked])
            ]
            self._halve(own)
            trials += own
        return trials

    def _halve(self, trials: Sequence[Trial]) -> None:
        alive, courses = list(trials), dict[Place, Course]()
        for rung in range(self.study.rungs):
            last = rung == self.study.rungs - 1
            self._measure(alive, rung, courses)
            for trial in alive:
                if trial.measured[-1].diverged:
                    self._end(trial, "diverged", courses)
                elif last:
                    self._end(trial, "complete", courses)
            if last:
                return
            kept = math.ceil(len(alive) / FACTOR)
            ranked = sorted((each for each in alive if not each.state), key=lambda each: (each.score, each.number))
            # The present setting goes all the way: the others are held against it.
            survivors = {each.number for each in ranked[:kept]} | {0}
            for trial in ranked:
                if trial.number not in survivors:
                    self._end(trial, "stopped", courses)
            alive = [each for each in alive if not each.state]

    def _end(self, trial: Trial, state: str, courses: dict[Place, Course]) -> None:
        trial.state = state
        for part in range(len(self.parts)):
            courses.pop((trial.number, part), None)
        self.live.ended(trial)

    def _measure(self, trials: Sequence[Trial], rung: int, courses: dict[Place, Course]) -> None:
        """One more rung for each; courses: of trials whose networks are in memory, which train on from there."""
        found: dict[Place, Measured] = {}
        waiting: dict[str, list[Place]] = {}
        wanted: dict[str, Course] = {}
        for trial in trials:
            end = budget(trial.section, rung, self.study.rungs)
            for part, (folder, networks) in enumerate(self.parts):
                place, task = (trial.number, part), Task(trial.section, networks, end, folder)
                if known := self.memo.find(task):
                    found[place] = known
                    continue
                key = self.memo.key(task)  # the same setting is trained once
                waiting.setdefault(key, []).append(place)
                wanted[key] = courses.pop(place, Course(task))
                wanted[key].task = task
        for course, measured, _ in self.crew.run(wanted.values()):
            self.memo.keep(course.task, measured)
            for place in waiting[self.memo.key(course.task)]:
                found[place] = measured
                courses[place] = course
        for trial in trials:
            trial.budgets.append(budget(trial.section, rung, self.study.rungs))
            trial.measured.append(together([found[trial.number, part] for part in range(len(self.parts))]))
            self.live.measured(trial)


def together(parts: Sequence[Measured]) -> Measured:
    """Of all networks of a trial; its score is the mean of the parts', each weighed by its networks."""
    counts = [len(each.losses) for each in parts]
    score = sum(count * each.score for count, each in zip(counts, parts, strict=True)) / sum(counts)
    return Measured(
        [loss for each in parts for loss in each.losses],
        [accuracy for each in parts for accuracy in each.accuracies],
        [epoch for each in parts for epoch in each.best_epochs],
        [epochs for each in parts for epochs in each.epochs],
        score,
        all(each.over for each in parts),
        parts[0].weights,
    )


def counts(study: Study, space: Sequence[Searched]) -> list[int]:
    """Trials of each round."""
    return rounds(study.method, 1 + len(grid(space)) if study.method == "grid" else study.trials)


def shortened(study: Study, section: Train) -> Train:
    """The present setting as the search trains it."""
    if study.epochs is None or study.epochs >= section.epochs:
        return section
    return section.model_copy(update={"epochs": study.epochs})


def budget(section: Train, rung: int, rungs: int) -> int:
    """Epochs after which a rung ends."""
    return math.ceil(section.epochs / float(FACTOR) ** (rungs - 1 - rung))


def planned_epochs(study: Study, space: Sequence[Searched], section: Train) -> int:
    """Of single networks, in the whole search, where none ends before its time and each has the epochs of `section`."""
    total = 0
    for alive in counts(study, space):
        before = 0
        for rung in range(study.rungs):
            end = budget(section, rung, study.rungs)
            total += alive * study.seeds * (end - before)
            alive, before = math.ceil(alive / FACTOR), end
    return total


def present_settings(space: Sequence[Searched], section: Train) -> Settings:
    """The searched parameters of the present setting, as far as the space would search them with the others' values."""
    settings: Settings = {}
    for each in space:
        if each.is_active(settings):
            settings[each.name] = value_of(section, each.name)
    return settings
