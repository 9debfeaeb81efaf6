"""What stage `lessons` writes of a lesson, in a folder of its own in reports/lessons/."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from retrace.artifacts.scores import rounded
from retrace.artifacts.table_files import ParquetFile
from retrace.artifacts.typed import read_typed
from retrace.runtime.atomic import write_json

FOLDER = Path("reports/lessons")
INDEX, INDEX_MARKDOWN = FOLDER / "index.html", FOLDER / "index.md"
SIDES = {"above": ">", "below": "<", "equals": "="}
# Digest of the code of a stage, see stages/lessons_code.py.
CODE = {stage: FOLDER / f"{stage}.code" for stage in ("lessons", "lessons_plot")}

# Columns of both tables: variant, by its name; replica, from 0; layer: of a network, from 1, the last one gives the
# logits; start: before the first step, on rows of training. NaN where a network has diverged, or no such layer is.
#   history: a row for each variant, replica and epoch, each layer's columns behind these
#   start: a row for each variant, replica and layer: norm of the gradient, and the standard deviation over the rows of
#   what the layer's activation gives (root mean square of its units), NaN for the last one
HISTORY = ("variant", "replica", "epoch", "train_loss", "loss", "accuracy")
START = ("variant", "replica", "layer", "loss", "gradient", "activation")
# Probability of the second class, or the likeliest class of more, at regular points of the plane.
PLANE = ("variant", "epoch", "x", "y", "value")
POINTS = ("variant", "x", "y", "class")


def verdict_file(name: str, root: Path = Path()) -> Path:
    return root / FOLDER / name / "verdict.json"


class PageFiles(NamedTuple):
    figures: Path
    html: Path
    markdown: Path


def page_files(name: str) -> PageFiles:
    """What stage `lessons_plot` writes."""
    folder = FOLDER / name
    return PageFiles(folder / "figures", folder / "lesson.html", folder / "lesson.md")


def tables_of(name: str) -> dict[str, ParquetFile]:
    folder = FOLDER / name
    columns = {"history": HISTORY, "start": START, "plane": PLANE, "points": POINTS}
    return {each: ParquetFile(folder / f"{each}.parquet", own) for each, own in columns.items()}


@dataclass(frozen=True)
class Found:
    """Of an expectation: its number, and the side of which bound (above, below, equals) it must be on."""

    says: str
    value: float | None
    side: str
    bound: float
    holds: bool

    @property
    def must_be(self) -> str:
        return f"{SIDES[self.side]} {self.bound:g}"


@dataclass(frozen=True)
class VariantFound:
    """Means over replicas at the last epoch, None where none of them has a finite one. diverged: how many did."""

    name: str
    settings: dict[str, str]
    replicas: int
    epochs: int
    accuracy: float | None
    loss: float | None
    deviation: float | None
    diverged: int


@dataclass(frozen=True)
class Verdict:
    """holds: whether all expectations do. seed: of the networks; dataset: what they learned from."""

    name: str
    holds: bool
    seed: int
    dataset: str
    expectations: list[Found]
    variants: list[VariantFound]

    @property
    def held(self) -> str:
        return f"{sum(each.holds for each in self.expectations)} of {len(self.expectations)}"


def read_verdict(name: str, root: Path = Path()) -> Verdict:
    return read_typed(verdict_file(name, root), Verdict)


def write_verdict(verdict: Verdict) -> None:
    content = rounded(asdict(verdict))
    for written, found in zip(content["expectations"], verdict.expectations, strict=True):
        written["bound"], written["value"] = found.bound, found.value
    write_json(verdict_file(verdict.name), content)
