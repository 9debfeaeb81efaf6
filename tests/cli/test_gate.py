"""The gate: exact at its edge, and closed whenever a comparison cannot be made."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest

from retrace.artifacts.scores import HEADLINES, Scores
from retrace.artifacts.typed import typed
from retrace.evaluation.gate_rule import failure, gate
from retrace.evaluation.intervals import wilson
from retrace.params.gate import Gate
from retrace.runtime.errors import GATE_FAILED, UserError
from tests.conftest import PARAMS, ROOT
from tests.scores import scores

GOOD = asdict(scores())


REPAIR = "bring it back with: rm -f reports/scores.json && dvc repro"


def verdict(metrics, bar=0.95, macro_f1=0.9, margin=0.01, beat_baselines=True) -> str:
    try:
        section = Gate(min_accuracy=bar, min_macro_f1=macro_f1, margin=margin, beat_baselines=beat_baselines)
        return gate(typed(Scores, metrics), section)
    except ValueError as error:
        return str(failure(str(error)))  # as the command says it
    except UserError as fault:
        line, status = str(fault), fault.status
    assert status == GATE_FAILED
    assert "\n" not in line
    return line


def with_baseline(name: str, **changes: Any) -> dict[str, Any]:
    return {**GOOD, "baseline": {**GOOD["baseline"], name: {**GOOD["baseline"][name], **changes}}}


ACCURACY = {"difference": -0.01, "difference_low": -0.02, "difference_high": -0.001}
LOG_LOSS = {"log_loss_difference": 0.01, "log_loss_difference_low": 0.001, "log_loss_difference_high": 0.02}


@pytest.mark.parametrize("name", ["logistic_regression", "gradient_boosting"])
@pytest.mark.parametrize(("changes", "metric"), [(ACCURACY, "accuracy"), (LOG_LOSS, "log loss")])
def test_a_baseline_that_is_surely_better_closes_it(name, changes, metric):
    metrics = with_baseline(name, **changes)
    line = verdict(metrics)
    sign = "-" if metric == "accuracy" else "+"
    assert f"failed: reports/scores.json: {name.replace('_', ' ')} is surely better in {metric}: " in line
    assert f"network minus it {sign}0.0100 (" in line
    assert "use that baseline instead, or set gate.beat_baselines: false in params.yaml" in line
    assert "passed" in verdict(metrics, beat_baselines=False)


@pytest.mark.parametrize(
    "changes",
    [
        {**ACCURACY, "difference_high": 0.0},  # the edge: not surely
        {**LOG_LOSS, "log_loss_difference_low": 0.0},
        {"difference": 0.0, "difference_low": 0.0, "difference_high": 0.0},
    ],
)
def test_one_that_is_perhaps_better_does_not(changes):
    assert "passed" in verdict(with_baseline("gradient_boosting", **changes))


@pytest.mark.parametrize("name", ["majority", "logistic_regression", "gradient_boosting"])
@pytest.mark.parametrize("key", ["difference", "difference_high", "log_loss", "log_loss_difference_low"])
def test_a_comparison_that_cannot_be_made_closes_it(name, key):
    metrics = with_baseline(name)
    del metrics["baseline"][name][key]
    assert f"failed: reports/scores.json: baseline.{name}.{key} is missing" in verdict(metrics)
    for value in (None, "low", float("nan")):
        assert f"{key} must be a finite number; got " in verdict(with_baseline(name, **{key: value}))


@pytest.mark.parametrize("name", ["majority", "logistic_regression", "gradient_boosting"])
def test_a_baseline_that_is_missing_closes_it(name):
    metrics = copy.deepcopy(GOOD)
    del metrics["baseline"][name]
    assert f"it has nothing of {name.replace('_', ' ')}" in verdict(metrics)


def test_what_only_a_mean_has_may_be_null():
    headline = {**GOOD["accuracy"], "jackknife": None}
    assert "passed" in verdict({**GOOD, "accuracy": headline, "training": {**GOOD["training"], "shipped": None}})
    assert "failed" in verdict({**GOOD, "training": {**GOOD["training"], "replicas": None}})


def test_a_good_result_passes():
    assert verdict(GOOD).startswith("gate: passed: 3,235 of 3,300")


def test_n11_the_edge_is_exact():
    """The bar at the lower end itself passes; a hair above it, or one row less, fails: nothing is rounded."""
    low, _ = wilson(3235, 3300, 0.95)
    assert "passed" in verdict(GOOD, low)
    assert "failed" in verdict(GOOD, low + 1e-15)
    assert "failed" in verdict({**GOOD, "correct": 3234}, low)


@pytest.mark.parametrize(("correct", "passes"), [(3155, False), (3159, False), (3160, True)])
def test_the_lower_end_is_what_counts(correct, passes):
    """3,155 of 3,300 is 0.956, above the bar; its interval is not."""
    assert ("passed" in verdict({**GOOD, "correct": correct})) == passes


def test_it_must_beat_the_majority_class():
    """96 % of one class: accuracy 0.96 passes the bar and says nothing."""

    def over(majority: int, low: float) -> dict[str, Any]:
        return {**with_baseline("majority", correct=majority, difference_low=low), "correct": 3200}

    assert "beat" in verdict(over(3200, 0.0), margin=0.0)
    assert "passed" in verdict(over(3199, 0.0), margin=0.0)
    assert "beat" in verdict(over(3150, 0.0099))
    assert "beat" in verdict(over(3150, -0.001))
    assert "passed" in verdict(over(3150, 0.01))


def test_n08_a_network_that_learned_nothing_sees_what_it_was_compared_with():
    line = verdict({**GOOD, "correct": 1640})
    assert "1,640 of 3,300 test rows right" in line
    assert "majority class 0.4955" in line


def test_the_rare_classes_count_by_the_lower_end_of_macro_f1():
    assert "passed" in verdict(GOOD, macro_f1=0.97)
    assert "gate.min_macro_f1 0.9701" in verdict(GOOD, macro_f1=0.9701)


@pytest.mark.parametrize("key", ["rows", "correct", "confidence", "baseline", *HEADLINES])
def test_what_is_missing_closes_it(key):
    metrics = copy.deepcopy(GOOD)
    del metrics[key]
    assert "failed" in verdict(metrics)


@pytest.mark.parametrize(
    "change",
    [
        {"correct": float("nan")},
        {"correct": "3235"},
        {"correct": True},
        {"correct": 4000},
        {"rows": 0},  # N12
        {"rows": None},
        {"confidence": None},
        {"accuracy": {"value": float("nan")}},
        {"roc_auc": {**GOOD["roc_auc"], "value": None}},
        {"training": None},
        {"baseline": {"majority": {"correct": 1635, "difference_low": 0.46}}},
        {"baseline": {**GOOD["baseline"], "majority": {"correct": 1635}}},
        {"baseline": {**GOOD["baseline"], "majority": {"correct": 1635, "difference_low": None}}},
        {"macro_f1": {**GOOD["macro_f1"], "low": float("nan")}},
        {"accuracy": {"value": float("inf")}},
        {"baseline": {"majority": {}}},
        {"baseline": {"majority": {"correct": None}}},
    ],
)
def test_n05_what_is_not_a_number_closes_it(change):
    assert "failed" in verdict({**GOOD, **change})


@pytest.mark.parametrize("content", [[], "text", None, 3])
def test_what_is_no_report_closes_it(content):
    assert "failed" in verdict(content)


def test_the_command_says_one_line_and_exits_5(tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    command, elsewhere = [sys.executable, "-m", "retrace", "gate"], {**os.environ, "PYTHONPATH": str(ROOT)}

    def run() -> tuple[int, str, str]:
        done = subprocess.run(command, cwd=tmp_path, env=elsewhere, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    status, _, error = run()
    assert (status, error) == (5, "gate: failed: reports/scores.json: not found; bring it back with: dvc repro\n")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/scores.json").write_text('{"accuracy": NaN')
    status, _, error = run()
    assert status == 5
    assert error.count("\n") == 1
    (tmp_path / "reports/scores.json").write_text("[" * 100_000)
    status, _, error = run()
    assert status == 5
    assert error.count("\n") == 1
    (tmp_path / "reports/scores.json").write_text(json.dumps({**GOOD, "rows": None}))
    line = f"is not what this code writes (rows must be a whole number; got null); {REPAIR}\n"
    assert run() == (5, "", f"gate: failed: reports/scores.json: {line}")
    (tmp_path / "reports/scores.json").write_text(json.dumps(GOOD))
    status, out, error = run()
    assert (status, error, out.count("\n")) == (0, "", 1)
    # One that somebody edited since it was made.
    out = {"path": "reports/scores.json", "hash": "md5", "md5": "0" * 32}
    (tmp_path / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"evaluate": {"outs": [out]}}}))
    line = f"gate: failed: reports/scores.json: is not the file that dvc.lock describes; {REPAIR}\n"
    assert run() == (5, "", line)
    (tmp_path / "reports/scores.json").unlink()
    (tmp_path / "reports/scores.json").mkdir()
    line = f"gate: failed: reports/scores.json: cannot be read (Is a directory); {REPAIR.replace('-f', '-rf')}\n"
    assert run() == (5, "", line)
