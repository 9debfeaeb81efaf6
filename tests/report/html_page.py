"""A page as a test reads it: each tag known and closed, the texts of its cells, and its attributes."""

from base64 import b64decode
from html.parser import HTMLParser

# A PNG of one pixel: what a page does with pictures does not depend on what is on them.
PIXEL = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
VOID = {"meta", "img", "br"}
TAGS = VOID | {"html", "head", "title", "style", "body", "main", "h1", "h2", "h3", "p", "strong", "span", "ul", "li"}
TAGS |= {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"}
TAGS |= {"details", "summary", "pre", "code", "em", "a", "ol"}


class Page(HTMLParser):
    """Checks that each tag is known and closed, and collects texts of cells, and attributes."""

    tags = TAGS

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert tag in self.tags, tag
        assert len({name for name, _ in attributes}) == len(attributes)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
