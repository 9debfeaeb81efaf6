"""Draws the figures of the registry."""

from matplotlib.figure import Figure

from retrace.figures.inputs import Tables
from retrace.figures.registry import FIGURES
from retrace.figures.style import styled
from retrace.params.plot import Plot


def plot(tables: Tables, section: Plot) -> dict[str, Figure]:
    """Every figure of the registry by name, at `section.dpi`; nothing is drawn before `png` asks for it."""
    figures = {}
    with styled():
        for name, draw in FIGURES.items():
            figures[name] = draw(tables, section)
            figures[name].set_dpi(section.dpi)
    return figures
