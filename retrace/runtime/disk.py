"""Whether what a stage is going to write finds its place, asked before anything is computed."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.runtime.integrity import cache

# For a while there are three of an output: the temporary file, the one that it replaces, and DVC's copy.
TIMES = 3
# What is small beside: a JSON or two, and DVC's notes.
BESIDE = 1 << 20


def require_disk(outputs: Iterable[Path], expected: int, fix: str) -> None:
    """Make the folders of `outputs`, which come to `expected` bytes. fix: how these become fewer.

    Raises UserError (status 4) for a folder that cannot be written into, and where less than three times that is free.
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
            raise UserError(
                MACHINE_FAULT,
                f"{folder}: nothing can be written there ({error.strerror}); make it writable, or move the project",
            ) from None
        if free < needed:
            raise UserError(
                MACHINE_FAULT,
                f"{folder}: {free:,} bytes are free, and {needed:,} are needed for what comes there and into DVC's"
                f" cache; make room, or {fix}",
            )


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above that exists."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())
