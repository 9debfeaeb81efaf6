"""A table of more bytes than the memory that a control group allows: divided and trained on, with no byte that tells.

Whoever holds all of it in memory is ended there. Skipped where this machine lets nobody make a control group. With a
table of gigabytes: campaigns/test_large_table.py.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.control_group import NotAllowedError, control_group
from retrace.artifacts import paths
from retrace.artifacts.schema import Schema, write_schema
from retrace.artifacts.tables import write_pieces
from tests.conftest import ROOT
from tests.project import environment, turn

MIB = 1 << 20
COLUMNS, ROWS, PIECE = 40, 1_500_000, 100_000
NAMES = [f"x{place}" for place in range(COLUMNS)]
# With fewer rows than usual in a row group, as a table of usual ones would have to be ten times as large.
SMALL_PIECES = "from retrace.data import split_files; split_files.ROWS_AT_ONCE = 100_000;"
IN_MEMORY = "split_files.available = lambda: 1 << 50;"
RUN = "import runpy; runpy.run_module('stages.{}', run_name='__main__')"
SPLITS = (paths.TRAIN, paths.VALIDATION, paths.TEST)


def pieces():
    """460 MiB in memory, of which few are on the disk."""
    random = np.random.default_rng(0)
    for _ in range(ROWS // PIECE):
        label = random.integers(0, 2, PIECE)
        columns = {name: random.integers(0, 50, PIECE) / 8 + label for name in NAMES}
        yield pa.table({**columns, "class": label})


@pytest.fixture
def stored(project) -> Path:
    write_pieces(paths.DATASET, pieces())
    write_schema(Schema("circles", NAMES, "class", ["a", "b"], [ROWS // 2] * 2, None))
    changes = {"split.method": "hash", "split.test_size": 0.02, "split.validation_size": 0.05, "train.window": 100_000}
    changes |= {"train.replicas": 1, "train.epochs": 1, "train.hidden": [8], "train.batch_size": 2048}
    turn(project, {**changes, "train.optimizer.learning_rate": 0.001})
    return project


def run(code: str, megabytes: int | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "ignore", "-c", code]
    variables = {**environment(), "PYTHONPATH": str(ROOT)}
    if megabytes is None:
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    try:
        with control_group(megabytes * MIB) as group:
            inside = ["sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh", *command]
            return subprocess.run(inside, env=variables, capture_output=True, text=True, check=False)
    except NotAllowedError as error:
        pytest.skip(str(error))


def digests(*files: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def test_a_table_larger_than_memory_is_divided_and_trained_on(stored):
    small = 340
    split = SMALL_PIECES + RUN.format("split")
    done = run(split, small)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("split: train 1,39")
    divided = digests(*SPLITS)
    # Who does not mind is ended: the limit is one.
    assert run(SMALL_PIECES + IN_MEMORY + RUN.format("split"), small).returncode in (-9, 4)
    assert run(split).returncode == 0
    assert digests(*SPLITS) == divided

    # torch alone takes more than half of it.
    small = 340
    done = run(RUN.format("train"), small)
    assert done.returncode == 0, done.stderr
    models = sorted(Path("models").iterdir())
    trained = digests(*models)
    turn(stored, {"train.window": None})
    done = run(RUN.format("train"), small)
    assert done.returncode == 4, done.stderr
    assert "; set train.window: " in done.stderr
    turn(stored, {"train.window": 100_000})
    assert run(RUN.format("train")).returncode == 0
    assert digests(*models) == trained
    assert not [path for path in Path(".retrace").iterdir() if path.name.startswith("tmp")]
