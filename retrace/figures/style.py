"""How every figure looks: the style file, colours and markers, and names made safe to draw."""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context, rc_params_from_file, rcdefaults, rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

STYLE = Path(__file__).with_name("retrace.mplstyle")

BLUE, ORANGE, GREEN, BLACK, GRAY = "#0072B2", "#D55E00", "#009E73", "#222222", "#8c8c8c"
TRAINING, VALIDATION = ORANGE, BLUE
# Colours that colour-blind readers can tell apart: Okabe and Ito (2008) up to eight classes, Petroff (2021) above.
FEW = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", BLACK)
MANY = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
MARKERS = "osD^vP*h<>"

# Entries of a legend in small type, an inch of the figure's height.
ENTRIES_AN_INCH = 6.8


@contextmanager
def styled() -> Iterator[None]:
    """matplotlib's own defaults and the style file over them, whatever a matplotlibrc on this machine says."""
    with rc_context():
        rcdefaults()
        rcParams.update(rc_params_from_file(STYLE, use_default_template=False))
        yield


def new_figure(width: float, height: float, dataset: str, title: str) -> Figure:
    """A figure of so many inches, `dataset: title` at the top left."""
    figure = Figure(figsize=(width, height))
    figure.suptitle(f"{clean(dataset)}: {title}", x=0.1 / width, ha="left")
    return figure


def colour(index: int, classes: int) -> str:
    """Of a class; above ten classes the colours come again, with another `marker`."""
    palette = FEW if classes <= len(FEW) else MANY
    return palette[index % len(palette)]


def marker(index: int) -> str:
    return MARKERS[index // len(MANY) % len(MARKERS)]


def clean(text: str, length: int = 24) -> str:
    """Any text as one short line that the font can draw: names come from a user's table and may hold anything."""
    known = get_font(findfont("DejaVu Sans"))
    composed = unicodedata.normalize("NFC", text)
    spaced = "".join(" " if unicodedata.category(sign) in ("Cc", "Zl", "Zp") else sign for sign in composed)
    # Marks that reorder text or pile up on a letter would change what stands around it.
    visible = (sign for sign in spaced if unicodedata.category(sign) not in ("Cf", "Cs", "Mn", "Me"))
    drawn = "".join(sign if known.get_char_index(ord(sign)) else "\N{WHITE SQUARE}" for sign in visible)
    line = " ".join(drawn.split()) or "(no name)"
    return line if len(line) <= length else f"{line[: length - 1]}\N{HORIZONTAL ELLIPSIS}"


def labels(classes: Sequence[str], length: int = 24) -> list[str]:
    """One short label a class, told apart by a number where cleaning or shortening made two of them the same."""
    short = [clean(name, length) for name in classes]
    return [f"{name} ({index})" if short.count(name) > 1 else name for index, name in enumerate(short)]


def legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """Outside of the axes: a row below them where the names are few and short, else a column at their right."""
    names = list(names)
    room = int(ENTRIES_AN_INCH * figure.get_figheight())
    if len(names) > room:
        shown = room - 1
        handles = [*handles[:shown], Line2D([], [], linestyle="none")]
        names = [*names[:shown], f"and {len(names) - shown} more"]
    below = sum(text_width(name) + 0.42 for name in names) <= figure.get_figwidth()
    options: dict[str, Any] = (
        {"loc": "outside lower center", "ncols": len(names), "columnspacing": 1.4}
        if below
        else {"loc": "outside right center", "labelspacing": 0.35, "fontsize": 9 if len(names) <= 16 else 7}
    )
    figure.legend(handles, names, handlelength=1.5, handletextpad=0.4, **options)


def text_width(text: str) -> float:
    """Inches of a text in a legend's type."""
    font = get_font(findfont("DejaVu Sans"))
    font.set_size(9, 72)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64 / 72


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis; its labels are plain (matplotlib's own are mathtext), up to three a decade."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
