"""Who is how good on which table: means, ranks and tests of what has been measured (quality_results.py).

A table's value is the mean over its splits, and a mean is over the tables. McNemar's exact test compares two
classifiers on the same test rows: surely means p < 0.05.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.quality_results import Entry, Flags, key, unpacked
from retrace.evaluation.comparisons import mcnemar

SURE = 0.05
BEST = "the best peer of each table"
Place = tuple[str, int]  # table and seed of the split


class Measure(NamedTuple):
    name: str
    title: str
    digits: int
    more_is_better: bool


ACCURACY = Measure("accuracy", "accuracy", 4, True)
LOG_LOSS = Measure("log_loss", "log loss", 4, False)
CALIBRATION = Measure("calibration_error", "calibration error", 4, False)
CPU = Measure("cpu", "CPU seconds", 1, False)
MEASURES = (
    ACCURACY,
    Measure("macro_f1", "macro-F1", 4, True),
    LOG_LOSS,
    Measure("roc_auc", "AUC", 4, True),
    CALIBRATION,
    CPU,
)


class Count(NamedTuple):
    """Tables on which the first of two is surely better, and surely worse."""

    better: int
    worse: int

    def __str__(self) -> str:
        return f"{self.better} / {self.worse}"


class Board:
    """What is known of some tables: entries[contestant][table, seed], all of the same rows; notes: what is not."""

    def __init__(
        self, kept: dict[str, Entry], tables: Sequence[str], seeds: Sequence[int], contestants: Sequence[str]
    ) -> None:
        self.entries: dict[str, dict[Place, Entry]] = {name: {} for name in contestants}
        self.notes: list[str] = []
        self.own, *self.peers = contestants
        for table in tables:
            for seed in seeds:
                found = {name: kept[place] for name in contestants if (place := key(table, seed, name)) in kept}
                self._add((table, seed), found)
        self.places = [(table, seed) for table in tables for seed in seeds if self._known((table, seed))]
        self.tables = list(dict.fromkeys(table for table, _ in self.places))
        missing = [table for table in tables if table not in self.tables]
        if missing:
            self.notes.append(f"Nobody was measured on {', '.join(missing)}.")

    def _add(self, place: Place, found: dict[str, Entry]) -> None:
        splits = {name: entry["stamp"]["split"] for name, entry in found.items()}
        # The network is measured anew with every change of the code, so that its rows are today's.
        split = splits.get(self.own) or next((each for each, _ in Counter(splits.values()).most_common(1)), "")
        for name, entry in found.items():
            if splits[name] != split:
                self.notes.append(f"{name}, {place[0]}, split {place[1]}: of other rows than today's.")
            elif "failed" in entry:
                self.notes.append(f"{name}, {place[0]}, split {place[1]}: {entry['failed']}.")
            else:
                self.entries[name][place] = entry

    def _known(self, place: Place) -> bool:
        return any(place in entries for entries in self.entries.values())

    def complete(self) -> list[str]:
        return [name for name, entries in self.entries.items() if entries and len(entries) == len(self.places)]

    def partial(self) -> list[str]:
        return [name for name, entries in self.entries.items() if entries and len(entries) < len(self.places)]

    def mean(self, name: str, measure: Measure, table: str, places: Iterable[Place] | None = None) -> float:
        """Over the splits of a table, NaN where there are none; places: over these alone."""
        chosen = [place for place in places or self.places if place[0] == table]
        values = [self.entries[name][place][measure.name] for place in chosen if place in self.entries[name]]
        return float(np.mean(values)) if values else float("nan")

    def overall(self, name: str, measure: Measure, places: Sequence[Place] | None = None) -> float:
        tables = dict.fromkeys(table for table, _ in places or self.places)
        return float(np.mean([self.mean(name, measure, table, places) for table in tables]))

    def ranks(self, names: Sequence[str], measure: Measure, places: Sequence[Place] | None = None) -> dict[str, float]:
        tables = dict.fromkeys(table for table, _ in places or self.places)
        scores = {name: [self.mean(name, measure, table, places) for table in tables] for name in names}
        return mean_ranks(scores, measure.more_is_better)

    def best_peer(self, table: str) -> str:
        """By accuracy, of those that were measured on all splits that the network was measured on."""
        places = [place for place in self.entries[self.own] if place[0] == table]
        there = [name for name in self.peers if all(place in self.entries[name] for place in places)]
        return max(there, key=lambda name: self.mean(name, ACCURACY, table, places), default=self.peers[0])

    def right(self, name: str, place: Place) -> Flags:
        entry = self.entries[name][place]
        return unpacked(entry["right"], entry["rows"])

    def test(self, table: str, other: str, seeds: Iterable[int]) -> tuple[int, int, float]:
        """Test rows that the network alone, and that the other alone got right, and McNemar's p."""
        ours = theirs = 0
        for place in ((table, seed) for seed in seeds):
            if place in self.entries[self.own] and place in self.entries[other]:
                only = discordant(self.right(self.own, place), self.right(other, place))
                ours, theirs = ours + only[0], theirs + only[1]
        return ours, theirs, mcnemar(ours, theirs)

    def count(self, other: str, seeds: Sequence[int]) -> Count:
        """Over the tables; other: a peer, or BEST."""
        found = [self.test(table, self.best_peer(table) if other == BEST else other, seeds) for table in self.tables]
        return Count(
            sum(p < SURE and ours > theirs for ours, theirs, p in found),
            sum(p < SURE and ours < theirs for ours, theirs, p in found),
        )


def mean_ranks(scores: dict[str, list[float]], more_is_better: bool) -> dict[str, float]:
    """Mean over the tables of each one's place among all, 1 the best; equal scores share the mean of their places."""
    values: NDArray[np.float64] = np.array(list(scores.values()))
    places = rankdata(-values if more_is_better else values, axis=0)
    return dict(zip(scores, map(float, places.mean(1)), strict=True))


def discordant(first: Flags, second: Flags) -> tuple[int, int]:
    """Rows that the first alone, and that the second alone got right."""
    return int((first & ~second).sum()), int((~first & second).sum())
