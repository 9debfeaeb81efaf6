"""A stratified division of rows into two parts, in which a rare class is not lost."""

import math

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Holders:
    """Which classes each group (a row and its duplicates) holds: more than one where duplicates differ in their label.

    groups:   the first row of each group.
    distinct: by class, how many groups hold it.
    """

    def __init__(self, first: Rows, target: NDArray[np.integer], classes: int):
        """first: for each row, the first row of its group."""
        self.classes = classes
        self.groups = np.unique(first)
        pairs = first * classes + target
        # Without duplicates each row is a pair of its own.
        pairs = pairs if len(self.groups) == len(first) else np.unique(pairs)
        self._group, self._class = np.divmod(pairs, classes)
        self.distinct = self._count(np.ones(len(pairs), dtype=bool))

    def counts(self, groups: Rows) -> Rows:
        """By class, how many of these groups hold it."""
        there = np.zeros(self.groups[-1] + 1, dtype=bool)
        there[groups] = True
        return self._count(there[self._group])

    def of(self, index: np.intp) -> Rows:
        """The groups that hold a class."""
        groups: Rows = self._group[self._class == index]
        return groups

    def classes_of(self, group: np.int64) -> Rows:
        """The classes that a group holds."""
        classes: Rows = self._class[self._group == group]
        return classes

    def _count(self, pairs: NDArray[np.bool_]) -> Rows:
        return np.bincount(self._class[pairs], minlength=self.classes)


def divide(
    rows: Rows, labels: NDArray[np.integer], holders: Holders, size: float, seed: int, fewest: int
) -> tuple[Rows, Rows]:
    """Groups kept and taken (a share `size` of them), with the same shares of each label in both, shuffled.

    Of every class at least `fewest` groups are kept and one is taken, if it has so many; for that single groups change
    over, and only where a class would lack them.
    """
    # A second and a half, which the other methods need not wait for.
    from sklearn.model_selection import train_test_split

    counts = np.bincount(labels)
    # scikit-learn refuses a label that it cannot divide, and parts that have fewer rows than there are labels.
    labels = np.where(counts[labels] == 1, counts.argmax(), labels)
    different = len(np.unique(labels))
    taken = min(max(math.ceil(len(rows) * size), different), len(rows) - different)
    parts = train_test_split(rows, test_size=taken, random_state=seed, stratify=labels)
    return _with_every_class(parts, holders, (fewest, 1))


def _with_every_class(parts: list[Rows], holders: Holders, fewest: tuple[int, int]) -> tuple[Rows, Rows]:
    """Move a group of each class that has too few in one part, from the other part if that can spare it."""
    counts = [holders.counts(part) for part in parts]
    for to, source in ((0, 1), (1, 0)):
        for index in np.flatnonzero(counts[to] < fewest[to]):
            # In the order of the part, which the seed decides.
            for group in parts[source][np.isin(parts[source], holders.of(index))]:
                held = holders.classes_of(group)
                if counts[to][index] < fewest[to] and (counts[source][held] > fewest[source]).all():
                    parts[source], parts[to] = parts[source][parts[source] != group], np.append(parts[to], group)
                    counts[source][held] -= 1
                    counts[to][held] += 1
    return parts[0], parts[1]
