"""What the fuzzers share: whole pipelines inside this process, and what must hold wherever one of them ends.

A process for each stage would cost seconds a case. `main()` of a stage is all that its process does but for signals and
for the exit status, which `UserError` brings with it.
"""

import contextlib
import functools
import gc
import importlib
import io
import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
from ruamel.yaml import YAML
from threadpoolctl import threadpool_limits

from retrace.artifacts.tables import read_table
from retrace.params import messages, reader
from retrace.runtime.errors import BAD_DATA, BAD_PARAMS, MACHINE_FAULT, UserError
from tests.conftest import ROOT

GRAPH = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]

# A file is synced whenever it is written; in memory that costs nothing.
MEMORY = Path("/dev/shm")
# What DVC does not know, and no result depends on, may be left of a stage that has failed.
ASIDE = ".retrace"


def settings(cases: Callable[[int, int], int], sample: int, campaign: int = 10_000) -> hypothesis.settings:
    """The same cases in each sample, others in each campaign."""
    count = cases(sample, campaign)
    return hypothesis.settings(
        max_examples=count,
        derandomize=count == sample,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


@contextlib.contextmanager
def many() -> Iterator[None]:
    """For many cases: one thread, since more get in each other's way, and no search for garbage in the libraries."""
    gc.freeze()
    with threadpool_limits(1):
        yield
    gc.unfreeze()


class End(NamedTuple):
    """Where a pipeline ended: its last stage, and the fault that it ended with, if it did not finish."""

    stage: str
    status: int = 0
    lines: tuple[str, ...] = ()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """An empty working directory."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as path,
        contextlib.chdir(path),
        _parsed_once(),
    ):
        yield Path(path)


def run(*stages: str) -> End:
    """Run stages one after the other, until one of them ends with a fault."""
    end = End("")
    for stage in stages:
        end = call(stage, importlib.import_module(f"stages.{stage}").main)
        if end.status:
            break
        written = outputs(stage)
        assert all(path.is_file() for path in written), f"{stage} has not written all of {written}"
        for path in written:
            if path.suffix == ".json":
                read_json(path)
    return end


def call(name: str, main: Callable[[], None]) -> End:
    """Call a stage or command; what it says is fit to be read, and if it fails nothing has changed."""
    before = files()
    said, complained = io.StringIO(), io.StringIO()
    end = End(name)
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
        warnings.catch_warnings(),
    ):
        # A user would find one on the terminal, with the path of a library's file and half a line of its code.
        warnings.simplefilter("error")
        try:
            main()
        except UserError as fault:
            end = End(name, fault.status, tuple(str(fault).split("\n")))
    for line in [*said.getvalue().split("\n")[:-1], *complained.getvalue().split("\n")[:-1], *end.lines]:
        assert line.isprintable(), f"not fit for a terminal: {line!r}"
    for line in [*said.getvalue().split("\n")[:-1], *complained.getvalue().split("\n")[:-1]]:
        assert line.startswith(f"{name}: "), line
    if end.status:
        assert end.status in (BAD_PARAMS, BAD_DATA, MACHINE_FAULT)
        assert files() == before, f"{name} has failed and yet changed files"
        for line in end.lines:
            assert re.match(r"\S.{10}", line), line
            assert "Traceback" not in line
            assert "Error:" not in line, line
    return end


def files() -> dict[str, tuple[int, int]]:
    """All files with what changes when they are written; none of them is one that was to be renamed."""
    found = {}
    for place, folders, names in os.walk("."):
        # A training that fails after more than a second leaves a checkpoint, as it should.
        folders[:] = [folder for folder in folders if folder not in (ASIDE, ".checkpoints")]
        for name in names:
            assert not name.endswith(".tmp"), f"{place}/{name} was left behind"
            facts = os.stat(os.path.join(place, name))  # noqa: PTH116, PTH118
            found[f"{place}/{name}"] = (facts.st_ino, facts.st_mtime_ns)
    return found


def outputs(stage: str) -> list[Path]:
    """What dvc.yaml says that a stage writes."""
    listed = [each for kind in ("outs", "metrics", "plots") for each in GRAPH[stage].get(kind, ())]
    return [Path(next(iter(each)) if isinstance(each, dict) else each) for each in listed]


def read_json(path: Path) -> Any:
    """JSON as others read it, which has no NaN and no infinity."""

    def constant(text: str) -> None:
        raise AssertionError(f"{path} holds {text}")

    return json.loads(path.read_bytes(), parse_constant=constant)


def check_predictions() -> None:
    """Each test row has probabilities that add up to 1."""
    table = read_table(Path("reports/predictions.parquet"))
    names = [name for name in table.column_names if name.startswith("probability_")]
    for row in zip(*(table.column(name).to_pylist() for name in names), strict=True):
        assert all(0 <= share <= 1 for share in row)
        assert abs(sum(row) - 1) < 1e-6


@contextlib.contextmanager
def _parsed_once() -> Iterator[None]:
    """Parsing params.yaml takes as long as a small stage, and every stage of a case does it: the same bytes once."""
    parse = reader.parse

    @functools.lru_cache(maxsize=1)
    def remembered(content: bytes) -> Any:
        return parse(messages.PATH)

    reader.parse = lambda path: remembered(path.read_bytes())
    try:
        yield
    finally:
        reader.parse = parse
