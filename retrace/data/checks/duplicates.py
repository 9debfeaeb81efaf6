"""What twins, rows with the same features, say about a data set: counted over all rows, exactly."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrace.data.groups import Hashes


class Twins(NamedTuple):
    """rows: that have a twin; differing: that have one of another class; best: rows on which a classifier that knew
    all of them could be right; hopeless: whether the features tell nothing at all about the class."""

    rows: int
    differing: int
    best: int
    hopeless: bool


def duplicates(units: Hashes, target: NDArray[np.int64], classes: int) -> Twins:
    """units [rows]: the same for rows with the same features; target [rows]: class indices."""
    count = len(units)
    if not _repeated(units):
        return Twins(0, 0, count, False)
    _, unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    pairs, rows = np.unique(unit * classes + target, return_counts=True)
    # Pairs come sorted by unit: where each unit begins among them.
    starts = np.searchsorted(pairs, np.arange(len(sizes)) * classes)
    best = int(np.maximum.reduceat(rows, starts).sum())
    kinds = np.diff(np.append(starts, len(pairs)))
    per_class = np.bincount(target, minlength=classes)
    hopeless = False
    if best <= per_class.max():
        # No rule on the features is right more often than always the largest class. That alone may be a rare class
        # whose chance the features do tell, so that probabilities can still be learned: hopeless it is where the
        # classes also spread over the units no less evenly than chance would have it (Pearson's statistic is at most
        # its mean).
        expected = sizes[pairs // classes] * (per_class / count)[pairs % classes]
        statistic = float((rows**2 / expected).sum()) - count
        hopeless = statistic <= (len(sizes) - 1) * ((per_class > 0).sum() - 1)
    return Twins(int(sizes[sizes > 1].sum()), int(sizes[kinds > 1].sum()), best, bool(hopeless))


def seen_before(units: Hashes, train: NDArray[np.int64], test: NDArray[np.int64]) -> int:
    """Test rows that have a twin among the training rows."""
    return int(np.isin(units[test], units[train]).sum()) if _repeated(units) else 0


def _repeated(units: Hashes) -> bool:
    ordered = np.sort(units)
    return bool((ordered[1:] == ordered[:-1]).any())
