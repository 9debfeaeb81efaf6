"""Four real runs in a real store, MLflow as `make ui` starts it, and Chromium before it. Without one, tests skip."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browser import NAMES, PATIENCE, installed, opened
from tests.project import TINY, commit, copied, environment, finished, forget, git, once, repro, run, turn
from tests.served import served

METRICS = "reports/metrics.json"
QUEUED = "sleepy"
# Wide enough for the whole table: what is out of sight is not in the page.
WINDOW = {"width": 1800, "height": 1000}
# What MLflow's pages ask for that is not there, and do without.
DONE_WITHOUT = (
    *("/users/current", "/assistant/", "/traces", "/prompt", "/scorer", "/gateway", "/jobs", "/issues"),
    "/artifacts/presigned-download-url",
)


class Recorded(NamedTuple):
    """What a run must show, from the pipeline's own files. said: what its name says; accuracy: on the test rows."""

    said: tuple[str, ...]
    accuracy: float


class Project(NamedTuple):
    """runs: the oldest first."""

    root: Path
    runs: list[Recorded]


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Project:
    """Setting 1; setting 2, with two keys changed; one of them changed back; setting 1 again; one out of the queue."""
    if installed() is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)} is installed (.ci/run installs chromium)")
    with once("browser") as (folder, empty):
        if empty:
            (folder / "runs.json").write_text(json.dumps(make(folder / "my project")))
    root = copied(folder / "my project", tmp_path_factory.mktemp("browser") / "my project")
    runs = json.loads((folder / "runs.json").read_text())
    return Project(root, [Recorded(tuple(said), accuracy) for said, accuracy in runs])


def make(folder: Path) -> list[Recorded]:
    """Those runs, in a project there."""
    root = finished(folder)
    runs = []

    def reproduce(*said: str) -> None:
        assert repro(root)[-1] == "record"
        runs.append(Recorded(said, accuracy((root / METRICS).read_text())))

    # The committed state is what names speak of: without it the first run, with it what differs.
    (root / "mlflow.db").unlink()
    shutil.rmtree(root / "mlartifacts")
    forget(root, "record")
    lock = (root / "dvc.lock").rename(folder.parent / "lock")
    commit(root)
    lock.rename(root / "dvc.lock")
    reproduce("circles")
    commit(root)
    turn(root, {"train.hidden": [4], "train.epochs": 5})
    reproduce("hidden=[4]", "epochs=5")
    turn(root, {"train.epochs": TINY["train.epochs"]})
    reproduce("hidden=[4]")
    turn(root, {"train.hidden": [10]})
    assert repro(root) == ["record"]
    queue = ["exp", "run", "--queue", "--name", QUEUED, "--set-param", "train.activation=tanh"]
    for command in (queue, ["exp", "run", "--run-all", "--jobs", "1"]):
        done = run(root, "-m", "dvc", *command)
        assert done.returncode == 0, done.stdout + done.stderr
    (reference,) = git(root, "for-each-ref", "--format=%(refname)", f"refs/exps/**/{QUEUED}").split()
    runs.append(Recorded((QUEUED, "activation=tanh"), accuracy(git(root, "show", f"{reference}:{METRICS}"))))
    return runs


def accuracy(metrics: str) -> float:
    return json.loads(metrics)["accuracy"]


@pytest.fixture(scope="session")
def link(project) -> Iterator[str]:
    """What `make ui` prints."""
    with served(project.root, environment()) as ui:
        yield ui.link


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with opened() as opened_browser:
        yield opened_browser


@pytest.fixture
def page(link, browser, request, tmp_path) -> Iterator[Page]:
    """A page for one who was never here; keeps a screenshot of its end. Nothing is asked of another machine."""
    page = browser.new_page(viewport=WINDOW)
    page.set_default_timeout(PATIENCE)
    asked: list[str] = []
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    page.on("request", lambda request: asked.append(request.url))
    yield page
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    page.screenshot(path=folder / f"{request.node.name}.png")
    page.close()
    base = link.partition("?")[0]
    assert {url for url in asked if not url.startswith((base, f"blob:{base}", "data:"))} == set()
    assert [url for url in refused if not any(part in url for part in DONE_WITHOUT)] == []
