"""The leak guard, through the real stages: each check on data that has the fault, and on data that has it not."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import datasets
from sklearn.metrics import roc_auc_score

from retrace.artifacts import paths
from retrace.artifacts.findings import FINDINGS
from retrace.artifacts.schema import read_schema
from retrace.artifacts.tables import read_table
from retrace.data.checks import duplicates as checks
from retrace.data.checks.adversarial import adversarial_validation, area, distances
from retrace.data.checks.columns import constant, single_feature_score
from retrace.data.checks.duplicates import duplicates
from retrace.data.checks.report import plain
from retrace.runtime.errors import BAD_DATA, UserError
from stages import create, split
from tests.project import turn

ROWS = 600


@pytest.fixture(autouse=True)
def own(project):
    Path("data/tables").mkdir(parents=True)
    turn(project, {"create.dataset": "table"})


def frame(rows: int = ROWS, seed: int = 0, **columns) -> pd.DataFrame:
    """Two honest columns, one of which tells something, and those given."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, rows)
    honest = {"size": random.normal(size=rows) + label, "noise": random.normal(size=rows)}
    return pd.DataFrame({**honest, "class": np.where(label, "yes", "no")}).assign(**columns)


def told(table: pd.DataFrame, **changes) -> list[dict[str, str]]:
    """What the stages find in the table."""
    table.to_csv("data/tables/table.csv", index=False)
    turn(Path(), changes)
    create.main()
    split.main()
    found = json.loads(FINDINGS.read_text())["findings"]
    assert isinstance(found, list)
    return found


def kinds(found: list[dict[str, str]]) -> set[tuple[str, str]]:
    return {(each["kind"], each["column"]) for each in found}


def shuffled(table: pd.DataFrame) -> pd.DataFrame:
    return table.sample(frac=1, random_state=0)


# --- honest data ----------------------------------------------------------------------------------------------------


def test_nothing_suspicious_is_said_of_honest_data():
    assert told(frame()) == []
    assert "\nNothing suspicious was found.\n" in paths.DATA.read_text()


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_real_tables_give_no_false_alarm(name):
    bunch = getattr(datasets, f"load_{name}")()
    table = pd.DataFrame(bunch.data, columns=[str(each) for each in bunch.feature_names])
    found = told(table.assign(**{"class": [f"class {each}" for each in bunch.target]}))
    # Pixels at the edge of a digit are all 0, or all but one.
    assert {kind for kind, _ in kinds(found)} == ({"constant", "constant_in_training"} if name == "digits" else set())
    still = {name for name in table if table[name].nunique() == 1}
    assert {column for kind, column in kinds(found) if kind == "constant"} == still


@pytest.mark.parametrize("name", ["circles", "gaussians", "wine", "digits"])
def test_of_made_data_only_what_can_be_counted_is_asked(name, capsys):
    turn(Path(), {"create.dataset": name, "split.method": "stratified"})
    create.main()
    assert read_schema().findings == []
    split.main()
    assert "Not asked of a data set that was made" in paths.DATA.read_text()
    found = json.loads(FINDINGS.read_text())["findings"]
    assert {each["param"] for each in found} <= {"create.dataset", "split.method"}
    assert len(capsys.readouterr().err.splitlines()) == len(found) == (4 if name == "digits" else 0)


# --- constants (D16, D17) -------------------------------------------------------------------------------------------


def test_d16_constant_columns_are_in_the_report(capsys):
    found = told(frame(same="x"))
    assert kinds(found) == {("constant", "same")}
    row = "| warning | same | column same is the same in every row | create.columns.ignored |"
    assert row in paths.DATA.read_text()
    # Said once, by the stage that found it.
    assert capsys.readouterr().err.count("column same") == 1


def test_d16_a_column_that_is_constant_in_training_only(capsys):
    late = np.where(np.arange(ROWS) < 500, 1.5, 2.5)
    time = {"split.method": "time", "split.column": "when", "create.columns.ignored": ["when"]}
    found = told(frame(late=late, when=range(ROWS)), **time)
    assert ("constant_in_training", "late") in kinds(found)
    assert "split: warning: column late is the same in all 362 training rows, but not in" in capsys.readouterr().err


def test_d17_no_feature_varies_in_the_training_rows():
    late = np.where(np.arange(ROWS) < 590, 1.5, 2.5)
    table = frame(late=late, when=range(ROWS)).drop(columns=["size", "noise"])
    with pytest.raises(UserError, match=r"no feature varies in the 362 training rows \(late\)") as caught:
        told(table, **{"split.method": "time", "split.column": "when", "create.columns.ignored": ["when"]})
    assert caught.value.status == BAD_DATA
    assert "\n" not in str(caught.value)
    assert not paths.TRAIN.exists()
    assert not paths.DATA.exists()


def test_a_column_that_varies_late_is_no_constant():
    assert told(frame(9000, late=np.arange(9000) > 8000)) == []
    column = pa.chunked_array([np.r_[np.zeros(5000), 1.0]])
    assert constant(column.chunks, np.arange(len(column)) < 5000)
    assert not constant(column.chunks, np.arange(len(column)) < 5001)
    assert not constant(column.chunks)
    assert constant([pa.nulls(30, pa.float64())])


def test_missing_and_not_missing_is_no_constant():
    assert told(frame(seen=np.where(np.arange(ROWS) % 3, 1.0, np.nan))) == []


# --- twins (D19) ----------------------------------------------------------------------------------------------------


def test_d19_twins_of_two_classes_bound_the_accuracy(capsys):
    table = frame()
    twin = table[:90].assign(**{"class": np.where(table["class"][:90] == "yes", "no", "yes")})
    found = told(pd.concat([table, twin, table[100:130]]))
    assert kinds(found) == {("twins_of_two_classes", "")}
    assert "180 of 720 rows have a twin" in found[0]["text"]
    assert "no classifier can be right on more than 630 of the 720 rows (87.5 %)" in found[0]["text"]
    assert "split: warning: 180 of 720 rows have a twin" in capsys.readouterr().err
    assert "240 of 720 rows share their features with another one" in paths.DATA.read_text()


def test_d19_features_that_tell_nothing_stop_the_stage():
    table = frame()
    flipped = table.assign(**{"class": np.where(table["class"] == "yes", "no", "yes")})
    with pytest.raises(UserError, match=r"the features \(size, noise\) tell nothing about class") as caught:
        told(pd.concat([table, flipped]))
    assert caught.value.status == BAD_DATA
    assert "(600 of 1,200 rows) cannot be beaten; bring columns that tell more" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not paths.TRAIN.exists()


def test_few_values_have_honest_twins_and_are_no_fault():
    random = np.random.default_rng(0)
    flag = random.integers(0, 2, ROWS)
    # One yes in ten, and with the flag one in five: nobody beats "no", but the chance can be told.
    label = np.where((flag == 1) & (random.random(ROWS) < 0.2), "yes", "no")
    time = {"split.method": "time", "split.column": "when", "create.columns.ignored": ["when"]}
    found = told(pd.DataFrame({"flag": flag, "when": range(ROWS), "class": label}), **time)
    assert {kind for kind, _ in kinds(found)} == {"twins_of_two_classes", "twins_across_sides"}
    assert f"more than {(label == 'no').sum()} of the 600 rows" in found[0]["text"]


@pytest.mark.parametrize("part", [checks.ROWS_OF_A_PART, 40, 7])
def test_twins_against_counting_by_hand(part, monkeypatch):
    """Also where a table is so large that its rows are counted by parts."""
    monkeypatch.setattr(checks, "ROWS_OF_A_PART", part)
    monkeypatch.setattr(checks, "ROWS_AT_ONCE", part)
    random = np.random.default_rng(0)
    for seed in range(50):
        names = np.append(random.integers(0, 2**64, seed, dtype=np.uint64), np.uint64(2**64 - 1))
        units = names[random.integers(0, 1 + seed, 80)]
        target = random.integers(0, 3, 80)
        groups = [target[units == unit] for unit in np.unique(units)]
        counted = duplicates(units, target, 3)
        assert counted.rows == sum(len(each) for each in groups if len(each) > 1)
        assert counted.differing == sum(len(each) for each in groups if len(set(each)) > 1)
        assert counted.best == sum(np.bincount(each).max() for each in groups)
        train, test = np.split(random.permutation(80), [50])
        assert checks.seen_before(units, train, test) == np.isin(units[test], units[train]).sum()
    assert duplicates(np.arange(80, dtype=np.uint64), target, 3) == (0, 0, 80, False)


# --- twins across sides ---------------------------------------------------------------------------------------------


def test_twins_across_sides_are_counted_where_the_method_lets_them_come_apart(capsys):
    table = pd.concat([frame(400), frame(400)[:200]]).assign(when=range(600))
    settings = {"create.columns.ignored": ["when"]}
    found = told(table, **settings, **{"split.method": "time", "split.column": "when"})
    assert ("twins_across_sides", "") in kinds(found)
    # The test is the last third, 198 rows; their twins are among the first 200.
    text = "198 of 198 test rows (100 %) have a twin among the training rows"
    assert f"split: warning: {text}, which split.method: time does not keep together" in capsys.readouterr().err
    for method in ("random", "stratified", "hash"):
        assert told(table, **{"split.method": method, "split.column": None}) == []
        assert "a twin among the training rows: 0 of" in paths.DATA.read_text()


# --- one column that tells the class, and the rows' names (D20) -----------------------------------------------------


def test_d20_a_copy_of_the_target_with_slips_is_found(capsys):
    table = frame()
    copy = table["class"].map({"yes": "ja", "no": "nein"})
    copy[5] = "nein" if copy[5] == "ja" else "ja"
    copy[9] = ""
    found = told(table.assign(outcome=copy))
    assert kinds(found) == {("tells_the_class", "outcome")}
    line = next(each for each in capsys.readouterr().err.splitlines() if "outcome" in each)
    assert re.match(r"split: warning: column outcome alone tells class: balanced accuracy 0\.99\d\d on 600 rows", line)
    assert line.endswith("is it known before the class is? create.columns.ignored settles it")


@pytest.mark.parametrize(
    "make",
    [
        lambda label, random: label * 3.0 + random.random(ROWS),  # a threshold
        lambda label, random: random.random(ROWS) ** 9 * 1e-30 * (2 * label - 1),  # a sign, tiny
        lambda label, random: np.where(label, random.random(ROWS) + 1, np.nan),  # missing or not
        lambda label, random: random.integers(0, 40, ROWS) * 2 + label,  # odd or even: patients of one class each
        lambda label, random: [f"p{each}" for each in random.integers(0, 40, ROWS) * 2 + label],
        lambda label, random: np.where(label, "2026-01-02", "2026-01-01"),
    ],
)
def test_d20_whatever_gives_the_class_away_is_found(make):
    table = frame()
    leak = make((table["class"] == "yes").to_numpy(), np.random.default_rng(1))
    table["leak"] = leak
    if table["leak"].nunique() == 2:
        table.loc[3, "leak"] = table["leak"][table["class"] != table["class"][3]].iloc[0]  # else `create` refuses it
    assert ("tells_the_class", "leak") in kinds(told(table))


def test_an_honest_column_however_good_is_no_alarm():
    table = frame()
    label = (table["class"] == "yes").to_numpy()
    random = np.random.default_rng(1)
    table["good"] = label * 4 + random.normal(size=ROWS)  # right on 0.977
    table["nearly"] = np.where(random.random(ROWS) < 0.98, label, ~label)
    table["town"] = [f"town {each}" for each in random.integers(0, 290, ROWS)]
    assert told(table) == []
    # Sorted by class, as many files are: neither the order of rows nor that of categories may count.
    assert told(table.sort_values("class")) == []


def test_one_feature_alone_is_not_blamed():
    table = frame()[["size", "class"]].assign(size=lambda each: (each["class"] == "yes") * 3.0 + each["size"] / 100)
    assert told(table) == []
    assert "not asked, since there is one only" in paths.DATA.read_text()


def test_alone_on_columns_whose_score_is_known():
    random = np.random.default_rng(0)
    label = random.integers(0, 3, 3000)
    known = random.random(3000) < 0.6
    assert single_feature_score(label * 1.0, label, known, True) == 1.0
    assert single_feature_score(label * 1.0, label, known, False) == 1.0
    assert single_feature_score(random.normal(size=3000), label, known, True) == pytest.approx(1 / 3, abs=0.05)
    assert single_feature_score(np.arange(3000.0), label, known, False) == 0.0  # a category of its own in each row
    # A wrong label costs one row, and not its neighbours too.
    wrong = np.where(np.arange(3000) % 50 == 0, (label + 1) % 3, label)
    assert single_feature_score(label + random.random(3000) / 2, wrong, known, True) == pytest.approx(
        1 - 1 / 50, abs=0.007
    )


def test_d20_row_numbers_and_identifiers_among_the_features(capsys):
    random = np.random.default_rng(2)
    gaps = np.cumsum(random.integers(1, 9, ROWS))
    table = frame(gaps=gaps, falling=gaps[::-1], mixed=random.permutation(ROWS), customer_id=random.permutation(gaps))
    found = told(table.assign(count=range(ROWS)), **{"create.columns.numeric": ["count"]})
    names = ["gaps", "falling", "mixed", "customer_id", "count"]
    assert kinds(found) == {("identifier", name) for name in names}
    err = capsys.readouterr().err
    assert "create: warning: column count names the row or nearly so, but create.columns makes it a feature" in err
    assert "create: warning: column gaps rises with every row" in err
    assert "column falling falls with every row" in err
    assert "create: warning: column mixed has each whole number from 0 to 599 once" in err
    assert "column customer_id is different in every row and is called an id" in err
    assert err.count("column count ") == 1


# --- training and test that differ ----------------------------------------------------------------------------------


def test_sides_that_differ_are_told_apart_and_the_column_is_named(capsys):
    table = frame(when=range(ROWS), moved=np.random.default_rng(5).normal(size=ROWS) + np.arange(ROWS) / 200)
    settings = {"create.columns.ignored": ["when"]}
    found = told(table, **settings, **{"split.method": "time", "split.column": "when"})
    assert ("sides_differ", "moved") in kinds(found)
    assert re.search(r"told apart: AUC 0\.[89]\d\d ± 0\.0\d\d .* column moved moved most", capsys.readouterr().err)
    found = told(table, **{"split.method": "stratified", "split.column": None})
    assert not any(each["kind"] == "sides_differ" for each in found)


def test_the_column_that_divides_is_not_held_against_the_sides():
    when = np.random.default_rng(0).permutation(10 * ROWS)[:ROWS]
    found = told(frame(when=when), **{"split.method": "time", "split.column": "when"})
    assert found == []
    assert "when left out, which divides them" in paths.DATA.read_text()


def test_rows_divided_by_chance_raise_no_alarm():
    """Alone, as twins, and in groups, whose rows a classifier would know again."""
    alarms, scores = 0, []
    for seed in range(30):
        random = np.random.default_rng(seed)
        # 600 rows; 300 twins; 200 groups.
        for units in (np.arange(600), (300 * random.random(900) ** 2).astype(int), np.arange(1600) % 200):
            features = random.normal(size=(units.max() + 1, 4))[units]
            if len(units) == 1600:
                features = features + 0.5 * random.normal(size=features.shape)
            test = (random.permutation(units.max() + 1) < 0.33 * units.max())[units]
            result = adversarial_validation(features, test, units)
            assert result
            alarms += result.surely
            scores.append((result.auc - 0.5) / result.error)
    assert alarms == 0
    # Neither leaning to a side, nor surer than it should be.
    assert abs(np.mean(scores)) < 0.35
    assert 0.6 < np.std(scores) < 1.4


def test_area_is_scikit_learns_and_its_error_is_true():
    random = np.random.default_rng(0)
    areas, errors = [], []
    for _ in range(300):
        positive = np.arange(300) < 100
        scores = (random.normal(size=300) + positive).round(1)
        auc, error = area(scores, positive, np.arange(300))
        assert auc == pytest.approx(roc_auc_score(positive, scores))
        areas.append(auc)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.12)


def test_distances_are_those_of_kolmogorov_and_smirnov():
    from scipy.stats import ks_2samp

    random = np.random.default_rng(0)
    values, test = random.normal(size=(200, 3)).round(1), np.arange(200) < 70
    expected = [ks_2samp(values[test, index], values[~test, index]).statistic for index in range(3)]
    assert distances(values, test).tolist() == pytest.approx(expected)
    assert distances(np.where(test, np.nan, 1.0)[:, None], test).tolist() == [1.0]


# --- the report -----------------------------------------------------------------------------------------------------

ODD = ["a|b", "`c`", "<script>alert(1)</script>", "line\nbreak", "=cmd()", "[x](http://evil)", "**bold**", "_x_"]


def test_names_reach_the_report_as_text_only(capsys):
    table = frame(**dict.fromkeys(ODD, 1.5)).rename(columns={"class": "kind|of\n`x`"})
    table["kind|of\n`x`"] = np.where(table["kind|of\n`x`"] == "yes", "<img src=x>|", "# no\n|")
    found = told(table, **{"create.table.target": "kind|of\n`x`"})
    assert {each["column"] for each in found} == set(ODD)
    text = paths.DATA.read_text()
    assert not re.search(r"(?<!\\)`|<(script|img)|(?<!\\)\*\*|(?<!\\)\[", text)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in tables}
    assert widths == {5, 6, 4}  # findings, rows, features: no cell more, no cell less
    assert "=cmd()" in text
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        *("# The data", "## Findings", "## What was asked", "## Rows", "## Features"),
    ]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(ODD)
    assert all(line.startswith("create: warning: column ") for line in lines)


def test_plain_text_stays_readable():
    assert plain("petal_width (cm), 0.95 %") == "petal_width (cm), 0.95 %"
    assert plain("_x_ a|b\n \\`c`") == r"\_x\_ a\|b \\\`c\`"


def test_the_report_says_who_is_where():
    told(frame(town=np.resize(["a", "b", "c"], ROWS), id=range(ROWS)))
    text = paths.DATA.read_text()
    assert "table: 600 rows, 3 features, 2 classes of class; divided by split.method: stratified." in text
    train, validation, test = (read_table(path).num_rows for path in (paths.TRAIN, paths.VALIDATION, paths.TEST))
    assert re.search(rf"\| all \| {train} \(.*\) \| {validation} \(.*\) \| {test} \(.*\) \| 600 \|", text)
    assert "| categorical | 1 | town |\n| no feature | 1 | id |\n| numeric | 2 | size, noise |" in text
    assert "| warning | id | column id names the row or nearly so, and is not a feature | create.columns |" in text


def test_the_same_state_gives_the_same_bytes():
    table = frame(30_000, same=1, town=np.resize(["a", "b", "c"], 30_000))
    told(shuffled(table))
    before = paths.DATA.read_bytes(), FINDINGS.read_bytes()
    split.main()
    assert (paths.DATA.read_bytes(), FINDINGS.read_bytes()) == before


def test_many_findings_do_not_flood_the_screen(capsys):
    random = np.random.default_rng(2)
    told(frame(**{f"c{index}": np.cumsum(random.integers(1, 9, ROWS)) for index in range(30)}))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "create: warning: 10 more are in data/schema.json"
