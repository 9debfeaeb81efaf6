"""data/decisions.json: the parameters that a result was made with, section by section; `validate` writes it.

A stage reads its own section of params.yaml and no other: what tells a reader of all decisions has them from here. The
file has no line numbers and no comments, so that it changes only where a value does.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrace.artifacts.tables import read_json
from retrace.runtime.atomic import write_json
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import restore

DECISIONS = Path("data/decisions.json")


def write_decisions(values: Mapping[str, Any]) -> None:
    """values: by dotted name, as params.yaml has them; a list is one value."""
    write_json(DECISIONS, dict(values))


def read_decisions() -> dict[str, str]:
    """By dotted name; each value as params.yaml has it: true, null, [10, 10], a bare text."""
    content = read_json(DECISIONS)
    if not isinstance(content, dict):
        raise UserError(BAD_DATA, f"{DECISIONS} is not what this code writes (no object); {restore(DECISIONS)}")
    return {key: as_written(value) for key, value in content.items()}


def as_written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
