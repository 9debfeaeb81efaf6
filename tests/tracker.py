"""A real `mlflow server` for tests, and all that a store holds of an experiment."""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import time
import urllib.request
from pathlib import Path

from tests import warm
from tests.mlflow_store import FOLDER, template
from tests.project import free_port

START_SECONDS = 600
# A request that hangs costs 3 s, or minutes by MLflow's own settings; the rest is for a busy machine.
HANG_SECONDS = 60
# The command as it is, but that what it starts takes its place: one process, which a signal reaches.
SERVER = """
import os, runpy, sys
from mlflow import cli, server
def take_its_place(command, extra_env, **_):
    os.environ.update(extra_env)
    sys.argv = command[2:]
    runpy.run_module(sys.argv[0], run_name="__main__")
server._exec_cmd = take_its_place
cli.cli(prog_name="mlflow")
"""


class Tracker:
    """An `mlflow server` with a store of its own in a folder."""

    def __init__(self, folder: Path, *options: str):
        port = free_port()
        if not options:
            shutil.copyfile(template(Path(os.environ[FOLDER])), folder / "server.db")
        self.folder, self.uri = folder, f"http://127.0.0.1:{port}"
        self.command = [
            *("-c", SERVER, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *(options or ("--backend-store-uri", f"sqlite:///{folder}/server.db")),
            *("--artifacts-destination", str(folder / "artifacts")),
        ]

    def start(self) -> None:
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_TRACKING_URI": ""}
        with open(self.folder / "log", "ab") as log, open(os.devnull) as nothing:
            files = {0: nothing.fileno(), 1: log.fileno(), 2: log.fileno()}
            self.process = warm.Started(self.folder, self.command, environment, files)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return
            time.sleep(0.1)
        self.kill()
        raise AssertionError((self.folder / "log").read_text())

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait()


def content(name: str, uri: str = "") -> list[dict]:
    """All that a store, or the one in use, holds of an experiment: its runs, oldest first, but for ids and when."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    import mlflow
    from mlflow.tracking import MlflowClient

    if uri:
        mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    experiment = client.get_experiment_by_name(name).experiment_id
    runs = client.search_runs([experiment], order_by=["tags.`retrace.recorded`"])
    models = client.search_logged_models([experiment], order_by=[{"field_name": "creation_time"}])
    ids = {run.info.run_id: f"run {index}" for index, run in enumerate(runs)}
    ids |= {model.model_id: f"model {index}" for index, model in enumerate(models)}
    # The registered model is named after the experiment.
    ids |= {name: "NAME", f"#/experiments/{experiment}/": "#/experiments/ID/"}

    def common(text: str) -> str:
        for key, value in ids.items():
            text = text.replace(key, value)
        return text

    found: list[dict] = []
    for run in runs:
        run_id = run.info.run_id
        points = [point for key in run.data.metrics for point in client.get_metric_history(run_id, key)]
        found.append(
            {
                "name": run.info.run_name,
                "times": (run.info.status, run.info.start_time, run.info.end_time),
                "params": run.data.params,
                "points": sorted((point.key, point.step, point.value, point.timestamp) for point in points),
                "tags": {key: common(value) for key, value in run.data.tags.items() if key != "retrace.recorded"},
                "inputs": sorted(str(each.to_dictionary()) for each in run.inputs.dataset_inputs),
                "outputs": [common(each.model_id) for each in run.outputs.model_outputs],
                "files": {
                    # A picture's name ends with an identity made of the run's id.
                    re.sub(r"\+[0-9a-f-]{36}(?=[.+])", "+ID", path): digest
                    for path, digest in files(Path(mlflow.artifacts.download_artifacts(run_id=run_id))).items()
                },
                "versions": [
                    (str(each.version), common(each.source), each.tags, each.description, each.status)
                    for each in client.search_model_versions(f"run_id = '{run_id}'")
                ],
            }
        )
    for model in models:
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
        found.append(
            {
                "status": model.status,
                "tags": {key: common(value) for key, value in model.tags.items()},
                "metrics": sorted((each.key, each.value, each.dataset_name) for each in model.metrics),
                # It names the ids.
                "model files": {path: digest for path, digest in files(folder).items() if path != "MLmodel"},
            }
        )
    aliases = client.get_registered_model(name).aliases
    return [*found, {"aliases": {alias: str(version) for alias, version in aliases.items()}}]


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_same(found: list[dict], expected: list[dict]) -> None:
    for one, other in zip(found, expected, strict=True):
        for key in other:
            assert one[key] == other[key], f"{key}:\n{one[key]}\n{other[key]}"
