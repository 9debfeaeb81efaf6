"""What duplicates, rows with the same features, say about a data set: counted over all rows, exactly."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrace.data.groups import Hashes


class Duplicates(NamedTuple):
    """rows: that have a duplicate; differing: that have one of another class; best: rows on which a classifier that
    knew all of them could be right; uninformative: whether the features tell nothing at all about the class."""

    rows: int
    differing: int
    best: int
    uninformative: bool


def duplicates(hashes: Hashes, target: NDArray[np.int64], classes: int) -> Duplicates:
    """hashes [rows]: the same for rows with the same features; target [rows]: class indices."""
    count = len(hashes)
    if not _repeated(hashes):
        return Duplicates(0, 0, count, False)
    _, group, sizes = np.unique(hashes, return_inverse=True, return_counts=True)
    pairs, rows = np.unique(group * classes + target, return_counts=True)
    # Pairs come sorted by group: where each group begins among them.
    starts = np.searchsorted(pairs, np.arange(len(sizes)) * classes)
    best = int(np.maximum.reduceat(rows, starts).sum())
    kinds = np.diff(np.append(starts, len(pairs)))
    per_class = np.bincount(target, minlength=classes)
    uninformative = False
    if best <= per_class.max():
        # No rule on the features is right more often than always the largest class. That alone may be a rare class
        # whose chance the features do tell, so that probabilities can still be learned: uninformative it is where the
        # classes also spread over the groups no less evenly than chance would have it (Pearson's statistic is at most
        # its mean).
        expected = sizes[pairs // classes] * (per_class / count)[pairs % classes]
        statistic = float((rows**2 / expected).sum()) - count
        uninformative = statistic <= (len(sizes) - 1) * ((per_class > 0).sum() - 1)
    return Duplicates(int(sizes[sizes > 1].sum()), int(sizes[kinds > 1].sum()), best, bool(uninformative))


def seen_before(hashes: Hashes, train: NDArray[np.int64], test: NDArray[np.int64]) -> int:
    """Test rows that have a duplicate among the training rows."""
    return int(np.isin(hashes[test], hashes[train]).sum()) if _repeated(hashes) else 0


def _repeated(hashes: Hashes) -> bool:
    ordered = np.sort(hashes)
    return bool((ordered[1:] == ordered[:-1]).any())
