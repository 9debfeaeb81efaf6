"""The bootstrap (Efron 1979): how often each row counts in each resample with replacement.

Resamples are drawn in pieces, one after the other from one generator, whoever looks at which of them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.evaluation.all_cores import on_all_cores
from retrace.evaluation.metrics import Floats

# Numbers of a piece, at most: so the processor keeps them at hand.
PIECE = 2_000_000
# Arrays of that size, about, that are looked at at once.
ARRAYS = 10


class Resamples:
    """`count` weightings in all, in pieces [weightings, rows]; quick where they are asked for in their order."""

    def __init__(self, rows: int, count: int, seed: int):
        self.rows, self.count, self.seed = rows, count, seed
        self.most = max(1, PIECE // rows)
        self._start()

    def __len__(self) -> int:
        return -(-self.count // self.most)

    def __getitem__(self, place: int) -> Floats:
        if place >= len(self):
            raise IndexError(place)
        if place < self._next:
            self._start()
        while self._next < place:
            self._draw()
        cells = self._draw()
        size = len(cells)
        cells += self.rows * np.arange(size)[:, None]
        return np.bincount(cells.ravel(), minlength=size * self.rows).reshape(size, self.rows).astype(np.float64)

    def _start(self) -> None:
        self._random, self._next = np.random.default_rng(self.seed), 0

    def _draw(self) -> NDArray[np.int64]:
        size = min(self.most, self.count - self._next * self.most)
        self._next += 1
        return self._random.integers(self.rows, size=(size, self.rows))


def of_resamples(function: Callable[[Floats], Any], drawn: Resamples, seconds: float) -> list[Any]:
    """What a function says of each piece, in their order, by all cores; seconds: of one core, for all, about."""
    size = ARRAYS * 8 * max(drawn.rows, PIECE)
    return on_all_cores(lambda place: function(drawn[place]), range(len(drawn)), "evaluate: resamples", seconds, size)
