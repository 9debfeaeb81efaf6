"""The side file of a study that is under way: a line for each trial that has ended. `retrace study --mirror` reads it.

DVC does not know it, and no result depends on it. Each run of the study begins it anew, and writes the trials of runs
before into it again. First line: {"dataset", "started", "parameters": [...]}; then {"trial", "round", "state",
"settings", "scores": {epochs: score}} for each trial.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from retrace.artifacts.typed import decode
from retrace.runtime.errors import BAD_DATA, UserError

FEED = Path(".retrace/study.jsonl")


@dataclass(frozen=True)
class FeedParameter:
    """A searched parameter; choices: of a list, else None; low, high: of a range, else None or of no meaning."""

    name: str
    choices: list[Any] | None
    low: float | None
    high: float | None
    log: bool
    whole: bool


@dataclass(frozen=True)
class FeedHeader:
    dataset: str
    started: str
    parameters: list[FeedParameter]


@dataclass(frozen=True)
class FeedTrial:
    """state: complete, stopped or diverged; scores: by epochs, those that it came to."""

    trial: int
    round: int
    state: str
    settings: dict[str, Any]
    scores: dict[str, float]

    @property
    def by_epochs(self) -> dict[int, float]:
        return {int(epochs): score for epochs, score in sorted(self.scores.items(), key=lambda item: int(item[0]))}


def first_line(path: Path = FEED) -> str:
    """By which one run of a study is told from the next; "" where none ran yet."""
    try:
        with open(path, "rb") as file:
            return file.readline().decode(errors="replace")
    except OSError:
        return ""


class Feed:
    """What was read of the file so far. header: None before there is one."""

    def __init__(self, path: Path = FEED):
        self.path = path
        self.header: FeedHeader | None = None
        self.trials: list[FeedTrial] = []
        self._first, self._offset = b"", 0

    def read(self) -> bool:
        """Take in what is new; whether the file was begun anew, so that all was forgotten that was read before.

        A line that is being written waits. Raises UserError (status 3) where a line is not what a study writes.
        """
        try:
            with open(self.path, "rb") as file:
                first = file.readline()
                if not first.endswith(b"\n"):
                    return False
                anew = first != self._first
                # By the first line and not by the length: of an earlier study the new file may be longer by now.
                if anew:
                    self._first, self._offset, self.trials = first, len(first), []
                    self.header = self._decode(FeedHeader, first)
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return False
        whole = content[: content.rfind(b"\n") + 1]
        self.trials += [self._decode(FeedTrial, line) for line in whole.splitlines()]
        self._offset += len(whole)
        return anew

    def _decode(self, kind: Any, line: bytes) -> Any:
        try:
            return decode(kind, line)
        except ValueError as error:
            raise UserError(BAD_DATA, f"{self.path} is not what a study writes ({error})") from None

    def is_of(self, table: pa.Table) -> bool:
        """Whether these are the trials of trials.parquet: another study may have run since that one did."""
        rows = table.select(["trial", "state", "budget", "score"]).to_pylist()
        states = {row["trial"]: row["state"] for row in rows}
        scores = {(row["trial"], row["budget"]): row["score"] for row in rows}
        return states == {each.trial: each.state for each in self.trials} and all(
            math.isclose(score, scores.get((each.trial, epochs), math.nan), rel_tol=1e-9)
            for each in self.trials
            if each.state != "diverged"  # of which the table has no scores
            for epochs, score in each.by_epochs.items()
        )
