"""From an entry, all that is to be recorded of one state, to one complete MLflow run, whatever was there before."""

import json
import posixpath
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from retrace.artifacts.dvc_lock import Changes, Lock, compare, parse
from retrace.runtime.errors import UserError
from retrace.runtime.integrity import LOCK
from retrace.tracking.environment import Times
from retrace.tracking.model import Served, find_model, lacks_model, log_model
from retrace.tracking.points import Point
from retrace.tracking.registry import Candidate, Registered, register
from retrace.tracking.run_files import log_pictures, read_artifact
from retrace.tracking.run_page import Previous

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

FINGERPRINT = "retrace.fingerprint"
COMPLETE = "retrace.complete"
RECORDED = "retrace.recorded"
# While files that were gone are brought back: those of the model, or of the run, may be half written.
REFILLING = "retrace.refilling"
MILLISECONDS = "retrace.milliseconds"
STAGES = "retrace.stages"  # that ran for it
EXPERIMENTS = "retrace.dvc_experiment"
# When the training began that `retrace follow` mirrors into a run: that run is the state's, once there is one.
TRAINING = "retrace.training_started"

# MLflow's limits: entities a call, characters of a value.
METRICS_AT_ONCE = 1000
PARAMS_AT_ONCE = 100
LONGEST_PARAM = 6000

T = TypeVar("T")


@dataclass(frozen=True)
class DataSet:
    """One side of the data. digest: DVC's own hash of the file. columns: name -> MLflow type."""

    name: str
    context: Literal["training", "validation", "test"]
    path: Path
    digest: str
    rows: int
    columns: dict[str, str]


@dataclass(frozen=True)
class RunContent:
    """All of a run but its id.

    name, description: as functions, because they say what changed against a run that only the store knows.
    files: (local path, artifact folder); texts: artifact path -> content; pictures: files that are compared by eye.
    ran: the stages that ran for this state, empty where that is not known.
    """

    lock: Lock
    committed: Lock | None
    params: dict[str, str]
    points: list[Point]
    tags: dict[str, str]
    times: Times
    now: int
    served: Served
    candidate: Candidate
    files: list[tuple[Path, str]]
    texts: dict[str, str]
    pictures: list[Path]
    datasets: list[DataSet]
    ran: list[str]
    name: Callable[[Changes | None], str]
    description: Callable[[str, Previous | None, Registered], str]


@dataclass(frozen=True)
class Outcome:
    run_id: str
    name: str
    happened: Literal["found", "refilled", "completed", "recorded"]
    registered: Registered | None = None


def sync_run(client: "MlflowClient", experiment: str, model_name: str, entry: RunContent) -> Outcome:
    """Find the run of this state, complete it, or make it."""
    from mlflow.entities import Metric, Param, RunTag

    fingerprint = entry.lock.fingerprint
    runs = list(client.search_runs([experiment], f"tags.`{FINGERPRINT}` = '{fingerprint}'", max_results=100))
    for found in runs:
        if found.data.tags.get(COMPLETE) == "true":
            _add_experiment(client, found, entry.tags.get(EXPERIMENTS))
            happened: Literal["found", "refilled"] = "refilled" if refill(client, found, entry) else "found"
            return Outcome(found.info.run_id, found.info.run_name, happened)
    previous = find_previous(client, experiment, entry.lock)
    live = None if runs else find_live(client, experiment, entry.times.started, entry.params)
    if runs:
        run = runs[0]
    else:
        reference = compare(entry.committed, entry.lock) if entry.committed else None
        # Committed already, it differs in nothing from the committed state.
        if not (reference and (reference.params or reference.code)):
            reference = previous.changes if previous else None
        name = entry.name(reference or None)
        own = {FINGERPRINT: fingerprint, MILLISECONDS: str(entry.times.milliseconds), **entry.tags}
        if live:
            run = adopt(client, live, name, own)
        else:
            run = client.create_run(experiment, start_time=entry.times.start, tags=own, run_name=name)
    run_id, logged = run.info.run_id, logged_points(client, run)

    params = {key: value[:LONGEST_PARAM] for key, value in entry.params.items()}
    for some_params in batches([Param(*item) for item in params.items()], PARAMS_AT_ONCE):
        client.log_batch(run_id, params=some_params, synchronous=True)

    model = log_model(client, run, entry.served, {FINGERPRINT: fingerprint}, params)
    evaluated_on = {each.context: {"dataset_name": each.name, "dataset_digest": each.digest} for each in entry.datasets}

    # From the run's own start, not from a clock or a file that may have changed: the same point again is the same.
    start, length = run.info.start_time, int(run.data.tags.get(MILLISECONDS, 0))
    metrics = [
        Metric(
            point.key,
            point.value,
            start + round(length * point.at),
            point.step,
            **({"model_id": model.model_id, **evaluated_on[point.side]} if point.side else {}),
        )
        for point in entry.points
        # What evaluates the model is written in two places, of which an interrupted recording may have reached one.
        if point.side or (point.key, point.step) not in logged
    ]
    for some_metrics in batches(metrics, METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=some_metrics, synchronous=True)

    client.log_inputs(run_id, datasets=[dataset_input(each) for each in entry.datasets])
    _log_files(client, run, entry)
    registered = register(client, model_name, model, entry.candidate)

    recorded = datetime.fromtimestamp(entry.now / 1000, UTC).isoformat(timespec="milliseconds")
    tags = [
        RunTag("mlflow.note.content", entry.description(run_id, previous, registered)),
        RunTag(RECORDED, recorded),
        RunTag(STAGES, ", ".join(entry.ran) or "not known"),
    ]
    client.log_batch(run_id, tags=tags, synchronous=True)
    # Of a training run whose times are not known, those of its recording.
    end = start + (length or max(time.time_ns() // 1_000_000 - entry.now, 0))
    client.set_terminated(run_id, "FINISHED", end)
    # Last: a run without this tag was cut off, and the next `record` completes it.
    client.set_tag(run_id, COMPLETE, "true")
    return Outcome(run_id, run.info.run_name, "completed" if runs or live else "recorded", registered)


def refill(client: "MlflowClient", run: "Run", entry: RunContent) -> bool:
    """Bring back the files of a complete run and of its model; False if none was missing.

    They lie beside the database and may be deleted alone. What was decided in the registry stays as it is.
    """
    run_id = run.info.run_id
    again = REFILLING in run.data.tags
    model = find_model(client, run)
    if not (again or lacks_files(client, run_id, entry) or model is None or lacks_model(client, model, entry.served)):
        return False
    client.set_tag(run_id, REFILLING, "true")
    log_model(client, run, entry.served, {FINGERPRINT: entry.lock.fingerprint}, {}, again=True)
    _log_files(client, run, entry)
    client.delete_tag(run_id, REFILLING)
    return True


def lacks_files(client: "MlflowClient", run_id: str, entry: RunContent) -> bool:
    wanted = {posixpath.join(folder, path.name) for path, folder in entry.files} | set(entry.texts)
    folders = {posixpath.dirname(path) for path in wanted}
    there = {each.path for folder in folders for each in client.list_artifacts(run_id, folder or None)}
    pictures = client.list_artifacts(run_id, "images") if entry.pictures else []
    return not wanted <= there or len(pictures) < 2 * len(entry.pictures)


def _add_experiment(client: "MlflowClient", run: "Run", name: str | None) -> None:
    """Another DVC experiment that came to the same state is named beside the first."""
    names = [each for each in run.data.tags.get(EXPERIMENTS, "").split(", ") if each]
    if name and name not in names:
        client.set_tag(run.info.run_id, EXPERIMENTS, ", ".join([*names, name]))


def find_live(
    client: "MlflowClient", experiment: str, started: str, params: Mapping[str, str] | None = None
) -> "Run | None":
    """The mirror of the training that began then, if no state has it yet and its parameters are among `params`."""
    for run in client.search_runs([experiment], f"tags.`{TRAINING}` = '{started}'") if started else ():
        own = run.data.params.items()
        if FINGERPRINT not in run.data.tags and (
            # They differ where params.yaml was changed under way: MLflow changes no param, so that run is lost.
            params is None or all(value == params.get(key, "")[:LONGEST_PARAM] for key, value in own)
        ):
            return run
    return None


def adopt(client: "MlflowClient", run: "Run", name: str, tags: Mapping[str, str]) -> "Run":
    """Make the mirror of a training run the run of its state; what it holds already stays."""
    from mlflow.entities import RunTag

    # The name first: with the fingerprint the run counts as one that was cut off, and is completed as it is.
    client.update_run(run.info.run_id, name=name)
    client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()], synchronous=True)
    return client.get_run(run.info.run_id)


def find_previous(client: "MlflowClient", experiment: str, lock: Lock) -> Previous | None:
    """The complete run that was recorded last, and what changed since."""
    runs = client.search_runs(
        [experiment], f"tags.`{COMPLETE}` = 'true'", order_by=[f"tags.`{RECORDED}` DESC"], max_results=1
    )
    if not runs:
        return None
    info = runs[0].info
    text = read_artifact(client, info.run_id, LOCK.name)
    try:
        changes = compare(parse(text.decode()), lock) if text else None
    except (UserError, ValueError):
        changes = None
    return Previous(info.run_id, info.run_name, info.experiment_id, changes)


def logged_points(client: "MlflowClient", run: "Run") -> set[tuple[str, int]]:
    """(key, step) of what a run that was cut off already holds: asking is ten times faster than logging it again."""
    run_id = run.info.run_id
    return {(key, metric.step) for key in run.data.metrics for metric in client.get_metric_history(run_id, key)}


def dataset_input(each: DataSet) -> Any:
    """As mlflow.data would make it, without the table in memory and the second that its import takes."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    schema = [{"name": name, "type": kind, "required": True} for name, kind in each.columns.items()]
    dataset = Dataset(
        name=each.name[:500],
        digest=each.digest[:36],
        source_type="local",
        source=json.dumps({"uri": each.path.as_posix()}),
        schema=json.dumps({"mlflow_colspec": schema}, ensure_ascii=False),
        profile=json.dumps({"num_rows": each.rows, "num_elements": each.rows * len(each.columns)}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", each.context)])


def _log_files(client: "MlflowClient", run: "Run", entry: RunContent) -> None:
    run_id = run.info.run_id
    for path, folder in entry.files:
        client.log_artifact(run_id, str(path), folder or None)
    folders: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for artifact, text in entry.texts.items():
        parent, _, name = artifact.rpartition("/")
        folders[parent].append((name, text))
    for folder, files in folders.items():
        with tempfile.TemporaryDirectory() as local:
            for name, text in files:
                (Path(local) / name).write_text(text, "utf-8")
            client.log_artifacts(run_id, local, folder or None)
    if entry.pictures:
        log_pictures(client, run_id, entry.pictures, run.info.start_time)


def batches(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
