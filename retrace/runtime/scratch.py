"""A file for what does not fit into memory. It has no name: nothing of it is left, whatever ends the process."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from retrace.runtime.disk import BESIDE
from retrace.runtime.errors import MACHINE_FAULT, UserError

FOLDER = Path(".retrace")
# Linux reads no more at once.
READ_AT_ONCE = 1 << 30


class Scratch:
    """What is appended stays where it is and can be read by this process and its copies, each at its own pace."""

    def __init__(self, file: BinaryIO):
        self.file, self.size = file, 0

    def append(self, content: memoryview) -> int:
        """Returns where it begins."""
        start = self.size
        if content.nbytes:
            done, content = 0, content.cast("B")
            while done < len(content):
                with _one_line("written"):
                    done += os.pwrite(self.file.fileno(), content[done : done + READ_AT_ONCE], start + done)
            self.size += len(content)
        return start

    def read_into(self, content: memoryview, start: int) -> None:
        """Fill `content` with what begins at `start`."""
        done, content = 0, content.cast("B")
        while done < len(content):
            with _one_line("read"):
                found = os.preadv(self.file.fileno(), [content[done : done + READ_AT_ONCE]], start + done)
                if not found:
                    raise OSError(errno.EIO, f"it ends at {start + done:,}")
            done += found

    def read(self, start: int, size: int) -> bytearray:
        content = bytearray(size)
        self.read_into(memoryview(content), start)
        return content

    def close(self) -> None:
        self.file.close()


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """It has no name to be told, and is not the file that is read or written beside it."""
    try:
        yield
    except OSError as error:
        raise UserError(
            MACHINE_FAULT,
            f"{FOLDER}: rows that do not fit into memory cannot be {what} there ({error.strerror}); make room on that"
            " disk, or use fewer rows or columns",
        ) from None


def scratch(size: int, what: str, fix: str) -> Scratch:
    """An empty one, for so many bytes. Raises UserError (status 4) where so many are not free."""
    FOLDER.mkdir(exist_ok=True)
    free = shutil.disk_usage(FOLDER).free
    if free < size + BESIDE:
        raise UserError(
            MACHINE_FAULT,
            f"{FOLDER}: {free:,} bytes are free, and {size + BESIDE:,} are needed for {what}, which do not fit into"
            f" memory; make room, or {fix}",
        )
    # Closed by whoever asked for it.
    return Scratch(tempfile.TemporaryFile(dir=FOLDER, buffering=0))


@contextmanager
def closing_scratch(size: int, what: str, fix: str) -> Iterator[Scratch]:
    """As `scratch`, for as long as the block runs."""
    found = scratch(size, what, fix)
    try:
        yield found
    finally:
        found.close()
