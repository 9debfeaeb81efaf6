"""Classifiers on the same rows: which one is better, and how sure that is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

# Of a baseline in metrics.json: the key, that of the network's difference to it, and the sign with which that is worse.
METRICS = (("accuracy", "difference", -1), ("log_loss", "log_loss_difference", 1))
ENDS = ("", "_low", "_high")
COMPARED = tuple(key for name, gap, _ in METRICS for key in (name, *(f"{gap}{end}" for end in ENDS)))


class Lead(NamedTuple):
    """A baseline that is better than the network in accuracy or in log loss; text: that in words and numbers."""

    surely: bool
    text: str


def leads(baseline: Mapping[str, Mapping[str, Any]]) -> list[Lead]:
    """Where baselines are better, the sure ones first; baseline: that part of metrics.json, less what an old one lacks.

    Surely: the whole paired bootstrap interval of the difference is on the baseline's side. One rule for accuracy and
    log loss, and the interval that is shown is the one that decides. McNemar's test knows no log loss; for accuracy it
    says the same but where hardly a row differs: there it is the more cautious one.
    """
    found = []
    for name, scores in baseline.items():
        for metric, gap, worse in METRICS:
            numbers: list[Any] = [scores.get(key) for key in (metric, *(f"{gap}{end}" for end in ENDS))]
            if None in numbers:
                continue
            value, difference, low, high = (float(number) for number in numbers)
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


def training_of_shipped(training: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of models/training.json what it says of the model: of a replica, or of the mean of all."""
    shipped: int | None = training["shipped"]
    entry: Mapping[str, Any] = training["mean"] if shipped is None else training["replicas"][shipped]
    return entry


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
