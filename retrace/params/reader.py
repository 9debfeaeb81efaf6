"""The one reader of params.yaml: YAML 1.2 as DVC reads it, line numbers kept, every fault reported at once.

The file is composed into nodes and built into values here, because two YAML readers disagree about the very texts
that people write by mistake (`no`, `010`, `1e-3`, `2026-01-01`): a text that has two meanings is refused.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from retrace.params.section import Section
from retrace.runtime.errors import BAD_PARAMS, Fault

PATH = Path("params.yaml")
RESTORE = "restore it with: git checkout params.yaml"

Key = tuple[str | int, ...]
S = TypeVar("S", bound=Section)

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


def read(section: type[S]) -> S:
    """The stage's own section; raises Fault (status 2) with a line for each fault in it."""
    return read_verbatim(section)[0]


def read_verbatim(section: type[S]) -> tuple[S, dict[str, Any]]:
    """As `read`, and its parameters by dotted name as the file has them: 1 where the section holds 1.0."""
    name = section.section_name()
    document = _parse(PATH)
    if name not in document.values:
        raise Fault(BAD_PARAMS, f"{PATH}: section {name} is missing; git show HEAD:{PATH} has it")
    faults = {key: text for key, text in document.faults.items() if key[0] == name}
    instance = _validate(section, document, faults)
    if instance is None or faults:
        raise Fault(BAD_PARAMS, *_in_order(faults, document))
    return instance, dict(leaves({name: document.values[name]}))


def check(sections: Iterable[type[Section]]) -> int:
    """Check the whole file against all sections; returns the number of parameters, raises Fault with all faults."""
    document = _parse(PATH)
    known = {section.section_name(): section for section in sections}
    faults = dict(document.faults)
    for name in document.values:
        if name not in known:
            hint = suggest(name, list(known)) or "; delete it"
            faults.setdefault((name,), f"{_place((name,), document.lines)} is not a section{hint}")
    for name, section in known.items():
        if name in document.values:
            _validate(section, document, faults)
        else:
            faults[(name,)] = f"{PATH}: section {name} is missing; git show HEAD:{PATH} has it"
    if faults:
        raise Fault(BAD_PARAMS, *_in_order(faults, document))
    return sum(1 for _ in leaves(document.values))


def fault(section: type[Section], key: str, rule: str) -> Fault:
    """The fault of a parameter that only the data or the machine can judge; `rule` begins with "must"."""
    document = _parse(PATH)
    path: Key = (section.section_name(), *key.split("."))
    value: Any = document.values
    for part in path:
        value = value[part]
    return Fault(BAD_PARAMS, f"{_place(path, document.lines)} {rule}; got {_show(value)}")


def leaves(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Every parameter as (dotted name, value); a list is one value."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# --- from text to values --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Document:
    """params.yaml as values, with the line of each key and the values that no reader may guess at."""

    values: dict[str, Any]
    lines: dict[Key, int]
    faults: dict[Key, str]


def _parse(path: Path) -> _Document:
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            rule = f"must have at most {MOST_BYTES:,} bytes, and has {size:,}"
            raise Fault(BAD_PARAMS, f"{path} {rule}; delete what is no parameter, or: {RESTORE}")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise Fault(BAD_PARAMS, f"{path} not found; {RESTORE}") from None
    except IsADirectoryError:
        raise Fault(BAD_PARAMS, f"{path} is a folder, not a file; {RESTORE}") from None
    if raw.startswith(b"\xef\xbb\xbf"):
        raise Fault(BAD_PARAMS, f"{path}:1: column 1: starts with a byte-order mark; save it as UTF-8 without one")
    if conflict := _CONFLICT.search(raw):
        line = raw.count(b"\n", 0, conflict.start()) + 1
        raise Fault(BAD_PARAMS, f"{path}:{line}: has merge-conflict markers; keep one side and delete the markers")
    if secret := _SECRET.search(raw):
        line = raw.count(b"\n", 0, secret.start()) + 1
        raise Fault(BAD_PARAMS, f"{path}:{line}: must hold no key or password, and here seems to be one; {_PUBLIC}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        byte = raw[error.start]
        raise Fault(
            BAD_PARAMS, f"{path}:{line}: column {column}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8"
        ) from None
    if directive := _DIRECTIVE.search(raw):  # %YAML 1.1 would turn `no` into false
        line = raw.count(b"\n", 0, directive.start()) + 1
        raise Fault(BAD_PARAMS, f"{path}:{line}: must not begin with %, a YAML directive; delete the line")
    if nested := _NESTED.search(raw):
        line = raw.count(b"\n", 0, nested.start()) + 1
        raise Fault(BAD_PARAMS, f"{path}:{line}: holds a hundred brackets in a row; {RESTORE}")
    try:
        root = YAML().compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}: column {mark.column + 1}" if mark else f"{path}"
        problem = " ".join((error.problem or error.context or "cannot be read").split())
        hint = "; indent with spaces, not tabs" if "'\\t'" in problem else f"; mend the line or {RESTORE}"
        raise Fault(BAD_PARAMS, f"{place}: is not valid YAML: {problem}{hint}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        character = f"the control character 0x{error.character:02x}"
        raise Fault(BAD_PARAMS, f"{path}:{line}: column {column}: holds {character}; delete it") from None
    except RecursionError:
        raise Fault(BAD_PARAMS, f"{path}:{_too_deep(text)}: is nested too deep; mend the line or {RESTORE}") from None
    except Exception as error:  # ruamel's own trouble
        problem = " ".join(str(error).split())
        raise Fault(BAD_PARAMS, f"{path}: is not valid YAML: {problem}; {RESTORE}") from None
    if not isinstance(root, MappingNode):
        found = "nothing" if root is None else "a list" if isinstance(root, SequenceNode) else "a single value"
        rule = "must hold sections (create, split, train, ...)"
        raise Fault(BAD_PARAMS, f"{path}:1: column 1: {rule}; got {found}; {RESTORE}")
    document = _Document({}, {}, {})
    document.values.update(_build(root, (), document.lines, document.faults, set()))
    return document


def _too_deep(text: str) -> int:
    """The line on which lists and sections first lie deeper in each other than any parameter does."""
    depth = 0
    for event in YAML().parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            return int(event.start_mark.line) + 1
    return 1


def _build(node: Node, key: Key, lines: dict[Key, int], faults: dict[Key, str], seen: set[int]) -> Any:
    if id(node) in seen:  # an alias of a list in itself has no end, and a few of them can fill the memory
        faults[key] = f"{_place(key, lines)} must not be an alias (*name); write the value itself"
        lines.setdefault(key, lines[key[:-1]])  # the node's own line is that of the anchor
        return None
    seen.add(id(node))
    lines.setdefault(key, node.start_mark.line + 1)
    place = _place(key, lines)
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
                faults[child] = f"{PATH}:{name_line}: {_dotted(child)} stands twice; delete one of the two lines"
            lines[child] = name_line
            if _SECRET_NAME.search(name):
                faults[child] = f"{_place(child, lines)} must not be here, since it is called like a secret; {_PUBLIC}"
                values[name] = None  # no line shows it
                continue
            values[name] = _build(value_node, child, lines, faults, seen)
        return values
    if isinstance(node, SequenceNode):
        return [_build(item, (*key, index), lines, faults, seen) for index, item in enumerate(node.value)]
    text = str(node.value)
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
        faults[key] = f"{place} must be a value of its own kind, not {_show(text)} as {kind}"
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


# --- from values to faults ------------------------------------------------------------------------------------------


def _validate(section: type[S], document: _Document, faults: dict[Key, str]) -> S | None:
    """The section's instance, or None with a line for each fault added to `faults`, one for each key."""
    name = section.section_name()
    values = document.values[name]
    if not isinstance(values, dict):
        place = _place((name,), document.lines)
        faults[(name,)] = f"{place} must be a section with keys of its own; got {_show(values)}; {RESTORE}"
        return None
    try:
        return section.model_validate(values)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            key, line = _describe(section, (name, *item["loc"]), item, document.lines)
            faults.setdefault(key, line)
        return None


def _in_order(faults: dict[Key, str], document: _Document) -> list[str]:
    def line(key: Key) -> int:
        while key and key not in document.lines:
            key = key[:-1]
        return document.lines.get(key, 0)

    return [faults[key] for key in sorted(faults, key=line)]


def _describe(section: type[Section], key: Key, item: Any, lines: dict[Key, int]) -> tuple[Key, str]:
    """One pydantic error as (key, line for the user)."""
    if item["type"] == "rule":
        key = (*key, *item["ctx"]["key"].split("."))
        value = item["input"]
        for part in item["ctx"]["key"].split("."):
            value = value[part] if isinstance(value, dict) else getattr(value, part)
        return key, f"{_place(key, lines)} {item['ctx']['rule']}; got {_show(value)}"
    if item["type"] == "extra_forbidden":
        siblings = list(_model(section, key[1:-1]).model_fields)
        everywhere = {dotted.rsplit(".", 1)[-1]: dotted for dotted in _fields(section, section.section_name())}
        hint = suggest(str(key[-1]), siblings, _dotted(key[:-1]))
        if not hint and key[-1] in everywhere:
            hint = f"; did you mean {everywhere[str(key[-1])]}?"
        return key, f"{_place(key, lines)} is not a parameter{hint or '; delete the line'}"
    if item["type"] == "missing":
        return key, f"{PATH}: {_dotted(key)} is missing; {_rule(section, key)}; git show HEAD:{PATH} has its last value"
    # A union ("a number or null") reports one error for each of its members: keep the key, not the member.
    while len(key) > 1 and key not in lines:
        key = key[:-1]
    value = item["input"]
    hint = suggest(value, _choices(_schema(section, key))) if isinstance(value, str) else ""
    rule = _rule(section, key)
    if item["type"] == "finite_number":
        rule = rule.replace("a number", "a finite number")
    return key, f"{_place(key, lines)} {rule}; got {_show(value)}{hint}"


def _schema(section: type[Section], key: Key) -> dict[str, Any]:
    """The JSON schema of one parameter, which holds its constraints."""
    root = section.model_json_schema()
    node: dict[str, Any] = root
    for part in key[1:]:
        while "$ref" in node:
            node = root["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        if isinstance(part, int):
            arrays = [option for option in (node, *node.get("anyOf", ())) if "items" in option]
            node = arrays[0]["items"]
        else:
            node = node["properties"][part]
    return node


def _model(section: type[Section], path: Key) -> type[BaseModel]:
    model: type[BaseModel] = section
    for part in path:
        annotation = model.model_fields[str(part)].annotation
        assert isinstance(annotation, type)
        model = annotation
    return model


def _fields(model: type[BaseModel], prefix: str) -> Iterable[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}"


def _choices(schema: dict[str, Any]) -> list[str]:
    return [str(choice) for choice in schema.get("enum", ())]


def _rule(section: type[Section], key: Key) -> str:
    return "must be " + _wording(_schema(section, key))


def _wording(schema: dict[str, Any]) -> str:
    """A constraint in words, derived from the field that enforces it, so that the two cannot disagree."""
    if "anyOf" in schema:
        return " or ".join(_wording(option) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(_choices(schema))
    if "const" in schema:
        return _show(schema["const"])
    match schema.get("type"):
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case "array":
            return f"a list, each item {_wording(schema['items'])}"
        case "string":
            if "pattern" in schema:
                return str(schema.get("description", f"a text like {schema['pattern']}"))
            return "a text"
        case "integer" | "number" as kind:
            noun = "a whole number" if kind == "integer" else "a number"
            low, high = schema.get("minimum"), schema.get("maximum")
            if low is not None and high is not None:
                return f"{noun} from {low:,} to {high:,}" if kind == "integer" else f"{noun} from {low:g} to {high:g}"
            bounds = [
                f"{sign} {schema[name]:g}"
                for name, sign in (
                    ("exclusiveMinimum", ">"),
                    ("minimum", ">="),
                    ("exclusiveMaximum", "<"),
                    ("maximum", "<="),
                )
                if name in schema
            ]
            return " ".join([noun, " and ".join(bounds)]).strip()
    return "a section with keys of its own"


def _dotted(key: Key) -> str:
    text = ""
    for part in key:
        name = part if isinstance(part, int) or part.isprintable() else repr(part)
        text += f"[{name}]" if isinstance(part, int) else f".{name}" if text else str(name)
    return text


def _place(key: Key, lines: dict[Key, int]) -> str:
    known = key
    while known and known not in lines:
        known = known[:-1]
    return f"{PATH}:{lines.get(known, 1)}: {_dotted(key)}"


def suggest(word: str, among: list[str], prefix: str = "") -> str:
    """ "; did you mean ...?", or nothing where none of them is close."""
    close = difflib.get_close_matches(word, among, n=1, cutoff=0.6)
    return f"; did you mean {prefix + '.' if prefix else ''}{close[0]}?" if close else ""


def _show(value: Any) -> str:
    if isinstance(value, str):
        # repr, so that a line break in the text stays one line
        return f"the text {value!r}" if len(value) <= 60 else f"the text {value[:57] + '...'!r}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "[" + ", ".join(_show(item) for item in value) + "]"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
