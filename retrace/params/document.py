"""From the text of params.yaml, or of another file of that kind, to values, with the line of each key.

What YAML readers read differently is refused.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from retrace.params.messages import Key, dotted_key, place_of, restored, shown_value
from retrace.runtime.errors import BAD_PARAMS, UserError

DEEPEST = 8
# The YAML parser thinks for minutes about ten million bytes of comments.
MOST_BYTES = 1_000_000
_KINDS = {"map", "seq", "str", "int", "float", "bool", "null", "timestamp"}
_PLAIN_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_ODD_INTEGER = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0[ob][0-7_]+|[0-9][0-9_]*((:[0-5]?[0-9])*|(:[0-5]?[0-9])+\.[0-9_]*))")
_TRUTHS = {"true": True, "false": False}
# Of the name of a key; and what access keys look like, wherever they stand, and an address with a password in it.
_SECRET_NAME = re.compile(r"(?i)passw(or)?d|passphrase|secret|token|credential|(api|access|private|auth)[_-]?key")

_SECRET = re.compile(
    rb"(AKIA|ASIA)[0-9A-Z]{16}|gh[opsur]_\w{30}|github_pat_\w{30}|glpat-[\w-]{20}|xox[abeoprs]-[\w-]{10}|AIza[\w-]{35}"
    rb"|\bsk-[\w-]{20}|\bhf_\w{30}|-----BEGIN [A-Z ]*PRIVATE KEY|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.|://[^/\s:@'\"]*:[^/\s@'\"]+@"
)

_PUBLIC = "what stands in this file reaches git, DVC and MLflow: delete it here, and change it where it opens something"
_DIRECTIVE = re.compile(rb"^%.*", re.MULTILINE)
_NESTED = re.compile(rb"([\[{]\s*){100}")  # of three thousand the parser thinks for half a minute
_CONFLICT = re.compile(rb"^(<<<<<<<|=======|>>>>>>>)( |$)", re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """A file as values, with the line of each key and the values that no reader may guess at."""

    path: Path
    values: dict[str, Any]
    lines: dict[Key, int]
    faults: dict[Key, str]


def parse(path: Path, holds: str = "sections (create, split, train, ...)") -> Document:
    """holds: what is in it, for the message where it is something else. Raises UserError (status 2), one line."""
    restore = restored(path)
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            rule = f"must have at most {MOST_BYTES:,} bytes, and has {size:,}"
            raise UserError(BAD_PARAMS, f"{path} {rule}; delete what is not a parameter, or: {restore}")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UserError(BAD_PARAMS, f"{path} not found; {restore}") from None
    except IsADirectoryError:
        raise UserError(BAD_PARAMS, f"{path} is a folder, not a file; {restore}") from None
    if raw.startswith(b"\xef\xbb\xbf"):
        raise UserError(BAD_PARAMS, f"{path}:1: column 1: starts with a byte-order mark; save it as UTF-8 without one")
    if conflict := _CONFLICT.search(raw):
        line = _line_at(raw, conflict.start())
        raise UserError(BAD_PARAMS, f"{path}:{line}: has merge-conflict markers; keep one side and delete the markers")
    if secret := _SECRET.search(raw):
        line = _line_at(raw, secret.start())
        raise UserError(BAD_PARAMS, f"{path}:{line}: must hold no key or password, and here seems to be one; {_PUBLIC}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = _line_at(raw, error.start)
        column = error.start - raw.rfind(b"\n", 0, error.start)
        byte = raw[error.start]
        raise UserError(
            BAD_PARAMS, f"{path}:{line}: column {column}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8"
        ) from None
    if directive := _DIRECTIVE.search(raw):  # %YAML 1.1 would turn `no` into false
        line = _line_at(raw, directive.start())
        raise UserError(BAD_PARAMS, f"{path}:{line}: must not begin with %, a YAML directive; delete the line")
    if nested := _NESTED.search(raw):
        line = _line_at(raw, nested.start())
        raise UserError(BAD_PARAMS, f"{path}:{line}: holds a hundred brackets in a row; {restore}")
    try:
        root = YAML().compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}: column {mark.column + 1}" if mark else f"{path}"
        problem = " ".join((error.problem or error.context or "cannot be read").split())
        hint = "; indent with spaces, not tabs" if "'\\t'" in problem else f"; fix the line or {restore}"
        raise UserError(BAD_PARAMS, f"{place}: is not valid YAML: {problem}{hint}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        character = f"the control character 0x{error.character:02x}"
        raise UserError(BAD_PARAMS, f"{path}:{line}: column {column}: holds {character}; delete it") from None
    except RecursionError:
        raise UserError(
            BAD_PARAMS, f"{path}:{_too_deep(text)}: is nested too deep; fix the line or {restore}"
        ) from None
    except Exception as error:  # ruamel's own trouble
        problem = " ".join(str(error).split())
        raise UserError(BAD_PARAMS, f"{path}: is not valid YAML: {problem}; {restore}") from None
    if not isinstance(root, MappingNode):
        found = "nothing" if root is None else "a list" if isinstance(root, SequenceNode) else "a single value"
        raise UserError(BAD_PARAMS, f"{path}:1: column 1: must hold {holds}; got {found}; {restore}")
    document = Document(path, {}, {}, {})
    document.values.update(_build(root, (), document, set()))
    return document


def _line_at(raw: bytes, place: int) -> int:
    return raw.count(b"\n", 0, place) + 1


def _too_deep(text: str) -> int:
    """The line on which lists and sections first lie deeper in each other than any parameter does."""
    depth = 0
    for event in YAML().parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            return int(event.start_mark.line) + 1
    return 1


def _build(node: Node, key: Key, document: Document, seen: set[int]) -> Any:
    lines, faults = document.lines, document.faults
    if id(node) in seen:  # an alias of a list in itself has no end, and a few of them can fill the memory
        faults[key] = f"{place_of(key, lines, document.path)} must not be an alias (*name); write the value itself"
        lines.setdefault(key, lines[key[:-1]])  # the node's own line is that of the anchor
        return None
    seen.add(id(node))
    lines.setdefault(key, node.start_mark.line + 1)
    place = place_of(key, lines, document.path)
    kind = str(node.tag).rsplit(":", 1)[-1]
    plain = isinstance(node, ScalarNode) and node.style is None
    own = "map" if isinstance(node, MappingNode) else "seq" if isinstance(node, SequenceNode) else "str"
    if kind not in _KINDS or (not plain and kind != own):
        faults[key] = f"{place} must not carry the YAML tag {node.tag}; delete the tag"
        return None
    if isinstance(node, MappingNode):
        values: dict[str, Any] = {}
        for name_node, value_node in node.value:
            name = str(name_node.value) if isinstance(name_node, ScalarNode) else "?"
            child = (*key, name)
            name_line = name_node.start_mark.line + 1
            if name in values:
                faults[child] = (
                    f"{document.path}:{name_line}: {dotted_key(child)} stands twice; delete one of the two lines"
                )
            lines[child] = name_line
            if _SECRET_NAME.search(name):
                where = place_of(child, lines, document.path)
                faults[child] = f"{where} must not be here, since it is called like a secret; {_PUBLIC}"
                values[name] = None  # no line shows it
                continue
            values[name] = _build(value_node, child, document, seen)
        return values
    if isinstance(node, SequenceNode):
        return [_build(item, (*key, index), document, seen) for index, item in enumerate(node.value)]
    text = str(node.value)
    if getattr(node, "style", None) == ">":  # ruamel's marks of where it would fold the text again
        text = text.replace("\a", "")
    odd = _ODD_INTEGER.fullmatch(text) and not _PLAIN_INTEGER.fullmatch(text)
    if plain and (odd or (kind == "float" and "_" in text)):
        rule = "must be written in plain decimal digits"
        faults[key] = f"{place} {rule}; got {text}, which YAML readers read differently"
        return None
    if kind == "timestamp":
        faults[key] = f"{place} must not be a bare date; got {text}; quote it: '{text}'"
        return None
    try:
        return _scalar(kind, text)
    except (KeyError, ValueError):
        faults[key] = f"{place} must be a value of its own kind, not {shown_value(text)} as {kind}"
        return None


def _scalar(kind: str, text: str) -> Any:
    """The value of a scalar; KeyError or ValueError for a text that an explicit tag, or its length, makes no value."""
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if kind == "bool":
        return _TRUTHS[text.lower()]
    if kind == "null":
        return {"": None, "~": None, "null": None}[text.lower()]
    if kind == "str":
        return text
    raise ValueError(kind)
