"""A change of params.yaml that a person is shown, and asked about."""

import difflib
import sys
from collections.abc import Iterable

from retrace.params.messages import PATH
from retrace.runtime.atomic import write_bytes
from retrace.runtime.errors import BAD_PARAMS, UserError


def agreed(old: str, new: str, command: str, yes: bool, fix: str) -> bool:
    """Show the difference between two texts of params.yaml, and ask; yes: without asking.

    Raises UserError where nobody is there to ask; fix: how one then says yes.
    """
    for line in _difference(old, new):
        print(line)
    if yes:
        return True
    if not (sys.stdin and sys.stdin.isatty()):  # it may be closed
        raise UserError(BAD_PARAMS, f"{command}: nothing was written, since nobody is there to ask; {fix}")
    try:
        answer = input("write this? [y/N] ").strip().lower()
    except (EOFError, UnicodeDecodeError):
        print()
        answer = ""
    if answer in ("y", "yes"):
        return True
    print(f"{command}: nothing was written")
    return False


def require_unchanged(before: bytes) -> None:
    """Raise UserError where somebody has written params.yaml while a person was thinking."""
    if PATH.read_bytes() != before:
        raise UserError(BAD_PARAMS, f"{PATH} has changed in the meantime; nothing was written; run this again")


def write_params(new: str) -> None:
    write_bytes(PATH, new.encode())


def _difference(old: str, new: str) -> Iterable[str]:
    return difflib.unified_diff(old.split("\n"), new.split("\n"), f"{PATH}", f"{PATH}, new", n=1, lineterm="")
