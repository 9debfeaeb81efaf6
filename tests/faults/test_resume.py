"""A training run that was cut off ends in the bytes of one that was not: real processes, killed with real signals."""

import hashlib
import json
import os
import pickle
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from retrace.networks.entrance import Shape
from retrace.networks.mlp import MLP
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.processes import born, lives
from retrace.runtime.signals import DeferredSignals
from retrace.runtime.system import running
from retrace.training import checkpoint
from retrace.training.callbacks import Callback
from retrace.training.checkpoint import FOLDER, KEPT, LAST, PREVIOUS, Checkpoints, Snapshot, fingerprint
from retrace.training.members import members_of
from retrace.training.result import TrainingResult
from retrace.training.trainer import fit
from stages import create, split
from tests import warm
from tests.conftest import ROOT, train_section
from tests.project import TINY, copy_project, environment, forget, repro, run
from tests.test_train import OUTPUTS, as_before, write_params  # noqa: F401 - a fixture
from tests.training.test_training import rows

# What a training can hold from one epoch to the next, all of it at once: replicas, momentum, a schedule, dropout,
# clipping and early stopping. Leaves of section train by their last name.
RECIPES = {
    "momentum": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": "true"},
    "adamw": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.01},
    "rmsprop": {"name": "rmsprop", "learning_rate": 0.003, "momentum": 0.5, "window": 100},
    "mean": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}
    | {"ship": "mean", "bins": 8, "residuals_above": 0.0, "input_scale_rate": 20.0}
    | {"scaling": "standard", "patience": 3},
}
REST = {"replicas": 3, "hidden": "[8, 4]", "dropout": 0.1, "gradient_clip": 1.0, "patience": 9, "batch_size": 16}
EPOCHS = 14
SCHEDULES = {"momentum": "step", "adamw": "cosine", "rmsprop": "one_cycle", "mean": "constant"}


def make(folder: Path, recipe: str, epochs: int = EPOCHS, count: int = 300, **changes) -> Path:
    """Training and validation rows, and the parameters, in a folder where nothing was trained yet."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    schedule = {"step_epochs": 5, "gamma": 0.5, "warmup_epochs": 0 if SCHEDULES[recipe] == "one_cycle" else 2}
    write_params(**{**REST, **RECIPES[recipe], **schedule, "epochs": epochs, **changes})
    text = Path("params.yaml").read_text()
    text = text.replace("    name: constant ", f"    name: {SCHEDULES[recipe]} ")
    Path("params.yaml").write_text(text.replace("rows: 10000 ", f"rows: {count} "))
    create.main()
    split.main()
    return folder


def untrained(folder: Path, copy: Path) -> Path:
    return shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("models", "reports", ".*"))


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in OUTPUTS}


def there(folder: Path) -> list[str]:
    """Outputs that are there, and temporary files of any."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return sorted(name for name in names if name in OUTPUTS or name.endswith(".tmp"))


# Imports once, then forks for each line that it reads: folder, seconds between checkpoints, and the epoch whose
# checkpoint is the last thing it does.
FORKING = """
import os, signal, sys
import torch._dynamo  # a schedule does, each time
from stages import train
from retrace.runtime.run import run
from retrace.training import checkpoint
maybe_save = checkpoint.Checkpoints.maybe_save
def watched(self, epoch, snapshot, now=False):
    maybe_save(self, epoch, snapshot, now)
    if epoch == last:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.Checkpoints.maybe_save = watched
for line in sys.stdin:
    folder, seconds, last = line.rstrip("\\n").split("|")
    last = int(last)
    checkpoint.SECONDS = checkpoint.TIMES_ITS_COST = float(seconds)
    process = os.fork()
    if not process:
        print("STARTED", os.getpid(), flush=True)  # here, and not after the fork: before all that the training says
        os.chdir(folder)
        run(train.main)
    _, status = os.waitpid(process, 0)
    print("ENDED", os.waitstatus_to_exitcode(status), flush=True)
"""


class Trainer:
    """Trainings as real processes, which need not import torch each time."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [warm.forked(), "-c", FORKING],
            env={**environment(), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start(self, folder: Path, seconds: float = 0.0, last: int = 0) -> int:
        assert self.process.stdin
        self.process.stdin.write(f"{folder}|{seconds}|{last}\n")
        self.process.stdin.flush()
        self.said: list[str] = []
        return int(self.until("STARTED")[1])

    def until(self, word: str) -> list[str]:
        """Read lines up to one that begins like this; its words."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(line.rstrip())
            if line.startswith(word):
                return line.split()
        raise AssertionError(f"no {word}: {self.said}")

    def end(self) -> int:
        return int(self.until("ENDED")[1])

    def train(self, folder: Path, seconds: float = 0.0, last: int = 0) -> int:
        self.start(folder, seconds, last)
        return self.end()


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    trainer = Trainer()
    yield trainer
    trainer.process.kill()
    trainer.process.communicate()


@pytest.fixture(autouse=True)
def home(monkeypatch) -> None:
    """`make` changes the folder."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("DVC_ROOT", raising=False)


@pytest.mark.parametrize("recipe", RECIPES)
def test_m01_killed_at_each_epoch_and_the_end_is_the_same(recipe, trainer, tmp_path, cases):
    """The sample goes on to the end after one of the epochs, and is killed after every fourth; the campaign: each."""
    whole = make(tmp_path / "whole", recipe)
    assert trainer.train(whole) == 0
    assert not (whole / ".checkpoints").exists(), "gone when the result is there"
    expected = digests(whole)
    stopped = [row["epochs"] for row in json.loads((whole / "models/training.json").read_text())["replicas"]]
    for epoch in cases([max(stopped) // 2], range(1, max(stopped) + 1)):
        cut = untrained(whole, tmp_path / f"cut {epoch}")
        assert trainer.train(cut, last=epoch) == -signal.SIGKILL
        assert there(cut) == [], "nothing that looks finished"
        assert trainer.train(cut) == 0
        assert f"goes on after epoch {epoch}, from {FOLDER}" in "\n".join(trainer.said)
        assert digests(cut) == expected, f"killed after epoch {epoch}"
    # One and the same training, killed again and again.
    often = untrained(whole, tmp_path / "often")
    for epoch in cases(range(1, max(stopped) + 1, 4), range(1, max(stopped) + 1)):
        assert trainer.train(often, last=epoch) == -signal.SIGKILL
    assert trainer.train(often) == 0
    assert digests(often) == expected


def test_m01_killed_at_random_times_and_the_end_is_the_same(trainer, tmp_path, cases):
    """With checkpoints as they come by default, and after each epoch; up to three kills in one training."""
    chance, count = random.Random(5), cases(4, 100)
    drawn = [chance.choice(list(RECIPES)) for _ in range(count)]
    whole, expected, seconds = {}, {}, {}
    for recipe in set(drawn):
        whole[recipe] = make(tmp_path / recipe, recipe, epochs=cases(120, 400), patience="null", replicas=8)
        begin = time.monotonic()
        assert trainer.train(whole[recipe], seconds=1) == 0
        seconds[recipe] = time.monotonic() - begin
        expected[recipe] = digests(whole[recipe])
    resumed = 0
    for case in range(count):
        recipe = drawn[case]
        cut = untrained(whole[recipe], tmp_path / f"cut {case}")
        between = chance.choice([0.0, 0.2, 1.0])
        for _ in range(chance.randint(1, 3)):
            process = trainer.start(cut, between)
            time.sleep(chance.uniform(0, seconds[recipe]))
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            if trainer.end() == 0:  # it was done before
                break
            resumed += "goes on after epoch" in "\n".join(trainer.said)
        assert trainer.train(cut, between) == 0
        resumed += "goes on after epoch" in "\n".join(trainer.said)
        assert digests(cut) == expected[recipe], f"case {case}: {recipe}"
        assert there(cut) == sorted(OUTPUTS), "no temporary file of a write that was killed"
        assert not (cut / ".checkpoints").exists()
        shutil.rmtree(cut)
    print(f"trainings that went on: {resumed}")
    assert resumed, "or nothing was tested"


# --- negative controls: the tests above would see a state that is left out ------------------------------------------


PARTS = [
    *("network", "best", "optimizer.first", "optimizer.second", "optimizer.velocity"),
    *("history", "step_losses", "active", "best_epoch", "best_loss", "epochs", "epoch"),
]
# Of a training whose mean ships, with factors of the inputs, the group of these.
OF_MEAN = ["mean_losses", "network.scale", "best.scale", "optimizer.first.1", "optimizer.second.1"]


@pytest.mark.parametrize("part", [*PARTS, *OF_MEAN])
def test_a_state_that_is_left_out_changes_the_result(part):
    sgd = part == "optimizer.velocity"
    settings = {"optimizer_name": "sgd" if sgd else "adam", "optimizer_momentum": 0.9 if sgd else 0.0}
    settings["optimizer_learning_rate"] = 0.1
    if part in OF_MEAN:
        settings |= {"ship": "mean", "input_scale_rate": 5.0, "optimizer_learning_rate": 0.01}
    section = train_section(
        replicas=3,
        hidden=[4],
        epochs=12,
        patience=2,
        dropout=0.1,
        batch_size=16,
        **settings,
    )
    training, validation = rows(160), rows(60, seed=1)
    taken: dict[int, Snapshot] = {}

    class Keep(Callback):
        def on_epoch_end(self, trainer, epoch):
            found = trainer.snapshot()
            tensors = {name: tensor.clone() for name, tensor in found.tensors.items()}
            taken[epoch.number] = Snapshot(json.loads(json.dumps(found.facts)), tensors)

    device = torch.device("cpu")
    whole = fit(network(section), training, validation, members_of(section), device, [Keep()])
    # A replica has stopped, another has not; with the mean all stop together: two epochs before that.
    apart = [epoch for epoch, found in taken.items() if set(found.facts["active"]) == {True, False}]
    middle = max(taken) - 2 if part in OF_MEAN else apart[0]
    assert middle > 1
    first, resume_from = taken[1], taken[middle]
    assert same(
        whole, fit(network(section), training, validation, members_of(section), device, resume_from=resume_from)
    ), "with all of it"

    # As it was when the training began, or after its first epoch.
    facts = {**resume_from.facts, **({part: first.facts[part]} if part in resume_from.facts else {})}
    touched = {name: tensor for name, tensor in resume_from.tensors.items() if name.startswith(part)}
    assert touched or part in resume_from.facts
    grown = ("history", "step_losses")
    tensors = {
        **resume_from.tensors,
        **{name: first.tensors[name] if name in grown else torch.zeros_like(touched[name]) for name in touched},
    }
    try:
        spoilt = fit(
            network(section), training, validation, members_of(section), device, resume_from=Snapshot(facts, tensors)
        )
    except (UserError, KeyError):  # a history with a gap, a training without a step
        return
    assert not same(whole, spoilt)


def network(section) -> MLP:
    scaled = section.input_scale_rate > 0
    return MLP(section.replicas, Shape([3, *section.hidden, 1], section.activation), scaled)


def same(one: TrainingResult, other: TrainingResult) -> bool:
    """All that a training gives; a loss of a replica that has stopped is NaN."""
    losses = [torch.cat(each.step_losses).nan_to_num(-1) for each in (one, other)]
    return (
        all(torch.equal(one.state[name], other.state[name]) for name in one.state)
        and torch.equal(*losses)
        and (one.history, one.best_epoch, one.best_loss, one.epochs, one.mean_losses)
        == (other.history, other.best_epoch, other.best_loss, other.epochs, other.mean_losses)
    )


# --- asked to end ---------------------------------------------------------------------------------------------------


def begin(folder: Path, **changes: str) -> "subprocess.Popen[str]":
    """The stage as DVC starts it, up to where it trains."""
    process = subprocess.Popen(
        [warm.forked(), "-m", "stages.train"],
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(ROOT), **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: lines_of(folder) > 3, process)
    return process


def lines_of(folder: Path) -> int:
    """Of the live history: whether it trains, and how far it is."""
    live = folder / ".retrace/live.csv"
    return live.read_bytes().count(b"\n") if live.exists() else 0


def wait_for(condition, process=None, seconds: float = 300) -> float:
    """How long it took."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "in time"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)
    return time.monotonic() - begin


def saved(folder: Path, name: str = LAST) -> int:
    """The epoch of a checkpoint."""
    (path,) = folder.glob(f".checkpoints/train/*/{name}")
    return int(json.loads(path.read_bytes().split(b"\n")[1])["epoch"])


@pytest.fixture(scope="module")
def whole(trainer, tmp_path_factory) -> Path:
    """A training of some seconds that nothing cut off."""
    folder = make(tmp_path_factory.mktemp("ring") / "whole", "adamw", epochs=400, patience="null")
    assert trainer.train(folder, seconds=1) == 0
    return folder


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)],
    ids=["INT", "TERM", "HUP"],
)
def test_m04_asked_once_it_ends_the_epoch_and_saves_it(number, status, trainer, whole, tmp_path):
    cut = untrained(whole, tmp_path / "cut")
    process = begin(cut)
    process.send_signal(number)
    asked = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert time.monotonic() - asked < 2
    lines = errors.splitlines()
    assert lines[0] == "train: ends after this epoch, which is saved; again, and it ends at once"
    assert len(lines) == 2
    assert "Traceback" not in errors
    assert there(cut) == []
    # The last line of the history is of the last epoch that was trained, and that one is saved.
    assert saved(cut) == int((cut / ".retrace/live.csv").read_text().splitlines()[-1].split(",")[0])
    assert trainer.train(cut, seconds=1) == 0
    assert digests(cut) == digests(whole)


def test_m04_asked_twice_it_ends_at_once_and_the_checkpoint_is_whole(trainer, tmp_path):
    """In an epoch of some seconds; the first one was saved."""
    cut = make(tmp_path / "cut", "adamw", epochs=4, batch_size=1, replicas=1, patience="null")
    text = (cut / "params.yaml").read_text()
    (cut / "params.yaml").write_text(text.replace("rows: 300 ", "rows: 10000 "))
    os.chdir(cut)
    create.main()
    split.main()
    # Checkpoints after each epoch.
    code = (
        "from stages import train; from retrace.runtime.run import run; from retrace.training import checkpoint;"
        " checkpoint.SECONDS = checkpoint.TIMES_ITS_COST = 0; run(train.main)"
    )
    process = subprocess.Popen(
        [warm.forked(), "-c", code], cwd=cut, env={**environment(), "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE
    )
    wait_for(lambda: list(cut.glob(f".checkpoints/train/*/{LAST}")), process)
    process.send_signal(signal.SIGINT)
    assert process.stderr
    assert process.stderr.readline().startswith(b"train: ends after this epoch")
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    errors = process.communicate(timeout=30)[1]
    assert time.monotonic() - asked < 2
    assert process.returncode == 130
    assert errors.count(b"\n") == 1
    assert saved(cut) == 1
    assert there(cut) == []


def test_a_signal_in_the_middle_of_nothing_is_obeyed_at_the_end():
    with pytest.raises(KeyboardInterrupt), DeferredSignals("asked"):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with DeferredSignals("asked") as asked:
            signal.raise_signal(signal.SIGHUP)
        assert asked.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_m29_a_second_training_in_the_same_folder_is_kept_out(trainer, tmp_path):
    busy = make(tmp_path / "busy", "adamw", epochs=100_000, patience="null")
    process = begin(busy)
    began = time.monotonic()
    assert trainer.train(busy) == 4
    assert time.monotonic() - began < 1
    assert trainer.said[1:-1] == [
        "train: another training run is under way in this folder; wait for it, or end it first"
    ]
    # As a person starts it, it says so before it has loaded torch.
    command = [sys.executable, "-X", "importtime", "-m", "stages.train"]
    second = subprocess.run(
        command, cwd=busy, env={**environment(), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert second.returncode == 4
    assert second.stderr.splitlines()[-1] == trainer.said[1]
    assert "retrace.runtime.single_instance" in second.stderr
    assert "| torch" not in second.stderr
    process.kill()
    process.communicate()
    third = begin(busy)  # the lock goes with the process
    third.kill()
    third.communicate()


# --- under DVC ------------------------------------------------------------------------------------------------------


LONG = {**TINY, "train.epochs": 1500, "train.replicas": 8}


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """A project whose training was never cut off; and copies of it in which everything but that is done."""
    whole = copy_project(tmp_path_factory.mktemp("dvc") / "whole", LONG)
    assert "train" in repro(whole)
    count = iter(range(100))

    def resume_from() -> Path:
        copy = whole.parent / f"copy {next(count)}"
        shutil.copytree(whole, copy, symlinks=True)
        # As if the training had never been.
        forget(copy, "train")
        shutil.rmtree(copy / ".dvc/cache/runs")
        shutil.rmtree(copy / ".retrace")
        for name in OUTPUTS:
            (copy / name).unlink()
        return copy

    return whole, resume_from


def start_dvc(folder: Path, **changes: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "train"],
        cwd=folder,
        env={**environment(), **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as a terminal's job has it: all of it can be signalled together
    )
    wait_for(lambda: lines_of(folder) > 100, process)
    return process


def training_process(folder: Path) -> int:
    return int(json.loads((folder / ".retrace/live.json").read_text())["pid"])


def state_of(folder: Path) -> tuple[str, list[Path]]:
    """dvc.lock and the entries of the run cache: what DVC takes for finished."""
    return (folder / "dvc.lock").read_text(), sorted((folder / ".dvc/cache/runs").rglob("*"))


WAYS = {
    # whom, signal, the status of dvc
    "the stage is killed": ("stage", signal.SIGKILL, 255),
    "dvc is killed": ("dvc", signal.SIGKILL, -signal.SIGKILL),
    "dvc is terminated": ("dvc", signal.SIGTERM, -signal.SIGTERM),
    "Ctrl-C": ("all", signal.SIGINT, 255),
    "all are terminated": ("all", signal.SIGTERM, -signal.SIGTERM),
    "the machine is gone": ("all", signal.SIGKILL, -signal.SIGKILL),
}
SAMPLED = ("the stage is killed", "dvc is killed", "Ctrl-C")


@pytest.mark.parametrize("way", WAYS)
def test_m02_m05_dvc_takes_nothing_for_finished_and_the_next_repro_goes_on(way, projects, cases):
    if way not in cases(SAMPLED, WAYS):
        pytest.skip("in the campaign only")
    whole, resume_from = projects
    folder = resume_from()
    before = state_of(folder)
    whom, number, status = WAYS[way]
    dvc = start_dvc(folder)
    stage = training_process(folder)
    since = born(stage)
    wait_for(lambda: list(folder.glob(f".checkpoints/train/*/{LAST}")), dvc)
    match whom:
        case "stage":
            os.kill(stage, number)
        case "dvc":
            dvc.send_signal(number)
        case "all":
            os.killpg(dvc.pid, number)
    print(f"{way}: the stage ended after {wait_for(lambda: not lives(stage, since), seconds=10):.2f} s")
    said, _ = dvc.communicate(timeout=30)
    assert dvc.returncode == status, said
    assert state_of(folder) == before
    assert there(folder) == [], "nothing half-written"
    if whom == "dvc":
        assert "dvc, which started this stage, is gone; the stage ends" in said
    assert "Traceback" not in said
    done = run(folder, "-m", "dvc", "repro", "train")
    assert done.returncode == 0, done.stderr
    assert "train: goes on after epoch" in done.stdout
    assert digests(folder) == digests(whole)


def test_m02_the_shell_between_may_stay(projects, tmp_path):
    """Some shells wait for what they run, and are not told when dvc dies."""
    _, resume_from = projects
    folder = resume_from()
    shell = tmp_path / "waiting shell"
    shell.write_text('#!/bin/sh\nsh "$@"\nexit $?\n')
    shell.chmod(0o755)
    dvc = start_dvc(folder, SHELL=str(shell))
    stage = training_process(folder)
    dvc.kill()
    print(f"the stage ended after {wait_for(lambda: not running(stage), seconds=10):.2f} s")
    assert "the stage ends" in dvc.communicate()[0]


def test_an_experiment_elsewhere_keeps_its_checkpoints_in_the_project(tmp_path):
    """DVC deletes the folder of a queued or temporary experiment that failed, and names the project's own."""
    folder = make(tmp_path / "temporary", "adamw", epochs=100_000, patience="null")
    (tmp_path / "project").mkdir()
    process = begin(folder, DVC_ROOT=str(tmp_path / "project"))
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert saved(tmp_path / "project")
    assert not (folder / ".checkpoints").exists()


# --- what is on the disk --------------------------------------------------------------------------------------------


WRITING = """
import sys, time
from datetime import UTC, datetime
import torch
from retrace.training import checkpoint
from retrace.training.checkpoint import Checkpoints, Snapshot
checkpoints = Checkpoints("0" * 32, datetime.now(UTC), time.monotonic())
print("ready", flush=True)
epoch = checkpoints.epoch
while True:
    epoch += 1
    tensor = torch.full((300_000,), float(epoch))
    checkpoints.maybe_save(epoch, lambda: Snapshot({"epoch": epoch}, {"weights": tensor}), now=True)
"""


def test_m06_a_kill_while_a_checkpoint_is_written_loses_none(tmp_path, cases):
    """Written again and again, killed at random: what is read is whole, and not older than what was there before."""
    chance, newest = random.Random(6), 0
    command = [warm.forked(), "-c", WRITING]
    for case in range(cases(3, 200)):
        process = subprocess.Popen(
            command, cwd=tmp_path, env={**environment(), "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
        )
        assert process.stdout
        while process.stdout.readline() != b"ready\n":
            pass
        time.sleep(chance.uniform(0, 0.2))
        process.kill()
        process.communicate()
        os.chdir(tmp_path)
        read = checkpoints(tmp_path, "0" * 32)
        if read.snapshot:
            assert (read.snapshot.tensors["weights"] == read.epoch).all()
            assert read.epoch >= newest
            newest = read.epoch
        else:
            assert not newest, f"case {case}"
    assert newest


def checkpoints(folder: Path, name: str) -> Checkpoints:
    os.chdir(folder)
    return Checkpoints(name, datetime.now(UTC), time.monotonic())


def test_a_checkpoint_whose_folder_went_away_meanwhile_does_not_count_as_written(tmp_path, monkeypatch):
    """The same training in another folder of the project was faster, and removed it."""

    def gone(path: Path, content: bytes) -> None:
        raise FileNotFoundError(path)

    written = checkpoints(tmp_path, "0" * 32)
    snapshot = Snapshot({"epoch": 1}, {"weights": torch.ones(2)})
    with monkeypatch.context() as patch:
        patch.setattr("retrace.training.checkpoint.write_bytes", gone)
        written.maybe_save(1, lambda: snapshot, now=True)
    assert (written.epoch, checkpoints(tmp_path, "0" * 32).snapshot) == (0, None)
    written.maybe_save(1, lambda: snapshot, now=True)
    assert (written.epoch, checkpoints(tmp_path, "0" * 32).epoch) == (1, 1)


@pytest.fixture
def cut(trainer, tmp_path) -> Path:
    """A training run that was killed after its sixth epoch."""
    folder = make(tmp_path / "cut", "adamw")
    assert trainer.train(folder, last=6) == -signal.SIGKILL
    return folder


def files_of(folder: Path) -> tuple[Path, Path]:
    (last,) = folder.glob(f".checkpoints/train/*/{LAST}")
    return last, last.with_name(PREVIOUS)


DAMAGES = {
    "flipped": lambda content: content[: len(content) // 2] + b"\x00" + content[len(content) // 2 + 1 :],
    "cut": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "text": lambda content: b"not a checkpoint",
    "pickle": lambda content: pickle.dumps(Canary()),
}


class Canary:
    def __reduce__(self):
        return os.system, ("touch canary",)


@pytest.mark.parametrize("damage", DAMAGES)
def test_m08_s02_a_damaged_checkpoint_is_said_and_the_one_before_is_taken(damage, cut, trainer):
    last, previous = files_of(cut)
    assert (saved(cut), saved(cut, PREVIOUS)) == (6, 5)
    last.write_bytes(DAMAGES[damage](last.read_bytes()))
    relative = last.relative_to(cut)
    both = cut.with_name("both")
    shutil.copytree(cut, both)
    assert trainer.train(cut) == 0
    line = (
        f"train: {relative}: damaged (SHA-256); the training goes on after epoch 5, from {relative.parent / PREVIOUS}"
    )
    assert line in trainer.said
    (both / previous.relative_to(cut)).write_bytes(DAMAGES[damage](previous.read_bytes()) if previous.exists() else b"")
    assert trainer.train(both) == 0
    line = f"train: {relative} and {relative.parent / PREVIOUS}: damaged (SHA-256); the training begins anew"
    assert line in trainer.said
    assert digests(cut) == digests(both)
    assert not list(cut.parent.rglob("canary"))


@pytest.mark.parametrize(
    "content",
    [
        b"{}\n",
        b'{"epoch": 3, "started": "yesterday", "seconds": 1}\n',
        b'{"epoch": 3, "started": "2026-01-02T03:04:05+00:00", "seconds": 1}\n' + save_tensors({}),
        b'{"epoch": 3, "started": "2026-01-02T03:04:05+00:00", "seconds": 1}\n' + pickle.dumps(Canary()),
        pickle.dumps(Canary()),
        None,
    ],
    ids=["no facts", "no time", "no tensors", "a pickle for tensors", "a pickle", "another shape"],
)
def test_s02_a_checkpoint_that_was_made_up_is_refused_and_runs_no_code(content, cut, trainer):
    """Its SHA-256 is right: somebody meant it."""
    last, _ = files_of(cut)
    if content is None:
        _, facts, tensors = last.read_bytes().split(b"\n", 2)
        shapes = load_tensors(tensors)
        shapes["network.layers.0.weight"] = torch.zeros(1)  # which a copy would spread over all
        content = facts + b"\n" + save_tensors(shapes)
    last.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    before = there(cut)
    assert trainer.train(cut) == BAD_DATA
    (line,) = [line for line in trainer.said if "is not what this code writes" in line]
    relative = last.relative_to(cut)
    assert line.startswith(f"{relative} is not what this code writes (")
    assert line.endswith(f"; delete the folder {relative.parent}")
    assert "Traceback" not in "\n".join(trainer.said)
    assert there(cut) == before
    assert not (cut / "canary").exists()
    shutil.rmtree(last.parent)
    assert trainer.train(cut) == 0


def test_m08_a_checkpoint_of_another_training_is_not_gone_on_with(cut, trainer):
    """Of other parameters, other data, other code: each has a folder of its own."""
    folders = {files_of(cut)[0].parent.name}
    text = (cut / "params.yaml").read_text()
    changes = {
        "parameters": lambda: (cut / "params.yaml").write_text(text.replace("dropout: 0.1", "dropout: 0.2")),
        "data": lambda: shutil.copyfile(cut / "data/train.parquet", cut / "data/validation.parquet"),
    }
    for change in changes.values():
        change()
        assert trainer.train(cut, last=1) == -signal.SIGKILL
        assert not [line for line in trainer.said if "goes on" in line]
        now = {path.name for path in cut.glob(".checkpoints/train/*")}
        assert len(now - folders) == 1
        folders = now
    # And the way back finds its own again.
    (cut / "params.yaml").write_text(text)
    split_again(cut)
    assert trainer.train(cut) == 0
    assert [line for line in trainer.said if "goes on after epoch 6" in line]
    assert {path.name for path in cut.glob(".checkpoints/train/*")} < folders


def split_again(folder: Path) -> None:
    os.chdir(folder)
    split.main()


def test_m08_m17_the_fingerprint_is_of_all_that_shapes_a_training(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.write_text("1")
    code = tmp_path / "stages/train.py"
    code.parent.mkdir()
    code.write_text("1")
    monkeypatch.setattr(checkpoint, "ROOT", tmp_path)
    cpu = torch.device("cpu")
    found = [fingerprint("train", {"epochs": 1}, {"widths": [1]}, (data,), cpu)]
    assert found == [fingerprint("train", {"epochs": 1}, {"widths": [1]}, (data,), cpu)]
    found.append(fingerprint("train", {"epochs": 2}, {"widths": [1]}, (data,), cpu))
    found.append(fingerprint("train", {"epochs": 1}, {"widths": [2]}, (data,), cpu))
    data.write_text("2")
    found.append(fingerprint("train", {"epochs": 1}, {"widths": [1]}, (data,), cpu))
    code.write_text("2")
    found.append(fingerprint("train", {"epochs": 1}, {"widths": [1]}, (data,), cpu))
    monkeypatch.setattr(torch, "__version__", "0.0.1")
    found.append(fingerprint("train", {"epochs": 1}, {"widths": [1]}, (data,), cpu))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    found.append(fingerprint("train", {"epochs": 1}, {"widths": [1]}, (data,), torch.device("cuda:0")))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
    found.append(fingerprint("train", {"epochs": 1}, {"widths": [1]}, (data,), cpu))
    assert len(set(found)) == len(found) == 8


def test_trainings_that_never_went_on_do_not_fill_the_disk(trainer, tmp_path):
    folder = make(tmp_path / "many", "adamw")
    text = (folder / "params.yaml").read_text()
    made = []
    for seed in range(KEPT + 3):
        (folder / "params.yaml").write_text(
            text.replace("  seed: 26                  # of initial", f"  seed: {seed} # of initial")
        )
        assert trainer.train(folder, last=1) == -signal.SIGKILL
        made += [path.name for path in folder.glob(".checkpoints/train/*") if path.name not in made]
    assert len(made) == KEPT + 3
    assert sorted(path.name for path in folder.glob(".checkpoints/train/*")) == sorted(made[-KEPT - 1 :])


def test_the_times_of_a_training_that_went_on_are_those_of_all_its_parts(cut, trainer):
    started = json.loads(files_of(cut)[0].read_bytes().split(b"\n")[1])["started"]
    time.sleep(2)
    assert trainer.train(cut) == 0
    clock = json.loads((cut / ".retrace/train.json").read_text())
    assert clock["started"] == started == json.loads((cut / ".retrace/live.json").read_text())["started"]
    assert 0 < clock["seconds"] < (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds() - 1.5
    rows = (cut / ".retrace/live.csv").read_text().splitlines()
    assert rows[1].startswith("1,0,"), "the live history has the epochs from before too"
    assert len(rows) == len((cut / "reports/history.csv").read_text().splitlines())


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "small disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_m09_a_full_disk_keeps_the_checkpoint_before(cut, trainer, small_disk):
    shutil.move(cut / ".checkpoints", small_disk / "moved")
    (cut / ".checkpoints").symlink_to(small_disk / "moved", target_is_directory=True)
    last, previous = files_of(cut)
    assert last.stat().st_size > 4096
    previous.unlink()
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 4096))
    assert trainer.train(cut) == 4
    (line,) = [line for line in trainer.said if "No space left on device" in line]
    assert re.fullmatch(
        rf"train: \.checkpoints/train/\w+/{LAST}: No space left on device; a checkpoint takes [\d,]+ bytes, and [\d,]+"
        r" are free; that of epoch 6 is kept; make room, then: dvc repro",
        line,
    )
    assert there(cut) == []
    filler.unlink()
    assert trainer.train(cut) == 0
    assert "goes on after epoch 6" in "\n".join(trainer.said)


def test_m09_a_write_that_fails_keeps_the_previous_checkpoint_where_the_last_is_damaged(cut, trainer, small_disk):
    """The damaged one took its place, and then both were lost."""
    shutil.move(cut / ".checkpoints", small_disk / "moved")
    (cut / ".checkpoints").symlink_to(small_disk / "moved", target_is_directory=True)
    last, previous = files_of(cut)
    epoch = json.loads(previous.read_bytes().split(b"\n")[1])["epoch"]
    content = bytearray(last.read_bytes())
    content[200] ^= 1
    last.write_bytes(content)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 4096))
    for _ in range(2):
        assert trainer.train(cut) == 4
        said = "\n".join(trainer.said)
        assert f"damaged (SHA-256); the training goes on after epoch {epoch}, from {previous.relative_to(cut)}" in said
        assert f"that of epoch {epoch} is kept; make room" in said
    filler.unlink()
    assert trainer.train(cut) == 0
    assert f"goes on after epoch {epoch}" in "\n".join(trainer.said)


def test_m27_the_mirror_of_a_training_that_was_killed_is_completed_when_it_went_on(projects):
    """`make follow` looked on: its run is closed as killed, then is the run of the state, with each point once."""
    _, resume_from = projects
    folder = resume_from()
    database = folder / "mlflow.db"
    database.unlink()
    shutil.rmtree(folder / "mlartifacts")
    follow = [warm.forked(), "-m", "retrace", "follow"]
    first = subprocess.Popen(follow, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    dvc = start_dvc(folder)
    wait_for(lambda: database.exists() and points(database), dvc)
    wait_for(lambda: list(folder.glob(f".checkpoints/train/*/{LAST}")), dvc)
    os.kill(training_process(folder), signal.SIGKILL)
    dvc.communicate()
    assert b"the training was cut off" in first.communicate(timeout=60)[1]
    assert [status for _, status in runs(database)] == ["KILLED"]
    second = subprocess.Popen(follow, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert "train" in repro(folder)
    assert b"the training has ended" in second.communicate(timeout=60)[0]
    ((_, status),) = runs(database)
    assert status == "FINISHED"
    found = points(database)
    assert len(found) == len({(key, step) for key, step, _ in found}), "each point once"
    # As a state that was recorded without all that has it.
    database.rename(folder / "followed.db")
    shutil.rmtree(folder / "mlartifacts")
    assert run(folder, "-m", "dvc", "repro", "--force", "--single-item", "record").returncode == 0
    plain = points(database)
    keys = {key for key, _, _ in plain}
    assert [point for point in found if point[0] in keys] == plain


def query(database: Path, text: str) -> list[tuple]:
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        return connection.execute(text).fetchall()


def runs(database: Path) -> list[tuple]:
    return query(database, "SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'")


def points(database: Path) -> list[tuple]:
    try:
        return sorted(query(database, "SELECT key, step, value FROM metrics"))
    except sqlite3.Error:
        return []
