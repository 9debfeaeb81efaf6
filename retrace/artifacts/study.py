"""What a study writes: reports/study/trials.parquet, all that was measured, and study.json, what follows from it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from retrace.artifacts.scores import rounded
from retrace.artifacts.table_files import ParquetFile
from retrace.artifacts.typed import read_typed
from retrace.params.space import Searched
from retrace.runtime.atomic import write_json

STUDY = Path("reports/study/study.json")
# Which DVC does not know: held while a study is under way.
STUDY_LOCK = Path(".retrace/study.lock")

# A row for each trial, rung that it reached, and network, in this order; the parameters of the space follow by name,
# null where one is not searched together with the others' values: numbers of a range as such, values of a list as JSON.
#   state: of the trial: complete, stopped (by halving), diverged
#   budget: epochs of the rung; trained_epochs, best_epoch: of the network, which may have stopped earlier
#   validation_loss, validation_accuracy: at its best epoch; score: log loss of the trial at this rung, each row at the
#   epoch that was best on other rows; all NaN where it diverged
TRIALS = ParquetFile(
    Path("reports/study/trials.parquet"),
    (
        *("trial", "round", "state", "budget", "replica", "trained_epochs", "best_epoch"),
        *("validation_loss", "validation_accuracy", "score"),
    ),
)


@dataclass(frozen=True)
class Parameter:
    """A searched parameter; choices: of a list, else None; low, high: of a range, else None. present: its value now."""

    name: str
    choices: list[Any] | None
    low: float | None
    high: float | None
    log: bool
    present: Any


@dataclass(frozen=True)
class Interval:
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Candidate:
    """A setting that was trained again with fresh seeds; the present one is trial 0.

    settings:          of the searched parameters, those that are active.
    search_score:      its score in the search, log loss, None where it diverged there; fresh_score: the same with fresh
                       seeds; optimism: how much more of a gain over the present setting the search promised than the
                       fresh seeds gave, None for the present setting.
    deviation:         standard deviation of the log loss of its single networks: the luck of a seed.
    improvement:       log loss of the present setting minus its own, judged as in retrace/study/verdict.py, with the
                       interval that allows for the number of settings compared; None for the present one.
    accuracy, calibration_error: of what would ship, on the validation rows.
    work:              multiplications of its training, in multiples of the present setting's.
    over_guess:        log loss of who knows the classes' shares and nothing else minus its own, as `improvement`.
    """

    trial: int
    settings: dict[str, Any]
    search_score: float | None
    fresh_score: float
    optimism: float | None
    deviation: float
    improvement: Interval | None
    accuracy: float
    calibration_error: float
    epochs: float
    work: float
    over_guess: Interval


@dataclass(frozen=True)
class Importance:
    """Share of what decides whether a trial is good (PED-ANOVA), with its range over resampled trials."""

    name: str
    share: Interval


@dataclass(frozen=True)
class Fold:
    """The whole study without the rows of a fold: log loss on them of what it adopts, and of the present setting."""

    adopted: dict[str, Any]
    log_loss: float
    present_log_loss: float
    rows: int


@dataclass(frozen=True)
class Procedure:
    """What the search itself is worth; improvement: log loss of the present setting minus the search's, over folds."""

    folds: list[Fold]
    improvement: Interval


@dataclass(frozen=True)
class StudyResult:
    """The whole.

    present:  section `train` as params.yaml has it, by dotted name.
    budgets:  epochs of each rung; states: how many trials ended in each.
    best:     the trial with the lowest search score; candidates: the present setting first, then the best.
    adopted:  the trial that is surely better, None where none is; reason: that in a sentence.
    """

    dataset: str
    method: str
    trials: int
    seeds: int
    fresh_seeds: int
    confidence: float
    rows: int
    present: dict[str, Any]
    parameters: list[Parameter]
    budgets: list[int]
    states: dict[str, int]
    best: int
    candidates: list[Candidate]
    adopted: int | None
    reason: str
    importance: list[Importance]
    procedure: Procedure | None

    @property
    def winner(self) -> Candidate | None:
        return next((each for each in self.candidates if each.trial == self.adopted), None)


def read_study(root: Path = Path()) -> StudyResult:
    return read_typed(root / STUDY, StudyResult)


def write_study(result: StudyResult) -> None:
    content = rounded(asdict(result))
    # Settings are no results: as they are.
    content["present"], content["parameters"] = result.present, [asdict(each) for each in result.parameters]
    for written, each in zip(content["candidates"], result.candidates, strict=True):
        written["settings"] = each.settings
    for fold, each_fold in enumerate(result.procedure.folds if result.procedure else []):
        content["procedure"]["folds"][fold]["adopted"] = each_fold.adopted
    write_json(STUDY, content)


def parameter_columns(space: Sequence[Searched], settings: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    """Column of each searched parameter; settings: of each row."""
    columns = {}
    for each in space:
        values = [some.get(each.name) for some in settings]
        if each.choices is not None:
            texts = [json.dumps(some[each.name]) if each.name in some else None for some in settings]
            columns[each.name] = pa.array(texts, pa.string())
        else:
            columns[each.name] = pa.array(values, pa.int64() if each.whole else pa.float64())
    return columns
