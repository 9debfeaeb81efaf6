"""Large steps in shards: what they learn, and that the bytes do not tell how many threads computed them."""

import os
import threading

import pytest
import torch

from retrace.networks.architectures import ARCHITECTURES
from retrace.networks.entrance import Shape
from retrace.networks.mlp import MLP
from retrace.runtime.errors import UserError
from retrace.training import gradients, pack_runner, validation
from retrace.training.dropout import dropout
from retrace.training.gradients import SHARDS, Gradients, shards_of
from retrace.training.losses import Smoothing
from retrace.training.members import members_of
from retrace.training.trainer import draw_initial_weights, fit
from retrace.training.validation import Validation
from tests.conftest import train_section
from tests.training.test_packs import CPU, content, rows

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif("IN_A_PROCESS_OF_ITS_OWN" not in os.environ, reason="run by test_packs.py, in another process"),
]

# Of a small network what only a large one would have.
RECIPES = {
    "mlp": {"dropout": 0.2, "input_scale_rate": 5.0, "class_weights": "balanced"},
    "residual": {"architecture": "residual", "label_smoothing": 0.05, "gradient_clip": 0.5, "dropout": 0.1},
    "the mean ships": {"ship": "mean", "optimizer_name": "adamw", "loss": "mean_squared_error"},
}


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr(gradients, "FEWEST_ROWS", 1)
    monkeypatch.setattr(gradients, "FEWEST_FLOPS", 1)


def network_of(section, classes=3):
    shape = Shape([3, *section.hidden, 1 if classes == 2 else classes], section.activation)
    network = ARCHITECTURES[section.architecture](section.replicas, shape, section.input_scale_rate > 0)
    draw_initial_weights(network, members_of(section))
    return network


def section_of(name, **more):
    return train_section(**{"hidden": [9, 9], "batch_size": 59, "epochs": 4, **RECIPES[name], **more})


def trained(section, cores, monkeypatch):
    """In one pack; 300 rows in steps of 59: the last has 5, fewer than there are shards."""
    monkeypatch.setattr(pack_runner, "cores", lambda: cores)
    monkeypatch.setattr(pack_runner, "packs_worth_having", lambda *arguments: 1)
    return fit(network_of(section), rows(300, 0, 3), rows(61, 1, 3), members_of(section), CPU)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("name", RECIPES)
def test_any_number_of_threads_gives_the_same_bytes(name, monkeypatch):
    section = section_of(name, replicas=3)
    whole = trained(section, 1, monkeypatch)
    for cores in (2, 3, 16):
        assert content(trained(section, cores, monkeypatch)) == content(whole)
    # And a member's are its own.
    alone = trained(section.model_copy(update={"replicas": 1}), 2, monkeypatch)
    for parameter, weights in alone.state.items():
        assert torch.equal(weights[0], whole.state[parameter][0])


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("count", [64, 5])
@pytest.mark.parametrize("classes", [2, 3])
def test_what_shards_add_up_to_is_the_gradient_of_all_rows(name, count, classes):
    """Also of fewer rows than there are shards."""
    section = section_of(name, replicas=2, dropout=0.0)
    network, (x, y) = network_of(section, classes), rows(count, 4, classes)
    x, y = x.expand(2, -1, -1), (y.float() if classes == 2 else y).expand(2, -1)
    weights = torch.tensor([[1.0, 2.0, 3.0][:classes]] * 2) if section.class_weights == "balanced" else None
    smoothing = Smoothing([section.label_smoothing] * 2, classes)
    found = Gradients(network, members_of(section), smoothing, weights, count, CPU)
    assert found.shards == 1
    answers = []
    for found.shards, found.threads in [(1, 1), (SHARDS, 1), (SHARDS, 2)]:
        with found.of_epoch(1) as loss_and_gradients, torch.no_grad():
            answers.append(loss_and_gradients(x, y))
    (loss, whole), *others = answers
    for of_shards, parts in others:
        torch.testing.assert_close(of_shards, loss)
        torch.testing.assert_close(parts, whole)
    assert any(part.abs().max() > 0.01 for part in whole)


def test_only_what_is_worth_it_is_cut():
    """By the network and the rows of a step alone: neither cores nor other members may decide what the bytes are."""
    assert shards_of(150_000, 4096, CPU) == SHARDS
    assert shards_of(150_000, 1024, CPU) == 1
    assert shards_of(2_000, 4096, CPU) == 1
    assert shards_of(150_000, 4096, torch.device("cuda")) == 1


def test_the_threads_of_an_epoch_are_gone_after_it(monkeypatch, small_is_large):
    seen, keeps_graphs = set(), set()
    forward = MLP.forward_pass

    def watched(*arguments):
        seen.add(threading.current_thread())
        keeps_graphs.add(torch.is_grad_enabled())
        return forward(*arguments)

    monkeypatch.setattr(MLP, "forward_pass", watched)
    trained(section_of("mlp", replicas=1, epochs=2), 2, monkeypatch)
    assert len(seen) > 1
    assert keeps_graphs == {False}
    assert threading.main_thread() not in seen
    assert not any(thread.is_alive() for thread in seen)


def test_each_shard_leaves_out_units_of_its_own():
    members = members_of(section_of("mlp", replicas=2))
    first, second = (dropout(members, 1, CPU, shard)(torch.ones(2, 50, 9)) for shard in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, dropout(members, 1, CPU)(torch.ones(2, 50, 9)))


@pytest.mark.parametrize("classes", [2, 3])
def test_threads_judge_as_one_does(classes, monkeypatch):
    """And rows in pieces as all at once."""
    section = section_of("mlp", replicas=2)
    network, some = network_of(section, classes), rows(100, 1, classes)

    def judged(threads):
        right = torch.zeros(2, 100, dtype=torch.float64)
        found = Validation(network, some, members_of(section), None, right, threads).judge()
        return [found.loss, found.accuracy, right]

    whole = judged(1)
    monkeypatch.setattr(validation, "ROWS_AT_ONCE", 16)
    pieces = judged(1)
    torch.testing.assert_close(pieces, whole)
    assert all(map(torch.equal, judged(3), pieces))


@pytest.mark.usefixtures("small_is_large")
def test_what_diverges_in_a_thread_is_told_alike(monkeypatch):
    section = section_of("mlp", replicas=2, optimizer_learning_rate=1e6, activation="identity", class_weights="none")
    said = set()
    for cores in (1, 2):
        with pytest.raises(UserError, match=r"of replica [01] is") as caught:
            trained(section, cores, monkeypatch)
        said.add(str(caught.value))
    assert len(said) == 1
    monkeypatch.setattr(Gradients, "_of", lambda *arguments: (_ for _ in ()).throw(MemoryError("too little")))
    with pytest.raises(MemoryError, match="too little"):
        trained(section, 2, monkeypatch)
