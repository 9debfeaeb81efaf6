"""New rows held against the training rows: size of a difference and certainty, both are needed."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from retrace.evaluation import new_rows
from retrace.evaluation.new_rows import ALPHA, FAR, OFTEN, Watch, unlike_columns
from retrace.networks.model import Description
from retrace.preprocessing.description import Category, Number, Preprocessing
from retrace.preprocessing.reference import Reference, column_reference

KINDS = {"town": "categorical", "when": "datetime", "member": "boolean"}
PREPROCESSING = Preprocessing(
    [Number("age", fill=0.0), Number("member", fill=0.0), Number("when", "days", fill=0.0)],
    [Category("town", ["Rome", "Bern", "Oslo"], "own", other=True)],
)
FEATURES = ["age", "town", "when", "member"]
DESCRIPTION = Description(FEATURES, KINDS, "species", ["ant", "bee"], [4], "relu", 0, PREPROCESSING)


def people(rows: int, seed: int, age: float = 40.0, town: float = 0.5, gap: float = 0.1) -> pa.Table:
    """town: share of Rome."""
    random = np.random.default_rng(seed)
    towns = random.choice(["Rome", "Bern", "Oslo", "Ulm"], rows, p=[town, 0.9 - town, 0.08, 0.02])
    ages = np.where(random.random(rows) < gap, np.nan, random.normal(age, 10, rows))
    return pa.table(
        {
            "age": pa.array(ages, from_pandas=True),
            "town": pa.array(towns).dictionary_encode(),
            "when": pa.array(random.integers(0, 10**15, rows), pa.timestamp("us")),
            "member": pa.array(random.random(rows) < 0.3),
        }
    )


def reference(rows: int = 3000) -> Reference:
    table = people(rows, 0)
    columns = [
        column_reference(PREPROCESSING, name, DESCRIPTION.kind(name), table.column(name).chunks) for name in FEATURES
    ]
    return Reference(rows, columns, [rows // 2, rows - rows // 2], [150, 150])


def answers(rows: int, share: float = 0.5) -> np.ndarray:
    second = np.arange(rows) < share * rows
    return np.stack([~second, second], 1).astype(float)


def asked(
    table: pa.Table, share: float = 0.5, labels: pa.Array | None = None, most: int | None = None, rows: int = 3000
):
    watch = Watch(reference(rows), DESCRIPTION, most)
    watch.add(table, answers(table.num_rows, share), labels)
    return watch.differences()


def unlike(*of, **more) -> list[tuple[str, str]]:
    return [(each.column, each.what) for each in asked(*of, **more) if each.unlike]


# --- the tests, held against scipy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 31, 400, 3001])
@pytest.mark.parametrize("value", [0.1, 1.0, 5.0, 30.0, 200.0, 3000.0])
def test_the_tail_of_chi_square(freedom, value):
    assert new_rows._chi_square_tail(value, freedom) == pytest.approx(
        stats.chi2.sf(value, freedom), rel=1e-8, abs=1e-300
    )


@pytest.mark.parametrize(
    ("found", "drawn", "marked", "rows"), [(3, 20, 10, 200), (1, 20, 1, 1000), (50, 100, 60, 500), (20, 20, 20, 10**7)]
)
def test_fishers_exact_test(found, drawn, marked, rows):
    expected = stats.hypergeom.sf(found - 1, rows, marked, drawn)
    assert new_rows._fisher(found, drawn, marked, rows) == pytest.approx(expected, rel=1e-6)


def test_chi_square_with_classes_that_are_joined():
    then, now = np.array([500, 300, 150, 40, 6, 4]), np.array([60, 20, 10, 8, 1, 1])
    joined = np.array([[500, 300, 150, 50], [60, 20, 10, 10]])
    assert new_rows._chi_square(then, now) == pytest.approx(stats.chi2_contingency(joined, correction=False).pvalue)
    assert new_rows._chi_square(np.array([30, 3]), np.array([1, 0])) == 1.0  # too few to say


def test_kolmogorov_smirnov_on_bins_promises_no_more_than_scipy():
    random = np.random.default_rng(1)
    for rows in (20, 200, 2000):
        for shift in (0, 3, 10):
            table = people(rows, int(random.integers(2**31)), age=40 + shift, gap=0)
            (found,) = (
                new_rows._distribution("age", "", np.array(reference().columns[0].counts)[:-2], counts, True)[0]
                for counts in [counted(table)]
            )
            train, test = people(3000, 0).column("age").drop_null(), table.column("age")
            exact = stats.ks_2samp(train.to_numpy(), test.to_numpy(), method="asymp")
            assert found.effect <= exact.statistic + 1e-9
            assert found.effect >= exact.statistic - 0.06
            assert found.p >= exact.pvalue * (1 - 1e-6)


def counted(table: pa.Table) -> np.ndarray:
    watch = Watch(reference(), DESCRIPTION)
    watch.add(table, answers(table.num_rows), None)
    return watch.found["age"][:-2]


def test_holm():
    asked = [new_rows.Difference("x", "", None, None, 1, p) for p in (0.001, 0.02, 0.021, 0.5)]
    assert [each.p for each in new_rows._holm(asked)] == pytest.approx([0.004, 0.06, 0.06, 0.5])


# --- what is unlike ---------------------------------------------------------------------------------------------------


def test_rows_of_the_same_kind_are_alike():
    false = sum(bool(unlike(people(rows, seed))) for rows in (20, 200, 2000) for seed in range(1, 60))
    assert false <= 2


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"age": 52.0}, ("age", "distribution")),
        ({"age": 400.0}, ("age", "outside the training range")),
        ({"town": 0.85}, ("town", "distribution")),
        ({"gap": 0.9}, ("age", "without a value")),
        ({"gap": 0.0}, ("age", "without a value")),
    ],
)
def test_what_matters_is_found(changes, found):
    assert found in unlike(people(500, 7, **changes))
    assert {column for column, _ in unlike(people(500, 7, **changes))} == {found[0]}


def test_a_new_category_is_found():
    table = people(100, 7)
    towns = pa.array(["Roma" if town == "Rome" else town for town in table.column("town").to_pylist()])
    assert ("town", "with a rare or new value") in unlike(table.set_column(1, "town", towns.dictionary_encode()))


def test_answers_and_classes_are_held_against_those_of_before():
    table = people(400, 7)
    assert unlike(table, 0.9) == [("(the answers)", "classes")]
    labels = pa.array(["ant"] * 380 + ["bee"] * 20)
    assert unlike(table, labels=labels) == [("species", "classes")]
    assert unlike(table, labels=pa.array(["ant", "bee"] * 200)) == []


def test_size_alone_does_not_alarm():
    """A difference too small to matter, and as sure as can be: by the tests alone each large file would be unlike."""
    found = asked(people(400_000, 9, age=40.8, town=0.53, gap=0.12), rows=100_000)
    sure = {(each.column, each.what): each for each in found if each.p < ALPHA / 1000}
    assert {("age", "distribution"), ("town", "distribution")} <= {*sure}
    assert all(0.01 < each.effect < (FAR if each.training is None else OFTEN) for each in sure.values())
    assert not any(each.unlike for each in found)


def test_an_effect_alone_does_not_alarm():
    """Of a few rows an effect is large by chance."""
    found = asked(people(8, 3, age=46.0))
    assert max(each.effect for each in found) > 2 * FAR
    assert not any(each.unlike for each in found)


def test_pieces_make_the_whole():
    table, labels = people(1000, 5, age=60.0), pa.array(["ant", "bee", "bee", "bee"] * 250)
    watch = Watch(reference(), DESCRIPTION)
    for start in range(0, 1000, 137):
        piece = table.slice(start, 137)
        watch.add(piece, answers(1000)[start : start + 137], labels.slice(start, 137))
    assert watch.differences() == asked(table, labels=labels)
    assert watch.rows == 1000


def test_some_rows_of_each_piece_say_nearly_the_same():
    table = people(5000, 5, age=60.0)
    whole, some = asked(table), asked(table, most=500)
    assert some[0].effect == pytest.approx(whole[0].effect, abs=0.1)
    assert unlike(table) == unlike(table, most=500)


def test_columns_are_named_once():
    assert unlike_columns(asked(people(500, 7, age=400.0))) == "1 column (age)"
    assert unlike_columns(asked(people(500, 7, age=400.0), 0.9)) == "2 columns (age, (the answers))"
    assert unlike_columns(asked(people(500, 7))) == ""
