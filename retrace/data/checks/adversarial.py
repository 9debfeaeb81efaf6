"""Whether training and test rows can be told apart, by a classifier that is set to do it (adversarial validation)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrace.data.values import Floats

# Below it nobody need care: one number that moved by 0.18 of its standard deviations gives 0.55.
ALIKE = 0.55
# So many standard errors of doubt: of 700 divisions by chance one is beyond them, and still below ALIKE as a rule.
ERRORS = 3.0
# Groups of each split in each half; with fewer, the standard error itself is a guess.
FEWEST_GROUPS = 25
# That the classifier sees, of a very wide table: those that moved most.
MOST_COLUMNS = 200


class AdversarialResult(NamedTuple):
    """auc: the chance that a test row looks more like one than a training row does, 0.5 where they are alike.

    error: its standard error; column: index of the one that moved most, and distance by how much: the largest
    difference of its two cumulative shares (Kolmogorov-Smirnov), 0 to 1.
    """

    auc: float
    error: float
    column: int
    distance: float

    @property
    def surely(self) -> bool:
        return self.auc - ERRORS * self.error > ALIKE


def adversarial_validation(
    values: Floats, test: NDArray[np.bool_], groups: NDArray[np.generic]
) -> AdversarialResult | None:
    """values [rows, columns], NaN where missing; test [rows]: which are test rows; None where they are too few.

    groups [rows]: rows that were put into a split together, duplicates or by a column. They stay in one half: a
    classifier that has seen one would know the split of the other. Two halves, each scored by what the other taught.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    names, group = np.unique(groups, return_inverse=True)
    half = (np.random.default_rng(0).permutation(len(names)) % 2 == 0)[group]
    for rows in (test, ~test):
        for part in (half, ~half):
            if len(np.unique(group[rows & part])) < FEWEST_GROUPS:
                return None
    found = []
    for part in (half, ~half):
        # Chosen by the half that teaches: what the other one happens to have moved by must not have a say.
        seen = np.argsort(-distances(values[part], test[part]), kind="stable")[:MOST_COLUMNS]
        model = HistGradientBoostingClassifier(
            max_iter=30, learning_rate=0.2, max_leaf_nodes=8, early_stopping=False, random_state=0
        ).fit(values[np.ix_(part, seen)], test[part])
        scores = model.decision_function(values[np.ix_(~part, seen)])
        found.append(area(scores, test[~part], group[~part]))
    moved = distances(values, test)
    column = int(np.argmax(moved))
    # What one half happens to have moved by, the other has moved by as well: the two areas rise and fall together, so
    # that their mean is no surer than each of them.
    auc, error = np.mean(found, axis=0)
    return AdversarialResult(float(auc), float(error), column, float(moved[column]))


def area(scores: Floats, positive: NDArray[np.bool_], groups: NDArray[np.int64]) -> tuple[float, float]:
    """Area under the ROC curve and its standard error, rows of a group taken as one draw (Obuchowski 1997)."""
    high, low = scores[positive], scores[~positive]
    wins = _wins(high, low)
    auc = float(wins.mean())
    variance = sum(
        _variance(each, auc, groups[rows]) for each, rows in ((wins, positive), (1 - _wins(low, high), ~positive))
    )
    return auc, float(np.sqrt(variance))


def _wins(scores: Floats, others: Floats) -> Floats:
    """Share of the others that each score is above, equal ones counted half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    shares: Floats = below / (2 * len(ordered))
    return shares


def _variance(wins: Floats, auc: float, groups: NDArray[np.int64]) -> float:
    _, group = np.unique(groups, return_inverse=True)
    sums = np.bincount(group, weights=wins - auc)
    return float(len(sums) / (len(sums) - 1) * (sums**2).sum() / len(wins) ** 2)


def distances(values: Floats, test: NDArray[np.bool_]) -> Floats:
    """Of each column [columns]: the largest difference between the cumulative shares of its two samples, missing
    values counted as the lowest."""
    found = np.empty(values.shape[1])
    for index, column in enumerate(np.where(np.isnan(values), -np.inf, values).T):
        one, other = np.sort(column[test]), np.sort(column[~test])
        shares = [np.searchsorted(each, column, "right") / len(each) for each in (one, other)]
        found[index] = np.abs(shares[0] - shares[1]).max()
    return found
