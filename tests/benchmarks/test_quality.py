"""What the quality benchmark makes of what it has measured; the measuring itself is `make bench-quality`."""

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.quality import CONTESTANTS
from benchmarks.quality_board import ACCURACY, BEST, LOG_LOSS, Board, Count, discordant, mean_ranks
from benchmarks.quality_report import report
from benchmarks.quality_results import Results, is_fresh, key, measured, packed, rows_right, split_digest, unpacked
from retrace.artifacts.schema import Schema, write_schema
from retrace.artifacts.tables import write_table
from retrace.evaluation.metrics import Predictions

SEEDS = (26, 27)


def entry(right, split="rows", **others):
    right = np.asarray(right, dtype=bool)
    values = dict.fromkeys(("macro_f1", "log_loss", "roc_auc", "calibration_error", "cpu", "cpu_without_imports"), 0.5)
    stamp = {"split": split, "code": "today's", "library": "1.0"}
    return {"accuracy": right.mean(), **values, **rows_right(right), "stamp": stamp, "machine": "m", **others}


def board(kept, tables=("a", "b"), contestants=("Retrace", "one", "two")):
    return Board({key(*place): each for place, each in kept.items()}, tables, SEEDS, contestants)


def test_ranks_share_the_places_of_equal_scores():
    scores = {"first": [0.9, 0.8, 0.5], "second": [0.9, 0.7, 0.6], "third": [0.1, 0.6, 0.4]}
    assert mean_ranks(scores, True) == pytest.approx({"first": 4.5 / 3, "second": 4.5 / 3, "third": 3})
    assert mean_ranks(scores, False)["third"] == 1


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 1000])
def test_which_rows_were_right_survives_the_packing(rows):
    right = np.random.default_rng(0).random(rows) < 0.8
    text = packed(right)
    assert unpacked(text, rows).tolist() == right.tolist()
    assert text.isascii()


def test_discordant_rows():
    first, second = np.array([1, 1, 0, 0, 1], dtype=bool), np.array([0, 1, 1, 0, 0], dtype=bool)
    assert discordant(first, second) == (2, 1)


def test_only_an_entry_of_the_same_stamp_is_fresh(tmp_path):
    path, stamp = tmp_path / "results.json", {"split": "a", "library": "1.0"}
    results = Results(path)
    assert not is_fresh(results.known("t", 26, "one"), stamp)
    results.put("t", 26, "one", {"accuracy": 0.5, "stamp": stamp})
    again = Results(path)
    assert again.known("t", 26, "one")["accuracy"] == 0.5
    assert is_fresh(again.known("t", 26, "one"), stamp)
    for other in ({**stamp, "split": "b"}, {**stamp, "library": "1.1"}, {"split": "a"}):
        assert not is_fresh(again.known("t", 26, "one"), other)
    assert again.known("t", 27, "one") is None
    again.put("t", 26, "two", {"accuracy": 0.6, "stamp": stamp})
    assert len(path.read_text().splitlines()) == 4  # a line an entry


def test_the_digest_is_of_the_rows_and_their_kinds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pa.table({"x": [0.5, None, 2.0], "class": [0, 1, 0]})

    def digest(train, kinds=None):
        write_schema(Schema("t", ["x"], "class", ["no", "yes"], [2, 1], None, kinds=kinds or {}))
        for name in ("train", "validation", "test"):
            write_table(tmp_path / "data" / f"{name}.parquet", train if name == "train" else table)
        return split_digest(tmp_path)

    first = digest(table)
    assert digest(table) == first
    others = [digest(table.take([1, 0, 2])), digest(table.slice(0, 2)), digest(table, {"x": "boolean"})]
    assert len({first, *others}) == 4


def test_measures_are_the_pipelines_own():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    found = measured(Predictions(np.array([0, 1, 1]), np.array([0, 1, 0]), probabilities))
    assert found["accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4]).mean(), abs=1e-6)
    assert list(unpacked(found["right"], found["rows"])) == [True, True, False]


def test_means_are_over_tables_whatever_their_rows():
    kept = {("a", 26, "one"): entry([1, 1]), ("a", 27, "one"): entry([0, 0]), ("b", 26, "one"): entry([1, 1, 1, 1])}
    found = board(kept)
    assert found.mean("one", ACCURACY, "a") == 0.5
    assert found.overall("one", ACCURACY) == 0.75
    assert np.isnan(found.mean("two", LOG_LOSS, "a"))


def test_surely_is_said_of_all_splits_together():
    ours, theirs = [1] * 20, [1] * 15 + [0] * 5  # five rows, p = 0.06; ten, p = 0.002
    kept = {("a", seed, "Retrace"): entry(ours) for seed in SEEDS}
    kept |= {("a", seed, "one"): entry(theirs) for seed in SEEDS} | {("a", seed, "two"): entry(ours) for seed in SEEDS}
    found = board(kept)
    assert found.count("one", [26]) == Count(0, 0)
    assert found.count("one", SEEDS) == Count(1, 0)
    assert found.best_peer("a") == "two"
    assert found.count(BEST, SEEDS) == Count(0, 0)


def test_what_is_of_other_rows_or_failed_is_named_and_not_counted():
    kept = {
        ("a", 26, "Retrace"): entry([1, 0]),
        ("a", 26, "one"): entry([1, 1], split="other"),
        ("a", 26, "two"): {"failed": "TimeoutError: more", "stamp": {"split": "rows"}},
    }
    found = board(kept)
    assert found.complete() == ["Retrace"]
    text = " ".join(found.notes)
    assert "one, a, split 26: of other rows" in text
    assert "two, a, split 26: TimeoutError" in text
    assert "b" in text


@pytest.mark.parametrize("own", [True, False])
def test_the_report_stands_with_and_without_the_network(own):
    names = CONTESTANTS if own else CONTESTANTS[1:]
    kept = {(table, seed, name): entry([1, 0, 1]) for table in "ab" for seed in SEEDS for name in names}
    del kept["b", 27, "TabM_D"]
    if own:
        kept["a", 26, "Retrace"]["stamp"]["code"] = "yesterday's"
    full = board(kept, contestants=CONTESTANTS)
    text = report(full, board({}, contestants=CONTESTANTS[:2]), board({}, contestants=CONTESTANTS), SEEDS)
    assert ("## What is to be reached" in text) == own
    assert "TabM_D was measured on 3 of the 4" in text
    assert ("in 2 states of the code" in text) == own
    assert "nan" not in text
