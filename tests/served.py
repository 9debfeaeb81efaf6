"""`make ui` in a project of a test, and the link that it prints, taken apart."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from retrace.cli.ui_server import cookie
from tests import warm

LINE = re.compile(
    r"ui: (?P<link>(?P<base>http://127\.0\.0\.1:(?P<port>\d+))/\?token=(?P<token>[\w-]{43})"
    r"#/experiments/(?P<experiment>\d+)/\S+) \(Ctrl-C ends it\)\n"
)


class Served(NamedTuple):
    """said: what it printed before the link. own: the header that its owner's browser sends."""

    root: Path
    link: str
    base: str
    port: int
    token: str
    experiment: str
    said: str
    process: "subprocess.Popen[str]"

    @property
    def own(self) -> dict[str, str]:
        return {"Cookie": f"{cookie(self.port)}={self.token}"}


@contextlib.contextmanager
def served(root: Path, environment: dict[str, str], python: str = "") -> Iterator[Served]:
    """python: what runs it; "": one that is forked."""
    process = subprocess.Popen(
        [python or warm.forked(), "-m", "retrace", "ui"],
        cwd=root,
        # With it the server that it starts is forked, too.
        env=environment if python else {**environment, "PATH": f"{warm.folder()}{os.pathsep}{environment['PATH']}"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        said, line = "", process.stdout.readline()
        while line and not (found := LINE.fullmatch(line)):
            said, line = said + line, process.stdout.readline()
        assert line, said + process.stderr.read()
        yield Served(root, **{**found.groupdict(), "port": int(found["port"])}, said=said, process=process)
    finally:
        # Not Ctrl-C's signal: what is started in the background ignores that one.
        process.terminate()
        _, errors = process.communicate(timeout=60)
    # The test may have ended it itself, by Ctrl-C's.
    assert process.returncode in (0, 143), errors
