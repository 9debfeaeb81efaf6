"""What `train` says of a training run that has come to its end: models/training.json, its tables, and its clock."""

from dataclasses import asdict, dataclass
from pathlib import Path

from retrace.artifacts.table_files import CsvFile, ParquetFile
from retrace.artifacts.typed import decode, read_typed
from retrace.runtime.atomic import write_json

TRAINING = Path("models/training.json")
# A row for each epoch and replica; behind it columns that depend on the network and on what ships.
HISTORY = CsvFile(Path("reports/history.csv"), ("epoch", "replica", "train_loss", "validation_loss"))
# Of what ships, for `dvc plots`.
LOSS = CsvFile(Path("reports/loss.csv"), ("epoch", "train", "validation"))
# The training loss of every step, a column replica_I for each.
STEPS = ParquetFile(Path("reports/steps.parquet"), ("replica_0",))
# DVC does not know it, since a clock is not a result.
CLOCK = Path(".retrace/train.json")


@dataclass(frozen=True)
class Trained:
    """A replica, or the mean of all: the epoch with the lowest validation loss, that loss, and how many epochs ran."""

    best_epoch: int
    best_validation_loss: float
    epochs: int


@dataclass(frozen=True)
class TemperatureReport:
    """What `train.temperature: validation` found.

    rows:        validation rows that were asked; temperature: of the model, 1 where none is surely better.
    log_loss:    of the model without one, on these rows; gain: by how much one found on the others lowers it, in the
                 mean, and low: the lower end of that; None where the rows, or those that are wrong, are too few.
    """

    rows: int
    temperature: float
    log_loss: float
    gain: float | None
    low: float | None

    @property
    def words(self) -> str:
        if self.gain is None or self.low is None:
            return f"temperature 1: {self.rows} validation rows say too little for another one"
        kept = f"temperature {self.temperature:.3f}" if self.low > 0 else "temperature 1: none is surely better"
        return (
            f"{kept}; log loss {self.log_loss:.4f} on {self.rows:,} validation rows without one,"
            f" {self.log_loss - self.gain:.4f} with one (better by {self.gain:.4f}, surely by {self.low:.4f})"
        )


@dataclass(frozen=True)
class TrainingReport:
    """models/training.json.

    device, device_reason: where it ran, and why there; precision: float32 or tf32.
    shipped:               the replica that ships, counted from 0; None where the mean of all does.
    mean:                  of the replicas' mean, where that ships.
    temperature:           what was found of it, where it was asked for.
    portable:              whether every x86-64 processor with AVX2 gives these bytes, or only one of the same type.
    """

    device: str
    device_reason: str
    precision: str
    shipped: int | None
    steps_per_epoch: int
    replicas: list[Trained]
    mean: Trained | None = None
    portable: bool = False
    temperature: TemperatureReport | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where nothing is said of what ships."""
        if self.mean is None if self.shipped is None else not 0 <= self.shipped < len(self.replicas):
            raise ValueError("nothing is there of what ships")

    @property
    def of_shipped(self) -> Trained:
        if self.shipped is not None:
            return self.replicas[self.shipped]
        assert self.mean
        return self.mean


def read_training_report(root: Path = Path()) -> TrainingReport:
    return read_typed(root / TRAINING, TrainingReport)


def write_training_report(report: TrainingReport) -> None:
    content = asdict(report)
    for name in ("mean", "temperature"):
        if content[name] is None:
            del content[name]
    write_json(TRAINING, content)


@dataclass(frozen=True)
class Clock:
    """.retrace/train.json: when the run began (ISO text), how long all its parts took, and on which processor.

    model: SHA-256 of the weights, which ties these times to the model that they belong to: the run cache can bring
    another one back.
    """

    started: str
    seconds: float
    machine: str
    model: str


def read_clock(root: Path = Path()) -> Clock | None:
    """Of the training that came to its end last in this folder; None where it is not known."""
    try:
        return decode(Clock, (root / CLOCK).read_bytes())
    except (OSError, ValueError):
        return None


def write_clock(clock: Clock) -> None:
    write_json(CLOCK, asdict(clock))
