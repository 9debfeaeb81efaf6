"""What duplicates, rows with the same features, say about a data set: counted over all rows, exactly."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrace.data.groups import Hashes, class_counts

# Rows whose hashes are sorted at once, about, each of which takes up to 64 bytes, but in no more parts than so many,
# since for each all hashes are gone through; and rows that are looked at at once.
ROWS_OF_A_PART, MOST_PARTS, ROWS_AT_ONCE = 1 << 20, 64, 1 << 20


class Duplicates(NamedTuple):
    """rows: that have a duplicate; differing: that have one of another class; best: rows on which a classifier that
    knew all of them could be right; uninformative: whether the features tell nothing at all about the class."""

    rows: int
    differing: int
    best: int
    uninformative: bool


def duplicates(hashes: Hashes, target: NDArray[np.integer], classes: int) -> Duplicates:
    """hashes [rows]: the same for rows with the same features; target [rows]: class indices."""
    count, per_class = len(hashes), class_counts(target, classes)
    twins = differing = best = groups = 0
    of_groups, single = 0.0, per_class.copy()
    for part in _parts(hashes):
        # Of each class in each group; the groups of a large table are few as a rule.
        pairs, rows = _counted(group * classes + target[some] for some, group in part.members(hashes))
        if not len(pairs):
            continue
        group, of_class = np.divmod(pairs, classes)
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        sizes, kinds = np.add.reduceat(rows, starts), np.diff(np.append(starts, len(pairs)))
        twins, groups = twins + int(rows.sum()), groups + len(starts)
        differing += int(sizes[kinds > 1].sum())
        best += int(np.maximum.reduceat(rows, starts).sum())
        single -= np.bincount(of_class, rows, classes).astype(np.int64)
        expected = np.repeat(sizes, kinds) * (per_class / count)[of_class]
        of_groups += float((rows**2 / expected).sum())
    if not twins:
        return Duplicates(0, 0, count, False)
    best += int(single.sum())
    uninformative = False
    if best <= per_class.max():
        # No rule on the features is right more often than always the largest class. That alone may be a rare class
        # whose chance the features do tell, so that probabilities can still be learned: uninformative it is where the
        # classes also spread over the groups no less evenly than chance would have it (Pearson's statistic is at most
        # its mean).
        of_single = (single[per_class > 0] * count / per_class[per_class > 0]).sum()
        statistic = float(of_groups + of_single) - count
        uninformative = statistic <= (groups + single.sum() - 1) * ((per_class > 0).sum() - 1)
    return Duplicates(twins, differing, best, bool(uninformative))


def seen_before(hashes: Hashes, train: NDArray[np.int64], test: NDArray[np.int64]) -> int:
    """Test rows that have a duplicate among the training rows."""
    sides = np.zeros(len(hashes), dtype=np.int8)
    sides[train], sides[test] = 1, 2
    found = 0
    for part in _parts(hashes):
        trained, tested = (np.zeros(len(part.repeated), dtype=np.int64) for _ in range(2))
        for some, group in part.members(hashes):
            trained += np.bincount(group[sides[some] == 1], minlength=len(trained))
            tested += np.bincount(group[sides[some] == 2], minlength=len(tested))
        found += int(tested[trained > 0].sum())
    return found


class _Part(NamedTuple):
    """Rows with a hash from low to high; repeated: which of these several rows have, each once, ascending."""

    low: int
    high: int
    repeated: Hashes

    def members(self, hashes: Hashes) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Some rows at a time that have a duplicate: their numbers, and the place of each one's hash in `repeated`."""
        for start in range(0, len(hashes) if len(self.repeated) else 0, ROWS_AT_ONCE):
            some = hashes[start : start + ROWS_AT_ONCE]
            own = np.flatnonzero((some >= self.low) & (some <= self.high))
            place = np.searchsorted(self.repeated, some[own]).clip(max=len(self.repeated) - 1)
            among = self.repeated[place] == some[own]
            yield start + own[among], place[among]


def _parts(hashes: Hashes) -> Iterator[_Part]:
    """All rows, by their hashes: of a large table memory holds a part once more, whose duplicates are in it, too."""
    parts = min(max(1, len(hashes) // ROWS_OF_A_PART), MOST_PARTS)
    bounds = [place * 2**64 // parts for place in range(parts + 1)]
    for low, end in pairwise(bounds):
        own = hashes.copy() if parts == 1 else hashes[(hashes >= low) & (hashes <= end - 1)]
        own.sort()
        same = own[1:] == own[:-1]
        same[1:] &= ~same[:-1]  # where a hash comes for the second time
        yield _Part(low, end - 1, own[1:][same])


def _counted(pieces: Iterable[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different numbers, ascending, and how often each comes."""
    none = np.zeros(0, dtype=np.int64)
    found = [(none, none), *(np.unique(piece, return_counts=True) for piece in pieces)]
    numbers, inverse = np.unique(np.concatenate([each for each, _ in found]), return_inverse=True)
    counts = np.bincount(inverse, np.concatenate([times for _, times in found]))
    return numbers, counts.astype(np.int64)
