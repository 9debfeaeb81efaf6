"""A group of processes that gets no more than so much memory, as a container does: what the kernel calls a cgroup."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


class NotAllowedError(Exception):
    """This machine lets nobody make one here."""


@contextlib.contextmanager
def control_group(limit: int) -> Iterator[Path]:
    """A folder; whoever writes their process id into its cgroup.procs has so many bytes. Raises NotAllowedError."""
    named = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text("utf-8").splitlines())
    first = "memory" in named
    root = Path("/sys/fs/cgroup", "memory" if first else "", named.get("memory", named.get("", "/")).lstrip("/"))
    folder = root / f"retrace-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(limit), "utf-8")
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise NotAllowedError(f"no control group of one's own here: {error}") from None
    try:
        yield folder
    finally:
        folder.rmdir()
