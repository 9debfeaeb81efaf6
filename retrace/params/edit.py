"""params.yaml with other values at some keys: comments and all else stay, byte for byte."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from retrace.params.messages import PATH
from retrace.runtime.errors import BAD_PARAMS, UserError

# What every reader of YAML takes for a text, but for these words.
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
WORDS = ("true", "false", "yes", "no", "y", "n", "on", "off", "null")

Key = tuple[str, ...]


def edited(text: str, values: dict[Key, Any]) -> str:
    """The text of params.yaml with other values at some keys; all else stays, byte for byte.

    A value may be a mapping, which gets a line for each of its keys where the old one had; comments among these go.
    """
    old = YAML().compose(text)
    places = {key: place_of(text, old, key) for key in values}
    new, newline = text, "\r\n" if "\r\n" in text else "\n"
    for key, (start, end, indent) in sorted(places.items(), key=lambda item: item[1], reverse=True):
        value = values[key]
        if isinstance(value, dict) and "\n" in indent:
            lines = indent.replace("\n", newline).join(_line(name, each) for name, each in value.items())
        else:
            lines = indent + written(value)
        new = _replaced(new, start, end, lines)
    kept = {key: item for key, item in _plain(old).items() if not any(key[: len(each)] == each for each in values)}
    expected = kept | {path: item for key, value in values.items() for path, item in _expected(value, key)}
    try:
        found = _plain(YAML().compose(new))
    except YAMLError:
        found = {}
    if found != expected:
        lines = ", ".join(f"{'.'.join(key)}: {written(value)}" for key, value in values.items())
        raise UserError(
            BAD_PARAMS, f"{PATH} is laid out in a way that this command cannot edit; write by hand: {lines}"
        )
    return new


def written(value: Any) -> str:
    """A text, number, truth value, None, list or mapping of them as YAML that all readers read alike, in one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(_line(name, each) for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        digits = format(Decimal(repr(value)), "f")  # some readers take 1e-05 for a text
        return digits if "." in digits else f"{digits}.0"
    return _text(value)


def _line(name: str, value: Any) -> str:
    return f"{_text(name)}: {written(value)}"


def _expected(value: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    """As `_plain`, of a value that is still to be written."""
    if not isinstance(value, dict):
        yield key, _seen(value)
        return
    for name, each in value.items():
        yield from _expected(each, (*key, name))


def _text(value: str) -> str:
    if PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    if value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(_escaped(letter) for letter in value) + '"'


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08X}"


def place_of(text: str, node: Node, key: Key) -> tuple[int, int, str]:
    """Where the value of a key begins and ends, and what goes before another one."""
    for part in key:
        name, node = next(pair for pair in node.value if pair[0].value == part)
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, SequenceNode) and not node.flow_style:
        # A list with a line for each item: to YAML it ends only where the next key begins; it may stand below its key
        # without being indented, as no other value may.
        return start, node.value[-1].end_mark.index, "  "
    if isinstance(node, MappingNode) and not node.flow_style:
        # To YAML it ends where the next key begins, too.
        return start, _end(node), f"\n{' ' * node.start_mark.column}"
    if start == end:  # nothing, which is null; to YAML it is somewhere behind the comment
        start = text.index(":", name.end_mark.index) + 1
        return start, start, " "
    return start, end, ""


def _end(node: Node) -> int:
    """Of the last value in it."""
    while isinstance(node, MappingNode | SequenceNode) and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(node, MappingNode) else last
    return int(node.end_mark.index)


def _replaced(text: str, start: int, end: int, value: str) -> str:
    """A comment behind the value stays in its column where there is room."""
    blank = re.compile(" +(?=#)").match(text, end)
    if not blank or "\n" in text[start:end]:
        return text[:start] + value + text[end:]
    return text[:start] + value.ljust(blank.end() - start - 1) + " " + text[blank.end() :]


def _plain(node: Node, key: Key = ()) -> dict[Key, Any]:
    """Key -> what a reader sees there: kind and text, or a list of them."""
    if not isinstance(node, MappingNode):
        return {key: _item(node)}
    return {path: item for name, value in node.value for path, item in _plain(value, (*key, str(name.value))).items()}


def _seen(value: Any) -> Any:
    """What a reader sees where this value is written: as `_item`."""
    if isinstance(value, list):
        return [_seen(each) for each in value]
    if isinstance(value, str):
        return "str", value
    return "null" if value is None else type(value).__name__, written(value)


def _item(node: Node) -> Any:
    if isinstance(node, SequenceNode):
        return [_item(each) for each in node.value]
    return str(node.tag).rsplit(":", 1)[-1], node.value
