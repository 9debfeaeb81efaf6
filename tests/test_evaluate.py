"""Stage evaluate: its metrics are scikit-learn's, its intervals hold what they promise, its JSON is always valid."""

import importlib
import json
import math
import re
from dataclasses import asdict

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from retrace.artifacts.schema import Schema
from retrace.artifacts.scores import HEADLINES, SCORES, Scores, rounded
from retrace.artifacts.tables import read_first, write_pieces
from retrace.artifacts.training import Trained, TrainingReport
from retrace.evaluation.intervals import wilson
from retrace.evaluation.metrics import Predictions, calibration, class_scores, log_losses, metrics
from retrace.evaluation.plane import grid, plane
from retrace.evaluation.predictions import Other
from retrace.evaluation.resampling import Resamples
from retrace.evaluation.scoring import evaluate, jackknife
from retrace.networks.model import Description, decide
from retrace.networks.model_files import load
from retrace.params.evaluate import Evaluate
from retrace.preprocessing.apply import encode
from retrace.preprocessing.description import Number, Preprocessing
from retrace.runtime.atomic import write_json
from retrace.runtime.errors import UserError
from tests.conftest import VALUES, changed
from tests.project import TINY, turn


def scored(v: Predictions, replicas: list[Predictions], others: dict[str, Other], *, mean: bool = False) -> Scores:
    trained = Trained(best_epoch=5, best_validation_loss=0.25, epochs=9)
    of_mean = {"shipped": None, "mean": trained} if mean else {"shipped": 0}
    training = TrainingReport(
        "cpu", "auto", "float32", steps_per_epoch=4, replicas=[trained] * len(replicas), **of_mean
    )
    return evaluate(v, replicas, others, schema(v.probabilities.shape[1]), section(), training).scores


def verdict(classes: int, rows: int = 300, seed: int = 0, skill: float = 1.0) -> Predictions:
    random = np.random.default_rng(seed)
    actual = random.integers(classes, size=rows)
    logits = random.normal(size=(rows, classes)) + skill * np.eye(classes)[actual]
    logits = logits.round(1)  # ties, which the ranking metrics must share out
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Predictions(actual, decide(probabilities, 0.5), probabilities)


def section(**changes) -> Evaluate:
    return Evaluate(**changed(VALUES["evaluate"], {"resamples": 200, **changes}))


def schema(classes: int) -> Schema:
    return Schema("made", ["x"], "y", [f"class {index}" for index in range(classes)], [1] * classes, None)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_are_those_of_scikit_learn(classes, weighted):
    v = verdict(classes)
    weights = np.random.default_rng(1).integers(0, 3, size=len(v.actual)).astype(float)
    weights = weights if weighted else np.ones(len(v.actual))
    ours = {name: value[0] for name, value in metrics(v, weights[None], 10).items()}
    labels = list(range(classes))
    scores = v.probabilities[:, 1] if classes == 2 else v.probabilities
    one_hot = v.actual if classes == 2 else np.eye(classes)[v.actual]
    common = {"sample_weight": weights}
    averaged = {"average": "macro", "zero_division": 0, "labels": labels, **common}
    theirs = {
        "accuracy": sk.accuracy_score(v.actual, v.predicted, **common),
        "balanced_accuracy": sk.balanced_accuracy_score(v.actual, v.predicted, **common),
        "macro_precision": sk.precision_score(v.actual, v.predicted, **averaged),
        "macro_recall": sk.recall_score(v.actual, v.predicted, **averaged),
        "macro_f1": sk.f1_score(v.actual, v.predicted, **averaged),
        "roc_auc": sk.roc_auc_score(v.actual, scores, multi_class="ovr", labels=labels, **common),
        "average_precision": sk.average_precision_score(one_hot, scores, **common),
        "log_loss": sk.log_loss(v.actual, v.probabilities, labels=labels, **common),
        "brier_score": sk.brier_score_loss(v.actual, scores, labels=labels, **common),
    }
    assert set(ours) == {*theirs, "calibration_error"}
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def test_calibration_error_is_the_weighted_gap_of_its_bins():
    v = verdict(3)
    bins = calibration(v, 10)
    assert sum(rows for *_, rows in bins) == len(v.actual)
    gap = sum(abs(confidence - accuracy) * rows for _, _, confidence, accuracy, rows in bins) / len(v.actual)
    assert metrics(v, np.ones((1, len(v.actual))), 10)["calibration_error"][0] == pytest.approx(gap)
    certain = Predictions(v.actual, v.actual, np.eye(3)[v.actual])
    assert metrics(certain, np.ones((1, len(v.actual))), 10)["calibration_error"][0] == 0


def test_a_resample_that_misses_a_class_gives_finite_numbers():
    v = verdict(3)
    weights = np.stack([v.actual == 0, v.actual != 0, np.arange(len(v.actual)) == 0]).astype(float)
    for name, values in metrics(v, weights, 10).items():
        assert np.isfinite(values).all(), name


def test_resamples_draw_as_many_rows_as_there_are():
    weights = np.concatenate(list(Resamples(50, 120, seed=0)))
    assert weights.shape == (120, 50)
    assert (weights.sum(1) == 50).all()
    assert weights.std() == pytest.approx(1, abs=0.05)  # counts of a bootstrap are Poisson-like


def test_bootstrap_intervals_cover_as_often_as_they_say():
    """Of 60 samples from a known law, about 95 % of the intervals of log loss must hold the true value."""
    truth = metrics(verdict(2, rows=200_000, seed=99), np.ones((1, 200_000)), 10)
    held = 0
    for seed in range(60):
        loss = scored(verdict(2, seed=seed), [verdict(2, seed=seed)], {}).log_loss
        held += loss.low <= truth["log_loss"][0] <= loss.high
    assert 51 <= held <= 60


@pytest.mark.parametrize(("correct", "rows"), [(0, 10), (10, 10), (3, 10), (3235, 3300), (1, 1)])
def test_wilson_is_that_of_scipy(correct, rows):
    theirs = binomtest(correct, rows).proportion_ci(0.95, method="wilson")
    assert wilson(correct, rows, 0.95) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("correct", "rows"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(correct, rows):
    with pytest.raises(ValueError, match="is not a proportion"):
        wilson(correct, rows, 0.95)


def test_the_report_compares_on_the_same_rows():
    v = verdict(2)
    worse = np.where(np.arange(len(v.actual)) < 30, 1 - v.predicted, v.predicted)
    flat = np.full(len(v.actual), np.log(2))  # a coin's log loss at each row
    others = {"other": Other(worse, flat), "bayes": Other(v.actual, np.zeros(len(v.actual)))}
    content = scored(v, [v, verdict(2, seed=1)], others)
    other = content.baseline["other"]
    assert other.log_loss == pytest.approx(np.log(2))
    assert other.log_loss_difference == pytest.approx(content.log_loss.value - np.log(2))
    # Against what is the same at each row, it is the interval of the network's own log loss.
    for end in ("low", "high"):
        assert getattr(other, f"log_loss_difference_{end}") == pytest.approx(getattr(content.log_loss, end) - np.log(2))
    assert content.bayes.log_loss_difference == pytest.approx(content.log_loss.value)
    assert other.correct == (worse == v.actual).sum()
    assert other.difference == pytest.approx((content.correct - other.correct) / content.rows)
    assert other.difference_low <= other.difference <= other.difference_high
    assert content.bayes.accuracy == 1
    assert (content.accuracy.low, content.accuracy.high) == wilson(content.correct, content.rows, 0.95)


def test_differences_in_log_loss_are_paired():
    """A rival that is a hair worse at every row is surely worse, however much log loss varies over rows."""
    v = verdict(3)
    rival = Other(v.predicted, log_losses(v.probabilities, v.actual) + 0.001)
    other = scored(v, [v], {"rival": rival}).baseline["rival"]
    assert other.log_loss_difference_high == pytest.approx(-0.001)
    assert (other.difference_low, other.difference_high) == (0, 0)


def ensemble(count: int) -> tuple[Predictions, list[Predictions]]:
    replicas = [verdict(3, seed=0)]
    for seed in range(1, count):
        other = verdict(3, seed=seed).probabilities
        probabilities = (replicas[0].probabilities + other) / 2
        replicas.append(Predictions(replicas[0].actual, decide(probabilities, 0.5), probabilities))
    mean = np.mean([each.probabilities for each in replicas], axis=0)
    return Predictions(replicas[0].actual, decide(mean, 0.5), mean), replicas


def test_the_mean_has_a_jackknife_error_over_its_replicas():
    mean, replicas = ensemble(5)
    content = scored(mean, replicas, {}, mean=True).headlines
    rest = [np.mean([each.probabilities for each in replicas if each is not out], axis=0) for out in replicas]
    scores = {
        "log_loss": [sk.log_loss(mean.actual, each, labels=range(3)) for each in rest],
        "accuracy": [np.mean(each.argmax(1) == mean.actual) for each in rest],
    }
    for name, values in scores.items():
        expected = np.sqrt(4 / 5 * np.sum((np.array(values) - np.mean(values)) ** 2))
        assert content[name].jackknife == pytest.approx(expected, rel=1e-6), name
    # Of what is linear in the probabilities the jackknife is the error of a mean itself.
    sums = np.array([each.probabilities[:, 0].sum() for each in replicas])
    left_out = (sums.sum() - sums) / 4
    assert np.sqrt(4 * left_out.var()) == pytest.approx(sums.std(ddof=1) / np.sqrt(5))
    assert set(jackknife(replicas, section())) == set(HEADLINES)


def test_without_a_mean_of_several_there_is_no_jackknife():
    _, replicas = ensemble(3)
    for content in (
        scored(replicas[0], replicas, {}),
        scored(replicas[0], replicas[:1], {}, mean=True),
    ):
        assert [metric.jackknife for metric in content.headlines.values()] == [None] * len(HEADLINES)


def test_the_mean_of_the_replicas_is_what_is_judged(project, capsys):
    """From `create` to `evaluate`; boosting, which had time to learn, is better than a network that had none."""
    turn(project, {**TINY, "train.ship": "mean", "train.replicas": 3, "baseline.boosting_iterations": 100})
    for stage in ("create", "split", "baseline", "train", "evaluate"):
        importlib.import_module(f"stages.{stage}").main()
    training, content = (json.loads((project / path).read_text()) for path in ("models/training.json", SCORES))
    mean = training["mean"]
    assert content["training"] == {
        **{"replicas": 3, "shipped": None, "best_epoch": mean["best_epoch"]},
        "best_validation_loss": round(mean["best_validation_loss"], 6),
    }
    assert all(content[name]["jackknife"] is not None for name in HEADLINES)
    replicas = pd.read_csv(project / "reports/replicas.csv")
    assert replicas["shipped"].tolist() == [1, 1, 1]
    assert replicas["accuracy"].mean() == pytest.approx(content["accuracy"]["mean"], abs=1e-6)
    test, model = pq.read_table(project / "data/test.parquet"), load(project / "models", "replicas")
    alone = model.of_replicas(encode(model.description.preprocessing, test))
    shown = pq.read_table(project / "reports/predictions.parquet")
    np.testing.assert_allclose(shown["probability_1"].to_numpy(), alone.mean(0)[:, 1])
    # Each baseline as its stage says, and what is better is said last.
    others = json.loads((project / "reports/baseline.json").read_text())
    assert {name: item["log_loss"] for name, item in content["baseline"].items()} == {
        name: item["log_loss"] for name, item in others.items()
    }
    assert {name: item["correct"] for name, item in content["baseline"].items()} == {
        name: item["correct"] for name, item in others.items()
    }
    last = capsys.readouterr().out.splitlines()[-2:]
    assert last[0].startswith("evaluate: gradient boosting is surely better in accuracy: ")
    assert last[1].startswith("evaluate: gradient boosting is surely better in log loss: ")
    assert re.search(r"network minus it -0\.\d{4} \(-0\.\d{4} to -0\.\d{4}\)$", last[0])


def test_one_replica_has_no_spread_and_the_json_stays_valid(tmp_path):
    v = verdict(2)
    content = rounded(asdict(scored(v, [v], {})))
    assert content["accuracy"]["deviation"] is None
    write_json(tmp_path / "metrics.json", content)
    assert json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail) == content
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"accuracy": float("nan")})
    assert json.loads((tmp_path / "metrics.json").read_text()) == content, "a refused file leaves the old one"


def test_n05_a_number_that_json_does_not_have_is_not_written(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, {"accuracy": 0.5})
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(path, {"accuracy": value})
    assert json.loads(path.read_text()) == {"accuracy": 0.5}
    assert list(tmp_path.iterdir()) == [path]


def test_the_threshold_decides_between_two_classes_only():
    two = np.array([[0.7, 0.3], [0.4, 0.6]])
    assert decide(two, 0.5).tolist() == [0, 1]
    assert decide(two, 0.3).tolist() == [1, 1]
    assert decide(two, 0.61).tolist() == [0, 0]
    assert decide(np.array([[0.2, 0.5, 0.3]]), 0.9).tolist() == [1]


def test_class_scores_count_each_class():
    v = verdict(3)
    scores = class_scores(v, np.ones((1, len(v.actual))))
    assert scores["rows"][0].tolist() == np.bincount(v.actual).tolist()


@pytest.mark.parametrize("features", [1, 2, 5])
def test_the_plane_goes_there_and_back(features):
    rows = np.random.default_rng(0).normal(size=(100, features)) * 10 + 3
    names = [f"x{index}" for index in range(features)]
    numbers = [Number(name) for name in names]
    surface = plane(rows, Description(names, {}, "y", ["a", "b"], [], "relu", 0, Preprocessing(numbers)))
    assert surface.projected == (features > 2)
    there = surface.coordinates(rows)
    assert there.shape == (100, 2)
    assert surface.coordinates(surface.points(there)) == pytest.approx(there)
    points = grid(there, 12)
    assert points.shape == (144, 2)
    assert (points.min(0) <= there.min(0)).all()
    assert (points.max(0) >= there.max(0)).all()


def test_the_first_rows_of_a_table_are_read_without_the_others(tmp_path):
    table = pa.table({"a": range(10), "b": [str(index) for index in range(10)]})
    write_pieces(tmp_path / "t.parquet", [table.slice(start, 4) for start in range(0, 10, 4)])
    for rows in (1, 4, 5, 10, 99):
        assert read_first(tmp_path / "t.parquet", rows, ["b"]) == table.select(["b"]).slice(0, rows)
    bad = bytearray((tmp_path / "t.parquet").read_bytes())
    place = bad.index(b"9", bad.index(b"8"))
    bad[place] ^= 1  # in the last piece, whose checksum then tells that it was read
    (tmp_path / "t.parquet").write_bytes(bad)
    assert read_first(tmp_path / "t.parquet", 8, ["b"]).num_rows == 8
    with pytest.raises(UserError, match="damaged"):
        read_first(tmp_path / "t.parquet", 9, ["b"])
