"""Names and texts that come from people and tables, made fit for a terminal, for one line and for Markdown."""

import re
from collections.abc import Sequence

MOST_LISTED = 12


def shown(text: str) -> str:
    """On one line, and harmless to a terminal: what is not printable stands there as its escape, `\\x1b`."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def one_line(text: str, length: int = 300) -> str:
    """What is not printable, line ends among it, becomes a space; a long text is cut."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= length else f"{line[: length - 3]}..."


def listed(names: Sequence[str]) -> str:
    """The first names, for a message: a file that is read as what it is not may have names as long as itself."""
    more = f" and {len(names) - MOST_LISTED:,} more" if len(names) > MOST_LISTED else ""
    return ", ".join(one_line(name, 60) for name in names[:MOST_LISTED]) + more


def escape(text: str) -> str:
    """Any text as plain words in Markdown, on one line."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[:300])
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", " ".join(line.split()))
