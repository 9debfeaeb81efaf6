"""The files that pass between stages: each is a declared type, and what is none of it is refused by key and rule."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from retrace.artifacts.baseline import Other, read_baseline_rows, write_baseline_rows
from retrace.artifacts.dvc_lock import parse
from retrace.artifacts.evaluation import BOUNDARY, CALIBRATION, ROC
from retrace.artifacts.metrics import METRICS, Metrics, metrics_of, write_metrics
from retrace.artifacts.scores import HEADLINES, SCORES, Scores, read_scores, rounded, write_scores
from retrace.artifacts.table_files import ParquetFile
from retrace.artifacts.tables import write_table
from retrace.artifacts.training import CLOCK, Clock, Trained, TrainingReport, read_clock, write_clock
from retrace.artifacts.training import read_training_report as read_report
from retrace.artifacts.training import write_training_report as write_report
from retrace.artifacts.typed import decode, typed
from retrace.evaluation.metrics import Predictions, metrics
from retrace.runtime import integrity
from retrace.runtime.atomic import write_csv
from retrace.runtime.errors import BAD_DATA, UserError
from tests.conftest import ROOT
from tests.scores import METRIC, comparison, scores


@dataclass(frozen=True)
class Leaf:
    number: float
    count: int = 7


@dataclass(frozen=True)
class Tree:
    text: str
    flag: bool
    leaf: Leaf | None
    leaves: list[Leaf]
    named: dict[str, Leaf]
    any: dict[str, Any]


NAMED, ANY = {"b": {"number": 2.5, "count": 1}}, {"c": [1, None]}
TREE = {"text": "a", "flag": True, "leaf": None, "leaves": [{"number": 1}], "named": NAMED, "any": ANY}


def test_json_becomes_the_declared_type():
    assert typed(Tree, TREE) == Tree("a", True, None, [Leaf(1)], {"b": Leaf(2.5, 1)}, ANY)
    assert typed(Tree, {**TREE, "leaf": {"number": 0.5}, "of a later version": 1}).leaf == Leaf(0.5)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"text": None}, "text must be a text; got null"),
        ({"flag": 1}, "flag must be true or false; got 1"),
        ({"leaf": 3}, "leaf must be an object; got 3"),
        ({"leaf": {}}, "leaf.number is missing"),
        ({"leaves": {}}, "leaves must be a list; got {}"),
        ({"leaves": [{"number": 1}, {"number": "1"}]}, 'leaves[1].number must be a finite number; got "1"'),
        ({"named": []}, "named must be an object; got []"),
        ({"named": {"b": {"number": float("inf")}}}, "named.b.number must be a finite number; got Infinity"),
        ({"named": {"b": {"number": True}}}, "named.b.number must be a finite number; got true"),
        ({"leaf": {"number": 1, "count": 1.0}}, "leaf.count must be a whole number; got 1.0"),
        ({"leaf": {"number": 1, "count": True}}, "leaf.count must be a whole number; got true"),
    ],
)
def test_what_is_not_of_it_is_refused_by_key_and_rule(change, line):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        typed(Tree, {**TREE, **change})
    assert str(caught.value) == line


def test_the_whole_may_be_something_else():
    with pytest.raises(ValueError, match=r"^the whole must be an object; got \[\]$"):
        typed(Tree, [])
    with pytest.raises(ValueError, match="too deeply nested"):
        decode(Tree, b"[" * 100_000)


def test_scores_come_back_as_they_were_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for each in (scores(), scores(bayes=comparison(), accuracy=replace(METRIC, deviation=0.01, jackknife=0.02))):
        write_scores(each)
        assert read_scores() == typed(Scores, rounded(asdict(each)))
    write_scores(scores(accuracy=replace(METRIC, value=0.98765432)))
    assert read_scores().accuracy.value == 0.987654
    SCORES.write_text(json.dumps(asdict(scores()) | {"roc_auc": None}))
    with pytest.raises(
        UserError, match=r"scores\.json is not what this code writes \(roc_auc must be an obj"
    ) as caught:
        read_scores()
    assert caught.value.status == BAD_DATA


def test_the_type_is_the_one_list_of_metrics():
    """Beside it each is named where it is computed, and nowhere else but for a reason: these two have none."""
    rows = Predictions(np.array([0, 1]), np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert metrics(rows, np.ones((1, 2)), bins=10).keys() == set(HEADLINES) == scores().headlines.keys()
    # But for the page, which says some of them in words of its own.
    paths = [path for path in (ROOT / "retrace").rglob("*.py") if path.parent.name != "report"]
    text = "".join(path.read_text() for path in paths)
    for name in ("balanced_accuracy", "brier_score"):
        assert text.count(name) == 2, name


def test_dvc_gets_a_few_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    baseline = {"one": comparison(difference=0.2), "best": comparison(difference=-0.1), "two": comparison()}
    few = metrics_of(scores(baseline=baseline, accuracy=replace(METRIC, value=0.5, deviation=0.01)))
    write_metrics(few)
    assert decode(Metrics, METRICS.read_bytes()) == few
    assert (few.accuracy, few.replicas_accuracy_deviation, few.difference_to_best_baseline) == (0.5, 0.01, -0.1)


def test_a_training_report_says_something_of_what_ships(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = [Trained(epoch, 0.5, 9) for epoch in (3, 4)]
    best = TrainingReport("cpu", "auto", "float32", 1, 20, trained)
    mean = TrainingReport("cpu", "auto", "float32", None, 20, trained, Trained(5, 0.4, 9))
    for report, epoch in ((best, 4), (mean, 5)):
        write_report(report)
        assert read_report() == report
        assert report.of_shipped.best_epoch == epoch
    for shipped, of_mean in ((2, None), (-1, None), (None, None)):
        with pytest.raises(ValueError, match="nothing is there of what ships"):
            replace(best, shipped=shipped, mean=of_mean)
    Path("models/training.json").write_text(json.dumps(asdict(best) | {"shipped": 2, "mean": None}))
    with pytest.raises(UserError, match=r"training\.json is not what this code writes \(nothing is there of what"):
        read_report()


def test_a_clock_that_cannot_be_read_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_clock() is None
    clock = Clock("2026-01-02T03:04:05+00:00", 30.0, "cpu", "0" * 64)
    write_clock(clock)
    assert read_clock() == clock
    CLOCK.write_text('{"started": 1}')
    assert read_clock() is None


@pytest.mark.parametrize("file", [CALIBRATION, ROC, BOUNDARY])
def test_a_table_has_its_columns_or_is_refused(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pa.table({name: ["NA"] if name in getattr(file, "texts", ()) else [0.5] for name in file.columns})

    def write(shown: pa.Table) -> None:
        if isinstance(file, ParquetFile):
            write_table(file.path, shown)
        else:
            write_csv(file.path, shown.column_names, zip(*shown.to_pydict().values(), strict=True))

    write(table)
    assert file.read().to_pydict() == table.to_pydict()
    write(table.drop_columns(file.columns[1]))
    with pytest.raises(UserError, match=rf"^{file.path}: column {file.columns[1]} is missing; bring it") as caught:
        file.read()
    assert caught.value.status == BAD_DATA
    with pytest.raises(AssertionError):
        CALIBRATION.write([], [*reversed(CALIBRATION.columns)])


def test_baselines_come_back_row_by_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    others = {
        "majority": Other(np.array([0, 0]), np.array([0.1, 0.2])),
        "log_loss": Other(np.array([1, 0]), np.ones(2)),
    }
    write_baseline_rows(others)
    found = read_baseline_rows()
    assert list(found) == ["majority", "log_loss"]
    for name, other in others.items():
        assert [each.tolist() for each in found[name]] == [each.tolist() for each in other]


def test_the_quick_look_into_dvc_lock_sees_what_its_reader_sees():
    """A writer of texts asks for one MD5 by the file's layout (retrace/runtime/integrity.py)."""
    text = (ROOT / "dvc.lock").read_text()
    assert {str(path): digest for path, digest in integrity._outs(text.encode()).items()} == parse(text).files
