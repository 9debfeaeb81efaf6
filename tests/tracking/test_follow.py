"""`make follow`: a real training beside a real mirror of it, interrupted, killed and taken up again; then the parts.

One project serves all: it is trained and recorded once, through DVC, while it is followed.
"""

import contextlib
import csv
import json
import math
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrace.artifacts.live import FACTS, LIVE_HISTORY, LOSS_OF_MEAN, Live, LiveTraining, read_training
from retrace.artifacts.training import CLOCK
from retrace.runtime.atomic import write_json
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.runtime.processes import born, lives
from retrace.runtime.single_instance import single_instance
from retrace.tracking import follow, points
from retrace.tracking.environment import last_finished
from retrace.tracking.location import Store, exists, locate
from retrace.tracking.run_parts import FINGERPRINT
from retrace.tracking.store import connect, open_experiment
from retrace.tracking.store_errors import translate_errors
from retrace.tracking.store_lock import locked
from retrace.tracking.sync import TRAINING
from stages import record, train
from tests import warm
from tests.project import TINY, copy_project, turn, warm_environment

# As whole numbers, which the section holds as 0.0 and 1.0, and dvc.lock does not.
SETTING = {**TINY, "train.replicas": 3, "train.optimizer.weight_decay": 0, "train.label_smoothing": 0}
LONG = {"train.epochs": 9000, "train.batch_size": 4}
# Long enough to be seen, some seconds.
SHORT = {"train.epochs": 250, "train.batch_size": 32, "train.hidden": [32, 32]}


def rows(database: Path, query: str, *values: Any) -> list[tuple]:
    if not exists(database):
        return []
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
        return connection.execute(query, values).fetchall()


def tags(database: Path, run_id: str) -> dict[str, str]:
    return dict(rows(database, "SELECT key, value FROM tags WHERE run_uuid = ?", run_id))


def params(database: Path, run_id: str) -> dict[str, str]:
    return dict(rows(database, "SELECT key, value FROM params WHERE run_uuid = ?", run_id))


def logged(database: Path, run_id: str) -> list[tuple]:
    return sorted(rows(database, "SELECT key, step, value FROM metrics WHERE run_uuid = ?", run_id))


def runs(database: Path, experiment: str = "retrace") -> dict[str, str]:
    """Run id -> status, of those that are not in the trash, in the order in which they were made."""
    query = (
        "SELECT run_uuid, status FROM runs JOIN experiments USING (experiment_id)"
        " WHERE experiments.name = ? AND runs.lifecycle_stage = 'active' ORDER BY runs.rowid"
    )
    return dict(rows(database, query, experiment))


def last_epoch(database: Path) -> int:
    return rows(database, "SELECT MAX(step) FROM metrics")[0][0] or 0 if exists(database) else 0


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"waited two minutes for {what}"
        time.sleep(0.05)


def curves(history: Path, last: int) -> dict[str, dict[int, float]]:
    """What the rows up to an epoch say, computed anew: bands, and the learning rate."""
    with open(history, newline="") as file:
        table = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    found: dict[str, dict[int, float]] = {}
    for epoch in sorted({int(row["epoch"]) for row in table if row["epoch"] <= last}):
        mine = [row for row in table if row["epoch"] == epoch]
        for column, key in (
            ("train_loss", "train/loss"),
            ("validation_loss", "validation/loss"),
            ("validation_accuracy", "validation/accuracy"),
        ):
            values = [row[column] for row in mine]
            for suffix, value in (("mean", sum(values) / len(values)), ("low", min(values)), ("high", max(values))):
                found.setdefault(f"{key}_{suffix}", {})[epoch] = value
        if len(mine) == SETTING["train.replicas"]:
            found.setdefault("learning_rate", {})[epoch] = mine[0]["learning_rate"]
    return found


def by_key(points: list[tuple]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for key, step, value in points:
        assert step not in found.setdefault(key, {}), f"{key} has step {step} twice"
        found[key][step] = value
    return found


# --- a whole project ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> dict[str, Any]:
    """Followed, interrupted, followed again, killed; then trained anew through DVC, followed and recorded."""
    with contextlib.ExitStack() as stack:
        return tell(tmp_path_factory, stack)


def tell(tmp_path_factory, stack: contextlib.ExitStack) -> dict[str, Any]:
    def start(folder: Path, *command: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [warm.forked(), "-u", "-m", *command],
            cwd=folder,
            env=warm_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(process.kill)
        return process

    folder = copy_project(tmp_path_factory.mktemp("follow") / "my project ü", SETTING | LONG)
    database, story = folder / "mlflow.db", {"folder": folder}
    first = start(folder, "retrace", "follow")
    story["waiting"] = first.stdout.readline()
    repro = start(folder, "dvc", "repro")
    until(lambda: last_epoch(database) > 0, "the first points")
    (run_id,) = runs(database)
    story["killed"] = run_id
    story["live"] = {
        "tags": tags(database, run_id),
        "params": params(database, run_id),
        "status": runs(database)[run_id],
    }
    training = json.loads((folder / FACTS).read_text())["pid"]
    # Only so that the next follow starts sooner.
    os.kill(training, signal.SIGSTOP)
    first.send_signal(signal.SIGINT)
    story["interrupted"] = (*first.communicate(timeout=120), first.returncode)
    story["epoch then"], story["status then"] = last_epoch(database), runs(database)[run_id]

    second = start(folder, "retrace", "follow")
    assert story["killed"][:8] in second.stdout.readline()
    os.kill(training, signal.SIGCONT)
    until(lambda: last_epoch(database) > story["epoch then"], "points of the second follow")
    os.kill(training, signal.SIGKILL)
    assert "failed to reproduce 'train'" in repro.communicate(timeout=120)[1]
    story["cut off"] = (*second.communicate(timeout=120), second.returncode)
    story["cut history"] = shutil.copyfile(folder / LIVE_HISTORY, folder.parent / "cut.csv")
    story["cut points"] = logged(database, run_id)

    turn(folder, SHORT)
    third = start(folder, "retrace", "follow")
    repro = start(folder, "dvc", "repro")
    until(lambda: len(runs(database)) == 2, "the second run")
    story["adopted"] = list(runs(database))[1]
    until(lambda: len(logged(database, story["adopted"])) > 0, "its first points")
    story["status under way"] = runs(database)[story["adopted"]]
    story["followed"] = (*third.communicate(timeout=120), third.returncode)
    story["mirrored"] = logged(database, story["adopted"])
    story["repro"] = (*repro.communicate(timeout=240), repro.returncode)
    return story


def test_a_training_is_mirrored_into_a_run_that_says_so(story):
    assert story["waiting"] == "follow: waiting for a training run; start one with: dvc repro\n"
    found = story["live"]
    assert found["status"] == "RUNNING"
    assert found["tags"]["mlflow.runName"].startswith("training: ")
    assert "batch_size=4" in found["tags"]["mlflow.runName"]
    assert "under way" in found["tags"]["mlflow.note.content"]
    assert found["params"]["train.optimizer.weight_decay"] == "0"
    assert found["params"]["train.hidden"] == "[10]"
    assert {key.partition(".")[0] for key in found["params"]} == {"train"}
    assert FINGERPRINT not in found["tags"]


def test_an_interrupt_ends_the_mirror_and_not_the_run(story):
    out, errors, status = story["interrupted"]
    assert status == 130
    assert re.fullmatch(r"follow: mirroring into run 'training: .*' \(\w{8}\) of experiment retrace; .*\.db\n", out)
    assert errors == "follow: ended; the next one, or the stage record, takes the run up again\n"
    assert story["status then"] == "RUNNING"


def test_the_next_follow_goes_on_and_says_that_the_training_was_killed(story):
    out, errors, status = story["cut off"]
    assert status == MACHINE_FAULT
    assert out == ""
    found = re.match(r"follow: the training was cut off, mirrored up to epoch ([\d,]+) of at most 9,000; ", errors)
    assert found, errors
    assert errors.count("\n") == 1
    last = int(found[1].replace(",", ""))
    assert last > story["epoch then"]
    database = story["folder"] / "mlflow.db"
    assert runs(database)[story["killed"]] == "KILLED"
    text = tags(database, story["killed"])["mlflow.note.content"]
    assert text.startswith(f"**Ended at epoch {last} of at most 9000**")
    # Each point once, and each one as the history has it, up to the last whole epoch.
    expected = curves(story["cut history"], last)
    assert by_key(story["cut points"]).keys() == expected.keys()
    for key, curve in by_key(story["cut points"]).items():
        assert curve == pytest.approx(expected[key], rel=1e-12), key
    with open(story["cut history"]) as file:
        assert sum(1 for _ in file) - 1 in range(3 * last, 3 * last + 3)


def test_record_completes_the_run_of_a_training_that_was_followed(story):
    out, errors, status = story["followed"]
    assert (errors, status) == ("", 0)
    line = r"follow: the training has ended, mirrored up to epoch \d+ of at most 250; the stage record completes it"
    assert re.fullmatch(line, out.splitlines()[-1]), out
    assert story["status under way"] == "RUNNING"
    out, errors, status = story["repro"]
    assert status == 0, errors
    assert f"({story['adopted'][:8]})" in re.search(r"record: completed run .*", out)[0]
    database, run_id = story["folder"] / "mlflow.db", story["adopted"]
    assert runs(database) == {story["killed"]: "KILLED", run_id: "FINISHED"}
    assert set(story["mirrored"]) < set(logged(database, run_id))
    by_key(logged(database, run_id))
    clock = json.loads((story["folder"] / CLOCK).read_text())
    begin = round(datetime.fromisoformat(clock["started"]).timestamp() * 1000)
    length = round(clock["seconds"] * 1000)
    ((at, end),) = rows(database, "SELECT start_time, end_time FROM runs WHERE run_uuid = ?", run_id)
    assert (at, end) == (begin, begin + length)
    ((low, high),) = rows(database, "SELECT MIN(timestamp), MAX(timestamp) FROM metrics WHERE run_uuid = ?", run_id)
    assert begin <= low < high <= end  # the first step may take less than a millisecond
    found = tags(database, run_id)
    assert (found["retrace.complete"], found[TRAINING]) == ("true", clock["started"])
    assert "training" not in found["mlflow.runName"]
    assert "**Test accuracy" in found["mlflow.note.content"]


def test_the_live_history_is_the_history(story):
    folder = story["folder"]
    assert (folder / LIVE_HISTORY).read_bytes() == (folder / "reports/history.csv").read_bytes()


# --- with the finished project --------------------------------------------------------------------------------------


@pytest.fixture
def here(story, monkeypatch, request) -> Store:
    """The finished project, its side files put back afterwards, and an experiment of the test's own."""
    folder = story["folder"]
    monkeypatch.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    monkeypatch.setattr(follow, "SECONDS", 0.05)
    monkeypatch.setattr(follow, "WAITING_SECONDS", 0.05)
    kept = {path: path.read_bytes() for path in (CLOCK, FACTS, LIVE_HISTORY)}
    yield locate(request.node.name)
    for path, content in kept.items():
        path.unlink(missing_ok=True)
        path.write_bytes(content)


@pytest.fixture
def recorded(here, story, tmp_path, monkeypatch) -> Store:
    """As `here`, with a store that has the project's own runs."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "retrace")
    shutil.copyfile(story["folder"] / "mlflow.db", tmp_path / "mlflow.db")
    return locate("retrace")


@contextlib.contextmanager
def under_way(epochs: int, **changes: Any):
    """A training of this project's own setting that has come this far, in a process that only sleeps."""
    facts = read_training()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) as process:
        try:
            own = facts.params | changes
            started = datetime.now(UTC).isoformat()
            training = LiveTraining(started, process.pid, born(process.pid), own, facts.dataset, facts.device)
            with Live(training) as writer:
                write(writer, epochs)
                yield training, writer
        finally:
            process.kill()


def write(writer: Live, epochs: int) -> None:
    """The history of the real training, up to an epoch."""
    with open("reports/history.csv", newline="") as file:
        header, *table = csv.reader(file)
    history = [[int(row[0]), int(row[1]), *map(float, row[2:])] for row in table if int(row[0]) <= epochs]
    writer.due = 0
    writer(header, history)


def mirror(store: Store, training: LiveTraining) -> follow.Mirror:
    mirrored = follow.Mirror(store, training)
    mirrored.send(mirrored.read())
    return mirrored


def finish(training: LiveTraining) -> None:
    """As if it were the one that made the model on disk."""
    clock = json.loads(CLOCK.read_text())
    CLOCK.write_text(json.dumps({**clock, "started": training.started}))


def test_a_run_that_was_followed_is_like_one_that_was_not(story, here, capsys, request):
    """The same keys, steps, values and params, where nobody followed."""
    record.main()
    assert "recorded run" in capsys.readouterr().out
    (run_id,) = runs(here.database, request.node.name)
    assert logged(here.database, run_id) == logged(here.database, story["adopted"])
    assert params(here.database, run_id) == params(here.database, story["adopted"])
    # What was live is what those curves begin with, all of them.
    mirrored = by_key(story["mirrored"])
    expected = curves(Path("reports/history.csv"), SHORT["train.epochs"])
    assert mirrored.keys() == expected.keys()
    for key, curve in mirrored.items():
        assert list(curve) == list(expected[key]), key


def test_a_state_that_has_its_run_keeps_it_and_the_mirror_goes(story, recorded, capsys):
    """As with `dvc repro --force`."""
    database, run_id = recorded.database, story["adopted"]
    before = runs(database), logged(database, run_id), tags(database, run_id)
    with under_way(5) as (training, _):
        second = mirror(recorded, training).run_id
        assert runs(database) == {**before[0], second: "RUNNING"}
        finish(training)
    record.main()
    assert "recorded already" in capsys.readouterr().out
    assert (runs(database), logged(database, run_id), tags(database, run_id)) == before
    assert run_id in tags(database, second)["mlflow.note.content"]


def test_another_state_of_the_same_training_gets_a_run_of_its_own(story, recorded):
    lock = Path("dvc.lock").read_text()
    try:
        Path("dvc.lock").write_text(re.sub(r"(dpi: )\d+", r"\g<1>51", lock))
        record.main()
    finally:
        Path("dvc.lock").write_text(lock)
    assert list(runs(recorded.database).values()) == ["KILLED", "FINISHED", "FINISHED"]


def test_a_state_is_not_recorded_under_the_parameters_of_another_training(here, capsys, request):
    """Somebody changed params.yaml while it ran: DVC then writes down what stands there at the end."""
    with under_way(5, **{"train.seed": 4}) as (training, _):
        other = mirror(here, training).run_id
        finish(training)
    record.main()
    assert "record: recorded run" in capsys.readouterr().out
    (run_id,) = runs(here.database, request.node.name)
    assert run_id != other
    assert params(here.database, run_id)["train.seed"] == "26"


def test_a_recording_that_was_cut_off_in_the_adoption_is_completed(here, monkeypatch, capsys, request):
    from mlflow.tracking import MlflowClient

    # Not by a real signal: where it arrives in a callback of the collector, Python prints and forgets it.
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with under_way(5) as (training, _):
        adopted = mirror(here, training).run_id
        finish(training)
    with monkeypatch.context() as context:
        # Before its name, before its fingerprint, and after both.
        for name in ("update_run", "log_batch", "get_run"):
            context.setattr(MlflowClient, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                record.main()
            context.undo()
    record.main()
    assert "record: completed run" in capsys.readouterr().out
    assert runs(here.database, request.node.name) == {adopted: "FINISHED"}
    assert "training" not in tags(here.database, adopted)["mlflow.runName"]
    assert len(by_key(logged(here.database, adopted))["train/loss"]) > 5


def test_what_nobody_saw_end_is_closed_by_the_next(story, recorded):
    """Three mirrors: of a training run that goes on, of one that has ended and waits for its record, of a dead one."""
    database = recorded.database
    before = runs(database)
    with under_way(3) as (alive, _):
        first = mirror(recorded, alive).run_id
        with under_way(4) as (waiting, _):
            second = mirror(recorded, waiting).run_id
            finish(waiting)
        with under_way(5) as (died, _):
            third = mirror(recorded, died).run_id
        with translate_errors(recorded), locked(recorded):
            client = connect(recorded)
            experiment = open_experiment(client, recorded)
            # Where a server keeps the runs of many machines, nobody here can tell what goes on on another one.
            client.set_tag(third, follow.PROCESS, f"{died.pid} {died.born} another")
            follow.close_orphans(client, experiment, replace(recorded, database=None))
            assert runs(database) == {**before, first: "RUNNING", second: "RUNNING", third: "RUNNING"}
            # Its number may be another process's by now.
            client.set_tag(third, follow.PROCESS, f"{os.getpid()} {died.born} another")
            follow.close_orphans(client, experiment, recorded)
        assert runs(database) == {**before, first: "RUNNING", second: "RUNNING", third: "KILLED"}
        assert f"Ended at epoch 5 of at most {SHORT['train.epochs']}" in tags(database, third)["mlflow.note.content"]
    # The first one has died too by now; and the result of the second one is what is recorded already.
    record.main()
    assert runs(database) == {**before, first: "KILLED", third: "KILLED"}


def test_only_one_follows(tmp_path, monkeypatch):
    """Two would log each point twice."""
    monkeypatch.chdir(tmp_path)
    with (
        single_instance(follow.FOLLOWING, "the first one"),
        pytest.raises(UserError, match="another one follows this project already"),
    ):
        follow.follow(locate("any"))

    def wait(_: Store) -> None:
        raise KeyboardInterrupt

    # That one was ended, and this one may begin.
    monkeypatch.setattr(follow, "_wait", wait)
    with pytest.raises(UserError, match="follow: ended"):
        follow.follow(locate("any"))


def test_a_store_that_cannot_be_used_is_told_once_and_tried_again(here, tmp_path, monkeypatch, capfd):
    """Damaged at first, deleted later: the training is mirrored all the same."""
    database = tmp_path / "mlflow.db"
    database.write_bytes(os.urandom(20_000))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "any")
    monkeypatch.delenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS")
    store = locate("any")
    said: list[str] = []

    def complained() -> bool:
        said.extend(capfd.readouterr())
        return "follow goes on trying" in "".join(said)

    def meddle() -> None:
        # Whatever happens here, the follow must come to its end.
        try:
            until(complained, "the complaint")
            time.sleep(0.3)
            database.unlink()
            until(lambda: last_epoch(database) == 10, "the first run")
            database.unlink()
            write(writer, 20)
            until(lambda: last_epoch(database) == 20, "points in the new store")
        finally:
            finish(training)

    with under_way(10) as (training, writer):
        thread = threading.Thread(target=meddle)
        thread.start()
        follow.follow(store)
        thread.join()
    said.extend(capfd.readouterr())
    assert "".join(said).count("file is not a database") == 1
    assert "the training has ended, mirrored up to epoch 20" in "".join(said)
    # The first ten epochs went with the first store; `record` adds them.
    (run_id,) = runs(database, "any")
    assert sorted(by_key(logged(database, run_id))["train/loss_mean"]) == list(range(11, 21))


def test_a_training_that_ended_before_it_was_looked_at_is_told_and_left_to_record(here, capsys, request):
    said: list[str] = []

    def waiting() -> bool:
        said.extend(capsys.readouterr())
        return "waiting" in "".join(said)

    def train_at_once() -> None:
        until(waiting, "the follow")
        training = replace(read_training(), started=datetime.now(UTC).isoformat())
        finish(training)
        with Live(training) as writer:
            write(writer, 3)

    thread = threading.Thread(target=train_at_once)
    thread.start()
    follow.follow(here)
    thread.join()
    assert capsys.readouterr().out.endswith("; the stage record makes a run of it\n")
    assert runs(here.database, request.node.name) == {}


# --- which points, which rows ---------------------------------------------------------------------------------------

HEADER = ["epoch", "replica", "train_loss", "validation_loss", "validation_accuracy", "learning_rate", "dead_layer_1"]


def history(stops: list[int]) -> np.ndarray:
    """Rows as the trainer writes them; each replica stops after its own epoch."""
    random = np.random.default_rng(0)
    return np.array(
        [
            [epoch, replica, *random.normal(size=3), 1 / epoch, random.random()]
            for epoch in range(1, max(stops) + 1)
            for replica, last in enumerate(stops)
            if epoch <= last
        ]
    )


def triples(found: list[points.Point]) -> set[tuple]:
    return {(point.key, point.step, point.value) for point in found}


def live_in_parts(
    table: np.ndarray, replicas: int, epochs: int, size: int, header: list[str] | None = None
) -> list[points.Point]:
    found = []
    for first in range(1, int(table[:, 0].max()) + 1, size):
        part = table[(table[:, 0] >= first) & (table[:, 0] < first + size)]
        found += points.live_points(header or HEADER, part, replicas, epochs, first - 1)
    assert all(0 < point.at <= 1 for point in found)
    return found


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("replicas", [1, 3])
def test_where_the_mean_ships_all_of_it_is_live(replicas, size):
    table = history([30] * replicas)
    of_mean = np.repeat(np.random.default_rng(1).normal(size=30), replicas)
    table = np.column_stack([table, of_mean])
    found = live_in_parts(table, replicas, 30, size, [*HEADER, LOSS_OF_MEAN])
    whole = points.epoch_points([*HEADER, LOSS_OF_MEAN], table, None)
    assert triples(found) == triples(whole)
    assert len(found) == len(whole) == 30 * (5 + 9 * (replicas > 1))
    curves = by_key([(point.key, point.step, point.value) for point in found])
    mean = table.reshape(30, replicas, -1).mean(1)
    assert list(curves["validation/loss"].values()) == of_mean[::replicas].tolist()
    for name, column in (("train/loss", 2), ("validation/accuracy", 4), ("learning_rate", 5), ("dead/layer_1", 6)):
        assert list(curves[name].values()) == pytest.approx(mean[:, column])
    assert list(curves["learning_rate"].values()) == [1 / epoch for epoch in range(1, 31)]  # to the last digit
    if replicas > 1:
        assert list(curves["validation/loss_mean"].values()) == pytest.approx(mean[:, 3])


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("stops", [[30], [30, 30, 30], [12, 30, 5, 7]], ids=str)
def test_live_points_stay_true_whichever_replica_ships(stops, size):
    table = history(stops)
    found = live_in_parts(table, len(stops), 30, size)
    assert len(triples(found)) == len(found)
    for shipped in range(len(stops)):
        whole = triples(points.epoch_points(HEADER, table, shipped))
        assert triples(found) <= whole
        if len(stops) == 1:
            assert triples(found) == whole
    keys = {point.key for point in found}
    if len(stops) > 1:
        banded = ("train/loss", "validation/loss", "validation/accuracy")
        assert keys == {"learning_rate", *(f"{name}_{part}" for name in banded for part in BAND)}
        assert sum(point.key == "learning_rate" for point in found) == min(stops)
        assert sum(point.key == "train/loss_low" for point in found) == max(stops)


BAND = ("mean", "low", "high")


def test_a_long_training_is_thinned_as_its_record_will_be(monkeypatch):
    monkeypatch.setattr(points, "MOST_POINTS", 10)
    for epochs in (10, 25, 30, 31):
        table = history([epochs, epochs])
        found = [point for point in live_in_parts(table, 2, epochs, 7) if point.key != "learning_rate"]
        whole = [point for point in points.epoch_points(HEADER, table, 0) if point.key.endswith(BAND)]
        assert triples(found) == triples(whole)


@pytest.fixture
def files(tmp_path, monkeypatch) -> LiveTraining:
    monkeypatch.chdir(tmp_path)
    values = {"train.replicas": 2, "train.epochs": 9}
    return LiveTraining("2026-01-02T03:04:05+00:00", os.getpid(), born(os.getpid()), values, "circles", "cpu")


def test_an_epoch_waits_until_all_of_its_rows_are_there(files):
    with Live(files):
        mirrored = follow.Mirror(locate("any"), files)
        assert mirrored.read() == "under way"
        assert mirrored.rows == []

        def whole_after(text: str) -> tuple[int, int]:
            with open(LIVE_HISTORY, "a") as file:
                file.write(text)
            return mirrored._whole(mirrored.read()), len(mirrored.rows)

        row = ",0.5,0.5,0.5,0.1,0\n"
        assert whole_after(",".join(HEADER)) == (0, 0)
        assert whole_after(f"\n1,0{row}1,1") == (0, 1)
        assert whole_after(row) == (2, 2)
        assert whole_after(f"2,0{row}") == (2, 3)
        # Replica 0 has stopped; whether replica 1 has too is known in the next epoch.
        assert whole_after(f"2,1{row}3,1{row}") == (4, 5)
        assert whole_after(f"4,1{row}5,1,0.") == (5, 6)
        assert mirrored._whole("finished") == 6
        assert mirrored._whole("cut off") == 5


def test_rows_of_another_training_are_not_taken_for_ones_own(files):
    mirrored = follow.Mirror(locate("any"), files)
    with Live(files) as first:
        first(HEADER, [[1, 0, *[0.5] * 5], [1, 1, *[0.5] * 5]])
        mirrored.read()
        # It goes on beside a second one, which somebody started by hand in the same folder.
        with Live(replace(files, started="2026-01-02T03:04:06+00:00")) as second:
            second(HEADER, [[epoch, replica, *[0.25] * 5] for epoch in range(1, 5) for replica in range(2)])
            first.due = 0
            first(HEADER, [[epoch, replica, *[0.5] * 5] for epoch in range(1, 9) for replica in range(2)])
            assert mirrored.read() == "cut off"
    assert [row[:3] for row in mirrored.rows] == [[1, 0, 0.5], [1, 1, 0.5]]
    assert "0.5" not in LIVE_HISTORY.read_text()


# --- what a training says -------------------------------------------------------------------------------------------


def test_the_history_is_written_about_once_a_second_and_to_its_end(files, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    rows: list[list] = []

    def epoch(at: float) -> int:
        clock[0] = at
        rows.append([len(rows) + 1, 0, 0.123456789123, math.nan, math.inf, 1e-05, 1.0])
        writer(HEADER, rows)
        return LIVE_HISTORY.read_text().count("\n") - 1

    def diverge() -> None:
        raise UserError(MACHINE_FAULT, "the loss is nan")

    with contextlib.suppress(UserError), Live(files) as writer:
        counts = [epoch(10), epoch(10.9), epoch(11.1), epoch(11.2), epoch(20), epoch(20.1)]
        diverge()
    assert counts == [1, 1, 3, 3, 5, 5]
    lines = LIVE_HISTORY.read_text().splitlines()
    assert lines[0] == ",".join(HEADER)
    assert lines[1:] == [f"{number},0,0.123456789,nan,inf,1e-05,1" for number in range(1, 7)]


def test_a_full_disk_does_not_end_a_training(files, capsys):
    with Live(files) as writer:
        with open("/dev/full", "wb") as full:
            os.dup2(full.fileno(), writer.file.fileno())
        for epoch in range(1, 4):
            writer.due = 0
            writer(HEADER, [[number, 0, *[0.5] * 5] for number in range(1, epoch + 1)])
    line = "train: .retrace/live.csv: No space left on device; the training goes on, but `make follow` cannot show it\n"
    assert capsys.readouterr().err == line


def test_a_training_goes_on_where_the_side_files_cannot_be_written(story, tmp_path, monkeypatch, capsys):
    for name in ("params.yaml", "data"):
        source = story["folder"] / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    turn(tmp_path, {"train.epochs": 2})
    LIVE_HISTORY.mkdir(parents=True)
    train.main()
    assert capsys.readouterr().err.count("the training goes on, but `make follow` cannot show it\n") == 1
    assert read_training() is None
    assert last_finished(Path())


def test_a_process_is_told_from_another_one_with_its_number():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    since = born(process.pid)
    assert lives(process.pid, since)
    assert not lives(os.getpid(), since)
    assert not lives(process.pid, "")
    process.kill()
    # Ended, but not yet asked for its status.
    until(lambda: not lives(process.pid, since), "its end")
    process.communicate()
    assert born(process.pid) == ""


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"pid": "1"}, 'pid must be a whole number; got "1"'),
        ({"born": 5}, "born must be a text; got 5"),
        ({"started": "today"}, "started must be an ISO time; got 'today'"),
        ({"params": []}, "params must be an object; got []"),
        (
            {"params": {"train.epochs": "9", "train.replicas": 1}},
            "params: train.epochs must be a whole number > 0; got '9'",
        ),
        ({"params": {"train.epochs": 9}}, "params: train.replicas must be a whole number > 0; got None"),
        ({"device": None}, "device must be a text; got null"),
    ],
)
def test_facts_of_another_type_are_shown_once_and_waited_over(files, change, rule, monkeypatch, capsys):
    """There may be a newer training by the next look: it replaces the file."""
    looks = iter((lambda: None, lambda: write_json(FACTS, asdict(files))))
    monkeypatch.setattr(follow, "probe", lambda _: None)
    monkeypatch.setattr(follow, "connect", lambda _: None)
    monkeypatch.setattr(follow, "open_experiment", lambda *_: "0")
    monkeypatch.setattr(follow, "close_orphans", lambda *_: None)
    monkeypatch.setattr(time, "sleep", lambda _: next(looks)())
    write_json(FACTS, asdict(files) | change)
    assert read_training() is None
    assert follow._wait(locate("any")) == files
    line = f"follow: .retrace/live.json is not what this code writes ({rule}); the next training replaces it\n"
    assert capsys.readouterr().err == line


def test_what_is_not_the_facts_of_a_training_is_none(files):
    FACTS.parent.mkdir()
    for text in ("", "{", "[]", "{}", '{"started": "x", "more": 1}'):
        FACTS.write_text(text)
        assert read_training() is None
    with Live(files):
        assert read_training() == files
