"""Figures of a study: what they show is what was measured, whatever the space and the trials look like."""

import itertools
import subprocess
import sys
import warnings
from dataclasses import replace
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure
from PIL import Image

from retrace.artifacts.study import TRIALS, Candidate, Importance, Interval, write_study
from retrace.figures.pictures import png
from retrace.figures.study.contour import _smooth
from retrace.figures.study.inputs import StudyTables, differing, read_study_tables, show, study_tables
from retrace.figures.study.marks import DIVERGED
from retrace.figures.study.registry import STUDY_FIGURES, study_pictures
from retrace.figures.study.scales import BESIDE, Scale, scale_of
from retrace.figures.style import BLACK, BLUE, GREEN, ORANGE, styled
from tests.conftest import ROOT
from tests.made_studies import ODD, PRESENT, SPACE, example, many, variants
from tests.test_plot import texts

VARIANTS = variants()


def tables_of(variant: str = "as it should be", **options: Any) -> StudyTables:
    return study_tables(*example(**{**VARIANTS[variant], **options}))


def draw(tables: StudyTables, name: str) -> Figure:
    with styled():
        return STUDY_FIGURES[name](tables)


def points(figure: Figure, axes: int = 0) -> np.ndarray:
    """Where all points of an axes stand, [points, 2]."""
    found = [each.get_offsets() for each in figure.axes[axes].collections if isinstance(each, PathCollection)]
    every = np.concatenate([np.asarray(each) for each in found])
    return every[np.isfinite(every[:, 0])]


def point(figure: Figure, tint: str) -> list[float]:
    """Where the mark of this colour stands, one point by itself."""
    (found,) = (
        each.get_offsets()[0]
        for each in figure.axes[0].collections
        if len(each.get_offsets()) == 1 and len(each.get_facecolors()) and same_color(each.get_facecolors()[0], tint)
    )
    return [float(value) for value in found]


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_text_stays_inside_and_apart_and_nothing_warns(variant, monkeypatch):
    tables = tables_of(variant)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in STUDY_FIGURES:
            figure = draw(tables, name)
            figure.set_dpi(60)
            drawn = texts(figure, monkeypatch)
            assert drawn
            for text, box in drawn:
                inside = box.x0 > -2 and box.y0 > -2 and box.x1 < figure.bbox.x1 + 2 and box.y1 < figure.bbox.y1 + 2
                assert inside, (name, text, box)
            for (text, box), (other, second) in itertools.combinations(drawn, 2):
                width = min(box.x1, second.x1) - max(box.x0, second.x0)
                height = min(box.y1, second.y1) - max(box.y0, second.y0)
                assert width < 2 or height < 3, (name, text, other)


def test_the_same_study_gives_the_same_bytes_whatever_matplotlib_is_set_to():
    first = study_pictures(tables_of())
    with matplotlib.rc_context({"lines.linewidth": 9, "savefig.dpi": 33, "axes.xmargin": 0.3, "font.weight": "bold"}):
        assert study_pictures(tables_of()) == first
    assert png(draw(tables_of(adopts=False), "verdict")) != first["verdict"]
    for picture in first.values():
        with Image.open(BytesIO(picture)) as image:
            image.load()
            assert not image.info.keys() - {"dpi"}  # no version, no date


def test_ten_thousand_trials_are_drawn_and_stay_small():
    pictures = study_pictures(tables_of(trials=10_000))
    assert max(map(len, pictures.values())) < 1_000_000


def test_needs_no_network_no_sampler_and_no_other_heavy_library():
    heavy = {"torch", "optuna", "sklearn", "mlflow", "scipy", "pandas", "matplotlib.pyplot"}
    check = f"import sys, stages.study_plot; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- what they are drawn from -----------------------------------------------------------------------------------------


def test_the_order_of_rows_does_not_matter_and_null_is_as_good_as_nan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table, result = example(trials=24)
    score = pa.array([None if np.isnan(value) else value for value in table.column("score").to_pylist()])
    changed = table.set_column(table.column_names.index("score"), "score", score)
    shuffled = changed.take(np.random.default_rng(0).permutation(table.num_rows))
    expected = study_tables(table, result)
    found = study_tables(shuffled, result)
    assert repr(found.trials) == repr(expected.trials)
    TRIALS.write(table)
    write_study(result)
    read = read_study_tables()
    assert repr(read.trials) == repr(expected.trials)
    assert read.result.best == result.best


def test_a_trial_has_its_settings_rungs_and_range():
    table, result = example()
    tables = study_tables(table, result)
    rows = table.to_pylist()
    for trial in tables.trials:
        own = [row for row in rows if row["trial"] == trial.number]
        last = [row["validation_loss"] for row in own if row["budget"] == trial.budgets[-1]]
        assert list(trial.budgets) == sorted({row["budget"] for row in own})
        assert {row["state"] for row in own} == {trial.state}
        if trial.state == "diverged":
            assert np.isnan([trial.score, trial.low, trial.high]).all()
        else:
            assert [trial.score, trial.low, trial.high] == pytest.approx([np.mean(last), min(last), max(last)])
        # Searched only together with init: normal.
        assert ("init_scale" in trial.settings) == (trial.settings["init"] == "normal")
    assert {trial.state for trial in tables.trials} == {"complete", "stopped", "diverged"}


def test_values_that_are_lists_and_null_come_out_as_they_are():
    tables = tables_of("twenty parameters")
    names = [each.name for each in tables.result.parameters]
    present = tables.trials[0].settings
    assert present[names[1]] == [10]
    assert names[3] in present  # its value is null, and it was searched
    assert present[names[3]] is None
    assert {show(value) for value in (None, [1, 2], True, 0.123456, 3, "x")} == {
        *("null", "[1, 2]", "true", "0.1235", "3", "x")
    }


def test_a_candidate_differs_where_its_settings_do():
    _, result = example()
    own = Candidate(
        7,
        {"init": "normal", "init_scale": 1.0, "activation": "tanh"},
        1,
        1,
        0,
        0,
        None,
        1,
        0,
        1,
        1,
        Interval(0.1, 0.0, 0.2),
    )
    assert differing(own, result) == {"init": "normal", "activation": "tanh"}


# --- each of them -----------------------------------------------------------------------------------------------------


def test_history_shows_the_best_so_far_of_the_complete_ones():
    tables = tables_of()
    figure = draw(tables, "history")
    (line,) = (line for line in figure.axes[0].get_lines() if same_color(line.get_color(), GREEN))
    scores = [trial.score if trial.state == "complete" else np.inf for trial in tables.trials]
    assert line.get_ydata()[:-1] == pytest.approx(np.minimum.accumulate(scores))
    assert point(figure, BLACK) == pytest.approx([0, tables.trials[0].score])
    assert tables.marked
    assert point(figure, "#E69F00") == pytest.approx([tables.result.adopted, tables.marked.score])
    lost = [each for each in figure.axes[0].collections if same_color(to_hex(each.get_edgecolor()[0]), ORANGE)]
    assert [len(each.get_offsets()) for each in lost] == [tables.result.states["diverged"]]


def test_what_is_marked_says_what_it_is(monkeypatch):
    shown = [text for text, _ in texts(draw(tables_of(), "history"), monkeypatch)]
    tables = tables_of("nothing adopted")
    other = [text for text, _ in texts(draw(tables, "history"), monkeypatch)]
    assert any(text.endswith(", adopted") for text in shown)
    assert f"trial {tables.result.best}, best in the search" in other
    alone = [text for text, _ in texts(draw(tables_of("all diverged but the present"), "history"), monkeypatch)]
    assert "present setting, best in the search" in alone
    assert "16 trials: 1 complete, 15 diverged; mean of 3 networks each" in alone


def test_importance_shows_the_largest_share_first(monkeypatch):
    tables = tables_of()
    figure = draw(tables, "importance")
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == ["optimizer.learning_rate", "init", "activation"]
    reversed_ = replace(tables.result, importance=tables.result.importance[::-1])
    again = draw(StudyTables(reversed_, tables.trials), "importance")
    assert [label.get_text() for label in again.axes[0].get_yticklabels()] == shown
    share = tables.result.importance[0].share
    assert f"{share.value:.0%}  ({share.low:.0%} to {share.high:.0%})" in [
        text for text, _ in texts(figure, monkeypatch)
    ]
    none = [text for text, _ in texts(draw(tables_of("all diverged but the present"), "importance"), monkeypatch)]
    assert "not known: too few trials trained to the end" in none


def test_a_slice_has_each_trial_at_its_value_and_score():
    tables = tables_of()
    figure = draw(tables, "slices")
    assert [axes.get_title("left") for axes in figure.axes] == [
        "optimizer.learning_rate (51%)",
        "init (31%)",
        "activation (18%)",
        f"init_scale\nsearched in {sum('init_scale' in each.settings for each in tables.trials)} of 64 trials",
    ]
    places = points(figure)
    for trial in tables.trials:
        rate = trial.settings["optimizer.learning_rate"]
        x = np.log(rate / 0.003) / np.log(3.0 / 0.003)
        at = places[np.isclose(places[:, 0], x)]
        assert len(at)
        if trial.state != "diverged":
            assert np.isclose(at[:, 1], trial.score).any()
    # In the panel of init_scale there is nothing of trials that have none.
    inside = points(figure, 3)
    assert len(inside) == sum("init_scale" in each.settings for each in tables.trials) + len(
        [each for each in (tables.present, tables.marked) if each and "init_scale" in each.settings]
    )


def test_a_value_that_a_scale_does_not_have_stands_beside_it():
    """The present setting need not lie in what is searched: 0 on a logarithmic range, a value of no list."""
    tables = tables_of("twenty parameters")
    first, seventh, names = (scale_of(tables.result.parameters[place], tables) for place in (0, 6, 7))
    assert first.place(tables.trials[0].settings) == BESIDE
    assert (BESIDE, "0") in first.ticks(5, 20)
    assert np.isnan(seventh.place(tables.trials[0].settings))
    assert seventh.absent
    assert [text for _, text in names.ticks(5, 40)][-1] == "identity"
    assert first.place({first.name: 1e-5}) == pytest.approx(0)
    assert first.place({first.name: 1e-3}) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("low", "high", "log", "whole", "expected"),
    [
        (0.003, 3.0, True, False, ["0.01", "0.1", "1"]),
        (0.5, 3.0, True, False, ["0.5", "1", "2"]),
        (0.0, 0.5, False, False, ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        (1, 12, False, True, ["5", "10"]),
        (0.1, 0.1, True, False, ["0.1"]),
        (2.1, 2.9, True, False, ["2.1", "2.9"]),
        (1e-9, 1.0, True, False, ["1e-09", "1e-07", "1e-05", "0.001", "0.1"]),
    ],
)
def test_ticks_are_round_numbers_of_the_range(low, high, log, whole, expected):
    scale = Scale("x", None, low, high, log, whole, False, False)
    assert [text for _, text in scale.ticks(5, 20)] == expected
    assert all(0 <= place <= 1 for place, _ in scale.ticks(5, 20))


def test_a_range_of_one_value_has_a_place():
    for high in (0.1, 0.10000000000000002):
        assert Scale("x", None, 0.1, high, True, False, False, False).place({"x": 0.1}) in (0.0, 0.5)


def test_parallel_coordinates_have_the_best_in_colour_and_the_others_gray(monkeypatch):
    tables = tables_of()
    figure = draw(tables, "parallel")
    coloured = [line for line in figure.axes[0].get_lines() if line.get_linewidth() == 1.5]
    assert len(coloured) == 21
    ends = [line.get_ydata()[-1] for line in coloured]  # the last drawn, and best, is the highest
    assert max(ends) == ends[-1] == pytest.approx(1)
    lost = tables.result.states["diverged"]
    gray = figure.axes[0].collections[0].get_segments()
    assert len(gray) == 64 - 21
    assert sum(segment[-1, 1] == BESIDE for segment in gray) == lost
    title = "8 of 20 parameters, those that matter most; in colour: the best 21 of 64 trials; gray: the others"
    assert title in [text for text, _ in texts(draw(tables_of("twenty parameters"), "parallel"), monkeypatch)]


def test_the_surface_is_blank_where_no_trial_is_near():
    tables = tables_of("numbers only")
    x, y = np.full(200, 0.2), np.full(200, 0.7)
    grid = np.linspace(0, 1, 90)
    surface = _smooth(tables, [(x, grid), (y, grid)], np.ones(200, dtype=bool))
    assert np.isnan(surface[0]).all()
    assert np.isnan(surface[:, -1]).all()
    middle = surface[round(0.7 * 89), round(0.2 * 89)]
    assert middle == pytest.approx(np.nanmean(tables.scores), abs=1e-5)
    # Where most of those that are near diverged, there is no score to show.
    trials = [replace(each, state="diverged") if each.number % 3 else each for each in tables.trials]
    lost = StudyTables(tables.result, tuple(trials))
    assert np.isnan(_smooth(lost, [(x, grid), (y, grid)], np.ones(200, dtype=bool))).all()


def test_two_lists_become_cells_with_the_median(monkeypatch):
    tables = tables_of("lists only")
    shown = [text for text, _ in texts(draw(tables, "contour"), monkeypatch)]
    own = [each for each in tables.trials if each.settings == {"init": "normal", "activation": "tanh"}]
    median = np.nanmedian([each.score for each in own])
    assert f"{median:.4g}\n{len(own)}" in shown


def test_contour_names_the_two_that_matter_most_and_a_range_lies_across():
    figure = draw(tables_of(), "contour")
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("optimizer.learning_rate", "init")
    tables = tables_of()
    swapped = replace(tables.result, importance=[tables.result.importance[place] for place in (1, 0, 2)])
    shares = [replace(each, share=Interval(0.9 - place / 5, 0, 1)) for place, each in enumerate(swapped.importance)]
    again = draw(StudyTables(replace(swapped, importance=shares), tables.trials), "contour")
    assert again.axes[0].get_xlabel() == "optimizer.learning_rate"
    # A parameter that is searched only with some values of another one: the others stand beside.
    only = [Importance(name, Interval(1, 1, 1)) for name in ("init", "init_scale")]
    beside = draw(StudyTables(replace(swapped, importance=only), tables.trials), "contour")
    assert "none" in [label.get_text() for label in beside.axes[0].get_xticklabels()]


def test_rungs_count_who_came_how_far(monkeypatch):
    tables = tables_of()
    figure = draw(tables, "rungs")
    shown = [text for text, _ in texts(figure, monkeypatch)]
    for budget in (12, 34, 100):
        count = sum(budget in each.budgets for each in tables.trials)
        assert f"{budget}\n{count} trials" in shown
    hollow = [
        len(each.get_offsets())
        for each in figure.axes[0].collections
        if len(each.get_facecolors()) and same_color(each.get_facecolors()[0], (1, 1, 1, each.get_alpha() or 1))
        if len(each.get_offsets())
    ]
    assert hollow == [tables.result.states["stopped"]]
    single = [text for text, _ in texts(draw(tables_of("one rung, one network"), "rungs"), monkeypatch)]
    assert "20 trials, one rung: nothing was stopped early" in single


@pytest.mark.parametrize("adopts", [True, False])
def test_verdict_has_intervals_a_zero_line_and_the_optimism(adopts, monkeypatch):
    tables = tables_of(adopts=adopts)
    figure = draw(tables, "verdict")
    left, right = figure.axes
    zero, *dots = left.get_lines()
    assert list(zero.get_xdata()) == [0, 0]
    judged = [each for each in tables.result.candidates if each.improvement]
    found, promised = ([float(dot.get_xdata()[0]) for dot in dots[start::2]] for start in (0, 1))
    assert found == [each.improvement.value for each in judged]
    # In the search they were ahead by so much.
    present = tables.result.candidates[0].search_score
    assert promised == pytest.approx([present - each.search_score for each in judged])
    ends = [each.get_segments()[0][:, 0].tolist() for each in left.collections]
    assert ends == [[each.improvement.low, each.improvement.high] for each in judged]
    assert {to_hex(dot.get_color()) for dot in dots[::2]} == {to_hex(GREEN if adopts else BLUE)}
    scores = [float(line.get_xdata()[0]) for line in right.get_lines()]
    assert scores == [score for each in tables.result.candidates for score in (each.fresh_score, each.search_score)]
    shown = [text for text, _ in texts(figure, monkeypatch)]
    assert [text for text in shown if text.startswith("+")] == [f"{each.optimism:+.4f}" for each in judged]
    assert ("surely better" in shown) == adopts
    assert any(text.endswith(", adopted") for text in "\n".join(shown).split("\n")) == adopts


def test_odd_names_are_drawn_as_they_are_and_stay_distinct(monkeypatch):
    shown = [text for text, _ in texts(draw(tables_of("odd names"), "slices"), monkeypatch)]
    assert "$\\frac{1}{$" in shown
    assert any(text.startswith("<script>") for text in shown)
    assert len([text for text in shown if text.startswith(("4: $x^2$", "5: $x^2$"))]) == 2
    assert ODD not in shown


def test_a_present_setting_that_diverged_has_nothing_to_be_compared_with(monkeypatch):
    tables = tables_of("the present diverges")
    assert tables.present
    assert np.isnan(tables.present.score)
    assert tables.candidate is None
    for name in ("history", "slices", "rungs"):
        assert point(draw(tables, name), BLACK)[1] == DIVERGED
    shown = [text for text, _ in texts(draw(tables, "verdict"), monkeypatch)]
    assert "the present setting diverged" in shown
    assert "surely better" not in shown
    nobody = StudyTables(replace(tables.result, candidates=[], adopted=None), tables.trials)
    assert "every setting that was trained again diverged" in [
        text for text, _ in texts(draw(nobody, "verdict"), monkeypatch)
    ]


def test_rungs_stand_side_by_side_where_their_epochs_differ(monkeypatch):
    tables = tables_of("epochs are searched")
    assert tables.rungs == {0: "rung 1", 1: "rung 2", 2: "rung 3"}
    shown = [text for text, _ in texts(draw(tables, "rungs"), monkeypatch)]
    assert "rung 1\n64 trials" in shown
    assert tables_of().rungs == {0: "12", 1: "34", 2: "100"}


def test_the_example_is_of_the_spaces_kind():
    assert {each.name for each in SPACE} == set(PRESENT)
    assert len(many(20)[0]) == 20
    assert png(draw(tables_of("one parameter"), "contour"))
