"""Stage plot: every figure from small tables, whatever the data look like and the classes are called."""

import csv
import inspect
import itertools
import subprocess
import sys
import warnings
from collections import Counter
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from ruamel.yaml import YAML

from retrace.artifacts import paths
from retrace.artifacts.tables import read_csv
from retrace.evaluation.intervals import wilson
from retrace.figures import curves, scatter, scores
from retrace.figures.columns import numbers
from retrace.figures.curves import running_mean, thin
from retrace.figures.drawing import plot
from retrace.figures.inputs import Tables, read_tables
from retrace.figures.pictures import png
from retrace.figures.registry import FIGURES
from retrace.figures.style import clean, labels, styled
from retrace.params.plot import Plot
from retrace.runtime.atomic import write_csv
from stages import plot as stage
from tests.conftest import PARAMS, ROOT, VALUES, changed
from tests.made_tables import NASTY, importance_of, tables_of, write_all


def section(**changes: Any) -> Plot:
    return Plot.model_validate(changed(VALUES["plot"], {"dpi": 50, "smoothing": 3, **changes}))


def draw(tables: Tables, name: str, **changes: Any) -> Figure:
    with styled():
        return FIGURES[name](tables, section(**changes))


def texts(figure: Figure, monkeypatch) -> list[tuple[str, Any]]:
    """Each text that is really drawn, with its box in pixels."""
    drawn: list[Text] = []
    original = Text.draw

    def record(self: Text, renderer: Any) -> None:
        original(self, renderer)
        if self.get_visible() and self.get_text().strip():
            drawn.append(self)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", record)
        png(figure)
    with styled():
        return [(text.get_text(), text.get_window_extent()) for text in drawn]


# --- the stage as a whole ---------------------------------------------------------------------------------------------


def test_all_figures_are_written_declared_and_the_same_twice(project, capsys):
    """Once from the files, once from the tables while matplotlib is set to something else: the same bytes."""
    tables = tables_of()
    write_all(tables)
    (project / "params.yaml").write_text(PARAMS.replace("dpi: 110", "dpi: 50").replace("smoothing: 95", "smoothing: 3"))
    stage.main()
    assert capsys.readouterr().out.startswith("plot: 10 figures of 60 test rows, ")
    assert {path.stem for path in paths.FIGURES.iterdir()} == set(FIGURES)
    with matplotlib.rc_context({"lines.linewidth": 9, "savefig.dpi": 33, "axes.xmargin": 0.3, "font.weight": "bold"}):
        before = dict(matplotlib.rcParams)
        for name, figure in plot(tables, section()).items():
            path = paths.FIGURES / f"{name}.png"
            assert path.read_bytes() == png(figure), name
            with Image.open(path) as picture:
                picture.load()
                assert picture.width == int(50 * figure.get_figwidth())
                assert not picture.info.keys() - {"dpi"}  # no version, no date
        assert dict(matplotlib.rcParams) == before
    declared = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]["plot"]
    entries = [entry for kind in ("outs", "plots", "metrics") for entry in declared.get(kind, [])]
    declared = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    assert sorted(declared) == sorted(f"{paths.FIGURES}/{name}.png" for name in FIGURES)


def test_no_figure_function_is_forgotten():
    public = {
        name: function
        for module in (scatter, curves, scores)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
        if inspect.signature(function).return_annotation is Figure
    }
    assert public == FIGURES


def test_nasty_names_come_out_of_the_files_as_they_went_in(project):
    tables = tables_of(NASTY)
    write_all(tables)
    again = read_tables()
    assert again.roc.column("class").to_pylist() == tables.roc.column("class").to_pylist()
    assert png(draw(tables, "roc_precision_recall")) == png(draw(again, "roc_precision_recall"))


@pytest.mark.parametrize(
    ("key", "value", "changes", "stays"),
    [
        ("dpi", 60, {"accuracy", "calibration"}, set()),
        ("points", 10, {"data", "decision_boundary"}, {"calibration"}),
        ("smoothing", 4, {"steps"}, {"loss"}),
    ],
)
def test_each_key_changes_its_figures(key, value, changes, stays, monkeypatch):
    assert set(Plot.model_fields) == {"dpi", "points", "smoothing"}
    monkeypatch.setattr("retrace.figures.drawing.FIGURES", {name: FIGURES[name] for name in changes | stays})
    tables = tables_of()
    before, after = plot(tables, section()), plot(tables, section(**{key: value}))
    for name in changes | stays:
        assert (png(before[name]) != png(after[name])) == (name in changes), name


def test_needs_no_network_and_no_other_heavy_library():
    heavy = {"torch", "sklearn", "mlflow", "scipy", "matplotlib.pyplot"}
    check = f"import sys, stages.plot; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- any data ---------------------------------------------------------------------------------------------------------

SHAPES: dict[str, dict[str, Any]] = {
    "nasty names": {"names": NASTY, "dataset": "W" * 99, "test": 96},
    "two wide classes": {"names": ["W" * 40, "M" * 40], "stopped": 2},
    "one of everything": {"features": 1, "epochs": 1, "steps": 1, "replicas": 1, "health": "", "errors": 0, "test": 30},
    "ten classes, projected": {"names": [str(index) for index in range(10)], "features": 64, "health": "saturated"},
    "many columns, long names": {"features": 30, "prefix": "W" * 40, "replicas": 1},
    "the mean of eight": {"ship": "mean", "replicas": 8},
    "the mean of one": {"ship": "mean", "epochs": 3, "replicas": 1},
    "forty classes": {"names": [f"class {index}" for index in range(40)], "test": 160, "replicas": 1},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_text_stays_inside_and_apart_and_nothing_warns(shape, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = plot(tables_of(**SHAPES[shape]), section(dpi=60))
        for name, figure in figures.items():
            drawn = texts(figure, monkeypatch)
            assert drawn
            for text, box in drawn:
                inside = box.x0 > -2 and box.y0 > -2 and box.x1 < figure.bbox.x1 + 2 and box.y1 < figure.bbox.y1 + 2
                assert inside, (name, text, box)
            for (text, box), (other, second) in itertools.combinations(drawn, 2):
                width = min(box.x1, second.x1) - max(box.x0, second.x0)
                height = min(box.y1, second.y1) - max(box.y0, second.y0)
                assert width < 2 or height < 2, (name, text, other)


def test_names_are_drawn_as_they_are_and_stay_distinct(monkeypatch):
    shown = [text for text, _ in texts(draw(tables_of(NASTY, test=96), "data"), monkeypatch)]
    assert "$x^2$" in shown
    assert "_hidden" in shown
    assert set(labels(NASTY)) <= set(shown)
    assert len(set(labels(NASTY))) == len(NASTY)
    assert labels(["a" * 30, "a" * 31]) == ["a" * 23 + "… (0)", "a" * 23 + "… (1)"]


def test_clean():
    assert clean("two\nlines\x07") == "two lines"
    assert clean("\u202eabc") == "abc"
    assert clean("\u732b!") == "□!"
    assert clean(" \t") == "(no name)"
    assert clean("e\u0301\u0302") == "é"
    assert clean("\ud83d!") == "!"
    assert clean("x" * 25) == "x" * 23 + "…"
    assert clean("x" * 24) == "x" * 24


def test_a_replica_that_stopped_early_ends_early():
    tables = tables_of(stopped=2, epochs=6)
    lines = draw(tables, "steps").axes[0].get_lines()
    ends = Counter(round(float(line.get_xdata()[-1]), 6) for line in lines)
    assert all(np.isfinite(line.get_ydata()).all() for line in lines)
    assert ends == {1.8: 1, 5.8: 2, 6.0: 1}  # a mean of three steps stands at the second; the last is the raw loss
    mean = next(line for line in draw(tables, "loss").axes[0].get_lines() if line.get_linestyle() == ":")
    assert mean.get_ydata() == pytest.approx([1.1, 0.6, 1 / 3 + 0.15, 0.25 + 0.15, 0.2 + 0.15, 1 / 6 + 0.15])


def test_where_the_mean_ships_the_figures_are_of_the_mean(monkeypatch):
    tables = tables_of(ship="mean", epochs=5, replicas=4)
    axes = draw(tables, "loss").axes[0]
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.get_lines() if line.get_linestyle() == "-"}
    epochs = np.arange(1, 6)
    assert lines["training"] == pytest.approx(1 / epochs + 0.15)  # the mean of their losses
    assert lines["validation"] == pytest.approx(0.9 / epochs + 0.01 * epochs**2)  # the loss of their mean
    dotted = [line.get_ydata() for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert dotted[1] == pytest.approx(1.2 / epochs + 0.15)
    (star,) = [found for found in axes.collections if isinstance(found, PathCollection)]
    assert np.asarray(star.get_offsets()) == pytest.approx(np.array([[3, 0.39]]))
    assert star.get_label() == "best epoch, 3: validation loss 0.35 as it ships"

    losses = np.stack([numbers(tables.steps, f"replica_{replica}") for replica in range(4)])
    axes = draw(tables, "steps").axes[0]
    raw = next(line for line in axes.get_lines() if line.get_label() == "the mean of 4 replicas, each step")
    assert raw.get_ydata() == pytest.approx(losses.mean(0))
    assert [line.get_ydata()[0] for line in axes.get_lines()[2:]] == pytest.approx(list(losses[:, :3].mean(1)))

    titles = {"loss": "solid: the mean of 4 replicas, which ships", "steps": "the mean of 4 replicas"}
    titles |= {
        "decision_boundary": "decisions of the mean of 4 replicas",
        "calibration": "calibration of the mean of 4 replicas",
    }
    titles["accuracy"] = "the mean of 4 replicas"
    for name, title in titles.items():
        assert any(title in text for text, _ in texts(draw(tables, name), monkeypatch)), name


def test_gradients_that_are_all_zero_have_no_logarithmic_axis():
    """Weight decay alone moves the weights, so that the training is not a failure."""
    tables = tables_of()
    history = tables.history
    for name in [name for name in history.column_names if name.startswith("gradient_norm")]:
        history = history.set_column(history.column_names.index(name), name, pa.array([0.0] * history.num_rows))
    assert png(draw(replace(tables, history=history), "gradients"))


# --- what is shown is what the tables say -----------------------------------------------------------------------------


def test_running_mean_and_thinning():
    values = np.random.default_rng(0).normal(size=10_007)
    assert running_mean(values, 94) == pytest.approx(np.convolve(values, np.full(94, 1 / 94), "valid"))
    assert running_mean(values[:5], 94) == pytest.approx([values[:5].mean()])
    assert np.array_equal(running_mean(values[:5], 1).round(12), values[:5].round(12))
    x = np.arange(len(values))
    kept_x, kept = thin(x, values)
    assert len(kept) < 4_000
    assert (np.diff(kept_x) >= 0).all()
    assert np.array_equal(values[kept_x], kept)
    for start in range(0, len(values), 50):  # the same picture: no stretch loses its highest or lowest point
        inside = kept[(kept_x >= start) & (kept_x < start + 50)]
        assert values[start + 6 : start + 44].max() <= inside.max()
        assert values[start + 6 : start + 44].min() >= inside.min()
    assert len(thin(x[:100], values[:100])[1]) == 100


def test_confusion_matrix_counts(monkeypatch):
    tables = tables_of(["a", "b", "c"], test=60, errors=6)
    shown = Counter(text for text, _ in texts(draw(tables, "confusion_matrix"), monkeypatch) if "%" in text)
    assert shown == {"18\n90.0%": 3, "2\n10.0%": 3, "0\n0.0%": 3}


@pytest.mark.parametrize(("points", "wrong", "right"), [(2000, 6, 54), (20, 6, 20), (10, 6, 10)])
def test_each_misclassified_row_is_marked(points, wrong, right):
    axes = draw(tables_of(errors=6), "decision_boundary", points=points).axes[0]
    sizes = {}
    for collection in axes.collections:
        if isinstance(collection, PathCollection):
            crossed = float(collection.get_sizes()[0]) == 42
            sizes[crossed] = sizes.get(crossed, 0) + len(collection.get_offsets())
    assert sizes == {True: wrong, False: right}


def test_decision_boundary_where_the_threshold_is_never_crossed():
    tables = tables_of(errors=0)
    sure = replace(
        tables, boundary=tables.boundary.set_column(3, "probability", pa.array(np.full(144, 0.9, np.float32)))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert png(draw(sure, "decision_boundary")) != png(draw(tables, "decision_boundary"))


def test_accuracy_shows_intervals_replicas_and_the_bayes_limit(monkeypatch):
    tables = tables_of()
    shown = [text for text, _ in texts(draw(tables, "accuracy"), monkeypatch)]
    low, high = wilson(51, 60, 0.95)
    assert f"0.850  ({low:.3f} to {high:.3f})" in shown
    assert "Bayes limit 0.950" in shown
    assert "each of 3 replicas" in shown
    unknown = replace(tables, scores=replace(tables.scores, bayes=None))
    assert not any("Bayes" in text for text, _ in texts(draw(unknown, "accuracy"), monkeypatch))


def test_rows_are_drawn_where_the_plane_puts_them():
    tables = tables_of(features=5)
    figure = draw(tables, "data")
    for axes, table in zip(figure.axes, (tables.projection, tables.predictions), strict=True):
        expected = np.column_stack([numbers(table, "x"), numbers(table, "y")])
        assert np.asarray(axes.collections[0].get_offsets()) == pytest.approx(expected)


def test_csv_keeps_text_and_reads_nan(tmp_path):
    path = tmp_path / "table.csv"
    write_csv(path, ["class", "value"], [("NA", 1.5), ("", float("nan")), ("a\nb", 3.0), ('q"', 4)])
    table = read_csv(path, text=["class"])
    assert table.column("class").to_pylist() == ["NA", "", "a\nb", 'q"']
    assert numbers(table, "value") == pytest.approx([1.5, float("nan"), 3, 4], nan_ok=True)


def test_csv_holds_no_formula_and_gives_each_text_back(tmp_path):
    formulas = ["=HYPERLINK(0)", "+1", "-1+2", "@SUM", "\tx", "\r=1", "'=1", "''+1", "\uff1d1", "-", "-1\n"]
    harmless = ["-1", "-1.5e-07", "'", "'x", "'-1", "a=1", "", "NA"]
    path = tmp_path / "table.csv"
    write_csv(path, ["=class", "value"], [(text, -1.5) for text in formulas + harmless])
    with open(path, encoding="utf-8", newline="") as file:
        (first, _), *lines = csv.reader(file)
    assert first == "'=class"
    assert [cell for cell, _ in lines] == [f"'{text}" for text in formulas] + harmless
    assert {number for _, number in lines} == {"-1.5"}
    write_csv(path, ["class", "value"], [(text, -1.5) for text in formulas + harmless])
    assert read_csv(path, text=["class"]).column("class").to_pylist() == formulas + harmless


@pytest.mark.parametrize("columns", [1, 2, 20, 30])
def test_importance_shows_the_columns_that_are_needed_most(columns, monkeypatch):
    """With names that are long and odd; the dots stand where the table says, and 0 is marked."""
    names = [f"column {index} $x_{index}$ \u732b and so on and so on" for index in range(columns)]
    tables = replace(tables_of(), importance=importance_of(names, 60))
    figure = draw(tables, "importance")
    shown = [text for text, _ in texts(figure, monkeypatch)]
    assert [text for text in shown if text.startswith("column")] == labels(names[:20], 32)
    assert ("tiny: importance of 20 of 30 columns, 95% intervals" in shown) == (columns == 30)
    assert "accuracy on 60 test rows, lost when a column is shuffled" in shown
    assert "0.290  (0.270 to 0.310)" in shown
    zero, dots = figure.axes[0].get_lines()
    assert list(zero.get_xdata()) == [0, 0]
    assert dots.get_xdata() == pytest.approx(numbers(tables.importance, "accuracy_drop")[:20])
    whiskers = np.array(figure.axes[0].collections[0].get_segments())
    for end, name in enumerate(("low", "high")):
        assert whiskers[:, end, 0] == pytest.approx(numbers(tables.importance, f"accuracy_drop_{name}")[:20])
