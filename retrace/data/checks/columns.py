"""What a column gives away by itself: that it never varies, that it is the answer."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrace.data.groups import column_hashes
from retrace.data.values import Floats

Rows = NDArray[np.int64]

# Right on this share of the rows, as the mean over classes: of the real tables that we know, no honest column comes
# near it (petal width of iris: 0.95), and a copy of the answer with a few slips is above it.
TELLING = 0.995
# With fewer rows an honest column is that good by luck: one that is right 9 times of 10 on all of 30, once in 24 times.
FEWEST_JUDGED = 30
# Neighbouring values whose classes vote, so that single wrong labels do not hide what a number gives away.
VOTERS = 9


def as_numbers(column: pa.ChunkedArray) -> Floats:
    """Any feature as float64 [rows], equal for equal values and in their order, NaN where missing.

    Categories have no order: equal or not is all that these numbers say of them.
    """
    if isinstance(column.type, pa.DictionaryType):
        column = pa.chunked_array([chunk.indices for chunk in column.chunks], column.type.index_type)
    elif pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    values: Floats = pc.cast(column, pa.float64(), safe=False).fill_null(np.nan).to_numpy()
    return values


def constant(pieces: Iterable[pa.Array], chosen: NDArray[np.bool_] | None = None) -> bool:
    """Whether it is the same, or missing, in all of these rows; chosen [rows]: which; None: all. Of most columns a few
    rows show that it is not."""
    first, start = None, 0
    for piece in pieces:
        hashes = column_hashes(piece)
        if chosen is not None:
            hashes = hashes[chosen[start : start + len(piece)]]
        start += len(piece)
        if len(hashes):
            first = hashes[0] if first is None else first
            if (hashes != first).any():
                return False
    return True


def single_feature_score(values: Floats, target: NDArray[np.integer], known: NDArray[np.bool_], ordered: bool) -> float:
    """How well one column tells the class: the mean over classes of the share of rows that it gets right.

    Each row is scored by the rows of the other side (known: which are on the one). values [rows], NaN where missing;
    target [rows]; known [rows].
    """
    values = np.where(np.isnan(values), -np.inf, values)
    guesses = np.empty((3, len(values)), dtype=np.int64)
    for side in (known, ~known):
        guesses[:, ~side] = _guess(values[side], target[side], values[~side], ordered)
    return max(_score(guess, target) for guess in guesses)


def _score(guess: Rows, target: NDArray[np.integer]) -> float:
    """The mean over classes of the share of right guesses, if half of the rows at least have one."""
    given = guess >= 0
    if given.mean() < 0.5:
        return 0.0
    right, target = (guess == target)[given], target[given]
    return float(np.mean([right[target == label].mean() for label in np.unique(target)]))


def _guess(values: Floats, target: NDArray[np.integer], asked: Floats, ordered: bool) -> Rows:
    """Classes [3, asked], -1 for none: by the vote of the rows with that value (codes and groups); of an ordered column
    also by those with the nearest value, and by neighbours."""
    order = np.argsort(values, kind="stable")
    values, target = values[order], target[order]
    place = np.searchsorted(values, asked).clip(max=len(values) - 1)
    same = np.cumsum(np.append(False, values[1:] != values[:-1]))
    votes = _votes(same, target)
    there = np.where(values[place] == asked, votes[same[place]], -1)
    if not ordered:
        return np.stack([there] * 3)
    with np.errstate(invalid="ignore"):  # of two missing ones
        before = (place > 0) & (asked - values[place - 1] < values[place] - asked)
    place = place - before
    together = np.arange(len(values)) // VOTERS
    return np.stack([there, votes[same[place]], _votes(together, target)[together[place]]])


def _votes(group: Rows, target: NDArray[np.integer]) -> Rows:
    """The most frequent class of each group, the groups numbered from 0 without a gap."""
    classes = int(target.max()) + 1
    pairs, rows = np.unique(group * classes + target, return_counts=True)
    order = np.lexsort((rows, pairs // classes))
    last = np.append(np.diff(pairs[order] // classes) > 0, True)
    winners: Rows = pairs[order][last] % classes
    return winners
