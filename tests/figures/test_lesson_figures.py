"""Figures of a lesson: each kind of panel, with what diverged and what is zero; the same bytes from the same state."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from retrace.artifacts.lesson import page_files, tables_of, verdict_file, write_verdict
from retrace.figures.lesson.animation import animation
from retrace.figures.lesson.inputs import finite_mean, read_lesson_tables
from retrace.figures.lesson.panels import KINDS, pictures
from retrace.lessons.lesson_run import teach
from retrace.params.lesson import Panel
from stages import lessons_plot
from tests.made_lessons import NAME, SMALL, WILD, write_lesson
from tests.report.html_page import Page


@pytest.fixture
def taught(tmp_path, monkeypatch, one_thread):
    """The small lesson, one of whose variants diverges, with its tables written."""
    monkeypatch.chdir(tmp_path)
    write_lesson(tmp_path, variants={**SMALL["variants"], "<wild> & $x$": WILD})
    verdict, tables = teach(NAME)
    for each, file in tables_of(NAME).items():
        file.write(tables[each])
    write_verdict(verdict)
    return tmp_path


def test_every_kind_of_panel_is_drawn_and_the_same_state_gives_the_same_bytes(taught):
    tables = read_lesson_tables(NAME)
    drawn = pictures(tables)
    assert list(drawn) == [f"{place}-{panel['kind']}" for place, panel in enumerate(SMALL["figures"], start=1)]
    assert (
        {panel["kind"] for panel in SMALL["figures"]}
        == set(KINDS)
        == set(Panel.model_fields["kind"].annotation.__args__)
    )
    assert pictures(tables) == drawn
    for picture in drawn.values():
        pixels = np.asarray(Image.open(BytesIO(picture)).convert("L"))
        assert (pixels < 128).mean() > 0.001, "something is drawn"


def test_the_animation_has_a_frame_for_each_epoch_and_the_same_bytes(taught):
    tables = read_lesson_tables(NAME)
    moving = animation(tables)
    with Image.open(BytesIO(moving)) as image:
        assert image.n_frames == 5
        frames = []
        for frame in range(image.n_frames):
            image.seek(frame)
            frames.append(np.asarray(image.convert("RGB")))
    assert any(not np.array_equal(frames[0], frame) for frame in frames[1:]), "the boundary moves"
    assert animation(tables) == moving


def test_a_mean_is_over_what_is_finite():
    values = np.array([[1.0, np.nan, np.inf], [3.0, 5.0, np.nan]])
    assert finite_mean(values).tolist()[:2] == [2.0, 5.0]
    assert np.isnan(finite_mean(values)[2])


def test_the_stage_writes_figures_and_a_valid_page_that_needs_nothing_else(taught, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["lessons_plot", NAME])
    lessons_plot.main()
    files = page_files(NAME)
    assert capsys.readouterr().out == f"lessons_plot: 6 figures, and {files.html}\n"
    names = {"boundary.gif", *(f"{name}.png" for name in pictures(read_lesson_tables(NAME)))}
    assert {path.name for path in files.figures.iterdir()} == names
    source = files.html.read_text()
    page = Page(source)
    assert "http" not in source.replace("http-equiv", "")
    assert ["zeros have no gradient", "0", "= 0: yes", ""] in page.rows
    assert any(row[0] == "<wild> & $x$" and row[-1] == "3 of 3" for row in page.rows)
    assert any("<b>and</b>" in text for text in page.texts), "what looks like HTML in a lesson is text"
    written = files.markdown.read_text()
    for name in ("boundary.gif", "1-curves.png"):
        assert f"](figures/{name})" in written
    assert verdict_file(NAME).exists()
