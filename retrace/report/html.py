"""A page of HTML in one file, from texts that may come from anybody: whatever is not `Html` already is escaped."""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

from retrace.runtime.text import one_line

# Longer texts are cut: no sentence is as long, and whatever is came from data.
LONGEST = 2_000

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #59636e; --paper: #fff; --line: #d5dae0; --tint: #eef5fb;
  --accent: #0b5a94; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #a3adb8; --paper: #14181c; --line: #39424c; --tint: #1b2a37; --accent: #7cc0f5; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 66rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; padding-top: .7rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .3rem; }
p, ul { margin: .5rem 0; max-width: 48rem; overflow-wrap: anywhere; }
li { margin: .3rem 0; }
.lead { font-size: 1.15rem; padding: .8rem 1rem; max-width: none; background: var(--tint);
  border-left: 4px solid var(--accent); }
.soft, figcaption { color: var(--soft); font-size: .92rem; }
td .soft { font-size: inherit; font-weight: normal; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; }
caption { text-align: left; max-width: 90vw; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .35rem .55rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top;
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, .text th, .text td { text-align: left; }
td:first-child, .text td { overflow-wrap: anywhere; }
td:first-child { min-width: min(15rem, 45vw); }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; }
tr.chosen td { background: var(--tint); font-weight: 600; }
figure { margin: .6rem 0 1.2rem; }
details { margin: .6rem 0; max-width: 48rem; }
summary { cursor: pointer; font-weight: 600; }
pre { padding: .6rem .8rem; background: var(--tint); white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9rem; }
img { display: block; max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); }
@media print {
  :root { --ink: #000; --soft: #444; --paper: #fff; --line: #bbb; --tint: #f2f2f2; --accent: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  table { font-size: 8pt; }
  th, td { padding: .2rem .35rem; }
  td:first-child { min-width: 9rem; }
  .wide { overflow: visible; }
  figure, tr, li { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  img { max-height: 22cm; width: auto; }
}
""".strip()


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


class Cell(Html):
    """A cell of a table, its element included."""

    __slots__ = ()


def text(value: str) -> Html:
    """Any text as itself, on one line; as a part of the page or of an attribute in double quotes."""
    return value if isinstance(value, Html) else Html(escape(one_line(value, LONGEST)))


def element(tag: str, *inside: str, kind: str = "", **attributes: str) -> Html:
    """kind: its class; attributes: others, `_` for `-`, in the order in which they are given."""
    named = {"class": kind, **attributes} if kind else attributes
    written = "".join(f' {key.replace("_", "-")}="{text(value)}"' for key, value in named.items())
    return Html(f"<{tag}{written}>{''.join(map(text, inside))}</{tag}>")


def joined(parts: Iterable[str], between: str = "\n") -> Html:
    return Html(between.join(map(text, parts)))


def listing(items: Iterable[str]) -> Html:
    return element("ul", joined(element("li", each) for each in items))


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str = "",
    chosen: int | None = None,
    kind: str = "",
    label: str = "",
    named: bool = False,
) -> Html:
    """chosen: the row that is marked; kind: class of the table, "text" where all columns hold texts.

    label: what a screen reader calls it, where it has no caption; named: whether the first cell of a row is its name.
    It scrolls sideways where it is too wide, by keys, too.
    """
    head = Html("".join(f'<th scope="col">{text(each)}</th>' for each in header))
    body = [
        element("tr", *_cells(row, named), kind="chosen" if place == chosen else "") for place, row in enumerate(rows)
    ]
    parts = [element("caption", caption)] if caption else []
    # Facts have no header: each is named by its first cell.
    parts += [element("thead", element("tr", head))] if header else []
    parts.append(element("tbody", joined(body)))
    said = label or caption or "a table"
    return element(
        "div", element("table", joined(parts), kind=kind), kind="wide", role="group", aria_label=said, tabindex="0"
    )


def _cells(row: Sequence[str], named: bool) -> list[Html]:
    first = element("th", row[0], scope="row") if named else element("td", row[0])
    return [first, *(each if isinstance(each, Cell) else element("td", each) for each in row[1:])]


def picture(image: bytes, alt: str, caption: str) -> Html:
    """A PNG or GIF inside of the page; alt: what is seen on it, for those who do not see it."""
    if image.startswith(b"GIF8"):
        kind, (width, height) = "gif", (int.from_bytes(image[start : start + 2], "little") for start in (6, 8))
    else:
        kind, (width, height) = "png", (int.from_bytes(image[start : start + 4], "big") for start in (16, 20))
    source = f"data:image/{kind};base64,{b64encode(image).decode()}"
    shown = f'<img src="{source}" width="{width}" height="{height}" alt="{escape(one_line(alt, 1500))}">'
    return element("figure", Html(shown), element("figcaption", caption))


def page(title: str, parts: Iterable[Html], style: str = "", script: str = "") -> str:
    """The whole file. Its policy allows its own style and script, by their hashes, and nothing from elsewhere.

    style: beyond STYLE; script: neither may hold what ends its element.
    """
    sheet = f"\n{STYLE}\n{style}"
    program = f"\n{script}"
    policy = f"default-src 'none'; img-src data:; style-src '{_digest(sheet)}'"
    policy += f"; script-src '{_digest(program)}'" if script else ""
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}; base-uri 'none'; form-action 'none'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(title)}</title>",
        f"<style>{sheet}</style>",
        "</head>",
        "<body>",
        element("main", Html("\n"), joined(parts), Html("\n")),
        *([f"<script>{program}</script>"] if script else []),
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def _digest(content: str) -> str:
    """As a content policy names what stands between two tags."""
    return f"sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
