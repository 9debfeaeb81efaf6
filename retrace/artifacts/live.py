"""The side files of a training run that is under way: `train` writes them, `retrace follow` reads them.

DVC does not know them, and no result depends on them. A training goes on where they cannot be written.
"""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from retrace.artifacts.typed import decode
from retrace.runtime.atomic import write_json, write_text
from retrace.runtime.text import one_line

FACTS = Path(".retrace/live.json")
LIVE_HISTORY = Path(".retrace/live.csv")

# The column of the history that is there where the mean of the replicas ships.
LOSS_OF_MEAN = "validation_loss_of_mean"

# Between two writes of the history: an epoch may take less than a millisecond.
SECONDS = 1.0


@dataclass(frozen=True)
class LiveTraining:
    """What a training run says of itself when it begins.

    started: ISO text, the same as in its clock (.retrace/train.json), which it writes when it has come to its end.
    pid, born: of its process (see `born`). params: its section by dotted name, as params.yaml has it.
    """

    started: str
    pid: int
    born: str
    params: dict[str, Any]
    dataset: str
    device: str

    def __post_init__(self) -> None:
        """Raises ValueError where `started`, or a parameter that is asked for here, is not what it must be."""
        try:
            datetime.fromisoformat(self.started)
        except ValueError:
            raise ValueError(one_line(f"started must be an ISO time; got {self.started!r}", 200)) from None
        for key in ("train.epochs", "train.replicas"):
            value = self.params.get(key)
            if type(value) is not int or value < 1:
                raise ValueError(one_line(f"params: {key} must be a whole number > 0; got {value!r}", 200))

    @property
    def epochs(self) -> int:
        return int(self.params["train.epochs"])

    @property
    def replicas(self) -> int:
        return int(self.params["train.replicas"])


class Live:
    """Writes FACTS, and LIVE_HISTORY as it grows: header and rows as in reports/history.csv, whole epochs at a time."""

    def __init__(self, training: LiveTraining):
        self.training = training
        self.header: Sequence[str] = ()
        self.history: Sequence[Sequence[Any]] = ()
        self.written, self.due = 0, 0.0
        self.file: BinaryIO | None = None

    def __enter__(self) -> "Live":
        try:
            # In this order, and as a new file: whoever finds these facts finds no row of another training run, and one
            # that still runs writes into a file without a name.
            write_text(LIVE_HISTORY, "")
            write_json(FACTS, asdict(self.training))
            self.file = open(LIVE_HISTORY, "ab", buffering=0)
        except OSError as error:
            self._give_up(error)
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        if self.file:
            self.file.close()

    def __call__(self, header: Sequence[str], history: Sequence[Sequence[Any]]) -> None:
        """To be called after each epoch, with all rows so far."""
        self.header, self.history = header, history
        if time.monotonic() >= self.due:
            self._write()

    def _write(self) -> None:
        if self.file is None or self.written == len(self.history):
            return
        content = self._lines(self.history[self.written :]).encode()
        # Before the write: after an interrupt in it, better some rows too few than twice.
        self.written = len(self.history)
        try:
            if self.file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._give_up(error)
        self.due = time.monotonic() + SECONDS

    def _lines(self, rows: Sequence[Sequence[Any]]) -> str:
        # What csv.writer would write, in a third of the time: an epoch may have little more to do than its rows.
        line = "%d,%d" + ",%.9g" * (len(self.header) - 2) + "\n"
        head = "" if self.written else ",".join(self.header) + "\n"
        return head + "".join([line % tuple(row) for row in rows])

    def _give_up(self, error: OSError) -> None:
        line = (
            f"train: {LIVE_HISTORY}: {error.strerror or error}; the training goes on, but `make follow` cannot show it"
        )
        print(line, file=sys.stderr)
        if self.file:
            self.file.close()
        self.file = None


def read_training() -> LiveTraining | None:
    """As `check_training`, and None where the file cannot be used."""
    with contextlib.suppress(ValueError):
        return check_training()
    return None


def check_training() -> LiveTraining | None:
    """The training that began last in this folder, whether or not it is still under way; None where none did.

    Raises ValueError with the key and the rule where the file is not what this code writes.
    """
    try:
        content = FACTS.read_bytes()
    except OSError:
        return None
    return decode(LiveTraining, content)
