"""Files appear whole or not at all: written beside the target, synced, renamed."""

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

from retrace.runtime.integrity import note
from retrace.runtime.system import running

# What a spreadsheet takes for a formula (CWE-1236), but for a plain negative number; full-width signs are signs to it.
FORMULA = re.compile(r"'*([=+@\t\r\n\uff1d\uff0b\uff0d\uff20]|-(?!\d+(\.\d+)?(e[-+]?\d+)?\Z))")


def write(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    """Let `fill` write into a temporary file beside `path`, then rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w+b") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # a write that fails names none
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Remove what processes that were killed left beside it; a number that is in use may be that of a writer."""
    name = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.tmp")
    for beside in path.parent.iterdir():
        if (found := name.fullmatch(beside.name)) and not running(int(found[1])):
            beside.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    def fill(file: BinaryIO) -> None:
        file.write(content)

    write(path, fill)


def write_text(path: Path, text: str) -> None:
    content = text.encode()
    note(path, content)
    write_bytes(path, content)


def write_json(path: Path, content: Any) -> None:
    """Sorted and indented JSON; NaN and infinity, which JSON does not have, raise ValueError."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Comma-separated rows with `\\n` line ends; floats with nine significant digits (enough for float32).

    A text that a spreadsheet would take for a formula gets a `'` before it, which `tables.read_csv` takes away again:
    names of classes and columns and their values come from a table that may be anybody's.
    """

    def cell(value: Any) -> Any:
        if isinstance(value, float):
            return format(value, ".9g")
        return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value

    lines: list[str] = []
    # With line ends of its own kind the writer also quotes a lone `\r`, which readers take for one.
    writer = csv.writer(SimpleNamespace(write=lines.append))
    writer.writerow([cell(value) for value in header])
    writer.writerows([cell(value) for value in row] for row in rows)
    write_text(path, "".join(f"{line.removesuffix(writer.dialect.lineterminator)}\n" for line in lines))
