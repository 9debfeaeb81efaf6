"""Numbers and names as pages have them."""

import math

from retrace.artifacts.scores import Scores
from retrace.report.html import Html, element
from retrace.runtime.text import one_line

# Of a name from the data; longer ones are cut.
LONGEST_NAME = 60


def number(value: float | None) -> str:
    """A metric, a loss or a difference of two; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value + 0.0:.4f}"


def signed(value: float | None) -> str:
    return "-" if value is None else f"{value + 0.0:+.4f}"


def counted(count: int, one: str, more: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def percent(value: float) -> str:
    """`98.0%`; of what is almost all or almost nothing, two digits more: 99.95% is not 100%."""
    plain = f"{100 * value:.1f}%"
    return f"{100 * value:.3f}%" if plain in ("0.0%", "100.0%") and value not in (0, 1) else plain


def name(text: str, length: int = LONGEST_NAME) -> Html:
    """A name from the data: a text of its own, whichever way it is written, so that nothing beside it is turned."""
    return element("bdi", plain(text, length))


def plain(text: str, length: int = LONGEST_NAME) -> str:
    """The same without markup, for pictures and alternatives."""
    return " ".join(one_line(text, length).split()) or "(no name)"


def enumerated(names: list[str]) -> str:
    """`a, b and c`."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def confidence(scores: Scores) -> str:
    """That of all intervals, `95%`."""
    return f"{100 * scores.confidence:g}%"
