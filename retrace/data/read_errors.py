"""What is said of a file that cannot be read."""

import re
from pathlib import Path
from typing import Any

from retrace.runtime.errors import BAD_DATA, UserError

MOST_COLUMNS = 10_000


def undecodable(path: Path, encoding: str, reason: str) -> UserError:
    return UserError(
        BAD_DATA,
        f"{path} is not {encoding} ({reason}); set create.reading.encoding to the encoding it was saved in,"
        f" {'cp850 or mac_roman' if encoding == 'cp1252' else 'cp1252'} for instance, or save it anew as UTF-8",
    )


def ragged(path: Path, place: str, text: str) -> UserError:
    return UserError(
        BAD_DATA,
        f"{path}: {place} has {text}; fix the line, quote texts that hold the delimiter, give each column a name, or"
        " set create.reading.delimiter",
    )


def unreadable(path: Path, error: Exception, dialect: Any = None) -> UserError:
    reason = first_line(error)
    if dialect and (isinstance(error, UnicodeError) or "UTF8" in reason or "utf-8" in reason):
        return undecodable(path, dialect[1], reason)
    if dialect and (found := re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", reason)):
        place = f"line {found[1]}" if found[1] else "a line"
        return ragged(path, place, f"{found[3]} cells where the header has {found[2]}")
    if "Exceeded size limit" in reason:
        reason = f"its footer is larger than that of a table with {MOST_COLUMNS:,} columns"
    return UserError(
        BAD_DATA, f"{path} cannot be read ({reason}); fix it, or bring the file anew: dvc pull, or a new copy"
    )


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
