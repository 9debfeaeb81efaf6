"""reports/plane.json: what the two axes of the pictures of rows are. `evaluate` writes it, `plot` reads it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from retrace.artifacts.typed import read_typed
from retrace.runtime.atomic import write_json

PLANE = Path("reports/plane.json")


@dataclass(frozen=True)
class PlaneAxes:
    """x, y: names of the axes, "" where there is none.

    projected:     whether they are principal components, and not columns of the table as they are.
    training_rows: how many there are, of which reports/projection.parquet may have fewer.
    """

    x: str
    y: str
    projected: bool
    training_rows: int


def read_axes() -> PlaneAxes:
    return read_typed(PLANE, PlaneAxes)


def write_axes(axes: PlaneAxes) -> None:
    write_json(PLANE, asdict(axes))
