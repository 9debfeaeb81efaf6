"""reports/baseline.json: what simple models get. `baseline` writes it; `record` keeps it with the run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from retrace.runtime.atomic import write_json

BASELINE = Path("reports/baseline.json")


@dataclass(frozen=True)
class BaselineScores:
    """One of them on the test rows; correct: how many of them are right."""

    accuracy: float
    correct: int
    log_loss: float
    rows: int


def write_baseline(scores: Mapping[str, BaselineScores]) -> None:
    """scores: by the baseline's name."""
    write_json(BASELINE, {name: asdict(each) for name, each in scores.items()})
