"""What surrounds a result and is not part of it: git, times, the machine, the installed packages."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from retrace.artifacts.dvc_lock import Lock, parse
from retrace.artifacts.training import read_clock
from retrace.runtime.errors import UserError
from retrace.runtime.integrity import LOCK
from retrace.runtime.text import shown


@dataclass(frozen=True)
class Git:
    """commit and uncommitted are None without git; committed is the last commit's dvc.lock, where there is one."""

    commit: str | None
    uncommitted: bool | None
    committed: Lock | None


@dataclass(frozen=True)
class Times:
    """Milliseconds since 1970, and how long. started: of the training run, as it says; "" where of this recording."""

    start: int
    milliseconds: int
    started: str

    @property
    def of_training(self) -> bool:
        return bool(self.started)


def read_git(lock: Lock) -> Git:
    revision = commit()
    if revision is None:
        if refusal := _refusal():
            print(f"record: the run names no commit, since git says: {refusal}", file=sys.stderr)
        return Git(None, None, None)
    # What the pipeline itself writes is not a change of the work tree: it follows from the rest.
    written = [f":(exclude,literal){path}" for path in (LOCK.as_posix(), *lock.outs)]
    status = _git("status", "--porcelain", "--", ".", *written)
    return Git(revision, bool(status) if status is not None else None, committed_lock())


def commit() -> str | None:
    """The last one, None without git."""
    found = _git("rev-parse", "HEAD")
    return found.strip() if found else None


def committed_lock() -> Lock | None:
    text = _git("show", f"HEAD:./{LOCK}")
    try:
        return parse(text) if text else None
    except UserError:
        return None


def read_times(model: bytes, now: int) -> Times:
    """Of the training, where its side file tells of this very model; the run cache brings back models without it."""
    clock = read_clock()
    if clock and clock.model == hashlib.sha256(model).hexdigest():
        with contextlib.suppress(ValueError, OverflowError):
            return Times(milliseconds(clock.started), max(round(1000 * clock.seconds), 0), clock.started)
    return Times(now, 0, "")


def last_finished(root: Path) -> str:
    """When the training began that came to its end last in this folder, as it says; "" where none did."""
    clock = read_clock(root)
    return clock.started if clock else ""


def milliseconds(started: str) -> int:
    """ISO text -> milliseconds since 1970; MLflow takes none before that, and 0 for no time."""
    return max(round(datetime.fromisoformat(started).timestamp() * 1000), 1)


def dvc_experiment() -> str:
    """The name that `dvc exp run` gave this state, or nothing in a plain `dvc repro`."""
    return os.environ.get("DVC_EXP_NAME", "")


def packages() -> str:
    """The installed packages, as `pip freeze` lists them."""
    found = set()
    for each in importlib.metadata.distributions():
        # The two lines are read here: parsing all of every file takes ten times as long.
        text = each.read_text("METADATA") or each.read_text("PKG-INFO") or ""
        header = dict(re.findall(r"^(Name|Version): *(\S+)", text.partition("\n\n")[0], re.MULTILINE))
        if len(header) == 2:
            found.add((header["Name"], header["Version"]))
    return "".join(f"{name}=={version}\n" for name, version in sorted(found, key=lambda item: item[0].lower()))


def machine(device: str, precision: str) -> str:
    """JSON with the builds and the processor, but no name of a person, host or folder."""
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        torch = "not installed"
    content = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "torch": torch,
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpu": _processor(),
        "cpus": os.cpu_count(),
        "device": device,
        "precision": precision,
    }
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """What git says, or None where there is no git, no repository, or no such thing in it."""
    try:
        return _run_git(*arguments).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None


def _refusal() -> str:
    """Why git will not look into a repository that is there: it may be another owner's."""
    try:
        _run_git("rev-parse", "--git-dir")
    except subprocess.CalledProcessError as error:
        lines = (line.strip() for line in error.stderr.decode(errors="replace").splitlines())
        words = shown(" ".join(filter(None, lines)))
        return "" if "not a git repository" in words else words
    except (OSError, subprocess.SubprocessError):
        pass
    return ""


def _run_git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    # Without the optional locks, so that this never stands in the way of a person's own git; and in one language.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return subprocess.run(
        ["git", *arguments], capture_output=True, env=environment, timeout=20, check=True, stdin=subprocess.DEVNULL
    )
