"""What is said of a key or value of params.yaml: where it stands, what it must be, what was meant."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from retrace.params.section import Section

Key = tuple[str | int, ...]
PATH = Path("params.yaml")


def restored(path: Path = PATH) -> str:
    return f"restore it with: git checkout {path}"


RESTORE = restored()


def describe_error(section: type[Section], key: Key, item: Any, lines: dict[Key, int]) -> tuple[Key, str]:
    """One pydantic error as (key, line for the user)."""
    if item["type"] == "rule":
        key = (*key, *item["ctx"]["key"].split("."))
        value = item["input"]
        for part in item["ctx"]["key"].split("."):
            value = value[part] if isinstance(value, dict) else getattr(value, part)
        return key, f"{place_of(key, lines)} {item['ctx']['rule']}; got {shown_value(value)}"
    of_union = _union_in(section, key)
    if of_union is None and item["type"] == "extra_forbidden":
        siblings = list(_model(section, key[1:-1]).model_fields)
        everywhere = {dotted.rsplit(".", 1)[-1]: dotted for dotted in _fields(section, section.section_name())}
        hint = suggest(str(key[-1]), siblings, dotted_key(key[:-1]))
        if not hint and key[-1] in everywhere:
            hint = f"; did you mean {everywhere[str(key[-1])]}?"
        return key, f"{place_of(key, lines)} is not a parameter{hint or '; delete the line'}"
    if of_union is None and item["type"] == "missing":
        return (
            key,
            f"{PATH}: {dotted_key(key)} is missing; {rule_of(section, key)}; git show HEAD:{PATH} has its last value",
        )
    # A union ("a number or null") reports one error for each of its members: keep the key, not the member.
    while len(key) > 1 and key not in lines:
        key = key[:-1]
    value = item["input"]
    hint = suggest(value, _choices(_schema(section, key))) if isinstance(value, str) else ""
    rule = rule_of(section, key)
    if item["type"] == "finite_number":
        rule = rule.replace("a number", "a finite number")
    return key, f"{place_of(key, lines)} {rule}; got {shown_value(value)}{hint}"


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


def _union_in(section: type[Section], key: Key) -> Key | None:
    """The key of the parameter that may be one of several things, one of which has keys itself; None: there is none."""
    for length in range(2, len(key)):
        if any("$ref" in option for option in _schema(section, key[:length]).get("anyOf", ())):
            return key[:length]
        if "$ref" not in _schema(section, key[:length]):
            return None
    return None


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


def rule_of(section: type[Section], key: Key) -> str:
    return "must be " + _wording(_schema(section, key))


def _wording(schema: dict[str, Any]) -> str:
    """A constraint in words, derived from the field that enforces it, so that the two cannot disagree."""
    if "anyOf" in schema and "description" in schema:
        return str(schema["description"])
    if "anyOf" in schema:
        return " or ".join(_wording(option) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(_choices(schema))
    if "const" in schema:
        return shown_value(schema["const"])
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


def dotted_key(key: Key) -> str:
    text = ""
    for part in key:
        name = part if isinstance(part, int) or part.isprintable() else repr(part)
        text += f"[{name}]" if isinstance(part, int) else f".{name}" if text else str(name)
    return text


def place_of(key: Key, lines: dict[Key, int], path: Path = PATH) -> str:
    known = key
    while known and known not in lines:
        known = known[:-1]
    return f"{path}:{lines.get(known, 1)}: {dotted_key(key)}"


def suggest(word: str, among: list[str], prefix: str = "") -> str:
    """ "; did you mean ...?", or nothing where none of them is close."""
    close = difflib.get_close_matches(word, among, n=1, cutoff=0.6)
    return f"; did you mean {prefix + '.' if prefix else ''}{close[0]}?" if close else ""


def shown_value(value: Any) -> str:
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
        return "[" + ", ".join(shown_value(item) for item in value) + "]"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
