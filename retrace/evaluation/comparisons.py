"""Classifiers on the same rows: which one is better, and how sure that is."""

from collections.abc import Mapping
from typing import NamedTuple

from retrace.artifacts.scores import Comparison


class Lead(NamedTuple):
    """A baseline that is better than the network in accuracy or in log loss; text: that in words and numbers."""

    surely: bool
    text: str


def leads(baseline: Mapping[str, Comparison]) -> list[Lead]:
    """Where baselines are better, the sure ones first.

    Surely: the whole paired bootstrap interval of the difference is on the baseline's side. One rule for accuracy and
    log loss, and the interval that is shown is the one that decides. McNemar's test knows no log loss; for accuracy it
    says the same but where hardly a row differs: there it is the more cautious one.
    """
    found = []
    for name, comparison in baseline.items():
        for metric, value, difference, low, high, worse in comparison.compared():
            surely = min(worse * low, worse * high) > 0
            if surely or worse * difference > 0:
                sure = "surely" if surely else "perhaps"
                text = (
                    f"{in_words(name)} is {sure} better in {in_words(metric)}: {value:.4f},"
                    f" network minus it {difference:+.4f} ({low:+.4f} to {high:+.4f})"
                )
                found.append(Lead(surely, text))
    return sorted(found, key=lambda lead: not lead.surely)


def in_words(name: str) -> str:
    return name.replace("_", " ")


def what_ships(shipped: int | None, replicas: int) -> str:
    """shipped: as in models/training.json; replicas: their number."""
    return f"the mean of {replicas:,} replica{'s' * (replicas > 1)}" if shipped is None else f"replica {shipped}"


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947): is one of two classifiers right on more of the same rows?

    only_first, only_second: rows on which one of them alone is right; under the null hypothesis each is as likely.
    """
    # Here, because it takes a third of a second, and most tables are compared with none.
    from scipy.special import bdtr

    discordant = only_first + only_second
    if not discordant:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5)))
