"""What duplicates, rows with the same features, say about a data set: counted over all rows, exactly."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrace.data.groups import Hashes

AT_ONCE = 1 << 18


class Duplicates(NamedTuple):
    """rows: that have a duplicate; differing: that have one of another class; best: rows on which a classifier that
    knew all of them could be right; uninformative: whether the features tell nothing at all about the class."""

    rows: int
    differing: int
    best: int
    uninformative: bool


def duplicates(hashes: Hashes, target: NDArray[np.integer], classes: int) -> Duplicates:
    """hashes [rows]: the same for rows with the same features; target [rows]: class indices."""
    count, per_class = len(hashes), np.bincount(target, minlength=classes)
    repeated = repeated_hashes(hashes)
    if not len(repeated):
        return Duplicates(0, 0, count, False)
    # Only the rows that have a duplicate are sorted into groups: of a large table they are few as a rule.
    twin = is_among(hashes, repeated)
    single = np.bincount(target[~twin], minlength=classes)
    _, group, sizes = np.unique(hashes[twin], return_inverse=True, return_counts=True)
    pairs, rows = np.unique(group * classes + target[twin], return_counts=True)
    # Pairs come sorted by group: where each group begins among them.
    starts = np.searchsorted(pairs, np.arange(len(sizes)) * classes)
    best = int(np.maximum.reduceat(rows, starts).sum() + single.sum())
    kinds = np.diff(np.append(starts, len(pairs)))
    uninformative = False
    if best <= per_class.max():
        # No rule on the features is right more often than always the largest class. That alone may be a rare class
        # whose chance the features do tell, so that probabilities can still be learned: uninformative it is where the
        # classes also spread over the groups no less evenly than chance would have it (Pearson's statistic is at most
        # its mean).
        expected = sizes[pairs // classes] * (per_class / count)[pairs % classes]
        of_single = (single[per_class > 0] * count / per_class[per_class > 0]).sum()
        statistic = float((rows**2 / expected).sum() + of_single) - count
        groups = len(sizes) + single.sum()
        uninformative = statistic <= (groups - 1) * ((per_class > 0).sum() - 1)
    return Duplicates(int(twin.sum()), int(sizes[kinds > 1].sum()), best, bool(uninformative))


def seen_before(hashes: Hashes, train: NDArray[np.int64], test: NDArray[np.int64]) -> int:
    """Test rows that have a duplicate among the training rows."""
    repeated = repeated_hashes(hashes)
    if not len(repeated):
        return 0
    trained = hashes[train]
    trained = trained[is_among(trained, repeated)]
    return int(is_among(hashes[test], np.unique(trained)).sum())


def repeated_hashes(hashes: Hashes) -> Hashes:
    """Those that several rows have, each once, ascending."""
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def is_among(hashes: Hashes, known: Hashes) -> NDArray[np.bool_]:
    """Which of the hashes are known; known: ascending. A few at a time, so that it takes little memory."""
    found = np.zeros(len(hashes), dtype=np.bool_)
    if len(known):
        for start in range(0, len(hashes), AT_ONCE):
            some = hashes[start : start + AT_ONCE]
            found[start : start + AT_ONCE] = known[np.searchsorted(known, some).clip(max=len(known) - 1)] == some
    return found
