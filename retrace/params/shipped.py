"""The values that params.yaml came with, whatever it says today: of the sections that decide a result.

For the page of a result, which tells what was decided, and for lessons, which start from them. A test compares them
with the shipped file.
"""

import json
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).with_name("shipped.json")


def shipped() -> dict[str, Any]:
    """By dotted name."""
    values: dict[str, Any] = json.loads(SHIPPED.read_text("utf-8"))
    return values
