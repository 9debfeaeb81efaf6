"""The project's SQLite store after the project was moved or copied: real MLflow, real folders, real servers."""

import contextlib
import gc
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from retrace.tracking import location, store
from retrace.tracking.mlflow_internals import relocation
from stages import record
from tests.conftest import ROOT
from tests.served import served
from tests.state import PNG, environment, fetch, make_state, md5, rows, runs, write_lock

HERE = b"# the one at the new place"
ELSEWHERE = "file:///somewhere/mlartifacts/elsewhere"


def go(monkeypatch, root: Path) -> None:
    """As a new process there would: MLflow keeps the store that it was told last in the environment."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.setenv(name, "")
    monkeypatch.chdir(root)


@pytest.fixture(autouse=True)
def collector():
    yield
    gc.enable()


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A project with a run and, through MLflow's own client, what else can name artifacts."""
    root = tmp_path_factory.mktemp("original") / "my project #1 100%20 ü"
    make_state(root)
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        go(patch, root)
        record.main()
        client = store.connect(location.locate("retrace"))
        (version,) = client.search_model_versions("name = 'retrace'")
        model = client.get_logged_model(version.source.removeprefix("models:/"))
        client.create_model_version("retrace", f"{model.artifact_location}/MLmodel", version.run_id)
        trace = client.start_trace("trace", experiment_id=model.experiment_id).trace_id
        client.end_trace(trace)
        mlflow.flush_trace_async_logging()
        client.create_experiment("elsewhere", ELSEWHERE)
    return root


def named(root: Path) -> list[str]:
    """Every text of the whole database that names artifacts."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection:
        return re.findall(r"'([^']*/mlartifacts/[^']*)'", "\n".join(connection.iterdump()))


def mark(root: Path) -> None:
    """Tell a store's files from those that it was copied from."""
    for path in (*root.rglob("artifacts/figures/loss.png"), *root.rglob("MLmodel")):
        path.write_bytes(path.read_bytes() + HERE)


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): md5(path) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("how", ["copied", "moved"])
def test_a_project_that_was_copied_or_moved_opens_its_artifacts_and_writes_new_ones_to_the_new_place(
    original, tmp_path, monkeypatch, capsys, how
):
    import mlflow.artifacts

    root = tmp_path / "zwei' 50% #2"
    if how == "copied":
        shutil.copytree(original, root)
    else:
        shutil.copytree(original, tmp_path / "before")
        go(monkeypatch, tmp_path / "before")
        record.main()
        (tmp_path / "before").rename(root)
    left, counted = files(original), len(named(original))
    go(monkeypatch, root)
    mark(root)
    write_lock(root, learning_rate=0.5)
    capsys.readouterr()
    record.main()
    first, second, third = capsys.readouterr().out.splitlines()
    came_from = original if how == "copied" else tmp_path / "before"
    assert first == f"tracking store {root}/mlflow.db: came here from {came_from}, and so did its artifacts"
    assert second.startswith("record: recorded run 'learning_rate=0.5")
    assert third.startswith("record: version 3 of the model: ")
    assert "gone" not in third

    uris = [uri for uri in named(root) if uri != ELSEWHERE]
    assert len(uris) == counted - 1 + 3  # run, model and version
    assert all(uri.startswith(f"{(root / 'mlartifacts').as_uri()}/") for uri in uris)
    client = store.connect(location.locate("retrace"))
    old, new = (Path(client.download_artifacts(run_id, "figures/loss.png")) for run_id in runs(root, "retrace"))
    assert (old.read_bytes(), new.read_bytes()) == (PNG + HERE, PNG)
    for version in client.search_model_versions("name = 'retrace'"):
        uri = client.get_model_version_download_uri("retrace", version.version)
        path = Path(mlflow.artifacts.download_artifacts(uri))
        lines = (path if path.is_file() else path / "MLmodel").read_bytes().splitlines()
        assert (HERE in lines) == (str(version.version) != "3")
    assert files(original) == left
    # The description says what changed against the run before, whose dvc.lock is one of its artifacts.
    changed = "%train.optimizer.learning\\_rate 0.1 → **0.5**%"
    assert rows(root, "SELECT COUNT(*) FROM tags WHERE value LIKE ?", changed) == [(1,)]


def test_nothing_is_touched_unless_the_store_surely_moved(original, tmp_path, capsys):
    database, artifacts = tmp_path / "a" / "mlflow.db", tmp_path / "a" / "mlartifacts"
    assert relocation.relocate(original / "mlflow.db", original / "mlartifacts") is None
    database.parent.mkdir()
    shutil.copyfile(original / "mlflow.db", database)
    before = md5(database)
    # The artifacts stayed where they were.
    assert relocation.relocate(database, artifacts) is None
    artifacts.mkdir()
    assert relocation.relocate(database, artifacts) is None
    # They are the same ones.
    artifacts.rmdir()
    artifacts.symlink_to(original / "mlartifacts")
    assert relocation.relocate(database, artifacts) is None
    assert md5(database) == before
    # A person keeps them in a folder of another name.
    artifacts.unlink()
    shutil.copytree(original / "mlartifacts", artifacts)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = 's3://bucket/mlartifacts/0' WHERE experiment_id = 0"
        )
    before = md5(database)
    assert relocation.relocate(database, artifacts) is None
    assert md5(database) == before


def test_a_store_whose_old_place_is_gone_takes_the_new_one_though_its_artifacts_are_lost(original, tmp_path):
    former = tmp_path / "former"
    shutil.copytree(original, former)
    assert relocation.relocate(former / "mlflow.db", former / "mlartifacts") == original
    shutil.rmtree(former / "mlartifacts")
    former.rename(tmp_path / "now")
    assert relocation.relocate(tmp_path / "now/mlflow.db", tmp_path / "now/mlartifacts") == former
    assert relocation.relocate(tmp_path / "now/mlflow.db", tmp_path / "now/mlartifacts") is None


def test_a_copy_of_a_store_without_runs_does_not_write_into_the_original(original, tmp_path):
    database, artifacts = tmp_path / "mlflow.db", tmp_path / "mlartifacts"
    shutil.copyfile(original / "mlflow.db", database)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM runs")
        connection.execute("DELETE FROM logged_models")
    assert relocation.relocate(database, artifacts) == original
    assert relocation.relocate(database, artifacts) is None


def test_ui_serves_the_pictures_of_a_copy_from_the_copy(original, tmp_path):
    root = tmp_path / "copy % ü"
    shutil.copytree(original, root)
    (run_id,) = runs(root, "retrace")
    mark(root)
    with served(root, environment()) as ui:
        assert f"came here from {original}" in ui.said
        picture = f"{ui.base}/get-artifact?path=figures%2Floss.png&run_uuid={run_id}"
        assert fetch(picture, **ui.own) == (200, PNG + HERE)


OPEN = {
    "record": """
from retrace.tracking.location import locate
from retrace.tracking.store import connect
from retrace.tracking.store_errors import translate_errors
from retrace.tracking.store_lock import locked
store = locate("retrace")
for _ in range(2):
    with translate_errors(store), locked(store):
        connect(store).search_experiments()
""",
    "ui": """
from pathlib import Path
from retrace.tracking.mlflow_internals.server import application
application("sqlite:///mlflow.db", Path("mlartifacts").absolute().as_uri())
""",
}


@pytest.mark.parametrize("who", OPEN)
def test_a_store_is_opened_also_where_the_environment_lies_in_a_folder_with_a_percent(tmp_path, who):
    """That of MLflow itself, as .venv in the project's folder is."""
    import mlflow

    packages = tmp_path / "50%20 off"
    packages.mkdir()
    (packages / "mlflow").symlink_to(Path(mlflow.__file__).parent)
    code = f"{OPEN[who]}\nimport sys; assert '%' in sys.modules['mlflow'].__file__"
    path = os.pathsep.join((str(packages), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mlflow.db").is_file()
