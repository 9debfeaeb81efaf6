"""A study under way: the bar on a terminal, and `.retrace/study.jsonl`, out of which `retrace study --mirror` reads.

The file's first line says what is searched, each other one is a trial that has ended. DVC does not know it.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from tqdm import tqdm

from retrace.artifacts.study_feed import FEED, FeedHeader, FeedParameter, FeedTrial
from retrace.params.space import Searched

if TYPE_CHECKING:
    from retrace.study.search import Trial


class Live:
    """epochs: of single networks, planned in all; trials: how many there will be."""

    def __init__(self, dataset: str, space: Sequence[Searched], trials: int, epochs: int):
        self.trials, self.done, self.clock = trials, 0, time.monotonic()
        self.best: tuple[float, int] = (math.inf, 0)
        self.epochs: dict[int, int] = {}
        # Whether what is under way is a study within the study, whose trials are no trials of it.
        self.within = False
        self.bar = tqdm(
            total=epochs,
            file=sys.stderr,
            disable=None,
            bar_format="study: {percentage:3.0f}%|{bar}|{postfix} [{elapsed}<{remaining}]",
        )
        FEED.parent.mkdir(parents=True, exist_ok=True)
        FEED.write_text("", "utf-8")
        parameters = [
            FeedParameter(each.name, each.choices, each.low, each.high, each.log, each.whole) for each in space
        ]
        self._write(FeedHeader(dataset, datetime.now(UTC).isoformat(), parameters))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def measured(self, trial: "Trial") -> None:
        """It has reached one more rung."""
        before, now = self.epochs.get(trial.number, 0), sum(trial.measured[-1].epochs)
        self.epochs[trial.number] = now
        self.bar.update(max(0, min(now - before, self.bar.total - self.bar.n)))

    def ended(self, trial: "Trial") -> None:
        """What it is, is known."""
        if self.within:
            return
        self.done += 1
        if trial.state == "complete":
            self.best = min(self.best, (trial.score, trial.number))
        minutes = (time.monotonic() - self.clock) / 60
        best = f", best {self.best[0]:.4f} (trial {self.best[1]})" if math.isfinite(self.best[0]) else ""
        said = f"{self.done:,} of {self.trials:,} trials{best}, {self.done / max(minutes, 1e-9):,.0f} trials a minute"
        self.bar.set_postfix_str(said)
        reached = zip(trial.budgets, trial.scores, strict=True)
        scores = {str(budget): score for budget, score in reached if math.isfinite(score)}
        self._write(FeedTrial(trial.number, trial.round, trial.state, trial.settings, scores))

    def judging(self, epochs: int) -> None:
        """Of the trainings with fresh seeds, so many epochs of networks are done."""
        self.bar.update(max(0, min(epochs, self.bar.total - self.bar.n)))

    def _write(self, line: FeedHeader | FeedTrial) -> None:
        with open(FEED, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(line)) + "\n")
