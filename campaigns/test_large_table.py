"""A table of four times the memory that a control group allows, from `create` to `predict`; no byte tells.

Twenty million rows of 30 numbers: 4.5 GiB in memory, under 1.1 GiB; some 15 GB on the disk, and an hour.
"""

import hashlib
from pathlib import Path

import pytest

from benchmarks import large_tables
from benchmarks.control_group import NotAllowedError, control_group
from tests.project import turn

ROWS, LIMIT = 20_000_000, 1100 << 20
STAGES = ("validate", "create", "split", "baseline", "train", "evaluate", "plot", "report")
COMMANDS = [f"stages.{stage}" for stage in STAGES] + ["retrace predict data/tables/large said.parquet"]
CHANGES = {
    "split.test_size": 0.005,
    "split.validation_size": 0.01,
    "baseline.rows": 100_000,
    "baseline.boosting_iterations": 5,
    "evaluate.resamples": 100,
    "evaluate.permutations": 2,
    "train.replicas": 2,
    "train.ship": "mean",
}


def digests(folder: Path) -> dict[str, str]:
    files = [path for name in ("data", "models", "reports") for path in (folder / name).rglob("*")]
    files = [path for path in files if path.is_file() and "tables" not in path.parts] + [folder / "said.parquet"]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_table_of_four_times_the_memory_passes_and_the_limit_does_not_show(tmp_path):
    folder = large_tables.project(tmp_path / "large", ROWS)
    turn(folder, CHANGES)
    try:
        with control_group(LIMIT) as group:
            for command in COMMANDS:
                large_tables.measured(folder, command, group)
            # Who holds all rows in memory is told what to do.
            turn(folder, {"train.window": None})
            with pytest.raises(RuntimeError, match=r"; set train\.window: \d+, "):
                large_tables.measured(folder, "stages.train", group)
            turn(folder, {"train.window": large_tables.WINDOW})
            large_tables.measured(folder, "stages.train", group)
    except NotAllowedError as error:
        pytest.skip(str(error))
    limited = digests(folder)
    for command in COMMANDS:
        large_tables.measured(folder, command)
    assert digests(folder) == limited


def test_the_command_for_a_new_table_looks_through_it(tmp_path):
    """`retrace table` reads it twice, in pieces."""
    folder = large_tables.project(tmp_path / "large", ROWS)
    try:
        with control_group(LIMIT) as group:
            large_tables.measured(folder, "retrace table data/tables/large class --yes", group)
    except NotAllowedError as error:
        pytest.skip(str(error))
