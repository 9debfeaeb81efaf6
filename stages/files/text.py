"""Names and texts that come from people and tables, made fit for a terminal, for one line and for Markdown."""

import re


def shown(text: str) -> str:
    """On one line, and harmless to a terminal: what is not printable stands there as its escape, `\\x1b`."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def one_line(text: str, length: int = 300) -> str:
    """What is not printable, line ends among it, becomes a space; a long text is cut."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= length else f"{line[: length - 3]}..."


def escape(text: str) -> str:
    """Any text as plain words in Markdown, on one line."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[:300])
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", " ".join(line.split()))
