"""The page of a result: one valid file that needs nothing else, whatever the data are called; what it does not tell."""

import hashlib
import json
import re
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from retrace.artifacts.result_page import COMMIT_SPOT, with_commit
from retrace.artifacts.schema import Schema
from retrace.params.reader import leaves
from retrace.params.shipped import SHIPPED
from retrace.report.confusion import MOST_CLASSES, pairs
from retrace.report.inputs import read_result, spread, surest_mistakes
from retrace.report.origin_part import changed
from retrace.report.profile import FEWEST, MISSING, RARE, profile, shown
from retrace.report.result_page import PARTS, SCRIPT, STYLE, result_page
from retrace.report.svg import Axis
from retrace.report.words import enumerated, name, percent
from retrace.runtime.errors import BAD_PARAMS, UserError
from tests.conftest import VALUES
from tests.made_results import DECIDING, HOSTILE, SHAPES, made, section, write_result
from tests.made_results import SCRIPT as HOSTILE_SCRIPT
from tests.report import html_page

MOST_BYTES = 1_500_000
TAGS = {*html_page.TAGS, "header", "nav", "section", "footer", "a", "bdi", "code", "script", "details", "summary"}
TAGS |= {"svg", "g", "line", "rect", "circle", "path", "text"}


class Page(html_page.Page):
    """Knows the elements of this page, too; collects what scripts and styles hold, and the rows of each table."""

    tags = TAGS

    def __init__(self, source: str) -> None:
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.tables: list[list[list[str]]] = []
        super().__init__(source)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        if tag == "table":
            self.tables.append([])
        super().handle_starttag(tag, attributes)
        if tag == "tr":
            self.tables[-1].append(self.rows[-1])

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inside:
            self.inside[self.open[-1]].append(data)
        else:
            super().handle_data(data)

    def table(self, *begins: str) -> list[list[str]]:
        """The rows below the header that begins so."""
        (found,) = (rows for rows in self.tables if tuple(rows[0][: len(begins)]) == begins)
        return found[1:]

    @property
    def said(self) -> str:
        return "".join(self.texts)


def page_of(shape: str = "as it should be", **changes: Any) -> Page:
    return Page(result_page(made(shape, **changes), section()))


def digest(content: str) -> str:
    return b64encode(hashlib.sha256(content.encode()).digest()).decode()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_page_is_valid_small_and_needs_nothing_from_elsewhere(project, shape):
    source = result_page(made(shape), section())
    assert len(source.encode()) < MOST_BYTES
    assert source.startswith('<!DOCTYPE html>\n<html lang="en">\n')
    assert all(letter.isprintable() or letter == "\n" for letter in source)
    page = Page(source)
    assert "http" not in source.replace("http-equiv", "")
    ids = [value for _, attribute, value in page.attributes if attribute == "id"]
    assert sorted(ids) == sorted(PARTS)
    for tag, attribute, value in page.attributes:
        assert not attribute.startswith("on")
        assert attribute not in ("src", "style", "xlink:href")
        if attribute == "href":
            assert tag == "a"
            assert value
            assert value[1:] in ids
            assert value[0] == "#"
    for rows in page.tables:
        assert len({len(row) for row in rows}) == 1, rows[0]


def test_its_policy_allows_its_own_style_and_script_and_nothing_else(project):
    page = page_of()
    (sheet,), (script,) = page.inside["style"], page.inside["script"]
    assert script == f"\n{SCRIPT.read_text()}"
    assert sheet.endswith(f"\n{STYLE.read_text()}")
    policy = next(value for _, key, value in page.attributes if key == "content" and value and "default" in value)
    assert policy.split("; ") == [
        *("default-src 'none'", "img-src data:", f"style-src 'sha256-{digest(sheet)}'"),
        *(f"script-src 'sha256-{digest(script)}'", "base-uri 'none'", "form-action 'none'"),
    ]


def test_the_same_result_gives_the_same_bytes_and_no_time_place_or_commit_is_in_it(project, monkeypatch):
    source = result_page(made(), section())
    Path(".git").mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("DVC_EXP_NAME", "an-experiment")
    assert result_page(read_result(section()), section()) == source
    assert str(project) not in source
    assert source.count(COMMIT_SPOT) == 1
    copy = with_commit(source, "0123abcd", uncommitted=True)
    Page(copy)
    assert copy.replace("<p>This copy was made at commit <code>0123abcd</code>, beside changes", "") != copy
    assert with_commit(source, None, uncommitted=None) == source


def test_texts_of_data_stay_texts(project):
    """The parser meets no element that is not the page's own; what looks like one is text."""
    for shape in ("hostile names", "two hostile classes"):
        page = page_of(shape)
        assert "<script>alert(1)</script>" in page.said
        assert len(page.inside["script"]) == 1
    assert name("\u202eabc\x1b[31m") == "<bdi>abc [31m</bdi>"
    assert name("\n") == "<bdi>(no name)</bdi>"
    assert name("x" * 99).endswith("...</bdi>")
    said = Page(result_page(made(), section(purpose=HOSTILE_SCRIPT, contact=HOSTILE_SCRIPT))).said
    assert said.count(HOSTILE_SCRIPT) == 3  # and of a slice


# --- what a newcomer asks ---------------------------------------------------------------------------------------------


def test_it_says_how_good_how_sure_better_than_what_where_wrong_and_how_made(project):
    result = made()
    page = Page(result_page(result, section()))
    own = result.scores.accuracy
    assert "Right on 90.0% of the test rows (54 of 60), which it did not see in training." in page.said
    assert f"between {percent(own.low)} and {percent(own.high)}. Surely more accurate than" in page.said
    assert "The best that is possible there is 95.0%; the network is not surely below that." in page.said
    assert "+10.00 points" in page.said
    assert "Most often left taken for right: 3 rows." in page.said
    assert "Replica 2: one hidden layer of 10 units, relu. All settings as shipped." in page.said
    assert page.table("actual \\ predicted") == [["left", "2790.0%", "310.0%"], ["right", "310.0%", "2790.0%"]]
    rows = page.table("on the same test rows")
    assert [row[0] for row in rows] == ["Bayes limit", "gradient boosting", "logistic regression", "majority"]
    assert rows[1][1:3] == ["0.9000", "+0.1000 (+0.0500 to +0.2000)"]
    metrics = {row[0]: row[1:] for row in page.table("metric")}
    assert metrics["accuracy"][:3] == [f"{value:.4f}" for value in (own.value, own.low, own.high)]
    assert {"macro-F1", "ROC AUC", "log loss", "Brier score"} <= set(metrics)
    assert [row[:2] for row in page.table("probability")] == [["0.5 to 0.6", "55.0%"], ["0.9 to 1", "97.0%"]]
    assert [row[0] for row in page.table("column", "accuracy lost")] == ["x0", "x1"]
    assert page.table("class", "training")[-1] == ["all", "200", "2", "60"]
    assert [row[-1] for row in page.table("replica")] == ["no", "yes", "yes"]
    assert "Nothing suspicious was found" in page.said


def test_a_comparison_that_is_lost_is_said_first(project):
    result = made()
    lost = replace(result.scores.baseline["gradient_boosting"], difference=-0.1, difference_low=-0.2)
    lost = replace(lost, difference_high=-0.05)
    unsure = replace(lost, difference_high=0.05)
    baseline = {**result.scores.baseline, "gradient_boosting": lost, "logistic_regression": unsure}
    page = Page(result_page(replace(result, scores=replace(result.scores, baseline=baseline)), section()))
    assert (
        "Not surely more accurate than logistic regression. Surely less accurate than gradient boosting." in page.said
    )
    assert "surely worse: -20.00 to -5.00." in page.said
    assert ("span", "class", "bad") in page.attributes
    assert "Gradient boosting is surely better in accuracy: 0.9000, network minus it -0.1000" in page.said


def test_where_nothing_is_known_of_limit_and_luck_it_says_so(project):
    result = made("one of everything")
    page = Page(result_page(replace(result, scores=replace(result.scores, bayes=None)), section()))
    assert "Bayes" not in page.said
    assert "One network: the luck of its seed is not known." in page.said
    assert "No test row is wrong." in page.said
    assert "The worst rows" not in page.said
    assert "On a plane" not in page.said


def test_the_mean_is_said_to_ship(project):
    assert "trained side by side; the mean of 8 replicas ships." in page_of("the mean of eight").said


def test_many_classes_are_a_map_and_the_worst_pairs(project):
    result = made("forty classes, projected")
    assert len(result.schema.classes) > MOST_CLASSES
    page = Page(result_page(result, section()))
    found = pairs(result)
    assert sum(count for count, _, _ in found) == 6 == result.scores.rows - result.scores.correct
    assert page.table("actual class")[0][:3] == ["class 0", "class 1", "1"]
    tips = [value for _, key, value in page.attributes if key == "data-tip"]
    assert "class 3 taken for class 4: 1 of 10" in tips
    assert "class 39: 10 of 10 right" in tips


def test_every_chart_has_its_values_in_words(project):
    """For those who do not see it, and for those who have no mouse."""
    source = result_page(made(), section())
    charts = re.findall(r'<svg viewBox="[^"]+" role="img" aria-label="([^"]{40,})">', source)
    assert len(charts) == source.count('class="plot') == source.count('role="status"') == 5
    assert source.count("<details>") == 4  # the plane's dots are named where they are wrong
    assert "Accuracy with intervals: this network 0.9000 (" in charts[0]
    assert source.count('data-tip="test row ') == 6
    assert (
        'data-tip="epoch 4: training 0.4500, validation 0.5000; replicas&#x27; validation 0.3000 to 0.5000"' in source
    )


# --- rows -------------------------------------------------------------------------------------------------------------


def test_the_worst_rows_are_the_surest_mistakes():
    rows = {"actual": [0, 0, 1, 1, 0], "predicted": [1, 0, 0, 0, 1]}
    chances = [0.4, 0.9, 0.8, 0.6, 0.1]
    predictions = pa.table({**rows, "probability_0": chances, "probability_1": [1 - chance for chance in chances]})
    assert surest_mistakes(predictions, 9) == [4, 2, 0, 3]
    assert surest_mistakes(predictions, 2) == [4, 2]
    assert surest_mistakes(predictions, 0) == []


def test_a_wrong_row_stands_there_with_its_values(project):
    tables = write_result()
    result = read_result(section(worst_rows=3))
    page = Page(result_page(result, section(worst_rows=3)))
    rows = page.table("test row")
    assert len(rows) == 3
    for row in rows:
        place = int(row[0]) - 1
        actual = tables.predictions["actual"][place].as_py()
        assert row[1:3] == [["left", "right"][actual], ["right", "left"][actual]]
        assert row[3] == "90.0%"
        assert row[4] == "10.0%"


def test_what_names_a_person_is_not_shown(project):
    """Neither identifiers and ignored columns, nor private ones, nor a text that few rows have."""
    write_result("two hostile classes")
    source = result_page(read_result(section()), section())
    assert "Person" not in source
    assert "only in row" not in source
    assert "column name, whose values are not shown: looks like (create.columns settles it)" in source
    page = Page(source)
    columns = {row[0]: row[1:] for row in page.table("column", "kind")}
    assert set(columns) >= {"when", "flag", "text", "rare"}
    assert not {"name", "note"} & set(columns)
    assert columns["text"][2].startswith("6 values; most often ")
    assert columns["flag"][2] == "true in 66.5%"
    assert "median 2026-01-14" in columns["when"][2]
    assert "secret" in page.said  # of evaluate.slices, where a person named the column
    private = section(private=["note", "text", "when"])
    page = Page(result_page(read_result(private), private))
    assert "secret" not in page.said
    assert not {"text", "when"} & {row[0] for row in page.table("column", "kind")}
    assert "2 other ones are not shown: private (report.private)" in page.said


def test_a_private_column_that_is_none_is_refused(project):
    write_result()
    with pytest.raises(
        UserError, match=r"params\.yaml:\d+: report\.private must name columns .* 'x9' is none"
    ) as caught:
        read_result(section(private=["x9"]))
    assert caught.value.status == BAD_PARAMS


def test_a_column_in_a_few_words():
    schema = Schema("a", ["x"], "y", [], [], None, kinds={"text": "categorical"})
    numbers = pa.chunked_array([pa.array([None, *range(101)], pa.float64())])
    found = profile(numbers, "x", schema)
    assert found.about == "median 50; 90% of rows from 5 to 95"
    assert found.missing == 1 / 102
    assert len(found.bars) == 16
    assert max(found.bars) == 1
    texts = ["often"] * FEWEST + ["seldom"] * (FEWEST - 1)
    found = profile(pa.chunked_array([pa.array(texts).dictionary_encode()]), "text", schema)
    assert found.about == "2 values; most often often (52.6%)"
    assert [shown(value, found) for value in ("often", "seldom", "never", None)] == ["often", RARE, RARE, MISSING]
    found = profile(pa.chunked_array([pa.array(texts[FEWEST:]).dictionary_encode()]), "text", schema)
    assert found.about == "1 value"
    empty = profile(pa.chunked_array([pa.array([None], pa.float64())]), "x", schema)
    assert (empty.about, empty.bars) == ("no value at all", [])
    same = profile(pa.chunked_array([pa.array([2.0] * 9)]), "x", schema)
    assert (same.about, same.bars) == ("median 2; 90% of rows from 2 to 2", [1])


# --- how made ---------------------------------------------------------------------------------------------------------


def test_the_shipped_values_are_those_of_the_shipped_file():
    values = dict(leaves({name: VALUES[name] for name in DECIDING}))
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    assert SHIPPED.read_text() == text, f"write into {SHIPPED.name}:\n{text}"


def test_decisions_are_what_differs_and_is_in_force(project):
    result = made(**{"create.dataset": "moons", "create.moons.noise": 0.3, "create.blobs.classes": 9, "new.key": None})
    expected = [("create.dataset", "circles", "moons"), ("create.moons.noise", "0.2", "0.3")]
    assert sorted(changed(result)) == [*expected, ("new.key", "not there", "null")]
    page = Page(result_page(result, section()))
    assert ["create.moons.noise", "0.2", "0.3"] in page.table("parameter")
    assert "3 settings differ from the shipped ones." in page.said
    assert "Every parameter has the value that Retrace comes with." in page_of().said


def test_it_names_its_result_by_what_dvc_lock_has(project):
    page = page_of()
    found = hashlib.md5(Path("reports/scores.json").read_bytes()).hexdigest()
    assert page.table("command")[0][0] == f"git log --oneline -S {found} -- dvc.lock"
    facts = {row[0]: row[1] for row in page.tables[-1]}
    assert facts["Result"] == f"reports/scores.json, MD5 {found}"
    assert facts["Weights"].endswith("SHA-256 0123abcd")
    assert facts["Purpose"] == "not stated (report.purpose)"


def test_limits_follow_from_the_result(project):
    said = page_of("hostile names").said
    assert "there are fewer than 30 test rows" in said
    assert "40 things to know about the data" in said
    assert "And 10 more, in reports/data.md." in said
    assert len(HOSTILE) > MOST_CLASSES


# --- drawing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.967, 0.986, [0.97, 0.975, 0.98, 0.985]),
        (-3, 4, [-2, 0, 2, 4]),
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (2, 2, [2]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert Axis(low, high, 0, 1).ticks() == expected


def test_places_on_an_axis():
    axis = Axis(10, 20, 100, 0)
    assert [axis.at(value) for value in (10, 15, 20, 99, -99)] == [100, 50, 0, 0, 100]
    assert Axis(1, 1, 0, 10).at(1) == 5


def test_a_band_over_replicas_that_stop_early():
    low, mean, high = spread(np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan]]))
    assert low.tolist()[:2] == [1, 2]
    assert mean.tolist()[:2] == [2, 2]
    assert high.tolist()[:2] == [3, 2]
    assert all(np.isnan(each[2]) for each in (low, mean, high))


def test_words():
    assert [percent(value) for value in (0, 0.5, 0.9996, 0.0001, 1)] == ["0.0%", "50.0%", "99.960%", "0.010%", "100.0%"]
    assert [enumerated(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_of_a_long_training_some_epochs_are_drawn_the_best_and_the_last_among_them(project):
    page = page_of("a long training")
    tips = [value for _, key, value in page.attributes if key == "data-tip" and value and value.startswith("epoch ")]
    assert 100 < len(tips) < 170
    assert tips[0].startswith("epoch 1: training 1.3000, validation 1.5000; replicas' validation 1.2000 to 1.5000")
    assert tips[-1].startswith("epoch 2,000: ")
    assert [row[0] for row in page.table("epoch")][-1] == "2,000"


def test_an_arrow_stands_for_what_is_far_off(project):
    result = made()
    far = replace(result.scores.baseline["majority"], accuracy=0.0, correct=0)
    scores = replace(result.scores, baseline={**result.scores.baseline, "majority": far})
    assert "An arrow" in Page(result_page(replace(result, scores=scores), section())).said
    assert "An arrow" not in Page(result_page(result, section())).said
