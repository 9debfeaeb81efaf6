"""`evaluate.threshold` as an aim: found on validation rows, used where surely better, found again by what serves."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import TunedThresholdClassifierCV

from retrace.artifacts.scores import SCORES, read_scores
from retrace.cli.main import invoke
from retrace.cli.summary import summary
from retrace.evaluation import threshold
from retrace.evaluation.served_threshold import Aim, served_threshold
from retrace.evaluation.threshold import FEWEST, best, choose
from retrace.params.evaluate import Costs, Evaluate
from retrace.params.reader import read
from retrace.runtime.errors import BAD_DATA, BAD_PARAMS, UserError
from stages import baseline, create, evaluate, split, train
from tests.conftest import VALUES
from tests.project import TINY, turn

SECTION = Evaluate.model_validate(VALUES["evaluate"] | {"resamples": 100})
DIGEST = threshold.digest
F1, COSTS = "best_f1", Costs(cost_ratio=5.0)


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    monkeypatch.setattr(threshold, "digest", lambda: "d" * 64)


def rows(count: int, seed: int, base: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Chances that are right, and what came of them; base: about how many are of the second class."""
    random = np.random.default_rng(seed)
    logits = random.normal(np.log(base / (1 - base)), 1.5, count)
    chances = 1 / (1 + np.exp(-logits))
    return chances, random.random(count) < chances


# --- the best one -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_the_best_f1_is_the_best_of_all(seed, ties):
    chances, positive = rows(60, seed, 0.3)
    if ties:
        chances = chances.round(1).clip(0.05, 0.95)
    found = best(chances, positive, Aim.of(F1))
    scores = {each: f1_score(positive, chances >= each) for each in np.linspace(0.0025, 0.9975, 200)}
    assert f1_score(positive, chances >= found) >= max(scores.values()) - 1e-9
    assert not (np.abs(chances - found) < 1e-12).any() or ties
    closest = min((abs(each - 0.5) for each, score in scores.items() if score > max(scores.values()) - 1e-9))
    assert abs(found - 0.5) <= closest + 0.2


def test_of_equally_good_ones_it_is_the_closest_to_half():
    positive = np.array([True, False, False, True, False])
    assert best(np.array([0.9, 0.8, 0.45, 0.3, 0.1]), positive, Aim.of(F1)) == pytest.approx(0.2)  # as good as 0.85


def test_it_is_the_one_that_scikit_learn_finds():
    random = np.random.default_rng(3)
    x = random.normal(size=(3000, 2))
    y = random.random(3000) < 1 / (1 + np.exp(2.5 - 1.5 * x[:, 0]))
    linear = LogisticRegression().fit(x[:500], y[:500])
    theirs = TunedThresholdClassifierCV(
        FrozenEstimator(linear), scoring="f1", cv="prefit", refit=False, thresholds=2000
    ).fit(x, y)
    chances = linear.predict_proba(x)[:, 1]
    found = best(chances, y, Aim.of(F1))
    assert found == pytest.approx(theirs.best_threshold_, abs=0.02)
    assert f1_score(y, chances >= found) >= theirs.best_score_ - 1e-9


def test_the_threshold_of_costs_is_that_of_elkan():
    assert best(*rows(50, 1), Aim.of(COSTS)) == pytest.approx(1 / 6, abs=1e-6)
    aim = Aim.of(COSTS)
    chances, positive = rows(200_000, 1)

    def cost(at: float) -> float:
        alarm = chances >= at
        return 5 * (positive & ~alarm).mean() + (~positive & alarm).mean()

    alarm = chances >= 1 / 6
    score = aim.score((alarm & positive).sum(), alarm.sum(), positive.sum(), len(chances))
    assert score == pytest.approx(-cost(1 / 6))
    assert cost(1 / 6) < min(cost(0.1), cost(0.25), cost(0.5))


def test_without_a_possible_threshold_it_is_half():
    assert best(np.zeros(5), np.array([True, False, False, True, False]), Aim.of(F1)) == 0.5


# --- surely better ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [F1, COSTS])
def test_it_is_used_where_it_is_surely_better(wanted):
    chances, positive = rows(3000, 5)
    choice = choose(chances, positive, SECTION, wanted)
    assert 0.1 < choice.threshold < 0.4
    assert choice.low > 0
    fresh, came = rows(50_000, 6)
    aim = Aim.of(wanted)
    scores = [
        aim.score(((fresh >= at) & came).sum(), (fresh >= at).sum(), came.sum(), len(came))
        for at in (0.5, choice.threshold)
    ]
    assert scores[1] - scores[0] > choice.low / 2 > 0
    assert "surely better than 0.5 on 3,000 validation rows" in choice.words


def test_where_nothing_is_sure_half_stays():
    stays = []
    for seed in range(12):
        chances, positive = rows(80, seed, 0.5)
        choice = choose(chances, positive, SECTION, F1)
        assert (choice.threshold == 0.5) == (choice.low <= 0)
        if choice.low <= 0 and best(chances, positive, Aim.of(F1)) != 0.5:
            stays.append(choice)
    assert len(stays) > 5
    assert "stays, since none is surely better" in stays[0].words


def test_it_is_honest_about_having_been_chosen_on_the_same_rows():
    """What a threshold gains on the rows that it was fitted to is more than it gains on others."""
    better, promised = [], []
    for seed in range(30):
        chances, positive = rows(150, seed, 0.4)
        choice = choose(chances, positive, SECTION, F1)
        at = best(chances, positive, Aim.of(F1))
        better.append(f1_score(positive, chances >= at) - f1_score(positive, chances >= 0.5))
        promised.append(choice.gain)
    fresh, came = rows(50_000, 99, 0.4)
    real = [
        f1_score(came, fresh >= best(*rows(150, seed, 0.4), Aim.of(F1))) - f1_score(came, fresh >= 0.5)
        for seed in range(30)
    ]
    assert np.mean(better) > np.mean(real) + 0.02
    assert np.mean(promised) < np.mean(real) + 0.02


def test_few_rows_say_nothing():
    positive = np.arange(200) < FEWEST - 1
    for each in (positive, ~positive):
        choice = choose(np.linspace(0.9, 0.1, 200), each, SECTION, F1)
        assert (choice.threshold, choice.gain) == (0.5, None)
        assert choice.words == "0.5000 for best_f1: 200 validation rows are too few for another one"


# --- the stage and what serves ----------------------------------------------------------------------------------------

UNEVEN = {
    **TINY,
    "create.dataset": "gaussians",
    "create.gaussians.distance": 1.0,
    "create.rows": 3000,
    "split.validation_size": 0.4,
    "train.epochs": 5,
}


def test_the_stage_finds_it_and_all_that_serves_takes_it(monkeypatch, capsys, project):
    monkeypatch.setattr(threshold, "digest", DIGEST)
    turn(project, UNEVEN)
    for stage in (create, split, baseline, train, evaluate):
        stage.main()
    plain, metrics = SCORES.read_bytes(), Path("reports/metrics.json").read_bytes()
    assert b"threshold_choice" not in plain
    test, rows = Path("rows.csv"), pd.read_parquet("data/test.parquet")
    rows.assign(cloud=rows["cloud"].map({0: "left", 1: "right"})).to_csv(test, index=False)
    invoke(["predict", str(test), "half.csv"])

    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("  threshold: 0.5  ", "  threshold: {cost_ratio: 5} #"))
    for command in (["predict", str(test), "out.csv"], ["export"]):
        with pytest.raises(
            UserError, match="holds no threshold for cost_ratio 5 and this model yet; run: dvc repro"
        ) as e:
            invoke(command)
        assert e.value.status == BAD_DATA
    capsys.readouterr()
    evaluate.main()
    choice = read_scores().threshold_choice
    assert choice.threshold == read_scores().threshold == pytest.approx(1 / 6, abs=1e-6)
    assert f"evaluate: threshold {choice.words}\n" in capsys.readouterr().out
    assert any(line.startswith("Threshold            0.1667 for cost_ratio 5") for line in summary(read_scores()))
    invoke(["predict", str(test), "out.csv"])
    right = read_scores().correct
    assert f"; {right:,} of them right" in capsys.readouterr().out
    assert Path("out.csv").read_text() != Path("half.csv").read_text()
    invoke(["export"])

    content = json.loads(SCORES.read_text())
    content["threshold_choice"]["model"] = "0" * 64
    SCORES.write_text(json.dumps(content))
    with pytest.raises(UserError, match="holds no threshold for cost_ratio 5 and this model yet"):
        invoke(["predict", str(test), "out.csv"])
    evaluate.main()
    assert served_threshold(read(Evaluate)) == choice.threshold

    Path("params.yaml").write_text(text)
    evaluate.main()
    assert (SCORES.read_bytes(), Path("reports/metrics.json").read_bytes()) == (plain, metrics)


def test_three_classes_have_no_threshold(project):
    turn(project, {**TINY, "create.dataset": "blobs"})
    for stage in (create, split, baseline, train):
        stage.main()
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("  threshold: 0.5  ", "  threshold: best_f1 #"))
    with pytest.raises(
        UserError, match=r"params.yaml:\d+: evaluate.threshold must be a number with 3 classes"
    ) as caught:
        evaluate.main()
    assert caught.value.status == BAD_PARAMS


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("1.0", "got 1.0"),
        ("best", "got the text 'best'"),
        ("{cost_ratio: 0}", "got a section"),
        ("{cost_ratio: 2000}", "got a section"),
        ("{cost: 5}", "got a section"),
        ("{cost_ratio: 5, more: 1}", "got a section"),
        ("[5]", "got [5]"),
        ("null", "got null"),
    ],
)
def test_a_bad_value_is_one_line(project, value, line):
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("  threshold: 0.5  ", f"  threshold: {value} #"))
    with pytest.raises(UserError) as caught:
        read(Evaluate)
    rule = "must be a number > 0 and < 1, best_f1, or {cost_ratio: R} with R from 0.001 to 1,000"
    assert re.fullmatch(rf"params.yaml:\d+: evaluate.threshold {re.escape(f'{rule}; {line}')}", str(caught.value))


def test_a_choice_is_rounded_as_it_is_used():
    choice = choose(*rows(3000, 5), SECTION, F1)
    assert asdict(choice)["threshold"] == round(choice.threshold, threshold.DIGITS)
