"""Stage evaluate: its metrics are scikit-learn's, its intervals hold what they promise, its JSON is always valid."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from stages.datasets.schema import Schema
from stages.evaluate import decide, evaluate, rounded
from stages.files.atomic import write_json
from stages.files.tables import read_first, write_pieces
from stages.network.model import Description
from stages.params.evaluate import Evaluate
from stages.preprocessing.apply import Number, Preprocessing
from stages.process.faults import Fault
from stages.scoring.intervals import wilson
from stages.scoring.metrics import Verdict, calibration, class_scores, metrics, resamples
from stages.scoring.plane import grid, plane
from tests.conftest import VALUES, changed


def verdict(classes: int, rows: int = 300, seed: int = 0, skill: float = 1.0) -> Verdict:
    random = np.random.default_rng(seed)
    actual = random.integers(classes, size=rows)
    logits = random.normal(size=(rows, classes)) + skill * np.eye(classes)[actual]
    logits = logits.round(1)  # ties, which the ranking metrics must share out
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Verdict(actual, decide(probabilities, 0.5), probabilities)


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
    certain = Verdict(v.actual, v.actual, np.eye(3)[v.actual])
    assert metrics(certain, np.ones((1, len(v.actual))), 10)["calibration_error"][0] == 0


def test_a_resample_that_misses_a_class_gives_finite_numbers():
    v = verdict(3)
    weights = np.stack([v.actual == 0, v.actual != 0, np.arange(len(v.actual)) == 0]).astype(float)
    for name, values in metrics(v, weights, 10).items():
        assert np.isfinite(values).all(), name


def test_resamples_draw_as_many_rows_as_there_are():
    pieces = list(resamples(50, 120, seed=0))
    weights = np.concatenate(pieces)
    assert weights.shape == (120, 50)
    assert (weights.sum(1) == 50).all()
    assert weights.std() == pytest.approx(1, abs=0.05)  # counts of a bootstrap are Poisson-like


def test_bootstrap_intervals_cover_as_often_as_they_say():
    """Of 60 samples from a known law, about 95 % of the intervals of log loss must hold the true value."""
    truth = metrics(verdict(2, rows=200_000, seed=99), np.ones((1, 200_000)), 10)
    held = 0
    for seed in range(60):
        result = evaluate(verdict(2, seed=seed), [verdict(2, seed=seed)], {}, schema(2), section())
        held += result.metrics["log_loss"]["low"] <= truth["log_loss"][0] <= result.metrics["log_loss"]["high"]
    assert 51 <= held <= 60


@pytest.mark.parametrize(("correct", "rows"), [(0, 10), (10, 10), (3, 10), (3235, 3300), (1, 1)])
def test_wilson_is_that_of_scipy(correct, rows):
    theirs = binomtest(correct, rows).proportion_ci(0.95, method="wilson")
    assert wilson(correct, rows, 0.95) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("correct", "rows"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(correct, rows):
    with pytest.raises(ValueError, match="no proportion"):
        wilson(correct, rows, 0.95)


def test_the_report_compares_on_the_same_rows():
    v = verdict(2)
    worse = np.where(np.arange(len(v.actual)) < 30, 1 - v.predicted, v.predicted)
    content = evaluate(v, [v, verdict(2, seed=1)], {"other": worse, "bayes": v.actual}, schema(2), section()).metrics
    other = content["baseline"]["other"]
    assert other["correct"] == (worse == v.actual).sum()
    assert other["difference"] == pytest.approx((content["correct"] - other["correct"]) / content["rows"])
    assert other["difference_low"] <= other["difference"] <= other["difference_high"]
    assert content["bayes"]["accuracy"] == 1
    interval = content["accuracy"]["low"], content["accuracy"]["high"]
    assert interval == wilson(content["correct"], content["rows"], 0.95)


def test_one_replica_has_no_spread_and_the_json_stays_valid(tmp_path):
    v = verdict(2)
    content = rounded(evaluate(v, [v], {}, schema(2), section()).metrics)
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
    with pytest.raises(Fault, match="damaged"):
        read_first(tmp_path / "t.parquet", 9, ["b"])
