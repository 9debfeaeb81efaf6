"""All figures of a study by name: reports/study/figures/NAME.png."""

from collections.abc import Callable

from matplotlib.figure import Figure

from retrace.artifacts.study import STUDY
from retrace.figures.pictures import png
from retrace.figures.study.contour import contour
from retrace.figures.study.inputs import StudyTables
from retrace.figures.study.slices import parallel, slices
from retrace.figures.study.trials import history, rungs
from retrace.figures.study.verdict import importance, verdict
from retrace.figures.style import styled

STUDY_FIGURES: dict[str, Callable[[StudyTables], Figure]] = {
    "verdict": verdict,
    "history": history,
    "importance": importance,
    "slices": slices,
    "parallel": parallel,
    "contour": contour,
    "rungs": rungs,
}
FOLDER = STUDY.parent / "figures"
DPI = 110


def study_pictures(tables: StudyTables) -> dict[str, bytes]:
    """Every figure as PNG, by name; the same tables give the same bytes."""
    pictures = {}
    for name, draw in STUDY_FIGURES.items():
        with styled():
            figure = draw(tables)
            figure.set_dpi(DPI)
        pictures[name] = png(figure)
    return pictures
