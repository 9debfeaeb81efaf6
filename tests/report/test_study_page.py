"""The page of a study: one valid file that needs nothing else, its numbers those of the result, its advice earned."""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrace.artifacts.study import TRIALS, Importance, Interval, StudyResult, write_study
from retrace.figures.study.inputs import StudyTables, study_tables
from retrace.figures.study.registry import FOLDER, STUDY_FIGURES, study_pictures
from retrace.params.space import Searched
from retrace.report.html import Html, element, picture, table, text
from retrace.report.study_advice import advice
from retrace.report.study_page import PAGE, study_page
from retrace.report.study_words import alternatives, good_values, interval, searched_over
from retrace.report.words import number, signed
from stages import study_plot
from tests.made_studies import ODD, PRESENT, example, variants
from tests.report.html_page import PIXEL, Page

VARIANTS = variants()
PICTURES = dict.fromkeys(STUDY_FIGURES, PIXEL)


def tables_of(variant: str = "as it should be", **options: Any) -> StudyTables:
    return study_tables(*example(**{**VARIANTS[variant], **options}))


def changed(tables: StudyTables, **changes: Any) -> StudyTables:
    return StudyTables(replace(tables.result, **changes), tables.trials)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_page_is_valid_and_needs_nothing_from_elsewhere(variant):
    source = study_page(tables_of(variant), PICTURES)
    assert source.startswith('<!DOCTYPE html>\n<html lang="en">\n')
    page = Page(source)
    assert "http" not in re.sub("http-equiv", "", source)
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        assert name not in ("href", "style")
        if name == "src":
            assert tag == "img"
            assert value
            assert b64decode(value.removeprefix("data:image/png;base64,")) == PIXEL
    assert sum(name == "src" for _, name, _ in page.attributes) == len(STUDY_FIGURES)
    assert ("img", "width", "1") in page.attributes
    policy = next(value for _, name, value in page.attributes if name == "content" and value and "default" in value)
    sheet = re.search("<style>(.*)</style>", source, re.DOTALL)
    assert sheet
    digest = b64encode(hashlib.sha256(sheet[1].encode()).digest()).decode()
    alone = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    assert policy == f"{alone}; base-uri 'none'; form-action 'none'"
    # Rows of a table are all as long as its header.
    lengths = {len(row) for row in page.rows}
    assert lengths <= {2, 4, 5, 6, 10}, lengths
    assert all(letter.isprintable() or letter == "\n" for letter in source)


def test_the_same_study_gives_the_same_bytes():
    assert study_page(tables_of(), PICTURES) == study_page(tables_of(), PICTURES)


def test_texts_of_data_stay_texts():
    tables = tables_of("odd names")
    page = Page(study_page(tables, PICTURES))
    assert any("<script>alert(1)</script>" in text for text in page.texts)
    heading = "Study of $x^2$ <b>&amp;  \u732b  `|` " + "W" * 40
    assert heading in page.texts
    evil = '"><img src=x onerror=alert(1)>\u202e\x1b[31m'
    assert text(evil) == "&quot;&gt;&lt;img src=x onerror=alert(1)&gt;  [31m"
    assert element("p", evil, kind=evil) == f'<p class="{text(evil)}">{text(evil)}</p>'
    assert f'alt="{text(evil)}"' in picture(PIXEL, evil, "x")
    assert text(evil) in table(["a"], [[evil]], evil)
    assert text(Html("<b>")) == "<b>"
    other = Page(study_page(changed(tables_of(), reason=evil, method=evil, dataset=evil), PICTURES))
    assert any("onerror" in each for each in other.texts)


def cells(page: Page, start: str) -> list[list[str]]:
    """Rows of the table whose header begins so."""
    (first,) = (place for place, row in enumerate(page.rows) if row[0] == start)
    found = []
    for row in page.rows[first + 1 :]:
        if len(row) != len(page.rows[first]) or row[0] in ("setting", "parameter", "fold"):
            break
        found.append(row)
    return found


def test_the_tables_say_what_was_measured():
    tables = tables_of()
    result = tables.result
    page = Page(study_page(tables, PICTURES))
    rows = cells(page, "setting")
    assert len(rows) == len(result.candidates)
    for row, each in zip(rows, result.candidates, strict=True):
        assert row[1:3] == [f"{each.search_score:.4f}", f"{each.fresh_score:.4f}"]
        assert row[3:5] == [signed(each.optimism), f"{each.deviation:.4f}"]
        assert row[5] == (interval(each.improvement) if each.improvement else "-")
        assert row[6:] == [f"{each.accuracy:.4f}", f"{each.calibration_error:.4f}", "93.5", f"{each.work:.3g}"]
    assert rows[0][0] == "present setting"
    assert rows[1][0].startswith(f"trial {result.adopted} (adopted)optimizer.learning_rate: ")
    assert ("tr", "class", "chosen") in page.attributes
    (activation,) = (row for row in page.rows if row[0] == "activation" and len(row) == 5)
    assert activation == ["activation", "relu, tanh, sigmoid", "relu", "tanh", "18% (15% to 23%)"]
    (rate,) = (row for row in page.rows if row[0] == "optimizer.learning_rate" and len(row) == 5)
    assert rate[1] == "0.003 to 3, log"
    reached = [row for row in page.rows if row[0] in ("12", "34", "100") and len(row) == 5]
    assert [row[1] for row in reached] == ["64", "25", "10"]
    assert sum(int(row[2]) for row in reached) == result.states["stopped"]
    assert sum(int(row[3]) for row in reached) == result.states["diverged"] > 0
    assert result.procedure
    folds = cells(page, "fold")
    assert [row[5] for row in folds] == [
        f"{each.present_log_loss - each.log_loss:+.4f}" for each in result.procedure.folds
    ]
    said = " ".join(page.texts)
    assert f"Trial {result.adopted} is surely better." in said
    assert "+0.0180 (+0.0090 to +0.0270)" in said
    assert "No row of the test was read." in said
    assert "..." not in said


def test_nothing_adopted_is_said_first_and_no_row_is_marked():
    page = Page(study_page(tables_of("nothing adopted"), PICTURES))
    assert "None is surely better; the present one stays." in page.texts
    assert ("tr", "class", "chosen") not in page.attributes


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_picture_has_a_text_that_says_what_is_seen(variant):
    tables = tables_of(variant)
    said = alternatives(tables)
    assert set(said) == set(STUDY_FIGURES)
    assert all(each.endswith(".") and len(each) > 40 for each in said.values())
    assert tables.result.candidates
    for each in tables.result.candidates:
        assert number(each.fresh_score) in said["verdict"]
    assert f"{len(tables.trials)} trials" in said["history"]


def test_words():
    tables = tables_of()
    by_name = {each.name: each for each in tables.result.parameters}
    rate, init = by_name["optimizer.learning_rate"], by_name["init"]
    assert searched_over(init) == "he_uniform, xavier_uniform, normal"
    assert searched_over(rate) == "0.003 to 3, log"
    assert re.fullmatch(r"0\.\d+ to [\d.]+ in the best trials", good_values(rate, tables))
    assert re.fullmatch(r"\w+ in \d of \d of the best trials", good_values(init, tables))
    assert number(float("nan")) == "-"
    assert interval(Interval(0.1, -0.0, 0.2)) == "+0.1000 (+0.0000 to +0.2000)"


def test_a_present_setting_that_diverged_in_the_search_only_has_no_score_there():
    """Nor is there an optimism, without what the search promised."""
    tables = tables_of()
    present, *others = tables.result.candidates
    others = [replace(each, optimism=None) for each in others]
    tables = changed(tables, candidates=[replace(present, search_score=None), *others])
    page = Page(study_page(tables, study_pictures(tables) and PICTURES))
    rows = cells(page, "setting")
    assert rows[0][1] == "-"
    assert {row[3] for row in rows} == {"-"}
    alone = Page(study_page(tables_of("the present diverges"), PICTURES))
    assert [row[5] for row in cells(alone, "setting")] == ["-"] * 3
    assert any("With fresh seeds its log loss is" in each for each in page.texts)
    assert not any("With fresh seeds its log loss is" in each for each in alone.texts)


# --- what to try next -------------------------------------------------------------------------------------------------


def said(tables: StudyTables, beginning: str) -> list[str]:
    return [each for each in advice(tables) if beginning in each]


def test_adopting_is_the_first_advice_and_only_where_something_is_adopted():
    assert advice(tables_of())[0].startswith("Adopt trial 21: retrace adopt")
    assert said(tables_of("nothing adopted"), "retrace adopt") == []


def judged(tables: StudyTables, value: float, low: float, **changes: Any) -> StudyTables:
    """Nothing adopted, and all candidates with this improvement."""
    candidates = [
        each if each.improvement is None else replace(each, improvement=Interval(value, low, 2 * value - low))
        for each in tables.result.candidates
    ]
    return changed(tables, candidates=candidates, adopted=None, **changes)


def test_a_difference_that_may_be_real_asks_for_seeds_or_rows():
    tables = tables_of()
    (line,) = said(judged(tables, 0.01, -0.01), "may be better")
    # Half as wide an interval takes four times as many.
    assert "study.fresh_seeds: 64, now 16) or more rows (now 670)" in line
    assert "by 0.0100 (-0.0100 to +0.0300)" in line
    assert "about 4 times" in line
    (line,) = said(judged(tables, 0.01, -0.01, fresh_seeds=256), "may be better")
    assert "study.fresh_seeds" not in line  # there are as many as there can be
    (line,) = said(judged(tables, 0.001, -0.01), "hardly worth")
    assert "0.0010 only" in line
    (line,) = said(judged(tables, -0.001, -0.01), "No setting that was trained again was better")
    assert said(judged(tables, 0.01, -0.01), "No setting") == []


def at_the_end(value: float, name: str = "optimizer.learning_rate", **range_: Any) -> StudyTables:
    """Ten trials between, and the best ones at this value."""
    space = [Searched(name, **range_)]
    table, result = example(24, space=space, present={name: value})
    tables = study_tables(table, result)
    best = [tables.trials[place].number for place in tables.ranking[:8]]
    trials = [
        replace(each, settings={name: value}) if each.number in best else replace(each, settings={name: range_["low"]})
        for each in tables.trials
    ]
    trials = [each if each.number in best else replace(each, state="stopped") for each in trials]
    winner = next(number for number in best if number)
    return StudyTables(replace(result, adopted=winner, best=winner), tuple(trials))


def test_a_winner_at_the_end_of_a_range_asks_for_a_wider_one():
    (line,) = said(at_the_end(2.9, low=0.003, high=3.0, log=True), "at the high end")
    assert "widen it, for example to {low: 0.003, high: 30, log: true}" in line
    assert "is 2.9, at the high end of what was searched (0.003 to 3)" in line
    (line,) = said(at_the_end(0.0031, low=0.003, high=3.0, log=True), "at the low end")
    assert "{low: 0.0003, high: 3, log: true}" in line
    assert said(at_the_end(0.1, low=0.003, high=3.0, log=True), "widen") == []
    (line,) = said(at_the_end(300, name="batch_size", low=10, high=300, whole=True), "at the high end")
    assert "{low: 10, high: 445}" in line


def test_no_range_is_widened_beyond_what_a_parameter_may_be():
    """Of dropout there is no less than 0, and 1 is too much."""
    assert said(at_the_end(0.0, name="dropout", low=0.0, high=0.5), "widen") == []
    assert said(at_the_end(0.9, name="dropout", low=0.0, high=0.9), "widen") == []
    (line,) = said(at_the_end(0.5, name="dropout", low=0.0, high=0.5), "widen")
    assert "{low: 0, high: 0.75}" in line


@pytest.mark.parametrize(
    ("choices", "value", "expected"),
    [
        ([16, 32, 64], 64, "the largest value of its list: add a larger one, for example 128."),
        ([16, 32, 64], 16, "the smallest value of its list: add a smaller one, for example 8."),
        ([16, 32, 64], 32, ""),
        ([1, 2], 2, ""),  # two values have no inside
    ],
)
def test_a_winner_at_the_end_of_a_list_of_numbers_asks_for_a_longer_one(choices, value, expected):
    space = [Searched("batch_size", choices=choices)]
    tables = study_tables(*example(24, space=space, present={"batch_size": value}))
    winner = next(place for place in tables.ranking if place)
    trials = [replace(each, settings={"batch_size": value}) for each in tables.trials]
    tables = StudyTables(replace(tables.result, adopted=winner), tuple(trials))
    found = said(tables, "of its list")
    assert [each.partition(f"is {value}, ")[2] for each in found] == ([expected] if expected else [])


def test_many_diverged_trials_above_a_value_ask_for_a_lower_end():
    tables = tables_of("numbers only")
    assert said(tables, "diverged") == []  # one in twenty is no loss
    name = "optimizer.learning_rate"
    trials = [replace(each, state="diverged" if each.settings[name] > 0.3 else "complete") for each in tables.trials]
    (line,) = said(StudyTables(tables.result, tuple(trials)), "diverged")
    highest = max(each.settings[name] for each in trials if each.state == "complete")
    lost = sum(each.state == "diverged" for each in trials)
    assert line.startswith(f"{lost} of 200 trials diverged, {lost} of them with {name} above {highest:.4g}")
    everywhere = [replace(each, state="diverged" if each.number % 3 == 0 else "complete") for each in tables.trials]
    (line,) = said(StudyTables(tables.result, tuple(everywhere)), "diverged")
    assert "train.gradient_clip" in line
    assert said(tables_of("all diverged but the present"), "15 of 16 trials diverged: lower the learning rates")


def test_networks_that_were_best_at_the_end_ask_for_more_epochs():
    tables = tables_of()
    marked = tables.marked
    assert marked

    def with_marked(**changes: Any) -> StudyTables:
        own = replace(marked, **changes)
        return StudyTables(tables.result, tuple(own if each is marked else each for each in tables.trials))

    (line,) = said(with_marked(late=True, scores=(0.3, 0.2, 0.1)), "more epochs")
    assert "from 34 to 100 epochs it went from 0.2000 to 0.1000" in line
    assert said(with_marked(late=False, scores=(0.3, 0.2, 0.1)), "more epochs") == []
    other = with_marked(late=True, scores=(0.3, 0.2, 0.1), settings={**marked.settings, "epochs": 100})
    assert said(other, "more epochs") == []  # they are searched already
    # At the end by chance: the last rung brought less than the luck of a seed.
    assert said(with_marked(late=True, scores=(0.3, 0.1001, 0.1)), "more epochs") == []


def test_a_best_trial_among_the_last_asks_for_more_trials():
    tables = tables_of()
    assert said(tables, "study.trials") == []
    (line,) = said(changed(tables, best=60), "study.trials: 128")
    assert line.startswith("The best trial is number 60 of 64")
    assert said(changed(tables, best=60, method="grid"), "study.trials") == []


def test_an_advance_that_was_luck_asks_for_more_seeds():
    tables = judged(tables_of(), 0.01, -0.01)
    present, best, *_ = tables.result.candidates

    def with_best(optimism: float | None) -> StudyTables:
        return changed(tables, candidates=[present, replace(best, optimism=optimism)])

    (line,) = said(with_best(0.02), "most of it was luck")
    assert "was ahead by 0.0300, and with fresh seeds by 0.0100" in line
    assert "study.seeds: 6, now 3" in line
    for little in (0.005, -0.01, None):
        assert said(with_best(little), "most of it was luck") == []


def test_a_parameter_that_hardly_mattered_is_taken_out():
    tables = tables_of()
    assert said(tables, "hardly mattered") == []
    shares = [Interval(0.92, 0.8, 0.97), Interval(0.03, 0.0, 0.2), Interval(0.03, 0.0, 0.04), Interval(0.02, 0, 0.03)]
    names = ["optimizer.learning_rate", "activation", "init_scale", "init"]
    known = [Importance(name, share) for name, share in zip(names, shares, strict=True)]
    (line,) = said(changed(tables, importance=known), "hardly mattered")
    assert line.startswith("init_scale, init hardly mattered (each surely less than 5%")
    assert "take them out of study.space" in line


def test_there_is_always_advice():
    tables = tables_of()
    first, *_ = tables.result.candidates
    quiet = changed(tables, adopted=None, candidates=[first])
    assert advice(quiet)[0].startswith("Nothing stands out")
    for variant in VARIANTS:
        assert advice(tables_of(variant))


# --- the stage --------------------------------------------------------------------------------------------------------


def write(table: Any, result: StudyResult) -> None:
    TRIALS.write(table)
    write_study(result)


def test_the_stage_writes_each_figure_and_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(*example(16))
    study_plot.main()
    assert capsys.readouterr().out == f"study_plot: 7 figures of 16 trials, and {PAGE}\n"
    assert {path.stem for path in FOLDER.iterdir()} == set(STUDY_FIGURES)
    source = PAGE.read_text()
    Page(source)
    embedded = [b64decode(each) for each in re.findall(r"base64,([^\"]+)\"", source)]
    assert sorted(embedded) == sorted(path.read_bytes() for path in FOLDER.iterdir())
    assert len(source) < 2_000_000
    before = {path: path.read_bytes() for path in Path("reports/study").rglob("*") if path.is_file()}
    study_plot.main()
    assert {path: path.read_bytes() for path in before} == before


def test_the_example_is_what_a_study_writes(tmp_path, monkeypatch):
    """As a file it is read back, odd names and all."""
    monkeypatch.chdir(tmp_path)
    table, result = example(**VARIANTS["odd names"])
    write(table, result)
    read = json.loads(Path("reports/study/study.json").read_text())
    assert read["parameters"][1]["name"] == ODD
    assert TRIALS.read().column_names == table.column_names
    assert {f"train.{name}" for name in PRESENT} <= set(example()[1].present)
