"""The model as MLflow keeps it: a folder that loads, predicts and is served anywhere, with nothing pickled in it.

A pyfunc "model from code": the shipped files, the code that reads them (a copy of what `evaluate` ran, so that what is
served is what was tested), a signature by column name, and requirements that are given, since MLflow would take ten
seconds to guess them.
"""

import importlib.metadata
import json
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from retrace.artifacts.result_page import RESULT_PAGE
from retrace.runtime.imports import closure
from retrace.tracking.mlflow_internals.loading import CODE_LOADER

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.tracking import MlflowClient

NAME = "classifier"
ENTRY = Path("retrace/serving/pyfunc.py")
# What it imports of the project, and of others; a test compares the latter.
CODE = tuple(Path(path) for path in closure(ENTRY.as_posix()) if path != ENTRY.as_posix())
LIBRARIES = ("mlflow", "numpy", "pandas", "pyarrow", "safetensors", "torch")


@dataclass(frozen=True)
class Served:
    """description: content of models/model.json; files: the shipped ones; example: real rows, a column a feature.

    page: of the result, where there is one.
    """

    description: Mapping[str, Any]
    files: tuple[Path, ...]
    example: pa.Table
    threshold: float
    page: str | None = None


def log_model(
    client: "MlflowClient",
    run: "Run",
    served: Served,
    tags: dict[str, str],
    params: dict[str, str],
    again: bool = False,
) -> "LoggedModel":
    """The run's logged model: found where an interrupted recording left it, else made; ready, with its files.

    again: write its files anew, though they seem to be there.
    """
    from mlflow.entities import LoggedModelOutput

    run_id, experiment = run.info.run_id, run.info.experiment_id
    model = find_model(client, run) or client.create_logged_model(experiment, NAME, run_id, tags, params, "classifier")
    if again or lacks_model(client, model, served):
        with tempfile.TemporaryDirectory() as folder:
            write_model(Path(folder) / "model", served, run_id, model.model_id)
            client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
        model = client.finalize_logged_model(model.model_id, "READY")
    if not (run.outputs and run.outputs.model_outputs):
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    return model


def find_model(client: "MlflowClient", run: "Run") -> "LoggedModel | None":
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return models[0] if models else None


def lacks_model(client: "MlflowClient", model: "LoggedModel", served: Served) -> bool:
    """Whether its files were never all there, or some are gone."""
    from mlflow.entities import LoggedModelStatus

    if model.status != LoggedModelStatus.READY:
        return True
    wanted = {"MLmodel", "code", ENTRY.name, *(f"artifacts/model/{path.name}" for path in served.files)}
    wanted |= {RESULT_PAGE.name} if served.page else set()
    there = {
        each.path
        for folder in (None, "artifacts/model")
        for each in client.list_logged_model_artifacts(model.model_id, folder)
    }
    return not wanted <= there


def write_model(folder: Path, served: Served, run_id: str, model_id: str) -> None:
    """Write the folder.

    Piece by piece and not by mlflow.pyfunc.save_model, which writes paths of this machine into it, and takes most of a
    second to compare the requirements with the environment that they come from.
    """
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    for path in served.files:
        _copy(path, folder / "artifacts" / "model" / path.name)
    for path in CODE:
        _copy(path, folder / "code" / path)
    _copy(ENTRY, folder / ENTRY.name)
    if served.page:
        (folder / RESULT_PAGE.name).write_text(served.page, "utf-8")

    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements()), "utf-8")
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(json.dumps(environment), "utf-8")
    columns = served.example.to_pydict()
    example = {"columns": list(columns), "data": list(zip(*columns.values(), strict=True))}
    # A time as ISO 8601, the way a request over HTTP has it.
    example = json.loads(json.dumps(example, default=lambda time: time.isoformat()))
    (folder / "input_example.json").write_text(json.dumps(example), "utf-8")
    (folder / "serving_input_example.json").write_text(json.dumps({"dataframe_split": example}), "utf-8")

    # MLflow's own types refuse what pandas, JSON and CSV make of a value: its double a whole number, its string a
    # number, its boolean a missing value, its datetime a text. retrace/serving/frame.py takes them, or refuses by row.
    inputs = [ColSpec(AnyType(), name) for name in served.description["features"]]
    probabilities = [ColSpec(DataType.double, f"probability_{name}") for name in served.description["classes"]]
    model = Model(
        artifact_path=NAME,
        run_id=run_id,
        model_uuid=model_id,
        model_id=model_id,
        signature=ModelSignature(Schema(inputs), Schema([ColSpec(DataType.string, "label"), *probabilities])),
        saved_input_example_info={
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        },
    )
    mlflow.pyfunc.add_to_model(
        model,
        CODE_LOADER,
        code="code",
        python_env="python_env.yaml",
        model_config={"threshold": served.threshold},
        model_code_path=ENTRY.name,
        artifacts={"model": {"path": "artifacts/model", "uri": "artifacts/model"}},
    )
    model.save(str(folder / "MLmodel"))


def requirements() -> list[str]:
    """The libraries that the model runs with, at the versions it was made with; a local build's suffix is left out."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in LIBRARIES]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
