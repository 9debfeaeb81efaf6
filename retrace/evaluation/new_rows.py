"""Whether new rows are unlike the training rows: by how much, and how sure that is.

For each column there are up to three questions. How far apart are the distributions? Of numbers it is the largest
difference of the two cumulative shares (Kolmogorov-Smirnov) at the edges that the reference has; of categories, and of
the answers, half the sum of the differences of shares (total variation). Both are a share of rows, 0 to 1. How many
more rows lack a value, or fewer? How many more have a value that is rare or new, or lie outside the training range?

A column is unlike where the effect is large enough to matter and the test is sure: with many rows a test finds what is
too small to matter, and with few rows an effect is large by chance. Tests: of numbers 2 exp(-2 n D^2) for n = n1 n2 /
(n1 + n2), the first term of Kolmogorov's distribution, which is no smaller than all of it (and D on bins is no larger
than D on values); of categories chi-square, rare ones joined until five rows are expected on either side (Cochran
1954); of shares Fisher's exact test. All tests of a file are corrected together (Holm 1979).
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrace.data.values import one_chunk
from retrace.networks.model import Description
from retrace.preprocessing.reference import Counts, Reference, counted, evenly
from retrace.runtime.text import listed

# Share of rows that a distribution must be off by; and by which rows must lack a value or have a new one.
FAR, OFTEN = 0.1, 0.05
ALPHA = 0.01  # chance that any column of a file that is alike is called unlike, by the tests alone
EXPECTED = 5.0  # rows of a class of chi-square, at least


class Watch:
    """Counts new rows, piece by piece, as the reference has counted the training rows.

    most: rows of a piece that are counted, evenly spaced, at most; None: all.
    """

    def __init__(self, reference: Reference, description: Description, most: int | None = None):
        self.reference, self.description, self.most = reference, description, most
        self.rows = 0
        self.found = {each.column: np.zeros(len(each.counts), dtype=np.int64) for each in reference.columns}
        self.answers = np.zeros(len(description.classes), dtype=np.int64)
        self.classes: Counts | None = None

    def add(self, rows: pa.Table, answers: NDArray[np.float64], labels: pa.Array | None) -> None:
        """rows: a column a feature, of the type of its kind; answers [rows, classes]; labels: texts of its classes."""
        self.rows += rows.num_rows
        for column in self.reference.columns:
            values = one_chunk(rows.column(column.column))
            if self.most is not None:
                values = evenly(values, self.most)
            kind = self.description.kind(column.column)
            self.found[column.column] += counted(column, self.description.preprocessing, kind, values)
        count = len(self.description.classes)
        self.answers += np.bincount(answers.argmax(1), minlength=count)
        if labels is not None:
            places = pc.index_in(labels, pa.array(self.description.classes, pa.string()))
            counts = np.bincount(places.to_numpy(zero_copy_only=False), minlength=count)
            self.classes = counts if self.classes is None else self.classes + counts

    def differences(self) -> list["Difference"]:
        return differences(self.reference, self.description, self.found, self.answers, self.classes)


class Difference(NamedTuple):
    """One question about a column, and its answer.

    what: differs, by words; training, here: shares of rows, None where it is a distribution; effect: a share of rows,
    too; p: the chance of such an effect in rows that are alike, corrected for the number of questions.
    """

    column: str
    what: str
    training: float | None
    here: float | None
    effect: float
    p: float

    @property
    def unlike(self) -> bool:
        return self.p < ALPHA and self.effect >= (FAR if self.training is None else OFTEN)


def differences(
    reference: Reference, description: Description, found: Mapping[str, Counts], answers: Counts, classes: Counts | None
) -> list[Difference]:
    """Each question that the rows can answer; the surest first.

    found: counts by column; answers: rows by likeliest class; classes: by their own class, where it is known.
    """
    asked: list[Difference] = []
    for column in reference.columns:
        then, now = np.asarray(column.counts), found[column.column]
        number = column.edges is not None
        # What lies outside the range is in a bin, too; what has no code is a class of its own.
        last = -2 if number else -1
        what = "distribution"
        asked += _distribution(column.column, what, then[:last], now[:last], number)
        totals = (_rows(then, number), _rows(now, number))
        asked += _share(column.column, "without a value", (then[-1], totals[0]), (now[-1], totals[1]), both=True)
        new = "outside the training range" if number else "with a rare or new value"
        valid = (totals[0] - then[-1], totals[1] - now[-1])
        asked += _share(column.column, new, (then[-2], valid[0]), (now[-2], valid[1]))
    if classes is not None:
        asked += _distribution(description.target, "classes", np.asarray(reference.classes), classes, False)
    asked += _distribution("(the answers)", "classes", np.asarray(reference.answers), answers, False)
    asked.sort(key=lambda each: each.p)
    return _holm(asked)


def unlike_columns(asked: list[Difference]) -> str:
    """In words, the surest first: "2 columns (a, b)"; "" where all is alike."""
    names = list(dict.fromkeys(each.column for each in asked if each.unlike))
    return f"{len(names):,} {'column' if len(names) == 1 else 'columns'} ({listed(names)})" if names else ""


def _rows(counts: Counts, number: bool) -> int:
    return int(counts.sum() - (counts[-2] if number else 0))


def _distribution(column: str, what: str, then: Counts, now: Counts, ordered: bool) -> list[Difference]:
    """Nothing where one side has no rows."""
    before, after = int(then.sum()), int(now.sum())
    if not before or not after:
        return []
    if ordered:
        effect = float(np.abs(np.cumsum(then) / before - np.cumsum(now) / after).max())
        p = min(1.0, 2 * math.exp(-2 * effect**2 * before * after / (before + after)))
    else:
        effect = float(np.abs(then / before - now / after).sum() / 2)
        p = _chi_square(then, now)
    return [Difference(column, what, None, None, effect, p)]


def _chi_square(then: Counts, now: Counts) -> float:
    """p of the homogeneity of two rows of counts, the rare classes in one."""
    table = np.stack([then, now]).astype(np.float64)[:, np.argsort(-(then + now), kind="stable")]
    fewer = table.sum(1).min() / table.sum()
    groups: list[NDArray[np.float64]] = []
    pending = np.zeros(2)
    for counts in table.T:
        pending = pending + counts
        if pending.sum() * fewer >= EXPECTED:
            groups.append(pending)
            pending = np.zeros(2)
    if not groups:
        return 1.0
    groups[-1] = groups[-1] + pending
    kept = np.stack(groups, 1)
    expected = kept.sum(1, keepdims=True) * kept.sum(0) / kept.sum()
    return _chi_square_tail(float(((kept - expected) ** 2 / expected).sum()), len(groups) - 1)


def _chi_square_tail(value: float, freedom: int) -> float:
    """Chance of more than `value` by chi-square's distribution (Abramowitz and Stegun 1964, 26.4.4 and 26.4.5)."""
    if freedom < 1 or value <= 0:
        return 1.0
    half, shift = value / 2, freedom % 2 / 2
    total = math.erfc(math.sqrt(half)) if shift else 0.0
    for step in range(freedom // 2):
        power = step + shift
        total += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
    return min(1.0, total)


def _share(column: str, what: str, then: tuple[int, int], now: tuple[int, int], both: bool = False) -> list[Difference]:
    """then, now: (rows that are so, all rows). both: fewer of them are unlike, too."""
    if not then[1] or not now[1] or not then[0] + now[0]:
        return []
    before, after = then[0] / then[1], now[0] / now[1]
    p = _fisher(now[0], now[1], then[0] + now[0], then[1] + now[1])
    if both:
        fewer = _fisher(now[1] - now[0], now[1], now[1] + then[1] - then[0] - now[0], then[1] + now[1])
        p = min(1.0, 2 * min(p, fewer))
    effect = abs(after - before) if both else max(after - before, 0.0)
    return [Difference(column, what, before, after, effect, p)]


def _fisher(found: int, drawn: int, marked: int, rows: int) -> float:
    """Chance of `found` marked rows or more among `drawn`, of so many rows of which so many are marked."""
    if found * rows <= drawn * marked:  # no more than to be expected: nothing to find
        return 1.0
    log = _choose(marked, found) + _choose(rows - marked, drawn - found) - _choose(rows, drawn)
    term, total = 1.0, 0.0
    for each in range(found, min(drawn, marked) + 1):
        total += term
        if term < 1e-16 * total:
            break
        term *= (marked - each) * (drawn - each) / ((each + 1) * (rows - marked - drawn + each + 1))
    return min(1.0, math.exp(log) * total)


def _choose(rows: int, drawn: int) -> float:
    """Logarithm of the binomial coefficient."""
    return math.lgamma(rows + 1) - math.lgamma(drawn + 1) - math.lgamma(rows - drawn + 1)


def _holm(asked: list[Difference]) -> list[Difference]:
    """With p corrected for how many questions there are, in the order of p."""
    corrected, highest = [], 0.0
    for place, each in enumerate(asked):
        highest = max(highest, min(1.0, each.p * (len(asked) - place)))
        corrected.append(each._replace(p=highest))
    return corrected
