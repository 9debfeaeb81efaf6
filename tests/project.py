"""Whole projects for tests: a copy of the working tree that runs in seconds, and real `dvc` in it."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from retrace.tracking.mlflow_internals.relocation import relocate
from tests import warm
from tests.conftest import PARAMS, ROOT
from tests.mlflow_store import FOLDER

# A project that runs in seconds: the shipped params.yaml with these changes.
TINY = {
    "create.rows": 400,
    "split.test_size": 0.25,
    "train.replicas": 2,
    "train.epochs": 3,
    "train.optimizer.learning_rate": 0.3,
    "evaluate.resamples": 100,
    "evaluate.grid": 10,
    "plot.dpi": 50,
    "plot.points": 50,
    "plot.smoothing": 3,
    "baseline.boosting_iterations": 5,
}


def copy_project(folder: Path, changes: dict[str, Any]) -> Path:
    """The working tree as a repository of its own (as a clone of it would be), with the shipped parameters, changed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(PARAMS)
    write_tables(folder / "data/tables")
    turn(folder, changes)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder)
    return folder


@contextlib.contextmanager
def once(name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all processes of this run of the tests share, and whether it is still to be filled."""
    shared = Path(os.environ[FOLDER])
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder, done = shared / name, shared / f"{name}.done"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        yield folder, not done.exists()
        done.touch()


def copied(project: Path, folder: Path) -> Path:
    """A project with all that it made and recorded, somewhere else."""
    shutil.copytree(project, folder, symlinks=True)
    if (folder / "mlflow.db").exists():
        relocate(folder / "mlflow.db", folder / "mlartifacts")
    return folder


def finished(folder: Path) -> Path:
    """A tiny project after its first `dvc repro`, which ran all stages."""
    with once("finished tiny project") as (made, empty):
        if empty:
            ran = repro(copy_project(made, TINY))
            assert len(ran) == 9, ran
    return copied(made, folder)


def forget(folder: Path, stage: str) -> None:
    """As if the stage had never ended, but for the run cache."""
    lock = (folder / "dvc.lock").read_text()
    (folder / "dvc.lock").write_text(re.sub(rf"^  {stage}:\n(    .*\n|  -.*\n)*", "", lock, flags=re.MULTILINE))


def write_tables(folder: Path) -> None:
    """The table that params.yaml names, two other ones, and in them a column of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    kind = random.integers(0, 2, 300)
    rows = {
        "number": (random.normal(size=300) + kind).round(3),
        "colour": random.choice(["red", "grün", "blue", "pink"], 300, p=[0.4, 0.3, 0.2, 0.1]),
        "flag": random.integers(0, 2, 300),
        # Found to be a category: of a time it lacks the minutes.
        "day": [f"2026-01-{day:02} 10" for day in random.integers(1, 29, 300)],
        "id": range(300),
        "more": random.integers(0, 5, 300),
        "class": np.where(kind, "yes", "no"),
    }
    for name, kept in (("table", 300), ("other", 280)):
        lines = [",".join(rows), *(",".join(map(str, row)) for row in zip(*rows.values(), strict=True))]
        (folder / f"{name}.csv").write_text("\n".join(lines[: kept + 1]) + "\n")
    # With either delimiter it is a table that has a class.
    text = "\n".join(f"{label};{more},{more % 2}" for more, label in zip(rows["more"], rows["class"], strict=True))
    (folder / "odd.csv").write_text(f"class;number,class\n{text}\n")
    # Here only a person can say what the sign is.
    text = "\n".join(f"{label};{1 + more},250" for more, label in zip(rows["more"], rows["class"], strict=True))
    (folder / "sums.csv").write_text(f"class;number\n{text}\n")


def without_notes(folder: Path) -> Path:
    """For stages that are no processes of their own: they leave no note of what they write, and others' are wrong."""
    (folder / "dvc.lock").unlink()
    shutil.rmtree(folder / ".retrace/written")
    return folder


def commit(folder: Path) -> None:
    """All that git does not ignore."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=tiny")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def turn(folder: Path, changes: dict[str, Any]) -> None:
    """Change dotted keys of the folder's params.yaml, keeping its comments."""
    path = folder / "params.yaml"
    text: str | None = path.read_text()
    for key, value in changes.items():
        text = text and turned(text, key.split("."), value)
    if text:
        path.write_text(text)
    else:
        turn_any(path, changes)


# Values that take no quotes and part of a line. (Reading and writing all of the file takes a tenth of a second.)
WORD = re.compile(r"(?!(null|true|false|yes|no|on|off|nan|inf)$)[a-z][a-z0-9_./]+")
PLAIN = re.compile(r"-?[0-9]+(\.[0-9]+)?|null|true|false|\[[0-9., -]*\]")
LINE = re.compile(r"(?P<key> *[\w]+: )(?P<value>[^#\s\"'\[{&|>][^#\n]*?|\[[^\]#\n\"']*\])(?P<rest> *(?: #.*)?\n)")


def turned(text: str, key: list[str], value: Any) -> str | None:
    """The text with that key changed where both values are plain and stand in a line; else None."""
    new = value if isinstance(value, str) else json.dumps(value)
    if not (WORD if isinstance(value, str) else PLAIN).fullmatch(new):
        return None
    at = 0
    for depth, name in enumerate(key):
        found = re.compile(rf"^{'  ' * depth}{name}:", re.MULTILINE).search(text, at)
        if not found or re.compile(rf"^ {{0,{2 * depth - 2}}}\w", re.MULTILINE).search(text, at, found.start()):
            return None
        at = found.end()
    line = LINE.match(text, found.start())
    return line and f"{text[: line.start()]}{line['key']}{new}{line['rest']}{text[line.end() :]}"


def turn_any(path: Path, changes: dict[str, Any]) -> None:
    yaml = YAML()
    content = yaml.load(path)
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = content
        for parent in parents:
            place = place[parent]
        assert last in place, key
        place[last] = value
    yaml.dump(content, path)


def environment() -> dict[str, str]:
    """This one's, without what would lead a run to somebody else's store; `python` is the python of the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


WARM = ("dvc", "retrace", "stages")


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python command` there. A stage, a command or DVC is forked (tests/warm.py), and so are the stages that DVC runs.

    `cold` starts a Python of its own.
    """
    if command[0] == "-m" and command[1].partition(".")[0] in WARM:
        return warm.run(folder, list(command), {**warm_environment(), **variables})
    return cold(folder, *command, **variables)


def warm_environment() -> dict[str, str]:
    """The same, but `python -m stages.X` is forked."""
    kept = environment()
    return {**kept, "PATH": f"{warm.folder()}{os.pathsep}{kept['PATH']}"}


def cold(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def repro(folder: Path) -> list[str]:
    """`dvc repro`; the stages that ran, in order."""
    done = run(folder, "-m", "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"^Running stage '(\w+)'", done.stdout, re.MULTILINE)
