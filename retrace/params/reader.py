"""The one reader of params.yaml: YAML 1.2 as DVC reads it, line numbers kept, every fault reported at once.

The file is composed into nodes and built into values here, because two YAML readers disagree about the very texts
that people write by mistake (`no`, `010`, `1e-3`, `2026-01-01`): a text that has two meanings is refused.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from retrace.params.document import Document, parse
from retrace.params.messages import PATH, RESTORE, Key, describe_error, place_of, shown_value, suggest
from retrace.params.section import Section
from retrace.runtime.errors import BAD_PARAMS, UserError

S = TypeVar("S", bound=Section)


def read(section: type[S]) -> S:
    """The stage's own section; raises UserError (status 2) with a line for each fault in it."""
    return read_verbatim(section)[0]


def read_verbatim(section: type[S]) -> tuple[S, dict[str, Any]]:
    """As `read`, and its parameters by dotted name as the file has them: 1 where the section holds 1.0."""
    name = section.section_name()
    document = parse(PATH)
    if name not in document.values:
        raise UserError(BAD_PARAMS, f"{PATH}: section {name} is missing; git show HEAD:{PATH} has it")
    faults = {key: text for key, text in document.faults.items() if key[0] == name}
    instance = _validate(section, document, faults)
    if instance is None or faults:
        raise UserError(BAD_PARAMS, *_in_order(faults, document))
    return instance, dict(leaves({name: document.values[name]}))


def check(sections: Iterable[type[Section]]) -> dict[str, Any]:
    """Check the whole file against all sections; every parameter by dotted name as the file has it.

    Raises UserError with all faults.
    """
    document = parse(PATH)
    known = {section.section_name(): section for section in sections}
    faults = dict(document.faults)
    for name in document.values:
        if name not in known:
            hint = suggest(name, list(known)) or "; delete it"
            faults.setdefault((name,), f"{place_of((name,), document.lines)} is not a section{hint}")
    for name, section in known.items():
        if name in document.values:
            _validate(section, document, faults)
        else:
            faults[(name,)] = f"{PATH}: section {name} is missing; git show HEAD:{PATH} has it"
    if faults:
        raise UserError(BAD_PARAMS, *_in_order(faults, document))
    return dict(leaves(document.values))


def fault(section: type[Section], key: str, rule: str) -> UserError:
    """The fault of a parameter that only the data or the machine can judge; `rule` begins with "must"."""
    document = parse(PATH)
    path: Key = (section.section_name(), *key.split("."))
    value: Any = document.values
    for part in path:
        value = value[part]
    return UserError(BAD_PARAMS, f"{place_of(path, document.lines)} {rule}; got {shown_value(value)}")


def leaves(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Every parameter as (dotted name, value); a list is one value."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _validate(section: type[S], document: Document, faults: dict[Key, str]) -> S | None:
    """The section's instance, or None with a line for each fault added to `faults`, one for each key."""
    name = section.section_name()
    values = document.values[name]
    if not isinstance(values, dict):
        place = place_of((name,), document.lines)
        faults[(name,)] = f"{place} must be a section with keys of its own; got {shown_value(values)}; {RESTORE}"
        return None
    try:
        instance = section.model_validate(values)
        for key, rule, value in instance.faults():
            path = (name, *key)
            faults.setdefault(path, f"{place_of(path, document.lines)} {rule}; got {shown_value(value)}")
        return instance
    except ValidationError as error:
        for item in error.errors(include_url=False):
            key, line = describe_error(section, (name, *item["loc"]), item, document.lines)
            faults.setdefault(key, line)
        return None


def _in_order(faults: dict[Key, str], document: Document) -> list[str]:
    def line(key: Key) -> int:
        while key and key not in document.lines:
            key = key[:-1]
        return document.lines.get(key, 0)

    return [faults[key] for key in sorted(faults, key=line)]
