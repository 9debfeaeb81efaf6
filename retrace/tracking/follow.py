"""`make follow`: a training run that is under way, mirrored into the run that the stage record later completes.

The training writes its history into a side file (retrace/artifacts/live.py) and knows nothing of the tracker; this
reads it and logs what is true whatever comes: which replica ships is known at the end only.
"""

import hashlib
import os
import re
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from retrace.artifacts.dvc_lock import show
from retrace.artifacts.live import FACTS, LIVE_HISTORY, LiveTraining, check_training, read_training
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.runtime.processes import lives
from retrace.runtime.single_instance import single_instance
from retrace.runtime.text import escape
from retrace.tracking import run_page
from retrace.tracking.environment import committed_lock, last_finished, milliseconds
from retrace.tracking.location import Store
from retrace.tracking.points import live_points, safe_key
from retrace.tracking.run_parts import (
    FINGERPRINT,
    LONGEST_PARAM,
    Outcome,
    log_metrics,
    log_params,
    logged_points,
)
from retrace.tracking.store import connect, open_experiment, probe
from retrace.tracking.store_errors import translate_errors
from retrace.tracking.store_lock import locked
from retrace.tracking.sync import TRAINING, find_live

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

# Where the process of a training run is to be found, so that another one can tell whether it still lives.
PROCESS = "retrace.training_process"
FOLLOWING = Path(".retrace/follow.lock")

SECONDS = 2.0
WAITING_SECONDS = 0.5
# Of the history at a time: a run that is followed late catches up in some looks.
MOST_BYTES = 2**23

INTERRUPTED = 130


def follow(store: Store) -> None:
    """Wait for a training run, mirror it to its end. Raises UserError if it has none, or if this is interrupted."""
    # A store that is deleted meanwhile is made anew: no connection to the old file must be kept.
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    try:
        # Two would log each point twice.
        with single_instance(FOLLOWING, "follow: another one follows this project already; end that one first"):
            _follow(store, _wait(store))
    except KeyboardInterrupt:
        raise UserError(
            INTERRUPTED, "follow: ended; the next one, or the stage record, takes the run up again"
        ) from None


def _follow(store: Store, training: LiveTraining) -> None:
    mirror, down = Mirror(store, training), False
    while True:
        state = mirror.read()
        try:
            mirror.send(state)
            down = False
        except UserError as fault:
            if state != "under way":
                raise
            if not down:
                print(f"{fault}; follow goes on trying", file=sys.stderr, flush=True)
            down = True
        if state == "finished":
            rest = "completes it" if mirror.run_id else "makes a run of it"
            print(f"follow: the training has ended, {mirror.progress}; the stage record {rest}", flush=True)
            return
        if state == "cut off":
            raise UserError(
                MACHINE_FAULT, f"follow: the training was cut off, {mirror.progress}; start it again: dvc repro"
            )
        time.sleep(SECONDS)


State = Literal["under way", "finished", "cut off"]


class Mirror:
    """One training and its run: what was read of its history, and what the store has of that."""

    def __init__(self, store: Store, training: LiveTraining):
        self.store, self.training = store, training
        self.header: list[str] = []
        self.rows: list[list[float]] = []  # that were read and not yet logged
        self.offset = 0
        self.time = milliseconds(training.started)  # of what was read last, in milliseconds since 1970
        self.epoch, self.epoch_time = 0, self.time  # the last one that was logged
        self.run_id = ""
        # What the run held before: of an earlier process, or of a call that broke off; None where that must be asked.
        # It may reach beyond what was read: a training run that was cut off goes on from an epoch before.
        self.logged: set[tuple[str, int]] | None = None
        # As texts, as `record` will log them.
        self.params = {safe_key(key): show(value) for key, value in training.params.items()}

    @property
    def progress(self) -> str:
        return f"mirrored up to epoch {self.epoch:,} of at most {self.training.epochs:,}"

    def read(self) -> State:
        """What is new in the history, and how the training stands."""
        state = state_of(self.training)
        # What has ended writes no more: read it to its end. (The state comes first, so that this is the end.)
        while self._read() and state != "under way":
            pass
        return state

    def _read(self) -> bool:
        try:
            with open(LIVE_HISTORY, "rb") as file:
                at = max(os.fstat(file.fileno()).st_mtime_ns // 1_000_000, self.time)
                file.seek(self.offset)
                content = file.read(MOST_BYTES)
        except FileNotFoundError:
            return False
        # A line that is being written waits; what another training run began to write is not this one's.
        end = content.rfind(b"\n") + 1
        if not end or read_training() != self.training:
            return False
        lines = content[:end].decode().splitlines()
        if not self.header:
            self.header = lines.pop(0).split(",")
        self.rows += [[float(cell or "nan") for cell in line.split(",")] for line in lines]
        self.offset += end
        self.time = at
        return True

    def send(self, state: State) -> None:
        """Log the epochs that are whole. Raises UserError when the store cannot be used; nothing is lost by that."""
        whole = self._whole(state)
        if self.run_id and not whole and state == "under way":
            return
        probe(self.store)
        with translate_errors(self.store), locked(self.store):
            client = connect(self.store)
            experiment = open_experiment(client, self.store)
            if not self.run_id:
                close_orphans(client, experiment, self.store)
            run = find_live(client, experiment, self.training.started)
            # Asked again, now that no `record` can be at work: what has ended is its business.
            if run is None and state_of(self.training) == "under way":
                run = self._create(client, experiment)
            if run is None:
                return
            if self.run_id != run.info.run_id:
                self.run_id = run.info.run_id
                name = f"'{run.info.run_name}' ({self.run_id[:8]}) of experiment {self.store.experiment}"
                print(f"follow: mirroring into run {name}; {self.store.shown}", flush=True)
            if not run.data.params:
                log_params(client, self.run_id, {key: value[:LONGEST_PARAM] for key, value in self.params.items()})
            self._log(client, run, whole)
            if state == "cut off":
                close(client, run)

    def _whole(self, state: State) -> int:
        """How many of the rows belong to epochs of which no row is still to come."""
        if not self.rows or state == "finished":
            return len(self.rows)
        last = self.rows[-1][0]
        count = sum(row[0] == last for row in self.rows[-self.training.replicas :])
        return len(self.rows) if count == self.training.replicas else len(self.rows) - count

    def _create(self, client: "MlflowClient", experiment: str) -> "Run":
        training = self.training
        committed = committed_lock()
        before = {key: show(value) for key, value in committed.params.items()} if committed else {}
        return client.create_run(
            experiment,
            start_time=milliseconds(training.started),
            tags={
                TRAINING: training.started,
                PROCESS: f"{training.pid} {training.born} {_machine()}",
                "retrace.dataset": training.dataset,
                "retrace.device": training.device,
                "mlflow.source.name": "dvc repro",
                "mlflow.source.type": "LOCAL",
                "mlflow.note.content": "**This training is under way.** The stage `record` completes this run.",
            },
            run_name=run_page.live_name(self.params, before),
        )

    def _log(self, client: "MlflowClient", run: "Run", whole: int) -> None:
        from mlflow.entities import Metric

        logged = logged_points(client, run) if self.logged is None else self.logged
        self.logged = None
        if whole:
            rows, training = np.array(self.rows[:whole]), self.training
            points = live_points(self.header, rows, training.replicas, training.epochs, self.epoch)
            length = self.time - self.epoch_time
            metrics = [
                Metric(point.key, point.value, self.epoch_time + round(length * point.at), point.step)
                for point in points
                if (point.key, point.step) not in logged
            ]
            log_metrics(client, run.info.run_id, metrics)
            self.epoch, self.epoch_time = int(rows[-1, 0]), self.time
            del self.rows[:whole]
        self.logged = logged


def state_of(training: LiveTraining) -> State:
    # In this order: its last act is to say that it has finished.
    running = read_training() == training and lives(training.pid, training.born)
    if last_finished(Path()) == training.started:
        return "finished"
    return "under way" if running else "cut off"


def close_orphans(client: "MlflowClient", experiment: str, store: Store) -> None:
    """Close the runs of trainings that came to no end while nobody looked. To be called within `locked`."""
    waiting = last_finished(store.root)
    for run in client.search_runs([experiment], f"attributes.status = 'RUNNING' AND tags.`{TRAINING}` != ''"):
        tags = run.data.tags
        process = re.fullmatch(r"(\d+) (\S+) (\w+)", tags.get(PROCESS, ""))
        if FINGERPRINT in tags or tags[TRAINING] == waiting or not process:
            continue
        # A store in a file is on the machine of its trainings, also where that has another name by now.
        if (store.database or process[3] == _machine()) and not lives(int(process[1]), process[2]):
            close(client, run)


def close(client: "MlflowClient", run: "Run") -> None:
    """The run of a training run that was cut off, or whose result was never recorded."""
    run_id = run.info.run_id
    epoch, end = 0, run.info.start_time
    # Any curve will do: they are logged together.
    for key in sorted(client.get_run(run_id).data.metrics)[:1]:
        last = max(client.get_metric_history(run_id, key), key=lambda metric: metric.step)
        epoch, end = last.step, last.timestamp
    planned = run.data.params.get("train.epochs", "?")
    text = f"**Ended at epoch {epoch} of at most {planned}**, as far as it was mirrored: no result of it was recorded."
    client.set_tag(run_id, "mlflow.note.content", text)
    client.set_terminated(run_id, "KILLED", end)


def delete_duplicate(client: "MlflowClient", experiment: str, started: str, recorded: Outcome) -> None:
    """Delete the mirror of a training run whose state had a run already: one run for each state."""
    if run := find_live(client, experiment, started):
        name = f"[{escape(recorded.name)}](#/experiments/{experiment}/runs/{recorded.run_id})"
        client.set_tag(run.info.run_id, "mlflow.note.content", f"The result of this training is that of {name}.")
        client.set_terminated(run.info.run_id, "FINISHED")
        client.delete_run(run.info.run_id)


def _wait(store: Store) -> LiveTraining:
    """The training that is under way, or the next one to begin."""
    try:
        first = check_training()
    except ValueError as error:
        # Of another version of this code, say. It is not the end: a training run that begins writes it anew.
        first = None
        print(f"follow: {FACTS} is not what this code writes ({error}); the next training replaces it", file=sys.stderr)
    if first and state_of(first) == "under way":
        return first
    print("follow: waiting for a training run; start one with: dvc repro", flush=True)
    try:
        # Also because all of this takes less time later, once it was done.
        probe(store)
        with translate_errors(store), locked(store):
            client = connect(store)
            close_orphans(client, open_experiment(client, store), store)
    except UserError as fault:
        print(f"{fault}; follow goes on trying", file=sys.stderr, flush=True)
    while True:
        training = read_training()
        # One that has ended since the last look is reported, too.
        if training and training != first:
            return training
        time.sleep(WAITING_SECONDS)


def _machine() -> str:
    """The same on the same machine; its name is nobody's business."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]
