"""Slices of the test rows: each row once, counted by hand, the worst first."""

from datetime import datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from retrace.artifacts.schema import Schema
from retrace.evaluation.intervals import wilson
from retrace.evaluation.slices import MOST_VALUES, groups, sliced, slices
from retrace.params.evaluate import Evaluate
from retrace.params.reader import read
from retrace.runtime.errors import BAD_PARAMS, UserError
from tests.project import turn

SCHEMA = Schema(
    "made", ["age", "colour"], "kind", ["a", "b"], [3, 3], None, {"colour": "categorical"}, carried=["hospital"]
)


def column(values, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    """In two pieces, as a file may have it; of dictionaries each piece has its own."""
    return pa.chunked_array([pa.array(values[:2], kind), pa.array(values[2:], kind)])


def counted(values, kind: pa.DataType | None = None) -> dict[str, int]:
    places, names = groups(column(values, kind))
    assert len(places) == len(values)
    assert len(set(names)) == len(names)
    return dict(zip(names, np.bincount(places, minlength=len(names)).tolist(), strict=True))


def test_rows_and_right_ones_are_counted_by_hand_and_the_worst_come_first():
    colour = column(["red", "blue", None, "red", "red", "blue"], pa.dictionary(pa.int32(), pa.string()))
    flag = column([True, True, True, True, None, False])
    hit = np.array([True, False, False, False, True, True])
    found = slices({"colour": colour, "flag": flag}, hit, 0.95)
    assert [(each.column, each.value, each.rows, each.correct) for each in found] == [
        ("colour", "missing", 1, 0),
        ("flag", "true", 4, 1),
        ("colour", "blue", 2, 1),
        ("colour", "red", 3, 2),
        ("flag", "false", 1, 1),
        ("flag", "missing", 1, 1),
    ]
    for each in found:
        assert each.accuracy == each.correct / each.rows
        assert (each.low, each.high) == wilson(each.correct, each.rows, 0.95)
    assert slices({"flag": flag}, hit, 0.5)[0].low > found[1].low


def test_of_equally_bad_slices_the_one_with_more_rows_is_the_worse_one_where_all_is_wrong():
    columns = {"a": column(["w", "x", "y", "z"]), "b": column(["many", "many", "many", "good"])}
    found = slices(columns, np.array([False, False, False, True]), 0.95)
    assert [each.value for each in found] == ["many", "w", "x", "y", "z", "good"]


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=997) * 1e-3,
        np.random.default_rng(0).integers(-20, 20, 500).astype(float),
        np.concatenate([np.zeros(80), np.arange(1.0, 21)]),
        np.arange(12.0),
        1 + np.arange(40) * 1e-12,
    ],
)
def test_ranges_of_numbers_hold_every_row_exactly_once(values):
    places, names = groups(column([*values, None]))
    assert names[-1] == "missing"
    assert len(set(names)) == len(names)
    assert places[-1] == len(names) - 1
    ends = []
    for place, name in enumerate(names[:-1]):
        own = values[places[:-1] == place]
        ends.append((own.min(), own.max()))
        bounds = [float(word) for word in name.replace("from", "").split(" to ")]
        assert bounds == pytest.approx([own.min(), own.max()] if len(bounds) == 2 else [own.min()], rel=1e-4)
        assert (len(bounds) == 1) == (own.min() == own.max())
    assert 2 <= len(ends) <= 4
    for (_, high), (low, _) in pairwise(ends):
        assert high < low
    if len(set(values)) == len(values):
        assert np.ptp(np.bincount(places[:-1])) <= 1


def test_few_different_numbers_are_values_and_dates_are_years_or_months():
    assert counted([2.0, 1.5, 2.0, -1.0, None]) == {"-1": 1, "1.5": 1, "2": 2, "missing": 1}
    assert counted([None, None, None], pa.float64()) == {"missing": 3}
    assert counted([None, None, None], pa.string()) == {"missing": 3}
    times = [datetime(2026, 1, 2), datetime(2026, 3, 4, 5), datetime(2026, 1, 31), None]
    assert counted(times, pa.timestamp("us")) == {"2026-01": 2, "2026-03": 1, "missing": 1}
    assert counted([*times, datetime(2025, 3, 1)], pa.timestamp("us")) == {"2026": 3, "2025": 1, "missing": 1}


def test_rare_values_share_a_slice_and_no_name_is_there_twice():
    texts = [f"value {index:02}" for index in range(MOST_VALUES + 7) for _ in range(1 + (index < MOST_VALUES))]
    found = counted(texts)
    assert len(found) == MOST_VALUES + 1
    assert found["other (7 values)"] == 7
    assert found["value 00"] == 2
    assert "value 50" not in found
    assert counted(["missing", None, None, "(missing)"]) == {"missing": 1, "(missing)": 1, "((missing))": 2}


@pytest.mark.parametrize(
    ("name", "hint"), [("hospitl", "; did you mean hospital?"), ("kind", " (age, colour, hospital)")]
)
def test_a_column_that_is_not_there_is_a_fault_of_params_yaml(name, hint, project):
    turn(project, {"evaluate.slices": ["age", name]})
    with pytest.raises(UserError) as caught:
        sliced(pa.table({"age": [1.0]}), SCHEMA, read(Evaluate))
    assert caught.value.status == BAD_PARAMS
    assert f"evaluate.slices must name columns of the data set; {name!r} is none{hint}; got [" in str(caught.value)


def test_features_and_carried_columns_can_be_named_each_once(project):
    turn(project, {"evaluate.slices": ["hospital", "age"]})
    table = pa.table({"age": [1.0], "colour": ["red"], "kind": [0], "hospital": ["H"]})
    assert list(sliced(table, SCHEMA, read(Evaluate))) == ["hospital", "age"]
    turn(project, {"evaluate.slices": ["age", "colour", "age"]})
    with pytest.raises(UserError, match=r"evaluate\.slices must not name the column 'age' twice"):
        read(Evaluate)
