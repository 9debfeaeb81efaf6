"""Preprocessing: what the network sees is what scikit-learn's ColumnTransformer gives, of training rows only."""

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import OneHotEncoder

from retrace.artifacts.schema import Schema
from retrace.artifacts.tables import write_table
from retrace.data.values import PARTS, Floats
from retrace.networks.encodings import Residuals
from retrace.preprocessing.apply import encode, parts
from retrace.preprocessing.description import Number, Preprocessing, Residual, Unusable
from retrace.preprocessing.fit import _correlations, column_transformer, described, fit
from retrace.preprocessing.frame import expanded, spellings
from retrace.training.rows import read_rows

KINDS = {"colour": "categorical", "town": "categorical", "member": "boolean", "when": "datetime"}
SCHEMA = Schema("table", ["age", "size", *KINDS, "ties"], "class", ["a", "b"], [1, 1], None, KINDS)


def rows(count: int, seed: int = 0, strange: bool = False) -> pa.Table:
    """Every kind of column, with gaps; `strange`: also values that no training row has."""
    random = np.random.default_rng(seed)
    age = [None if random.random() < 0.1 else float(value) for value in random.normal(40, 10, count)]
    colours = ["red", "green", None, "rare", "rarer"] + (["never seen"] if strange else [])
    shares = [0.5, 0.3, 0.14, 0.04, 0.02] if not strange else [0.4, 0.3, 0.1, 0.05, 0.05, 0.1]
    towns = ["Rome", "Oslo"] + ([None, "Bern"] if strange else [])
    return pa.table(
        {
            "age": pa.array(age, pa.float64()),
            "size": random.lognormal(3, 2, count) * (100 if strange else 1),
            "colour": pa.array(random.choice(colours, count, p=shares)).dictionary_encode(),
            "town": pa.array(random.choice(towns, count)).dictionary_encode(),
            "member": pa.array([[True, False, None][i] for i in random.choice(3, count, p=[0.5, 0.4, 0.1])]),
            "when": pa.array(1_700_000_000_000_000 + random.integers(0, 10**14, count), pa.timestamp("us")),
            "ties": random.choice([0.0, 1.0, 7.0], count, p=[0.6, 0.3, 0.1]),
        }
    )


@pytest.mark.parametrize("scaling", ["none", "standard", "robust", "quantile"])
@pytest.mark.parametrize("rare_below", [1, 10, 30])
def test_it_is_what_the_column_transformer_gives(scaling, rare_below):
    train, other = rows(400), rows(200, seed=1, strange=True)
    known = spellings(train, SCHEMA)
    frame = expanded(train, SCHEMA, known)
    theirs = column_transformer(frame, SCHEMA, scaling, rare_below).fit(frame)
    ours = described(theirs.transformers_, SCHEMA, known, embed_above=64)
    for table in (train, other):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of unknown categories
            expected = theirs.transform(expanded(table, SCHEMA, known))
        encoded = expanded_codes(ours, encode(ours, table))
        assert encoded.dtype == np.float32
        assert encoded.shape == expected.shape
        np.testing.assert_allclose(encoded, expected.astype(np.float64), rtol=1e-6, atol=1e-7)


def expanded_codes(preprocessing, encoded) -> np.ndarray:
    """One-hot, as the network takes them."""
    numbers = preprocessing.width - len(preprocessing.categories)
    columns = [encoded[:, :numbers]]
    for place, category in enumerate(preprocessing.categories, numbers):
        columns.append(np.eye(category.codes + 1, dtype=np.float32)[encoded[:, place].astype(int), :-1])
    return np.concatenate(columns, 1)


def test_places_in_the_spellings_give_what_texts_give():
    """scikit-learn fitted on texts finds the categories, and the rare ones, that it finds on their places."""
    train = rows(400)
    texts = train.select(["colour", "town"]).to_pandas().astype(object)
    theirs = OneHotEncoder(min_frequency=30, handle_unknown="infrequent_if_exist").fit(texts.where(texts.notna(), None))
    ours = fit(train, SCHEMA, "none", 0, 1.0, 30, 64)
    for category, all_of, rare in zip(ours.categories, theirs.categories_, theirs.infrequent_categories_, strict=True):
        infrequent = [] if rare is None else list(rare)
        assert category.values == [value for value in all_of if value is not None and value not in infrequent]
        assert category.other == bool(infrequent)


def test_a_column_with_many_categories_is_to_be_embedded_and_comes_last():
    train, other = rows(400), rows(200, seed=1, strange=True)
    one_hot, embedded = fit(train, SCHEMA, "standard", 0, 1.0, 10, 64), fit(train, SCHEMA, "standard", 0, 1.0, 10, 2)
    assert [category.column for category in one_hot.categories] == ["colour", "town"]
    assert [category.column for category in embedded.categories] == ["town", "colour"]
    assert [category.embedded for category in embedded.categories] == [False, True]
    assert (embedded.one_hot, embedded.embedded) == ([2], [embedded.categories[1].codes])
    for table in (train, other):
        assert np.array_equal(encode(embedded, table)[:, -1], encode(one_hot, table)[:, -2])
    never = fit(
        train, SCHEMA, "standard", 0, 1.0, 1, 2
    )  # no training row is rare: an unknown one has a code of its own
    unknown = encode(never, other.filter(pc.equal(other["colour"].cast(pa.string()), "never seen")))
    assert set(unknown[:, -1]) == {float(never.categories[-1].codes)}


def test_it_survives_json_and_any_order_of_columns_and_chunks():
    train = rows(300)
    fitted = fit(train, SCHEMA, "quantile", 8, 1.0, 10, 64)
    again = Preprocessing.of(json.loads(json.dumps(fitted.content())))
    assert again == fitted
    assert any(fitted.edges)
    # A model without bins is the same file as before there were any.
    assert all("edges" not in each for each in fit(train, SCHEMA, "quantile", 0, 1.0, 10, 64).content()["numbers"])
    whole = encode(again, train)
    shuffled = pa.concat_tables([train.slice(0, 100), train.slice(100)]).select(train.column_names[::-1])
    assert np.array_equal(encode(again, shuffled), whole)
    plain = train.set_column(2, "colour", train.column("colour").cast(pa.string()))
    assert np.array_equal(encode(again, plain), whole)
    by_column = np.concatenate([inputs for _, inputs, _ in parts(again)])
    assert sorted(by_column) == list(range(again.width))


def test_missing_and_unknown_values_are_inputs_of_their_own_and_the_bucket_of_rare_ones():
    fitted = fit(rows(400), SCHEMA, "none", 0, 1.0, 30, 64)
    by_name = {number.name: number for number in fitted.numbers}
    assert by_name["age"].indicator
    assert by_name["age"].fill == pytest.approx(np.median([a for a in rows(400)["age"].to_pylist() if a is not None]))
    assert not by_name["size"].indicator
    colour, town = fitted.categories
    assert (colour.values, colour.missing, colour.other) == (["green", "red"], "own", True)
    assert (town.values, town.missing, town.other) == (["Oslo", "Rome"], "none", False)
    one = rows(1).to_pydict()
    for value, place in (("green", 0), ("red", 1), (None, 2), ("rare", 3), ("rarer", 3), ("never seen", 3)):
        columns = encode(fitted, pa.table({**one, "colour": pa.array([value], pa.string())}))[0]
        assert columns[-2] == place, value
    assert colour.codes == 4
    unknown = encode(fitted, pa.table({**one, "town": ["Bern"]}))[0]
    assert unknown[-1] == town.codes == 2


def test_a_date_becomes_numbers_that_one_can_explain():
    moment = pa.array(["1970-01-02T06:00:00", "2026-11-24T23:59:00", None]).cast(pa.timestamp("us"))
    found = {name: part(moment).tolist()[:2] for name, part in PARTS.items()}
    assert found == {
        "days": [1.25, pytest.approx(20781 + 1439 / 1440)],
        **{"weekday": [4, 1], "month": [1, 11], "hour": [6, 23]},
    }
    assert all(np.isnan(part(moment)[2]) for part in PARTS.values())


def test_a_value_that_no_network_takes_is_named():
    plain = Preprocessing([Number("x", center=1.0)])
    for value, words in ((np.inf, "inf is not a finite number"), (None, "rows that lack none"), (1e39, "is too large")):
        with pytest.raises(Unusable, match=rf"^column 'x', row 2: .*{words}") as caught:
            encode(plain, pa.table({"x": pa.array([0.0, value], pa.float64())}))
        assert (caught.value.column, caught.value.row) == ("x", 1)


@pytest.mark.parametrize("scaling", ["none", "standard", "robust", "quantile"])
def test_edges_of_bins_are_quantiles_of_the_training_rows_as_the_network_sees_them(scaling):
    train = rows(400)
    fitted = fit(train, SCHEMA, scaling, 8, 1.0, 10, 64)
    without = fit(train, SCHEMA, scaling, 0, 1.0, 10, 64)
    assert [replace(number, edges=[]) for number in fitted.numbers] == without.numbers
    seen = encode(fitted, train)
    for place, number in enumerate(fitted.numbers):
        present = ~pc.is_null(train.column(number.column)).to_numpy(zero_copy_only=False)
        if number.column == "member":
            assert number.edges == []  # true and false need none
        elif number.column in ("age", "size") and scaling != "quantile":
            expected = np.quantile(seen[present, place], np.linspace(0, 1, 9))
            assert len(number.edges) == 9
            np.testing.assert_allclose(number.edges, expected, rtol=1e-5, atol=1e-6)
        if number.edges:
            counts = np.histogram(seen[present, place], number.edges)[0]
            assert counts.sum() == present.sum()  # the outer edges are the lowest and the highest of them
            assert (np.diff(number.edges) > 0).all()
            assert np.array_equal(number.edges, np.float32(number.edges))
    by_name = {number.name: number for number in fitted.numbers}
    # 60 % are 0, 30 % are 1, 10 % are 7: equal quantiles are one edge.
    assert len(by_name["ties"].edges) == 3


def test_what_a_line_can_say_needs_no_bins():
    for values in ([5.0] * 40, [None] * 40):
        train = rows(40).set_column(0, "age", pa.array(values, pa.float64()))
        assert fit(train, SCHEMA, "standard", 8, 1.0, 10, 64).numbers[0].edges == []
    train = rows(40).set_column(4, "member", pa.array([True, False] * 20))
    assert not any(each.edges for each in fit(train, SCHEMA, "none", 8, 1.0, 10, 64).numbers if each.column == "member")
    train = rows(40).set_column(0, "age", pa.array([0.0, 1.0, 1.0, 2.0] * 10))
    assert fit(train, SCHEMA, "none", 2, 1.0, 10, 64).numbers[0].edges == [0.0, 1.0, 2.0]


def test_one_value_far_from_all_training_rows_is_the_end_of_their_range():
    """Else one outlier among the validation rows decides when the training ends, and one in use gets any answer."""
    mostly_zero = [0.0] * 37 + [1.0] * 3
    for values in (mostly_zero, [float(value) for value in range(40)]):
        train = rows(40).set_column(0, "age", pa.array(values, pa.float64()))
        far = train.slice(0, 2).set_column(0, "age", pa.array([-1e6, 1e6]))
        ends = train.slice(0, 2).set_column(0, "age", pa.array([min(values), max(values)]))
        fitted = fit(train, SCHEMA, "standard", 8, 1.0, 10, 64)
        np.testing.assert_array_equal(encode(fitted, far), encode(fitted, ends))
        unbounded = fit(train, SCHEMA, "standard", 0, 1.0, 10, 64)
        assert encode(unbounded, far)[1, 0] > encode(unbounded, ends)[1, 0]


def test_a_value_too_large_for_the_network_is_left_to_who_names_its_row():
    train = rows(40).set_column(0, "age", pa.array([0.0, 1.0, 2.0, 1e39] * 10))
    fitted = fit(train, SCHEMA, "none", 8, 1.0, 10, 64)
    with pytest.raises(Unusable, match=r"column 'age', row 4: .* is too large"):
        encode(fitted, train)


@pytest.mark.parametrize("edges", [[0.0], [0.0, 0.0], [1.0, 0.0, 2.0], [0.0, math.inf], [0.0, "1"]])
def test_edges_that_do_not_ascend_are_none(edges):
    with pytest.raises(TypeError):
        Number("x", edges=edges)


def test_a_column_that_is_empty_in_the_training_rows_stays_usable():
    train = rows(50).set_column(0, "age", pa.nulls(50, pa.float64()))
    fitted = fit(train, SCHEMA, "standard", 0, 1.0, 10, 64)
    assert np.isfinite(encode(fitted, rows(20, seed=3))).all()


def lengths(count: int = 2000) -> pa.Table:
    """Length and width of stones, which hardly differ; a price, which goes with them less; minutes and their cost."""
    random = np.random.default_rng(5)
    length = random.lognormal(1.5, 0.4, count)
    width = length * (1 + random.normal(0, 0.01, count))
    price = 100 * length**3 * random.lognormal(0, 0.3, count)
    minutes = random.uniform(0, 300, count)
    missing = random.random(count) < 0.05
    return pa.table(
        {
            "length": pa.array(np.where(missing, 0, length), mask=missing),
            "width": width,
            "price": price,
            "minutes": minutes,
            "cost": np.round(0.17 * minutes, 2),
            "constant": np.full(count, 3.0),
        }
    )


LENGTHS = Schema("table", lengths(1).column_names, "class", ["a", "b"], [1, 1], None)


@pytest.mark.parametrize("scaling", ["none", "standard", "robust", "quantile"])
def test_what_one_number_does_not_explain_of_its_twin_is_an_input(scaling):
    """The residual of an ordinary regression, of the one pair that is close but does not say the same twice."""
    table = lengths()
    fitted = fit(table, LENGTHS, scaling, 8, 0.99, 10, 64)
    names = [number.name for number in fitted.numbers]
    assert [(names[each.first], names[each.second]) for each in fitted.residuals] == [("length", "width")]
    each, seen = fitted.residuals[0], encode(fitted, table).astype(np.float64)
    first, second = seen[:, each.first], seen[:, each.second]
    both = ~np.isnan(table.column("length").to_numpy())
    regression = LinearRegression().fit(second[both, None], first[both])
    assert each.slope == pytest.approx(regression.coef_[0], rel=0.05)
    left = (first - each.slope * second - each.center) / each.spread
    assert left[both].mean() == pytest.approx(0, abs=0.15)
    assert left[both].std() == pytest.approx(1, rel=0.5)
    assert (fitted.indicators, fitted.width) == ({names.index("length"): 6}, 7)
    assert Preprocessing.of(json.loads(json.dumps(fitted.content()))) == fitted
    assert Preprocessing.of(fit(table, LENGTHS, scaling, 8, 1.0, 10, 64).content()).residuals == []


def test_one_wrong_number_bends_no_line():
    right = lengths()
    wrong = right.column("width").to_numpy().copy()
    wrong[7] = 1e4
    table = right.set_column(1, "width", pa.array(wrong))
    before, after = (fit(each, LENGTHS, "none", 8, 0.95, 10, 64).residuals[0] for each in (right, table))
    assert after.slope == pytest.approx(before.slope, rel=0.02)
    assert after.spread == pytest.approx(before.spread, rel=0.3)
    assert max(abs(after.least), abs(after.most)) < 6


def test_a_few_rows_that_have_both_numbers_make_no_pair():
    table = lengths()
    there = np.arange(len(table)) % 3 == 0
    few = pa.array(table.column("width").to_numpy(), mask=~there)
    assert fit(table.set_column(1, "width", few), LENGTHS, "none", 8, 0.95, 10, 64).residuals == []


def twins(count: int = 2_000, **more: Callable[[Floats, Floats], Floats]) -> pa.Table:
    """Two numbers that nearly say the same, and what is made of them."""
    random = np.random.default_rng(3)
    a = random.normal(10, 2, count)
    b = a + random.normal(0, 0.1, count)
    return pa.table({"a": a, "b": b, **{name: made(a, b) for name, made in more.items()}})


def of_table(table: pa.Table) -> Schema:
    return Schema("table", table.column_names, "class", ["a", "b"], [1, 1], None)


def paired(table: pa.Table, scaling: str = "standard", above: float = 0.99) -> set[frozenset[str]]:
    fitted = fit(table, of_table(table), scaling, 8, above, 10, 64)
    names = [number.name for number in fitted.numbers]
    return {frozenset({names[each.first], names[each.second]}) for each in fitted.residuals}


def test_a_column_that_is_there_twice_hides_no_pair():
    inches = {"a2": lambda a, b: np.round(2.54 * a, 3), "b2": lambda a, b: np.round(2.54 * b, 3)}
    found = paired(twins(**inches))
    assert found
    assert all({*pair} & {"a", "a2"} and {*pair} & {"b", "b2"} for pair in found)


def test_days_between_two_dates_of_ten_years_are_seen():
    random = np.random.default_rng(4)
    ordered = np.floor(random.uniform(0, 3650, 3_000))
    assert paired(pa.table({"o": ordered, "d": ordered + random.integers(0, 20, 3_000)})) == {frozenset("od")}
    # But not what rounding to whole days leaves.
    assert paired(pa.table({"o": ordered, "d": np.round(ordered * 1.7)})) == set()


@pytest.mark.parametrize(
    "table",
    [
        twins(c=lambda a, b: a * 1e20, d=lambda a, b: b * 1e-20),
        twins(c=lambda a, b: a * 1e-44, d=lambda a, b: b * 1e-44),
        twins(c=lambda a, b: 1e7 + a, d=lambda a, b: 1e7 + b),
        twins(c=lambda a, b: np.full(len(a), 0.1), d=lambda a, b: np.where(np.arange(len(a)) < 3, 1e9, a)),
    ],
    ids=["far apart", "tiny", "far away", "odd"],
)
def test_residuals_are_numbers_that_float32_can_tell_apart(table):
    fitted = fit(table, of_table(table), "none", 0, 0.99, 10, 64)
    assert fitted.residuals
    encoded = torch.from_numpy(encode(fitted, table))
    found = Residuals(fitted.residuals, fitted.indicators, fitted.width)(encoded)
    assert torch.isfinite(found).all()
    assert min(len(column.unique()) for column in found.T) > 1_000


def test_correlations_are_those_of_pandas():
    random = np.random.default_rng(5)
    columns = random.normal(size=(300, 8)) @ random.normal(size=(8, 8)) * 10.0 ** np.arange(-4, 4) + 1e5
    columns[:, 3] = 0.1
    columns[random.random(columns.shape) < 0.3] = np.nan
    columns[:200, 5] = np.nan
    expected = pd.DataFrame(columns).corr(min_periods=151).abs().fillna(0).to_numpy(copy=True)
    np.fill_diagonal(expected, 0)
    expected[3], expected[:, 3] = 0, 0
    np.testing.assert_allclose(_correlations(columns), expected, rtol=1e-6, atol=1e-9)
    assert expected.any()


@pytest.mark.parametrize("bins", [0, 8])
def test_a_gap_that_no_training_row_had_leaves_no_residual(bins, tmp_path):
    table = twins()
    fitted = fit(table, of_table(table), "standard", bins, 0.99, 10, 64)
    (each,) = fitted.residuals
    lacking = table.slice(0, 90).to_pandas()
    lacking.loc[:29, "a"], lacking.loc[30:59, "b"], lacking.loc[60:69] = None, None, None
    rows = pa.Table.from_pandas(lacking)
    encoded, whole = encode(fitted, rows), encode(fitted, table.slice(0, 90))
    left = Residuals([each], {}, 2)(torch.from_numpy(encoded)).numpy()[:, 0]
    inside = np.ones(90, dtype=bool) if not bins else (np.abs(whole) < 1.5).all(1)
    assert np.abs(left[:60][inside[:60]]).max() < 1e-3
    np.testing.assert_allclose(encoded[:60][inside[:60]], whole[:60][inside[:60]], atol=0.3)
    np.testing.assert_allclose(encoded[60:70], encoded[60:61].repeat(10, 0))  # both missing: both medians
    np.testing.assert_array_equal(encoded[70:], whole[70:])
    # The training reads the same from its files.
    write_table(tmp_path / "validation.parquet", rows.append_column("class", pa.array(np.arange(90) % 2)))
    found = read_rows(tmp_path / "validation.parquet", of_table(table), fitted)
    np.testing.assert_array_equal(found.x.numpy(), encoded)


@pytest.mark.parametrize(
    "change",
    [{"first": 2}, {"second": -1}, {"slope": math.nan}, {"slope": 1e300}, {"spread": 0.0}, {"first": 0.5}],
)
def test_a_residual_that_is_none_is_refused(change):
    plain = {"first": 0, "second": 1, "slope": 1.0, "center": 0.0, "spread": 1.0, "least": -3.0, "most": 3.0}
    Preprocessing([Number("x"), Number("y")], residuals=[Residual(**plain)])
    with pytest.raises(TypeError, match="residual"):
        Preprocessing([Number("x"), Number("y")], residuals=[Residual(**plain | change)])
