"""Drawings in SVG inside of a page: an axis, marks that say their value, lines and words; colours are the page's."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from retrace.report.html import Html, element, joined, text

# Between two lines of a legend.
LINE = 18


class Axis(NamedTuple):
    """From values (low to high) to places in a drawing (start to end); what lies outside stands at its end."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, count: int = 6) -> list[float]:
        """At most so many round values between both ends."""
        if not self.high > self.low:
            return [self.low]
        least = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(least))
        step = next(power * times for times in (1, 2, 5, 10) if power * times >= least * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(place * step, 12) for place in range(first, last + 1)]


def short(value: float) -> str:
    return f"{value + 0.0:.6g}"


def words(x: float, y: float, content: str, kind: str = "") -> Html:
    """kind: e and m: x is the end, or the middle; t: of an axis; b: bold."""
    return element("text", content, kind=kind, x=_place(x), y=_place(y))


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return element("line", kind=kind, **{key: _place(value) for key, value in ends.items()})


def box(x: float, y: float, width: float, height: float, kind: str) -> Html:
    sides = {"x": x, "y": y, "width": width, "height": height}
    return element("rect", kind=kind, **{key: _place(value) for key, value in sides.items()})


def dot(x: float, y: float, radius: float, kind: str) -> Html:
    return element("circle", kind=kind, cx=_place(x), cy=_place(y), r=_place(radius))


def path(points: Iterable[tuple[float, float]], kind: str, closed: bool = False) -> Html:
    drawn = "L".join(f"{_place(x)} {_place(y)}" for x, y in points)
    return element("path", kind=kind, d=Html(f"M{drawn}{'Z' if closed else ''}"))


def mark(tip: str, *shapes: Html) -> Html:
    """Shapes that stand for one value; tip: that value in words, which the page shows when it is pointed at."""
    return element("g", *shapes, data_tip=tip)


def across(axis: Axis, top: float, bottom: float, title: str) -> Html:
    """An axis from left to right below the drawing, with its grid."""
    parts = [line(axis.start, bottom, axis.end, bottom, "axis")]
    for value in axis.ticks():
        parts += [line(axis.at(value), top, axis.at(value), bottom, "grid")]
        parts += [words(axis.at(value), bottom + 17, short(value), "t m")]
    return joined([*parts, words((axis.start + axis.end) / 2, bottom + 36, title, "t m")], "")


def upwards(axis: Axis, left: float, right: float, title: str) -> Html:
    """An axis from below upwards at the left of the drawing, with its grid; the title stands above it."""
    parts: list[Html] = []
    for value in axis.ticks():
        parts += [line(left, axis.at(value), right, axis.at(value), "grid")]
        parts += [words(left - 7, axis.at(value) + 4, short(value), "t e")]
    return joined([*parts, words(left - 40, axis.end - 12, title, "t")], "")


def key(x: float, y: float, entries: Sequence[tuple[Html, str]], width: float = 1000.0) -> tuple[Html, int]:
    """A legend from there on, (a sign at 0, 0; its words) each, in lines of at most this width; and how many lines."""
    parts, left, lines = [], 0.0, 1
    for sign, title in entries:
        length = 36 + 6.4 * len(title)
        if left and left + length > width:
            left, lines = 0.0, lines + 1
        place = f"translate({_place(x + left)} {_place(y + LINE * (lines - 1))})"
        parts.append(element("g", sign, words(20, 4, title, "t"), transform=place))
        left += length
    return joined(parts, ""), lines


def drawing(width: float, height: float, parts: Iterable[Html], alt: str) -> Html:
    """alt: what is seen on it, for those who do not see it."""
    size = f"0 0 {_place(width)} {_place(height)}"
    return Html(f'<svg viewBox="{size}" role="img" aria-label="{text(alt)}">{joined(parts, "")}</svg>')


def chart(picture: Html, caption: str, values: Html | None = None, kind: str = "") -> Html:
    """A drawing whose marks can be read: by pointing, by keys, and in the table of its values, folded away."""
    label = "Chart; arrow keys read its values"
    parts = [element("div", picture, kind=f"plot {kind}".strip(), role="group", aria_label=label, tabindex="0")]
    parts.append(Html('<div class="tip" role="status" hidden></div>'))
    parts.append(element("figcaption", caption))
    if values is not None:
        parts.append(element("details", element("summary", "The values as a table"), values))
    return element("figure", joined(parts))


def _place(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
