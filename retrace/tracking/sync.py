"""From an entry, all that is to be recorded of one state, to one complete MLflow run, whatever was there before."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from retrace.artifacts.dvc_lock import Changes, Lock, compare, parse
from retrace.runtime.errors import UserError
from retrace.runtime.integrity import LOCK
from retrace.tracking.environment import Times
from retrace.tracking.model import Served, find_model, lacks_model, log_model
from retrace.tracking.registry import Candidate, Registered, register
from retrace.tracking.run_files import read_artifact
from retrace.tracking.run_page import Previous, RunPlace
from retrace.tracking.run_parts import (
    COMPLETE,
    FINGERPRINT,
    LONGEST_PARAM,
    NOTE,
    Outcome,
    RunParts,
    find_runs,
    finish,
    lacks_files,
    log_files,
    log_metrics,
    log_params,
    logged_points,
    set_tags,
)
from retrace.tracking.study_link import STUDY, TRAIN, StudyLink, find_study, link

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

RECORDED = "retrace.recorded"
# While files that were gone are brought back: those of the model, or of the run, may be half written.
REFILLING = "retrace.refilling"
MILLISECONDS = "retrace.milliseconds"
STAGES = "retrace.stages"  # that ran for it
EXPERIMENTS = "retrace.dvc_experiment"
# When the training began that `retrace follow` mirrors into a run: that run is the state's, once there is one.
TRAINING = "retrace.training_started"


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
class RunContent(RunParts):
    """All of the run of a state but its id.

    name, description: as functions, because they say what changed against a run that only the store knows.
    ran: the stages that ran for this state, empty where that is not known.
    """

    lock: Lock
    committed: Lock | None
    times: Times
    now: int
    served: Served
    candidate: Candidate
    datasets: list[DataSet]
    ran: list[str]
    name: Callable[[Changes | None], str]
    description: Callable[[RunPlace, Previous | None, Registered, StudyLink | None], str]


def sync_run(client: "MlflowClient", experiment: str, model_name: str, entry: RunContent) -> Outcome:
    """Find the run of this state, complete it, or make it."""
    from mlflow.entities import Metric

    fingerprint = entry.lock.fingerprint
    runs, study = find_runs(client, experiment, fingerprint), find_study(client, entry.tags.get(TRAIN, ""))
    for found in runs:
        if found.data.tags.get(COMPLETE) == "true":
            if study:
                link(client, found, study)
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

    log_params(client, run_id, entry.short_params)

    model = log_model(client, run, entry.served, {FINGERPRINT: fingerprint}, entry.short_params)
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
    log_metrics(client, run_id, metrics)

    client.log_inputs(run_id, datasets=[dataset_input(each) for each in entry.datasets])
    log_files(client, run, entry)
    registered = register(client, model_name, model, entry.candidate)

    recorded = datetime.fromtimestamp(entry.now / 1000, UTC).isoformat(timespec="milliseconds")
    tags = {
        NOTE: entry.description(RunPlace(run_id, run.info.experiment_id), previous, registered, study),
        RECORDED: recorded,
        STAGES: ", ".join(entry.ran) or "not known",
        **({STUDY: study.run_id} if study else {}),
    }
    # Of a training run whose times are not known, those of its recording.
    end = start + (length or max(time.time_ns() // 1_000_000 - entry.now, 0))
    finish(client, run_id, tags, end)
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
    log_files(client, run, entry)
    client.delete_tag(run_id, REFILLING)
    return True


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
    # The name first: with the fingerprint the run counts as one that was cut off, and is completed as it is.
    client.update_run(run.info.run_id, name=name)
    set_tags(client, run.info.run_id, tags)
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
