"""Which baseline is better than the network, how sure that is, and who says it."""

import pytest

from retrace.artifacts.scores import HEADLINES, Comparison, Metric, Scores, ShippedTraining
from retrace.cli.readme import results
from retrace.cli.summary import summary
from retrace.evaluation.comparisons import leads, what_ships
from tests.scores import comparison, scores


def against(accuracy: tuple[float, float, float], log_loss: tuple[float, float, float]) -> Comparison:
    """What the network has more than a baseline, each with the ends of its interval."""
    found: dict[str, float] = {"accuracy": 0.9, "log_loss": 0.3}
    for key, numbers in (("difference", accuracy), ("log_loss_difference", log_loss)):
        found |= {f"{key}{end}": number for end, number in zip(("", "_low", "_high"), numbers, strict=True)}
    return comparison(**found)


WORSE = {"accuracy": (0.02, 0.01, 0.03), "log_loss": (-0.02, -0.03, -0.01)}  # than the network


@pytest.mark.parametrize(
    ("accuracy", "log_loss", "words"),
    [
        (*WORSE.values(), []),
        ((0.02, -0.01, 0.05), (-0.02, -0.05, 0.01), []),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), []),
        ((-0.02, -0.05, 0.01), WORSE["log_loss"], ["perhaps better in accuracy"]),
        ((-0.02, -0.05, 0.0), WORSE["log_loss"], ["perhaps better in accuracy"]),
        ((-0.02, -0.05, -0.000001), WORSE["log_loss"], ["surely better in accuracy"]),
        (WORSE["accuracy"], (0.02, -0.01, 0.05), ["perhaps better in log loss"]),
        (WORSE["accuracy"], (0.02, 0.0, 0.05), ["perhaps better in log loss"]),
        (WORSE["accuracy"], (0.02, 0.000001, 0.05), ["surely better in log loss"]),
        ((-0.02, -0.05, 0.01), (0.02, 0.01, 0.03), ["surely better in log loss", "perhaps better in accuracy"]),
    ],
)
def test_surely_is_when_the_whole_interval_is_on_the_other_side(accuracy, log_loss, words):
    found = leads({"gradient_boosting": against(accuracy, log_loss)})
    assert [lead.text.split(":")[0] for lead in found] == [f"gradient boosting is {each}" for each in words]
    assert [lead.surely for lead in found] == ["surely" in each for each in words]


def test_the_numbers_are_said():
    (lead,) = leads({"majority": against((-0.02, -0.05, 0.01), WORSE["log_loss"])})
    assert lead.text == (
        "majority is perhaps better in accuracy: 0.9000, network minus it -0.0200 (-0.0500 to +0.0100)"
    )


def report(shipped: int | None, baseline: Comparison) -> Scores:
    headline = Metric(0.95, 0.94, 0.96, mean=0.93, deviation=0.004, jackknife=0.002 if shipped is None else None)
    training = ShippedTraining(replicas=8, shipped=shipped, best_epoch=90, best_validation_loss=0.1)
    changes = dict.fromkeys(HEADLINES, headline) | {"rows": 1000, "baseline": {"majority": baseline}}
    return scores(**changes, training=training)


def test_the_summary_says_what_ships_and_which_baseline_is_better():
    lines = summary(report(6, against(*WORSE.values())))
    assert lines[1].endswith("on 1,000 rows; replica 6; 8 replicas one by one 0.9300 +- 0.0040")
    assert "Log loss             0.9500   0.9400 to 0.9600" in lines
    assert any("+0.0200 (+0.0100 to +0.0300); log loss 0.3000: -0.0200 (-0.0300 to -0.0100)" in line for line in lines)
    assert "better" not in "".join(lines)
    lines = summary(report(None, against((-0.02, -0.05, 0.01), (0.02, 0.01, 0.03))))
    assert "; the mean of 8 replicas, +- 0.0020 by the luck of their seeds; 8 replicas one by one 0.9300" in lines[1]
    better = [line for line in lines if line.startswith("Better baseline")]
    assert ["surely better in log loss" in better[0], "perhaps better in accuracy" in better[1]] == [True, True]


def test_the_readme_says_what_ships():
    assert what_ships(6, 8) == "replica 6"
    best, mean = (results(report(shipped, against(*WORSE.values()))) for shipped in (6, None))
    assert "(the replica that ships)" in best
    assert "jackknife" not in best
    assert "| **the network** (the mean of 8 replicas) | **0.9500** |" in mean
    assert "| the luck of its seeds (jackknife) | ± 0.0020 |" in mean
