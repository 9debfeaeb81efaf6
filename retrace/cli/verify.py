"""`make verify`: does the committed state reproduce? Exit status 0, or 1 when a file differs.

Clones the last commit into a temporary folder with an empty cache, brings there what DVC has of it and no stage makes
(a table, say), reruns every stage, and compares each output with the hash in the committed dvc.lock. Where the bytes
differ, as they may on another type of machine, the numbers are compared with the original, if it is at hand: in the
workspace, in git or in the DVC cache.
"""

import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dvc.exceptions import DvcException
from dvc.repo import Repo
from safetensors.numpy import load as load_tensors

from retrace.artifacts.dvc_lock import parse
from retrace.artifacts.training import TRAINING, read_training_report
from retrace.cli.repository import bring_sources, clone, git, words
from retrace.runtime.digest import md5
from retrace.runtime.errors import BAD_DATA, MACHINE_FAULT, UserError
from retrace.runtime.integrity import LOCK
from retrace.runtime.text import shown

# Sum of absolute differences over sum of absolute values, all numbers of a file taken together. Rows and splits come
# out of generators that are exact to rounding; thousands of training steps let rounding grow.
TOLERANCE_DATA = 1e-9
TOLERANCE_RESULT = 0.02
# What may differ on another type of machine without being wrong: digests of the weights, and where it was trained.
NOT_COMPARED = re.compile(r"[0-9a-f]{64}")
OF_THE_MACHINE = {"device", "device_reason", "portable"}  # in models/training.json
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
# Of the machine, not of the state: they would lead the clone to somebody else's tracking store or project.
FOREIGN = ("MLFLOW_", "DVC_")
# (DVC keeps the entry of a stage that is gone. And a rerun brings no original: it makes what this machine makes.)
NO_LONGER = "is MADE no longer: dvc.lock is older than dvc.yaml; commit it after: rm -f dvc.lock && dvc repro"
NO_ORIGINAL = (
    "DIFFERS in bytes; its original is not here to compare numbers with: bring it with: dvc pull, or commit dvc.lock"
    " after: dvc repro"
)


class OutputCheck(NamedTuple):
    """Whether one output reproduces, and in words how."""

    path: str
    text: str
    good: bool


class Verification(NamedTuple):
    """checks: one for each output that the committed dvc.lock names.

    portable: whether the rerun's training was one that gives the same bytes on every processor.
    """

    checks: list[OutputCheck]
    portable: bool


def verify(root: Path) -> Verification:
    try:
        with Repo(str(root)) as repo:
            cache = Path(repo.cache.local.path)
    except DvcException as error:
        raise UserError(BAD_DATA, f"verify: {words(error)}") from None
    with tempfile.TemporaryDirectory(prefix="retrace verify ") as folder:
        project = clone(root, Path(folder) / "clone")
        committed = outputs(project)
        bring_sources(root, project)
        # Without it every stage runs, as with --force; but that would also ask where an imported table came from.
        (project / LOCK).unlink()
        _repro(project)
        rerun = outputs(project)
        checks = [
            check_output(path, digest, rerun.get(path), _content(project / path), original(root, cache, path, digest))
            for path, digest in committed.items()
        ]
        trained = (project / TRAINING).exists()
        return Verification(checks, trained and read_training_report(project).portable)


def outputs(folder: Path) -> dict[str, str]:
    """Path and MD5 of every output in dvc.lock."""
    try:
        return parse((folder / LOCK).read_text("utf-8", "replace")).files
    except FileNotFoundError:
        raise UserError(MACHINE_FAULT, f"{LOCK} is not in the last commit; commit it after: dvc repro") from None
    except UserError:
        raise UserError(
            BAD_DATA, f"{LOCK} of the last commit cannot be read; commit it after: rm -f {LOCK} && dvc repro"
        ) from None


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def check_output(
    path: str, committed: str, rerun: str | None, content: bytes | None, reference: bytes | None
) -> OutputCheck:
    """Of one output: the hashes of the commit and of the rerun, the new content, and the committed one."""
    if rerun == committed:
        return OutputCheck(path, "identical", True)
    if content is None:
        return OutputCheck(path, NO_LONGER, False)
    if reference is None:
        return OutputCheck(path, NO_ORIGINAL, False)
    tolerance = TOLERANCE_DATA if path.startswith("data/") else TOLERANCE_RESULT
    try:
        old, new = contents(path, reference), contents(path, content)
    except Exception as error:  # each format has its own; another code may have written the committed one
        reason = shown(f"{type(error).__name__}: {error}")[:100]
        return OutputCheck(path, f"DIFFERS, and cannot be compared ({reason})", False)
    if old.texts != new.texts or old.numbers.shape != new.numbers.shape:
        return OutputCheck(path, "DIFFERS in text or shape", False)
    finite = np.isfinite(old.numbers)
    if (finite != np.isfinite(new.numbers)).any():
        return OutputCheck(path, "DIFFERS in which numbers are finite", False)
    gap = np.abs(old.numbers - new.numbers)[finite].sum()
    distance = gap / scale if (scale := np.abs(old.numbers[finite]).sum()) else gap
    if distance <= tolerance:
        return OutputCheck(path, f"within tolerance: off by {distance:.1e} of {tolerance:g}", True)
    return OutputCheck(path, f"DIFFERS: off by {distance:.1e}, tolerance {tolerance:g}", False)


class Contents(NamedTuple):
    """All numbers of a file in order, float64, and all else."""

    numbers: np.ndarray[Any, np.dtype[np.float64]]
    texts: list[str]


def contents(path: str, raw: bytes) -> Contents:
    match Path(path).suffix:
        case ".parquet":
            table = pq.ParquetFile(io.BytesIO(raw), page_checksum_verification=True).read()
            columns = dict(zip(table.column_names, table.columns, strict=True))
            numeric = [c.to_numpy().astype(np.float64) for c in columns.values() if _is_number(c.type)]
            texts = [str(value) for c in columns.values() if not _is_number(c.type) for value in c.to_pylist()]
            return Contents(np.concatenate([np.empty(0), *numeric]), [*columns, *texts])
        case ".safetensors":
            tensors = sorted(load_tensors(raw).items())
            return Contents(np.concatenate([tensor.ravel() for _, tensor in tensors]), [name for name, _ in tensors])
        case ".png":
            from matplotlib.image import imread  # 0.5 s, and only where a picture differs

            pixels = imread(io.BytesIO(raw))
            return Contents(pixels.ravel().astype(np.float64), [str(pixels.shape)])
        case ".json":
            content = json.loads(raw)
            if Path(path) == TRAINING:
                content = {key: value for key, value in content.items() if key not in OF_THE_MACHINE}
            cells = [str(cell) for cell in _leaves(content)]
        case ".csv":
            cells = [cell for row in csv.reader(io.StringIO(raw.decode())) for cell in row]
        case _:
            cells = raw.decode().split()
    numbers = [float(cell) for cell in cells if NUMBER.fullmatch(cell)]
    return Contents(
        np.array(numbers), [cell for cell in cells if not NUMBER.fullmatch(cell) and not NOT_COMPARED.fullmatch(cell)]
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def original(root: Path, cache: Path, path: str, digest: str) -> bytes | None:
    """The committed content of an output: whatever copy at hand has its hash."""
    for copy in (root / path, cache / digest[:2] / digest[2:]):
        if copy.is_file() and md5(copy.read_bytes()).hexdigest() == digest:
            return copy.read_bytes()
    done = subprocess.run(["git", "show", f"HEAD:./{path}"], cwd=root, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 and md5(done.stdout).hexdigest() == digest else None


def _leaves(content: Any) -> Iterator[Any]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from _leaves(value)
    elif isinstance(content, list):
        for value in content:
            yield from _leaves(value)
    else:
        yield content


def _repro(project: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    command = [sys.executable, "-m", "dvc", "repro", "--no-run-cache"]
    status = subprocess.run(command, cwd=project, env=environment, check=False).returncode
    if status:
        raise UserError(
            MACHINE_FAULT, f"verify: dvc repro failed with status {status} in a fresh clone of the last commit"
        )


@click.command(epilog="Example: retrace verify")
def command() -> None:
    """Rerun the last commit in a fresh clone and compare each output with dvc.lock; exit status 1 when one differs."""
    root = Path.cwd()
    named = git(root, "diff", "--name-only", "--no-renames", "--relative", "-z", "HEAD", may_fail=True)
    changes = named.split("\0")[:-1]
    if changes:
        names = shown(", ".join(changes))
        print(f"verify: the last commit is verified; uncommitted changes are not: {names}", file=sys.stderr)
    checks, portable = verify(root)
    print()
    for check in checks:
        print(f"{check.path:<42} {check.text}")
    bad = [check for check in checks if not check.good]
    same = "every x86-64 processor with AVX2" if portable else "processors of the same type"
    print(f"\nverify: {len(checks) - len(bad)} of {len(checks)} outputs reproduce; the same bytes come from {same}")
    if bad:
        raise UserError(1, f"verify: failed: {', '.join(check.path for check in bad)}")
