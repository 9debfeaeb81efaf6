"""Draws the figures of the registry, and makes pictures of them."""

from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retrace.figures.inputs import Tables
from retrace.figures.registry import FIGURES
from retrace.figures.style import styled
from retrace.params.plot import Plot
from retrace.runtime.memory import require_memory
from retrace.runtime.preflight import RAISE

# What fonts take when the first figure is drawn.
DRAWING = 64 << 20


def plot(tables: Tables, section: Plot) -> dict[str, Figure]:
    """Every figure of the registry by name, at `section.dpi`; nothing is drawn before `png` asks for it."""
    figures = {}
    with styled():
        for name, draw in FIGURES.items():
            figures[name] = draw(tables, section)
            figures[name].set_dpi(section.dpi)
    return figures


def png(figure: Figure) -> bytes:
    """The picture, without date or software version: the same figure gives the same bytes."""
    target = BytesIO()
    with styled():
        # `Figure.savefig` would draw everything twice to find the layout.
        FigureCanvasAgg(figure).print_png(target, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return target.getvalue()


def require_room() -> None:
    """Raise UserError (status 4) where memory has no room to draw anything."""
    require_memory(DRAWING, "plot: drawing", RAISE)
