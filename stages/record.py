"""Stage `record`: one MLflow run for this state of the pipeline.

Reads   dvc.lock, data/schema.json, data/train.parquet, data/validation.parquet, data/test.parquet (their schemas)
        models/model.json, models/model.safetensors, models/training.json, the code that a served model runs
        TABLES, PREDICTIONS and STEPS below, and every figure that dvc.lock names
Writes  the tracking store
        .retrace/recorded, a digest of what was recorded

Stages never talk to the tracker: their files are the truth, and the run is their mirror. The same state finds its run
again, a run that was cut off is completed, and a store that was deleted is filled anew.

`retrace follow` mirrors a training that is under way into the run that this stage later completes.
"""

# First, so that a library that cannot be loaded is one line, too.
from retrace.runtime.run import run  # isort: split

import csv
import gc
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from retrace.artifacts.dvc_lock import PATH as LOCK
from retrace.artifacts.dvc_lock import Changes, Lock, read_lock, show
from retrace.artifacts.schema import Schema, read_schema
from retrace.artifacts.tables import count_rows, read_bytes, read_first, read_table, read_types
from retrace.evaluation.comparisons import leads, what_ships
from retrace.evaluation.gate import gate
from retrace.params.gate import Gate
from retrace.params.messages import PATH as PARAMS
from retrace.params.reader import read
from retrace.params.record import Record
from retrace.runtime.atomic import write_text
from retrace.runtime.errors import BAD_DATA, Fault
from retrace.runtime.integrity import restore
from retrace.runtime.stage_log import forget, stages_that_ran
from retrace.runtime.text import escape, one_line
from retrace.tracking import describe
from retrace.tracking.artifacts import PICTURES
from retrace.tracking.circumstances import Git, Times, dvc_experiment, machine, packages, read_git, read_times
from retrace.tracking.describe import Previous
from retrace.tracking.follow import dismiss, settle
from retrace.tracking.location import Store, locate
from retrace.tracking.model import CODE, ENTRY, Served
from retrace.tracking.points import MOST_POINTS, epoch_points, headline_points, safe_key, safe_keys, step_points
from retrace.tracking.registry import Candidate, Registered, hits
from retrace.tracking.replay import EXPERIMENTS, FINGERPRINT, DataSet, Entry, Outcome, replay
from retrace.tracking.store import connect, open_experiment, probe
from retrace.tracking.store_errors import faults
from retrace.tracking.store_lock import locked

TRAIN = Path("data/train.parquet")
VALIDATION = Path("data/validation.parquet")
TEST = Path("data/test.parquet")
SCHEMA = Path("data/schema.json")
MODEL = Path("models/model.json")
WEIGHTS = Path("models/model.safetensors")
TRAINING = Path("models/training.json")
HISTORY = Path("reports/history.csv")
LOSS = Path("reports/loss.csv")
STEPS = Path("reports/steps.parquet")
METRICS = Path("reports/metrics.json")
BASELINE = Path("reports/baseline.json")
REPORT = Path("reports/classification_report.txt")
CLASSES = Path("reports/classes.csv")
CONFUSION_MATRIX = Path("reports/confusion_matrix.csv")
DATA = Path("reports/data.md")
FINDINGS = Path("reports/data.json")
CALIBRATION = Path("reports/calibration.csv")
PRECISION_RECALL = Path("reports/precision_recall.csv")
REPLICAS = Path("reports/replicas.csv")
ROC = Path("reports/roc.csv")
SLICES = Path("reports/slices.csv")
IMPORTANCE = Path("reports/importance.csv")
PREDICTIONS = Path("reports/predictions.parquet")
TABLES = (
    HISTORY,
    LOSS,
    METRICS,
    BASELINE,
    REPORT,
    CLASSES,
    CONFUSION_MATRIX,
    DATA,
    FINDINGS,
    CALIBRATION,
    PRECISION_RECALL,
    REPLICAS,
    ROC,
    SLICES,
    IMPORTANCE,
)
FIGURES = Path("reports/figures")
MARKER = Path(".retrace/recorded")
EXAMPLES = 5
T = TypeVar("T")
LONGEST_TAG = 500


class State(NamedTuple):
    """The pipeline's state, from its files.

    findings: of FINDINGS; hits: which test rows are right; history: rows of HISTORY; steps: losses of the replica
    that ships, or the mean of all.
    """

    lock: Lock
    schema: Schema
    training: dict[str, Any]
    metrics: dict[str, Any]
    findings: list[dict[str, str]]
    hits: np.ndarray[Any, np.dtype[np.bool_]]
    served: Served
    header: list[str]
    history: np.ndarray[Any, np.dtype[np.float64]]
    steps: np.ndarray[Any, np.dtype[np.floating[Any]]]
    figures: list[Path]
    datasets: list[DataSet]
    times: Times
    git: Git
    ran: list[str]


def record(state: State, bar: Gate, experiment: str, now: int) -> Entry:
    """All that the run of this state holds. experiment: DVC's name for it, or ""; now: milliseconds since 1970.

    bar: the gate's as it stands now; whether the model passes is decided once, and a new bar changes no old decision.
    """
    names = safe_keys(state.metrics["classes"])
    points = [
        *headline_points(state.metrics, names),
        *epoch_points(state.header, state.history, state.training["shipped"]),
        *step_points(state.steps),
    ]
    params = {safe_key(key): show(value) for key, value in state.lock.params.items()}
    pictures = [name for name in ("loss", "confusion_matrix") if FIGURES / f"{name}.png" in state.figures]
    facts = _facts(state)

    def name(changes: Changes | None) -> str:
        return describe.run_name(state.schema.dataset, state.metrics, state.lock.params, changes, experiment)

    def description(run_id: str, previous: Previous | None, registered: Registered) -> str:
        return describe.description(
            run_id, state.schema.dataset, state.metrics, state.training, previous, registered, facts, pictures
        )

    return Entry(
        lock=state.lock,
        committed=state.git.committed,
        params=params,
        points=points,
        tags=_tags(state, names, experiment),
        times=state.times,
        now=now,
        served=state.served,
        candidate=_candidate(state, bar),
        files=[
            *((path, "figures") for path in state.figures),
            *((path, "tables") for path in (*TABLES, PREDICTIONS)),
            (PARAMS, ""),
            (LOCK, ""),
        ],
        texts={
            "environment/packages.txt": packages(),
            "environment/machine.json": machine(state.training["device"], state.training["precision"]),
        },
        pictures=[path for path in state.figures if path.stem in PICTURES],
        datasets=state.datasets,
        ran=state.ran,
        name=name,
        description=description,
    )


def _candidate(state: State, bar: Gate) -> Candidate:
    try:
        passed, line = True, gate(state.metrics, bar)
    except Fault as fault:
        passed, line = False, str(fault)
    return Candidate(
        passed=passed,
        gate=line,
        test=state.lock.outs[TEST.as_posix()],
        hits=state.hits,
        confidence=state.metrics["confidence"],
        remarks=_remarks(state, line),
        tags={FINGERPRINT: state.lock.fingerprint},
    )


def _remarks(state: State, gate_line: str) -> list[str]:
    """That the model is a mean, and which baselines are better, unless the gate's line has it already."""
    better = [lead.text for lead in leads(state.metrics.get("baseline") or {}) if lead.text not in gate_line]
    shipped, replicas = state.training["shipped"], len(state.training["replicas"])
    mean = [f"The model is {what_ships(shipped, replicas)}."] if shipped is None else []
    return [*mean, *(f"On the same test rows {text}." for text in better)]


def _tags(state: State, names: dict[str, str], experiment: str) -> dict[str, str]:
    tags = {
        "retrace.dataset": state.schema.dataset,
        "retrace.device": f"{state.training['device']} ({state.training['device_reason']})",
        "retrace.times": "of the training" if state.times.of_training else "of the recording",
        "mlflow.source.name": "dvc repro",
        "mlflow.source.type": "LOCAL",
        **{f"retrace.class.{key}": name for name, key in names.items() if key != name},
        **_finding_tags(state.findings),
    }
    if state.git.commit:
        tags["mlflow.source.git.commit"] = state.git.commit
        tags["retrace.uncommitted_changes"] = "true" if state.git.uncommitted else "false"
    if experiment:
        tags[EXPERIMENTS] = experiment
    return tags


def _finding_tags(findings: list[dict[str, str]]) -> dict[str, str]:
    """How many, and of each kind what was found, cut where it is long: the run's tables/data.md has the whole."""
    texts: dict[str, list[str]] = {}
    for finding in findings:
        texts.setdefault(safe_key(finding["kind"]), []).append(finding["text"])
    kinds = {f"data.finding.{kind}": one_line("; ".join(each), LONGEST_TAG) for kind, each in texts.items()}
    return {"data.findings": str(len(findings)), **kinds}


def _facts(state: State) -> list[str]:
    training = state.training
    facts = [f"For it ran: {', '.join(state.ran)}."] if state.ran else []
    facts += [f"Trained on {escape(training['device'])} ({escape(training['device_reason'])})."]
    if state.findings:
        count = "One thing" if len(state.findings) == 1 else f"{len(state.findings):,} things"
        facts.append(f"{count} to know about the data, in tables/data.md.")
    if not state.times.of_training:
        facts.append("Start and duration are those of the recording: those of the training are not known here.")
    if len(state.steps) > MOST_POINTS:
        every = -(-len(state.steps) // MOST_POINTS)
        facts.append(f"train/step_loss shows one of {every} steps; reports/steps.parquet has all {len(state.steps):,}.")
    return facts


def read_state(now: int) -> State:
    """Read and check the files; raises Fault when one is not what dvc.lock describes."""
    lock = read_lock()
    training = _parsed(TRAINING, lock.check(TRAINING), json.loads)
    rows = list(csv.reader(io.StringIO(lock.check(HISTORY).decode())))
    lock.check(STEPS)
    lock.check(SCHEMA)
    for path in (TRAIN, VALIDATION, TEST):
        lock.check_large(path)
    shipped = training["shipped"]
    shown = range(len(training["replicas"])) if shipped is None else [shipped]
    steps = [column.to_numpy() for column in read_table(STEPS, [f"replica_{replica}" for replica in shown]).columns]
    schema = read_schema()
    figures = sorted(Path(path) for path in lock.outs if Path(path).parent == FIGURES)
    for path in (*TABLES, *figures, ENTRY, *CODE):
        # What serves is this stage's own, and not in the lock until it is done.
        (read_bytes if path.parent == ENTRY.parent else lock.check)(path)
    weights, metrics = lock.check(WEIGHTS), _parsed(METRICS, lock.check(METRICS), json.loads)
    description = _parsed(MODEL, lock.check(MODEL), json.loads)
    # Some real rows of what the model takes.
    example = read_first(TEST, EXAMPLES, description["features"]).combine_chunks()
    return State(
        lock=lock,
        schema=schema,
        training=training,
        metrics=metrics,
        findings=_parsed(FINDINGS, lock.check(FINDINGS), json.loads)["findings"],
        hits=_parsed(PREDICTIONS, lock.check(PREDICTIONS), hits),
        served=Served(description, (MODEL, WEIGHTS), example, metrics["threshold"]),
        header=rows[0],
        history=np.array([[float(cell or "nan") for cell in row] for row in rows[1:]]).reshape(-1, len(rows[0])),
        steps=np.mean(steps, 0),
        figures=figures,
        datasets=[
            _dataset(TRAIN, "training", schema, lock),
            _dataset(VALIDATION, "validation", schema, lock),
            _dataset(TEST, "test", schema, lock),
        ],
        times=read_times(weights, now),
        git=read_git(lock),
        ran=stages_that_ran(),
    )


def _parsed(path: Path, content: T, parse: Callable[[T], Any]) -> Any:
    """The lock may tell the truth of a file that this code did not write."""
    try:
        return parse(content)
    except ValueError as error:
        reason = str(error).split("\n")[0]
        raise Fault(BAD_DATA, f"{path} is not what this code writes ({reason}); {restore(path)}") from None


def _dataset(path: Path, context: Any, schema: Schema, lock: Lock) -> DataSet:
    columns = {field.name: _column_type(field.type) for field in read_types(path)}
    digest = lock.outs[path.as_posix()]
    return DataSet(f"{schema.dataset} {path.stem}", context, path, digest, count_rows(path), columns)


def _column_type(kind: pa.DataType) -> str:
    """As MLflow's schemas name it."""
    if pa.types.is_timestamp(kind):
        return "datetime"
    if pa.types.is_boolean(kind):
        return "boolean"
    return "long" if pa.types.is_integer(kind) else "double" if pa.types.is_floating(kind) else "string"


def main() -> None:
    # A fifth of this process would go into collecting garbage that is not there.
    gc.disable()
    section = read(Record)
    store, now = locate(section.experiment), time.time_ns() // 1_000_000
    probe(store)
    state = read_state(now)
    entry = record(state, read(Gate), dvc_experiment(), now)
    with faults(store), locked(store):
        client = connect(store)
        experiment = open_experiment(client, store)
        outcome = replay(client, experiment, store.experiment, entry)
        dismiss(client, experiment, entry.times.started, outcome)
        settle(client, experiment, store)
    # Not the fingerprint: DVC does not run this stage for a change of code that changes no result, and a clone that
    # does must write the same.
    write_text(MARKER, f"{state.lock.content}\n")
    forget()
    print(_line(outcome, entry, store))


def _line(outcome: Outcome, entry: Entry, store: Store) -> str:
    run_name = f"run '{outcome.name}' ({outcome.run_id[:8]}) of experiment {store.experiment}"
    if outcome.happened == "found":
        return f"record: this state is recorded already: {run_name}"
    if outcome.happened == "refilled":
        return f"record: this state is recorded already; its files were gone from the store and are back: {run_name}"
    counts = f"{len(entry.params)} params, {len(entry.points):,} points, {len(entry.files) + len(entry.texts)} files"
    lines = [f"record: {outcome.happened} {run_name}: {counts}; {store.shown}"]
    if outcome.registered:
        lines.append(f"record: version {outcome.registered.version} of the model: {outcome.registered.reason}")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
