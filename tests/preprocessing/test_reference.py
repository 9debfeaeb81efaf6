"""models/reference.json: what the training rows were like, without any of them."""

import json

import numpy as np
import pyarrow as pa
import pytest

from retrace.preprocessing.description import Category, Number, Preprocessing
from retrace.preprocessing.reference import (
    MOST_ROWS,
    REFERENCE,
    ColumnReference,
    Reference,
    column_reference,
    counted,
    evenly,
    read_reference,
    write_reference,
)
from retrace.runtime.errors import BAD_DATA, UserError

TOWNS = Preprocessing([], [Category("x", ["a", "b"], "own", other=True)])
NUMBERS = Preprocessing([Number("x")])


def of_numbers(values: object, kind: str = "numeric") -> ColumnReference:
    return column_reference(NUMBERS, "x", kind, [pa.array(values, from_pandas=True)])


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e12])
def test_a_number_has_counts_between_round_edges_and_a_round_range(scale):
    values = np.random.default_rng(1).lognormal(size=5000) * scale
    found = of_numbers(values)
    assert len(found.edges) == 19
    np.testing.assert_allclose(np.array(found.counts[:-2]) / 5000, 0.05, atol=0.02)
    assert found.counts[-2:] == [0, 0]
    assert sum(found.counts) == 5000
    span = np.ptp(values)
    np.testing.assert_allclose(found.edges, np.quantile(values, np.linspace(0, 1, 21)[1:-1]), atol=span / 100)
    assert values.min() - 0.05 * span < found.low < values.min()
    assert values.max() < found.high < values.max() + 0.05 * span
    assert not {*found.edges, found.low, found.high} & {*values.tolist()}


def test_one_row_far_away_leaves_the_others_apart():
    values = np.append(np.random.default_rng(1).normal(size=5000), 1e15)
    assert len(of_numbers(values).edges) == 19


def test_what_lies_where():
    found = of_numbers(np.arange(21.0))
    counts = counted(found, NUMBERS, "numeric", pa.array([-100, 0.5, 20.0, 100, None, None]))
    assert counts[0] == 2
    assert counts[-3:].tolist() == [2, 2, 2]  # above the last edge; outside; without a value


@pytest.mark.parametrize(
    ("values", "counts", "edges"),
    [
        ([3.25] * 7, [7, 0, 0, 0], [3.25]),
        ([None, None], [0, 0, 0, 2], [0.0]),
        ([0.0] * 30 + [1.0] * 10, [30, 0, 10, 0, 0, 0], [0.0, 0.25, 1.0]),
    ],
)
def test_few_different_values(values, counts, edges):
    found = of_numbers(pa.array(values, pa.float64()))
    assert (found.counts, found.edges) == (counts, edges)


def test_kinds():
    truths = column_reference(NUMBERS, "x", "boolean", [pa.array([True, False, None])])
    assert truths.counts[-2:] == [0, 1]
    days = column_reference(NUMBERS, "x", "datetime", [pa.array([0, 10 * 86_400_000_000], pa.timestamp("us"))])
    assert -1 < days.low < 0
    assert 10 < days.high < 11
    towns = column_reference(TOWNS, "x", "categorical", [pa.array(["a", "a", "c", None, "d", "b"]).dictionary_encode()])
    assert (towns.counts, towns.edges) == ([2, 1, 2, 1], None)


def test_of_many_rows_some_are_counted():
    column = pa.array(np.arange(2 * MOST_ROWS + 1.0))
    assert len(evenly(column, MOST_ROWS)) <= MOST_ROWS
    assert sum(of_numbers(column).counts) == len(evenly(column, MOST_ROWS)) > MOST_ROWS / 2
    assert evenly(column.slice(0, 7), MOST_ROWS).to_pylist() == list(range(7))


def test_there_and_back(project):
    columns = [of_numbers(np.arange(50.0)), ColumnReference("town", [3, 4, 0, 1])]
    reference = Reference(50, columns, [25, 25], [3, 4])
    write_reference(reference)
    assert read_reference() == reference


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content["columns"][0]["edges"].reverse(), "do not ascend"),
        (lambda content: content["columns"][0]["counts"].pop(), "are not those of its counts"),
        (lambda content: content.pop("rows"), "rows is missing"),
        (lambda content: content["answers"].append("x"), r"answers\[2\] must be a whole number"),
    ],
)
def test_what_is_damaged_is_refused(project, change, words):
    write_reference(Reference(50, [of_numbers(np.arange(50.0))], [25, 25], [3, 4]))
    content = json.loads(REFERENCE.read_text())
    change(content)
    REFERENCE.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"models/reference.json is not what this code writes.*{words}") as caught:
        read_reference()
    assert caught.value.status == BAD_DATA
