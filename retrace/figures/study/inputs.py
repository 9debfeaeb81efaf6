"""What the figures of a study are drawn from: its result, and its trials with what was measured of each."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from retrace.artifacts.study import TRIALS, Candidate, Parameter, StudyResult, read_study
from retrace.figures.columns import Floats, numbers

STATES = ("complete", "stopped", "diverged")


@dataclass(frozen=True)
class Trial:
    """A setting that was tried.

    budgets, scores: epochs and score of each rung that it reached, NaN where it diverged; settings: of the parameters
    that were searched in it; low, high: of its networks' losses at the last rung; late: whether most of these networks
    were at their best in their last epochs, a twentieth of all.
    """

    number: int
    state: str
    budgets: tuple[int, ...]
    scores: tuple[float, ...]
    settings: dict[str, Any]
    low: float
    high: float
    late: bool

    @property
    def score(self) -> float:
        """At the last rung that it reached; NaN where it diverged."""
        return math.nan if self.state == "diverged" else self.scores[-1]


@dataclass(frozen=True)
class StudyTables:
    """result: the content of study.json; trials: by number, of trials.parquet."""

    result: StudyResult
    trials: tuple[Trial, ...]

    @cached_property
    def scores(self) -> Floats:
        """Of each trial, float64 [trials]; NaN where it diverged."""
        return np.array([each.score for each in self.trials])

    @cached_property
    def ranking(self) -> list[int]:
        """Places in `trials` of those with a score, the best first: by how many rungs they reached, then by score."""
        known = [place for place, each in enumerate(self.trials) if math.isfinite(each.score)]
        return sorted(known, key=lambda place: (-len(self.trials[place].budgets), self.scores[place], place))

    @cached_property
    def parameters(self) -> list[Parameter]:
        """Those that matter most first; as in the space where that is not known."""
        shares = {each.name: each.share.value for each in self.result.importance}
        return sorted(self.result.parameters, key=lambda each: -shares.get(each.name, 0.0))

    @cached_property
    def present(self) -> Trial | None:
        """The present setting, which is trial 0."""
        return self.trial(0)

    @cached_property
    def marked(self) -> Trial | None:
        """The trial that was adopted, else the best of the search; None where that is the present setting."""
        number = self.result.best if self.result.adopted is None else self.result.adopted
        return self.trial(number) if number else None

    @property
    def marked_as(self) -> str:
        if self.marked is None:
            return ""
        return f"trial {self.marked.number}, {'best in the search' if self.result.adopted is None else 'adopted'}"

    @property
    def present_as(self) -> str:
        return "present setting" if self.marked else "present setting, best in the search"

    @property
    def counted(self) -> str:
        """`64 trials: 8 complete, 40 stopped early, 16 diverged`."""
        words = {"complete": "complete", "stopped": "stopped early", "diverged": "diverged"}
        counts = {state: sum(each.state == state for each in self.trials) for state in STATES}
        parts = [f"{count:,} {words[state]}" for state, count in counts.items() if count]
        return f"{len(self.trials):,} {'trial' if len(self.trials) == 1 else 'trials'}: {', '.join(parts)}"

    @cached_property
    def rungs(self) -> dict[int, str]:
        """Place of each rung, from 0 -> its epochs; its number where they differ, since epochs are searched."""
        most = max(len(each.budgets) for each in self.trials)
        epochs = [{each.budgets[rung] for each in self.trials if len(each.budgets) > rung} for rung in range(most)]
        alike = all(len(each) == 1 for each in epochs)
        return {rung: f"{next(iter(each)):,}" if alike else f"rung {rung + 1}" for rung, each in enumerate(epochs)}

    @property
    def candidate(self) -> Candidate | None:
        """The present setting trained again; None where it diverged with fresh seeds."""
        return next((each for each in self.result.candidates if each.trial == 0), None)

    @property
    def any_diverged(self) -> bool:
        return any(each.state == "diverged" for each in self.trials)

    def trial(self, number: int) -> Trial | None:
        return next((each for each in self.trials if each.number == number), None)


def read_study_tables() -> StudyTables:
    """Raises UserError (status 3) for a file that is missing, damaged, or not what this code writes."""
    return study_tables(TRIALS.read(), read_study())


def study_tables(table: pa.Table, result: StudyResult) -> StudyTables:
    """table: rows as retrace/artifacts/study.py has them."""
    number, budget = (numbers(table, name).astype(np.int64) for name in ("trial", "budget"))
    # An Arrow null is not NaN to numpy, and a score that is missing is one that nobody measured.
    score, loss = (numbers(_filled(table, name), name) for name in ("score", "validation_loss"))
    # Of the rung, since a column of epochs may be that of a parameter.
    at_end = numbers(table, "best_epoch") >= 0.95 * budget
    states = table.column("state").to_pylist()
    values = {each.name: _values(table, each) for each in result.parameters}
    # Rows of a trial and of a rung stand together.
    order = np.lexsort((budget, number))
    starts = np.flatnonzero(np.diff(number[order], prepend=number[order][:1] - 1))
    trials = []
    for rows in np.split(order, starts[1:]):
        first, last = rows[0], rows[budget[rows] == budget[rows].max()]
        rungs = {int(budget[row]): float(score[row]) for row in rows}
        known = loss[last][np.isfinite(loss[last])]
        trials.append(
            Trial(
                number=int(number[first]),
                state=states[first],
                budgets=tuple(rungs),
                scores=tuple(rungs.values()),
                settings={name: own[first] for name, own in values.items() if own[first] is not NOT_SEARCHED},
                low=float(known.min(initial=math.inf)) if len(known) else math.nan,
                high=float(known.max(initial=-math.inf)) if len(known) else math.nan,
                late=bool(at_end[last].mean() > 0.5),
            )
        )
    return StudyTables(result, tuple(trials))


# In place of a value where the parameter was not searched: null may be a value.
NOT_SEARCHED: Any = object()


def _values(table: pa.Table, parameter: Parameter) -> Sequence[Any]:
    cells = table.column(parameter.name).to_pylist()
    if parameter.choices is None:
        return [NOT_SEARCHED if cell is None else cell for cell in cells]
    decoded = {cell: json.loads(cell) for cell in set(cells) if cell is not None}
    return [NOT_SEARCHED if cell is None else decoded[cell] for cell in cells]


def _filled(table: pa.Table, name: str) -> pa.Table:
    column = table.column(name).cast(pa.float64())
    return table.select([]).append_column(name, column.fill_null(math.nan))


def differing(candidate: Candidate, result: StudyResult) -> dict[str, Any]:
    """The settings of a candidate that are not those of the present setting."""
    present = {each.name: each.present for each in result.parameters}
    return {name: value for name, value in candidate.settings.items() if name not in present or value != present[name]}


def show(value: Any) -> str:
    """A value about as params.yaml has it, numbers with four digits."""
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
