"""What the tests share: the shipped parameters, sections of them with a few keys changed, a project folder."""

import functools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retrace.networks.arithmetic import NATIVE
from retrace.params import reader
from retrace.params.create import Create
from retrace.params.document import Document
from retrace.params.split import Split
from retrace.params.train import Train
from tests.mlflow_store import FOLDER, copy_instead_of_migrating
from tests.shipped import PARAMS, VALUES
from tests.shipped import ROOT as ROOT

# As a stage sets it, and as early: what trains in the tests' own process shall not depend on where numbers lie.
os.environ.update(NATIVE)
# A job in the background ignores Ctrl-C, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """A folder for what all processes of this run of the tests share; whoever is first makes it and removes it."""
    # Before a library is loaded that has threads of OpenMP: where other tests use the cores, too, those would wait for
    # each other at full speed, most of their time. It changes no result.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="retrace-tests-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(FOLDER)))


# The files that take longest, so that no worker is left with one of them at the end. The contracts come first of all:
# they train in a worker's own process, and whatever torch computed there before decides on its arithmetic.
LONGEST = (
    *("contracts", "resume", "machine", "queue", "tracker", "changes", "pages", "record", "repository", "file_repair"),
    *("follow", "advice", "table_command", "security_text", "backfill", "reading", "serving", "cache", "suspicions"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@functools.lru_cache(maxsize=64)
def parsed(content: bytes, path: Path) -> Document:
    return PARSE(path)


PARSE = reader.parse


@pytest.fixture(autouse=True)
def the_same_params_are_parsed_once(monkeypatch) -> None:
    """A tenth of a second each time, more than most tests take for all else."""
    monkeypatch.setattr(
        reader, "parse", lambda path: parsed(path.read_bytes(), path) if path.is_file() else PARSE(path)
    )


@pytest.fixture(autouse=True)
def stores_are_copies() -> None:
    copy_instead_of_migrating()


@pytest.fixture(autouse=True)
def own_tracking_uri(monkeypatch) -> None:
    """mlflow.set_tracking_uri also sets this variable, which the processes of later tests would inherit."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture(autouse=True)
def threads_of_other_tests_end_no_stage(monkeypatch) -> None:
    """A stage that fails leaves its process at once where a thread is left; here that would be a test's server."""
    monkeypatch.setattr("retrace.runtime.run.leave_at_once", sys.exit)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As a stage trains; other threads would not be in the copies that train beside each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """An empty project with the shipped parameters, as the working directory."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A deep copy with dotted keys changed; a key that does not exist is a KeyError."""
    values = {key: changed(value, {}) if isinstance(value, dict) else value for key, value in values.items()}
    for key, value in changes.items():
        place = values
        *parents, last = key.split(".")
        for parent in parents:
            place = place[parent]
        place[last], _ = value, place[last]
    return values


def create_section(**changes: Any) -> Create:
    return Create.model_validate(changed(VALUES["create"], changes))


def split_section(**changes: Any) -> Split:
    return Split.model_validate(changed(VALUES["split"], changes))


def train_section(**changes: Any) -> Train:
    """`optimizer_name="adam"` is train.optimizer.name; so with schedule_."""
    dotted = {}
    for key, value in changes.items():
        for group in ("optimizer", "schedule"):
            if key.startswith(f"{group}_"):
                key = f"{group}.{key.removeprefix(f'{group}_')}"
        dotted[key] = value
    return Train.model_validate(changed(VALUES["train"], dotted))
