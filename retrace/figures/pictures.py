"""A figure as the bytes of a picture, and the memory that drawing takes."""

from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retrace.figures.style import styled
from retrace.runtime.memory import require_memory
from retrace.runtime.preflight import RAISE

# What fonts take when the first figure is drawn.
DRAWING = 64 << 20


def png(figure: Figure) -> bytes:
    """The picture, without date or software version: the same figure gives the same bytes."""
    target = BytesIO()
    with styled():
        # `Figure.savefig` would draw everything twice to find the layout.
        FigureCanvasAgg(figure).print_png(target, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return target.getvalue()


def require_room(stage: str) -> None:
    """Raise UserError (status 4) where memory has no room to draw anything."""
    require_memory(DRAWING, f"{stage}: drawing", RAISE)
