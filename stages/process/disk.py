"""Whether what a stage is going to write finds its place, asked before anything is computed."""

import configparser
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from stages.process.faults import MACHINE_FAULT, Fault

# For a while there are three of an output: the temporary file, the one that it replaces, and DVC's copy.
TIMES = 3
# What is small beside: a JSON or two, and DVC's notes.
BESIDE = 1 << 20
# As DVC writes a value that holds a # or quotes.
_QUOTED = re.compile("('''|\"\"\"|['\"])(.*)\\1")


def prepare(outputs: Iterable[Path], expected: int, fix: str) -> None:
    """Make the folders of `outputs`, which come to `expected` bytes. fix: how these become fewer.

    Raises Fault (status 4) for a folder that cannot be written into, and where less than three times that is free.
    """
    folders = sorted({path.parent for path in outputs})
    needed = TIMES * expected + BESIDE
    for folder in [*folders, cache()]:
        try:
            if folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            folder = existing(folder)
            free = shutil.disk_usage(folder).free
            # By trying: to root permissions allow everything, also on a file system that is mounted read-only.
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise Fault(
                MACHINE_FAULT,
                f"{folder}: nothing can be written there ({error.strerror}); make it writable, or move the project",
            ) from None
        if free < needed:
            raise Fault(
                MACHINE_FAULT,
                f"{folder}: {free:,} bytes are free, and {needed:,} are needed for what comes there and into DVC's"
                f" cache; make room, or {fix}",
            )


def cache() -> Path:
    """DVC's, which takes a copy of every output; a person may have it on another file system (`dvc cache dir`)."""
    # That of an experiment in a temporary folder is the project's own.
    root = Path(os.environ.get("DVC_ROOT") or ".") / ".dvc"
    found = root / "cache"
    # DVC itself takes a second to import. What is configured for the user or the machine is not looked at.
    for name in ("config", "config.local"):
        config = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            config.read(root / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # DVC says so
        if value := config.get("cache", "dir", fallback=""):
            quoted = _QUOTED.match(value)
            found = root / (quoted[2] if quoted else value.partition("#")[0].rstrip())
    return found


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above that exists."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())
