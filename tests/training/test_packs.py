"""A member's bytes are its own (contract 7): alone or among others, in one process or several, at once or in parts."""

import os
import signal
import subprocess
import sys
from copy import deepcopy

import pytest
import torch

from retrace.networks.entrance import Shape
from retrace.networks.mlp import MLP
from retrace.networks.probabilities import unsmoothed
from retrace.runtime import workers
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.training import pack_runner
from retrace.training.callbacks import Callback
from retrace.training.checkpoint import Snapshot
from retrace.training.members import Member, members_of, shared
from retrace.training.result import TrainingResult
from retrace.training.rows import Rows
from retrace.training.trainer import Trainer, fit
from tests import warm
from tests.conftest import ROOT, train_section

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


def independence(*arguments: str) -> list[str]:
    """Lines of campaigns/independence.py, in a process in which torch has computed nothing yet."""
    command = [warm.forked(), "-m", "campaigns.independence", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", ["small", "wide", "cut"])
def test_members_are_independent_of_their_neighbours(kind, cases):
    number = cases(8, 100)
    assert independence(kind, str(number)) == [f"0 of {number} recipes are not independent"]


def test_without_a_remedy_they_are_not():
    unseen = [line for line in independence("controls") if "seen at width" not in line]
    assert unseen in ([], ["mkl: not seen"])  # not every processor shows the last one


def test_threads_give_the_same_bytes():
    """test_gradients.py, in a process that forks no more: a copy of one whose threads computed may wait for ever."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    own |= {"IN_A_PROCESS_OF_ITS_OWN": "yes", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/training/test_gradients.py"], cwd=ROOT, env=own, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def rows(count: int, seed: int, classes: int = 2) -> Rows:
    x = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return Rows(x, (x[:, 0] * x[:, 1] + x[:, 2]).floor().long() % classes)


def trained(section, packs: int, monkeypatch, callbacks=(), resume_from=None, classes=2) -> TrainingResult:
    monkeypatch.setattr(pack_runner, "packs_worth_having", lambda *arguments: packs)
    widths = [3, *section.hidden, 1 if classes == 2 else classes]
    network = MLP(section.replicas, Shape(widths, section.activation), section.input_scale_rate > 0)
    sides = rows(300, 0, classes), rows(61, 1, classes)
    return fit(network, *sides, members_of(section), CPU, callbacks, resume_from)


def content(result: TrainingResult) -> object:
    """All that a training gives, to be compared; what never was a loss is NaN."""
    losses = torch.cat(result.step_losses).nan_to_num(-1).tolist()
    state = {name: tensor.tolist() for name, tensor in result.state.items()}
    facts = (result.history, result.best_epoch, result.best_loss, result.epochs, result.mean_losses)
    return state, losses, facts, repr(result.mean_loss)


RECIPES = {
    "the best ships": {"patience": 2, "optimizer_name": "adamw", "optimizer_weight_decay": 0.1, "dropout": 0.1},
    "the mean ships": {"patience": 3, "ship": "mean", "input_scale_rate": 5.0, "gradient_clip": 0.5},
    "smoothed labels": {"ship": "mean", "label_smoothing": 0.03},
}


@pytest.mark.parametrize("classes", [2, 3, 26])
@pytest.mark.parametrize("name", RECIPES)
def test_processes_give_what_one_gives_also_when_they_go_on_with_it(name, classes, monkeypatch):
    section = train_section(replicas=5, hidden=[9, 5], epochs=12, optimizer_learning_rate=0.05, **RECIPES[name])
    taken: dict[int, Snapshot] = {}

    class Keep(Callback):
        def on_epoch_end(self, trainer, epoch):
            found = trainer.snapshot()
            taken[epoch.number] = Snapshot(
                deepcopy(found.facts), {k: each.clone() for k, each in found.tensors.items()}
            )

    def result(packs, *more) -> object:
        return content(trained(section, packs, monkeypatch, *more, classes=classes))

    whole = result(1)
    for packs in (2, 3, 5):
        assert result(packs, [Keep()]) == whole
    assert result(4, [], taken[2]) == whole
    assert result(1, [], taken[3]) == whole


@pytest.mark.parametrize("outputs", [1, 3, 26])
def test_what_is_left_without_smoothing_is_a_members_own(outputs):
    logits = 3 * torch.randn(5, 61, outputs, generator=torch.Generator().manual_seed(0))
    among = unsmoothed(logits, 0.03)
    for member in range(5):
        assert torch.equal(unsmoothed(logits[member : member + 1], 0.03)[0], among[member])
        assert torch.equal(unsmoothed(logits[member:], 0.03)[0], among[member])


def test_a_pack_in_which_nobody_trains_rests(monkeypatch):
    """Its replicas have stopped; what they have learned stays as it is."""
    asked = []
    ask = workers.Workers.ask
    monkeypatch.setattr(workers.Workers, "ask", lambda self, requests: (asked.append(requests), ask(self, requests))[1])
    section = train_section(replicas=3, hidden=[4], epochs=30, patience=1, optimizer_learning_rate=0.3)
    result = trained(section, 3, monkeypatch)
    assert len(set(result.epochs)) > 1
    assert [sum(each[place] is not None for each in asked) for place in range(3)] == result.epochs


def test_what_diverges_is_told_alike_by_every_number_of_processes(monkeypatch):
    for seed in range(20):
        wild = {"optimizer_learning_rate": 1e6, "gradient_clip": 1e30 if seed % 2 else None, "seed": seed}
        section = train_section(replicas=4, hidden=[4], epochs=3, activation="identity", batch_size=16, **wild)
        said = set()
        for packs in (1, 2, 4):
            with pytest.raises(UserError, match=r"of replica [0-3] is") as caught:
                trained(section, packs, monkeypatch)
            said.add((caught.value.status, str(caught.value)))
        assert len(said) == 1
    assert workers_left() == []


def test_a_worker_that_is_killed_ends_the_training_with_a_line(monkeypatch):
    class Kill(Callback):
        def on_epoch_end(self, trainer, epoch):
            if epoch.number == 2:
                os.kill(trainer.runner.workers.pids[1], signal.SIGKILL)

    section = train_section(replicas=4, hidden=[4], epochs=5)
    with pytest.raises(UserError, match=r"^train: replicas 2 to 3: its process was killed by SIGKILL; ") as caught:
        trained(section, 2, monkeypatch, [Kill()])
    assert caught.value.status == MACHINE_FAULT
    assert workers_left() == []


def workers_left() -> list[int]:
    """Children of this process that were made by fork and run the same program."""
    import psutil

    own = psutil.Process().cmdline()
    return [child.pid for child in psutil.Process().children() if child.cmdline() == own]


def test_members_of_other_shapes_cannot_share_a_pack(monkeypatch):
    one = train_section(hidden=[4])
    assert shared(one) == shared(train_section(hidden=[4], optimizer_learning_rate=0.5, dropout=0.5, seed=3))
    for other in ({"hidden": [5]}, {"hidden": [4], "batch_size": 3}, {"hidden": [4], "class_weights": "balanced"}):
        assert shared(one) != shared(train_section(**other))
    members = [Member(one, 0), Member(train_section(hidden=[4], loss="mean_squared_error"), 0)]
    for packs in (1, 2):
        monkeypatch.setattr(pack_runner, "packs_worth_having", lambda *arguments, packs=packs: packs)
        with pytest.raises(ValueError, match="settings of their own only"):
            Trainer(MLP(2, Shape([3, 4, 1], "relu")), rows(20, 0), rows(20, 1), members, CPU)
