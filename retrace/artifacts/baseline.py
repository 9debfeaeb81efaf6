"""What simple models get: reports/baseline.json for people and for the run, reports/baseline.parquet for `evaluate`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retrace.artifacts.tables import read_table, write_table
from retrace.runtime.atomic import write_json

BASELINE = Path("reports/baseline.json")
BASELINE_ROWS = Path("reports/baseline.parquet")


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


class Other(NamedTuple):
    """Another classifier on the test rows: predicted class indices [rows], and its log loss at each [rows]."""

    predicted: NDArray[np.int64]
    losses: NDArray[np.float64]


def write_baseline_rows(others: Mapping[str, Other]) -> None:
    """others: by the baseline's name; in the file NAME holds what it predicts, and NAME_log_loss its losses."""
    columns: dict[str, NDArray[Any]] = {}
    for name, other in others.items():
        columns |= {name: other.predicted, f"{name}_log_loss": other.losses}
    write_table(BASELINE_ROWS, pa.table(columns))


def read_baseline_rows() -> dict[str, Other]:
    """By the baseline's name."""
    table = read_table(BASELINE_ROWS)
    return {
        name: Other(table.column(name).to_numpy(), table.column(f"{name}_log_loss").to_numpy())
        for name in table.column_names
        if f"{name}_log_loss" in table.column_names
    }
