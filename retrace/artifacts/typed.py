"""JSON files as declared types: a frozen dataclass says which keys there are, and reading makes sure of it.

pydantic, which checks params.yaml, would do the same; but importing it and preparing a type takes it 0.1 s, half as
long again as all that `retrace summary` does.
"""

import json
import sys
import types
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from retrace.artifacts.tables import read_json
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import restore
from retrace.runtime.text import one_line

T = TypeVar("T")

WORDS = {str: "a text", int: "a whole number", bool: "true or false", float: "a finite number"}


def read_typed(path: Path, kind: type[T]) -> T:
    """The content of a JSON file; raises UserError (status 3) where it is missing, damaged or of another kind."""
    try:
        return typed(kind, read_json(path))
    except ValueError as error:
        raise UserError(BAD_DATA, f"{path} is not what this code writes ({error}); {restore(path)}") from None


def decode(kind: type[T], content: bytes) -> T:
    """The content of a JSON file that was read already; raises ValueError where it is not of this kind."""
    try:
        return typed(kind, json.loads(content))
    except RecursionError:
        raise ValueError("too deeply nested") from None


def typed(kind: type[T], tree: Any) -> T:
    """What JSON gives, as a value of this kind.

    kind: a dataclass whose fields are texts, numbers, true or false, dataclasses, lists and dictionaries of these, or
    one of these or None; or Any, for whatever JSON gives. A key that no field is called after is passed over; a field
    with a default may be missing.
    Raises ValueError with the key and the rule.
    """
    value: T = _value(kind, tree, "")
    return value


def _value(kind: Any, tree: Any, key: str) -> Any:
    if kind is Any:
        return tree
    if isinstance(kind, types.UnionType):
        (kind,) = (each for each in get_args(kind) if each is not types.NoneType)
        return None if tree is None else _value(kind, tree, key)
    if is_dataclass(kind):
        return _dataclass(kind, tree, key)
    if get_origin(kind) is list:
        _require(isinstance(tree, list), key, "a list", tree)
        return [_value(get_args(kind)[0], each, f"{key}[{index}]") for index, each in enumerate(tree)]
    if get_origin(kind) is dict:
        _require(isinstance(tree, dict), key, "an object", tree)
        return {name: _value(get_args(kind)[1], each, _inside(key, name)) for name, each in tree.items()}
    # true is an int to Python, and a whole number may stand for a float.
    right = type(tree) is kind or (kind is float and type(tree) is int)
    # A whole number of 400 digits is none that a float can hold, and no error of its own to isfinite.
    _require(right and (kind is not float or abs(tree) <= sys.float_info.max), key, WORDS[kind], tree)
    return tree


def _dataclass(kind: Any, tree: Any, key: str) -> Any:
    _require(isinstance(tree, dict), key, "an object", tree)
    hints = get_type_hints(kind)
    found = {}
    for field in fields(kind):
        inside = _inside(key, field.name)
        if field.name in tree:
            found[field.name] = _value(hints[field.name], tree[field.name], inside)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{inside} is missing")
    return kind(**found)


def _inside(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _require(right: bool, key: str, what: str, tree: Any) -> None:
    if not right:
        raise ValueError(one_line(f"{key or 'the whole'} must be {what}; got {json.dumps(tree)[:40]}", 200))
