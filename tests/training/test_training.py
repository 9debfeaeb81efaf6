"""The training loop: each replica learns what a plain PyTorch loop would, and what goes wrong is said."""

import math
import re
from itertools import cycle, pairwise

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Generator, nn
from torch.nn import functional as F

from retrace.networks.activations import ACTIVATIONS
from retrace.networks.entrance import Shape
from retrace.networks.initializers import initialize
from retrace.networks.layers import Role
from retrace.networks.layout import to_torch_layout
from retrace.networks.mlp import MLP
from retrace.networks.network import Network
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.training import trainer
from retrace.training import validation as validation_module
from retrace.training.losses import LOSSES, Smoothing, class_weights, row_weights, targets
from retrace.training.members import members_of
from retrace.training.optimizers import OPTIMIZERS, Optimization, lay_out
from retrace.training.randomness import DROPOUT, ORDER, generator
from retrace.training.result import TrainingResult
from retrace.training.rows import Rows
from retrace.training.schedules import SCHEDULES, learning_rates
from retrace.training.trainer import fit
from retrace.training.validation import log_mean, log_right
from tests.conftest import train_section

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
TORCH_OPTIMIZERS = {
    "sgd": lambda p, s: torch.optim.SGD(
        p, s.learning_rate, s.momentum, weight_decay=s.weight_decay, nesterov=s.nesterov
    ),
    "adam": lambda p, s: torch.optim.Adam(p, s.learning_rate, (s.beta1, s.beta2), weight_decay=s.weight_decay),
    "adamw": lambda p, s: torch.optim.AdamW(p, s.learning_rate, (s.beta1, s.beta2), weight_decay=s.weight_decay),
    "rmsprop": lambda p, s: torch.optim.RMSprop(p, s.learning_rate, momentum=s.momentum, weight_decay=s.weight_decay),
}


def rows(count, features=3, classes=2, seed=0) -> Rows:
    """Rows whose class can be learned, but not without errors."""
    random = Generator().manual_seed(seed)
    x = torch.randn(count, features, generator=random)
    noise = 0.5 * torch.randn(count, generator=random)
    return Rows(x, ((x[:, 0] * x[:, 1] + x[:, 2] + noise) * classes / 2).floor().long() % classes)


def trained(train=None, validation=None, classes=2, edges=(), **changes) -> TrainingResult:
    """A short training; 150 rows in batches of 32 leave a last batch of 22."""
    small = {"replicas": 3, "hidden": [6, 5], "epochs": 3, "batch_size": 32}
    section = train_section(**{**small, **changes})
    train = train or rows(150, classes=classes)
    validation = validation or rows(60, classes=classes, seed=1)
    outputs = 1 if classes == 2 else classes
    inputs = train.x.shape[1] + sum(len(each) - 1 for each in edges)
    widths, scaled = [inputs, *section.hidden, outputs], section.input_scale_rate > 0
    network = MLP(section.replicas, Shape(widths, section.activation, edges=edges), scaled)
    return fit(network, train, validation, members_of(section), CPU)


def column(result: TrainingResult, name: str, replica: int) -> list[float]:
    """History of one replica, an entry an epoch."""
    index = result.header.index(name)
    return [row[index] for row in result.history if row[1] == replica]


def start(section, widths) -> Network:
    """The network before the first step."""
    network = MLP(section.replicas, Shape(widths, section.activation))
    generators = [generator(section.seed, replica, 0) for replica in range(section.replicas)]
    initialize(network, section.init, section.init_scale, section.activation, generators)
    return network


def plain(network: Network, replica: int, activation=nn.ReLU) -> nn.Sequential:
    """One replica as ordinary torch layers."""
    state = [tensor[replica] for tensor in to_torch_layout(network.state_dict()).values()]
    layers = []
    for weight, bias in zip(state[::2], state[1::2], strict=True):
        linear = nn.Linear(*weight.T.shape)
        linear.weight, linear.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


# --- a plain loop ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer_momentum": 0.9, "optimizer_nesterov": True, "optimizer_weight_decay": 0.01},
        {"optimizer_name": "adam", "optimizer_learning_rate": 0.01, "optimizer_weight_decay": 0.01},
        {"optimizer_name": "adamw", "optimizer_learning_rate": 0.01, "optimizer_weight_decay": 0.1},
        {"optimizer_name": "rmsprop", "optimizer_learning_rate": 0.01, "optimizer_momentum": 0.5},
        {"gradient_clip": 0.05, "label_smoothing": 0.1, "schedule_name": "exponential", "schedule_gamma": 0.5},
    ],
    ids=lambda changes: changes.get("optimizer_name", "clip" if "gradient_clip" in changes else f"sgd {len(changes)}"),
)
def test_each_replica_learns_what_a_plain_torch_loop_learns(classes, changes):
    section = train_section(replicas=2, hidden=[6, 5], epochs=3, batch_size=32, init="he_normal", **changes)
    train = rows(150, classes=classes)
    result = trained(train, train, classes, **section.model_dump(include={"replicas", "init"}), **changes)
    widths = [3, 6, 5, 1 if classes == 2 else classes]
    for replica in range(2):
        network = plain(start(section, widths), replica)
        optimizer = optimizer_of(section, network.parameters())
        gamma = section.schedule.gamma if section.schedule.name == "exponential" else 1.0
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma)
        losses = []
        best = (math.inf, [])
        for epoch in range(1, 4):
            order = torch.randperm(150, generator=generator(section.seed, replica, epoch), dtype=torch.int32)
            for batch in order.long().split(32):
                loss = torch_loss(network(train.x[batch]), train.y[batch], section.label_smoothing)
                optimizer.zero_grad()
                loss.backward()
                if section.gradient_clip:
                    nn.utils.clip_grad_norm_(network.parameters(), section.gradient_clip)
                optimizer.step()
                losses.append(loss.detach() - entropy(section.label_smoothing, classes))
            scheduler.step()
            with torch.no_grad():
                reached = torch_loss(answered(network(train.x), section.label_smoothing), train.y).item()
            if reached < best[0]:
                best = (reached, [parameter.detach().clone() for parameter in network.parameters()])
        ours = torch.cat(result.step_losses)[:, replica]
        torch.testing.assert_close(ours, torch.stack(losses), rtol=1e-4, atol=1e-5)
        assert result.best_loss[replica] == pytest.approx(best[0], rel=1e-4)
        for mine, theirs in zip(to_torch_layout(result.state).values(), best[1], strict=True):
            torch.testing.assert_close(mine[replica], theirs, rtol=1e-3, atol=1e-5)


def optimizer_of(section, parameters, scales=()) -> torch.optim.Optimizer:
    """torch's, with a group for what decays, weights, and for what does not: biases, and factors of the inputs."""
    parameters = list(parameters)
    optimizer = TORCH_OPTIMIZERS[section.optimizer.name]([p for p in parameters if p.dim() > 1], section.optimizer)
    optimizer.add_param_group({"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0})
    rate = section.optimizer.learning_rate * section.input_scale_rate
    if scales:
        optimizer.add_param_group({"params": list(scales), "weight_decay": 0.0, "lr": rate})
    return optimizer


def torch_loss(logits, classes, smoothing=0.0):
    if logits.shape[1] == 1:
        wanted = classes.float() * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(logits.squeeze(1), wanted)
    return F.cross_entropy(logits, classes, label_smoothing=smoothing)


def entropy(smoothing, classes):
    """Of a smoothed label."""
    chances = [1 - smoothing + smoothing / classes, *[smoothing / classes] * (classes - 1)]
    return -sum(chance * math.log(chance) for chance in chances if chance)


def answered(logits, smoothing):
    """Logits [rows, outputs] of what the network says once the smoothing of its labels is taken out."""
    if not smoothing:
        return logits
    both = torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
    share = smoothing / both.shape[1]
    chances = ((both.softmax(1) - share) / (1 - smoothing)).clamp(min=share / 10)
    return torch.logit(chances[:, 1:] / chances.sum(1, keepdim=True)) if logits.shape[1] == 1 else chances.log()


# --- its parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_backpropagation_is_autograd(activation, masked):
    network = MLP(2, Shape([3, 7, 6, 4], activation))
    initialize(network, "default", 1.0, activation, [Generator().manual_seed(index) for index in range(2)])
    x, upstream = (torch.randn(2, 10, width, generator=Generator().manual_seed(9)) for width in (3, 4))
    masks = cycle([(torch.rand(2, 10, width, generator=Generator().manual_seed(8)) > 0.4) / 0.6 for width in (7, 6)])
    dropout = (lambda outputs: next(masks)) if masked else None
    logits = network.rest(network.first(network.enter(x)), dropout).logits
    expected = torch.autograd.grad(logits, list(network.parameters()), upstream)
    with torch.no_grad():
        passed = network.forward_pass(x, dropout)
        ours = passed.backward(upstream)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    if not masked:
        torch.testing.assert_close(passed.logits, network(x))


EDGES = [[-1.0, 0.0, 1.0], [-0.5, 0.5, 0.7, 2.0]]  # of the bins of two numbers
BINS = 5
SIZES = {"one_hot": [6, 2], "embedded": [(4, 4), (2, 3)]}  # of 2 + (6 + 2) + (4 + 3) inputs


def with_codes(count: int, seed: int = 0, unknown: bool = False) -> torch.Tensor:
    """Two numbers and four codes; `unknown`: also those that stand for no input and for no vector."""
    random = Generator().manual_seed(seed)
    codes = [torch.randint(0, size + unknown, (count, 1), generator=random).float() for size in (6, 2, 4, 2)]
    return torch.cat([torch.randn(count, 2, generator=random), *codes], 1)


def initialized(network: Network, method: str = "default") -> Network:
    initialize(network, method, 1.0, "tanh", [Generator().manual_seed(index) for index in range(network.replicas)])
    return network


@pytest.mark.parametrize("scaled", [False, True], ids=["", "factors"])
@pytest.mark.parametrize("edges", [[], EDGES], ids=["", "bins"])
@pytest.mark.parametrize("kinds", [[], ["one_hot"], ["embedded"], ["one_hot", "embedded"]], ids=str)
@pytest.mark.parametrize("hidden", [[7, 5], []], ids=["deep", "flat"])
def test_looking_up_is_a_product_with_ones_and_zeros(kinds, hidden, edges, scaled):
    """Forward: the same as the plain first layer on all inputs. Backward: autograd's."""
    sizes = {name: SIZES[name] for name in kinds}
    x = with_codes(40, unknown=True).expand(2, -1, -1)
    kept = [0, 1, *([2, 3] if "one_hot" in kinds else []), *([4, 5] if "embedded" in kinds else [])]
    x = x[..., kept]
    inputs = 2 + BINS * bool(edges) + 8 * ("one_hot" in kinds) + 7 * ("embedded" in kinds)
    network = initialized(MLP(2, Shape([inputs, *hidden, 3], "tanh", **sizes, edges=edges), scaled))
    if network.scale is not None:
        network.scale.weight.data.normal_(generator=Generator().manual_seed(4))
    expanded = network.expand(x[0])
    assert expanded.shape == (40, 2 + 8 * ("one_hot" in kinds) + 2 * 7 * ("embedded" in kinds))
    for place in (2, 3) if "one_hot" in kinds else ():
        size, start = SIZES["one_hot"][place - 2], 2 + 6 * (place - 2)
        ones = expanded[:, start : start + size]
        assert torch.equal(ones.sum(1), (x[0, :, place] < size).float())
    upstream = torch.randn(2, 40, 3, generator=Generator().manual_seed(9))
    with torch.no_grad():
        passed = network.forward_pass(x)
    torch.testing.assert_close(passed.logits, network.classify(expanded))
    torch.testing.assert_close(network(x), network.classify(expanded))
    expected = torch.autograd.grad(network.classify(expanded), list(network.parameters()), upstream)
    with torch.no_grad():
        ours = passed.backward(upstream)
    assert [gradient.shape for gradient in ours] == [parameter.shape for parameter in network.parameters()]
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_what_no_training_row_has_is_looked_up_as_nothing():
    network = initialized(MLP(2, Shape([17, 7, 3], "tanh", **SIZES)))
    unknown = torch.tensor([[0.5, -0.5, 6, 2, 4, 2]])
    assert torch.equal(network.expand(unknown)[:, 2:], torch.zeros(1, 8 + 2 * 7))


@pytest.mark.parametrize("full", [False, True], ids=["", "bins, factors, decay"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_categories_learn_what_torchs_modules_do_and_each_replica_alone(optimizer, full):
    """Against one-hot inputs and torch.nn.Embedding in a plain loop with autograd, from the same start and order."""
    x = with_codes(150)
    table = Rows(x, (x[:, 2] + x[:, 4]).long() % 2)
    small = {"hidden": [6], "epochs": 3, "batch_size": 32, "optimizer_name": optimizer, "optimizer_learning_rate": 0.05}
    if full:
        rate = 20.0 if optimizer == "adamw" else 100.0
        small |= {"optimizer_weight_decay": 0.1, "input_scale_rate": rate, "optimizer_learning_rate": 0.01}
    inputs = 17 + BINS * full
    shape = {**SIZES, "edges": EDGES if full else []}

    def trained_on(replicas: int):
        section = train_section(**small, replicas=replicas)
        network = MLP(replicas, Shape([inputs, 6, 1], section.activation, **shape), full)
        return section, fit(network, table, table, members_of(section), CPU)

    section, three = trained_on(3)
    alone = trained_on(1)[1]
    assert {len(row) for row in three.history} == {len(three.header)}
    for name, tensor in alone.state.items():
        torch.testing.assert_close(three.state[name][:1], tensor, rtol=1e-4, atol=1e-6)
    start = MLP(3, Shape([inputs, 6, 1], section.activation, **shape), full)
    sources = [generator(section.seed, replica, 0) for replica in range(3)]
    initialize(start, section.init, section.init_scale, section.activation, sources)
    state = to_torch_layout(start.state_dict())
    for replica in range(3):
        vectors = [state[f"embeddings.{i}.weight"][replica].clone() for i in (0, 1)]
        tables = [nn.Embedding.from_pretrained(each, freeze=False) for each in vectors]
        layers, scale = [nn.Linear(inputs, 6), nn.Linear(6, 1)], nn.Parameter(torch.ones(inputs))
        for index, layer in enumerate(layers):
            layer.weight.data = state[f"layers.{index}.weight"][replica].clone()
            layer.bias.data = state[f"layers.{index}.bias"][replica].clone()
        parameters = [*(p for layer in layers for p in layer.parameters()), *(each.weight for each in tables)]
        optimize = optimizer_of(section, parameters, [scale] if full else [])
        for epoch in range(1, 4):
            order = torch.randperm(150, generator=generator(section.seed, replica, epoch))
            for batch in order.split(32):
                codes = x[batch, 2:].long()
                ones = [F.one_hot(codes[:, i], size).float() for i, size in enumerate(SIZES["one_hot"])]
                looked_up = [each(codes[:, 2 + i]) for i, each in enumerate(tables)]
                bins = [piecewise(x[batch, i], EDGES[i]) for i in range(2 * full)]
                hidden = torch.relu(layers[0](torch.cat([x[batch, :2], *bins, *ones, *looked_up], 1) * scale))
                optimize.zero_grad()
                F.binary_cross_entropy_with_logits(layers[1](hidden).squeeze(1), table.y[batch].float()).backward()
                optimize.step()
        assert three.best_epoch[replica] == 3
        learned = {name: tensor[replica] for name, tensor in to_torch_layout(three.state).items()}
        assert scale.sub(1).abs().max() > 0.05 or not full  # or nothing would be tested
        weight = layers[0].weight * scale  # folded
        torch.testing.assert_close(learned["layers.0.weight"], weight, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(learned["layers.0.bias"], layers[0].bias, rtol=1e-3, atol=1e-5)
        for i in (0, 1):
            torch.testing.assert_close(learned[f"embeddings.{i}.weight"], tables[i].weight, rtol=1e-3, atol=1e-5)


def piecewise(x: torch.Tensor, edges: list[float]) -> torch.Tensor:
    """An input for each bin; the first one is open below, the last one above."""
    pairs = list(pairwise(edges))
    inputs = [(x - low) / (high - low) for low, high in pairs]
    inputs = [each if index == 0 else each.clamp(min=0) for index, each in enumerate(inputs)]
    return torch.stack([*(each.clamp(max=1) for each in inputs[:-1]), inputs[-1]], 1)


def smoothed(share: float, outputs: int) -> Smoothing:
    return Smoothing([share] * 3, max(2, outputs))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("outputs", [1, 4])
def test_cross_entropy_is_that_of_torch(outputs, smoothing):
    logits = 5 * torch.randn(3, 8, outputs, generator=Generator().manual_seed(0))
    classes = torch.randint(0, max(2, outputs), (3, 8), generator=Generator().manual_seed(1))
    loss, _ = LOSSES["cross_entropy"](logits, targets(classes, outputs), smoothed(smoothing, outputs))
    for replica in range(3):
        expected = torch_loss(logits[replica], classes[replica], smoothing) - entropy(smoothing, max(2, outputs))
        torch.testing.assert_close(loss[replica], expected)


def test_the_loss_of_smoothed_labels_learned_exactly_is_nothing():
    for chances in ([0.95, 0.05], [0.925, 0.025, 0.025, 0.025]):
        logits = torch.log(torch.tensor([[chances]]))
        logits = logits[..., :1] - logits[..., 1:] if len(chances) == 2 else logits
        target = targets(torch.tensor([[int(len(chances) == 2)]]), logits.shape[2])
        loss, gradient = LOSSES["cross_entropy"](logits, target, Smoothing([0.1], len(chances)))
        assert loss.item() == pytest.approx(0, abs=1e-6)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("outputs", [1, 4])
def test_mean_squared_error_is_the_brier_score(outputs, smoothing):
    logits = torch.randn(3, 8, outputs, generator=Generator().manual_seed(0))
    classes = torch.randint(0, max(2, outputs), (3, 8), generator=Generator().manual_seed(1))
    loss, _ = LOSSES["mean_squared_error"](logits, targets(classes, outputs), smoothed(smoothing, outputs))
    if outputs == 1:
        probabilities = torch.cat([1 - torch.sigmoid(logits), torch.sigmoid(logits)], 2)
    else:
        probabilities = torch.softmax(logits, 2)
    wanted = F.one_hot(classes, max(2, outputs)) * (1 - smoothing) + smoothing / max(2, outputs)
    torch.testing.assert_close(loss, ((probabilities - wanted) ** 2).sum(2).mean(1))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_loss_is_autograds(name, outputs, smoothing):
    logits = torch.randn(3, 8, outputs, generator=Generator().manual_seed(0), requires_grad=True)
    target = targets(torch.randint(0, max(2, outputs), (3, 8), generator=Generator().manual_seed(1)), outputs)
    kept = target.clone()
    loss, gradient = LOSSES[name](logits, target, smoothed(smoothing, outputs))
    torch.testing.assert_close(gradient, torch.autograd.grad(loss.sum(), logits)[0])
    assert torch.equal(target, kept)  # computed in place, but not in the rows


@pytest.mark.parametrize("outputs", [1, 4])
def test_class_weights_are_those_of_torch(outputs):
    logits = torch.randn(3, 8, outputs, generator=Generator().manual_seed(0))
    classes = torch.randint(0, max(2, outputs), (3, 8), generator=Generator().manual_seed(1))
    weights = class_weights([0.5, 2.0, 1.0, 3.0][: max(2, outputs)], torch.ones(max(2, outputs)))
    share = row_weights(weights.expand(3, -1), classes)
    loss, _ = LOSSES["cross_entropy"](logits, targets(classes, outputs), smoothed(0.0, outputs), share)
    both = torch.cat([torch.zeros(3, 8, 1), logits], 2) if outputs == 1 else logits
    for replica in range(3):
        torch.testing.assert_close(loss[replica], F.cross_entropy(both[replica], classes[replica], weights))


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_weighted_loss_is_autograds(name, outputs):
    logits = torch.randn(3, 8, outputs, generator=Generator().manual_seed(0), requires_grad=True)
    target = targets(torch.randint(0, max(2, outputs), (3, 8), generator=Generator().manual_seed(1)), outputs)
    share = row_weights(torch.tensor([0.5, 2.0, 1.0, 3.0]).expand(3, -1), target)
    loss, gradient = LOSSES[name](logits, target, smoothed(0.1, outputs), share)
    torch.testing.assert_close(gradient, torch.autograd.grad(loss.sum(), logits)[0])


def test_balanced_weights_are_those_of_scikit_learn():
    y = np.repeat([0, 1, 2], [90, 9, 1])
    ours = class_weights("balanced", torch.bincount(torch.tensor(y)))
    assert ours is not None
    np.testing.assert_allclose(ours, compute_class_weight("balanced", classes=np.arange(3), y=y), rtol=1e-6)
    assert class_weights("none", torch.tensor([1, 2])) is None


def test_balanced_weights_find_a_rare_class():
    """96 % of one class, overlapping: without weights nearly all rows are called by it."""
    random = np.random.default_rng(0)
    y = (random.random(2000) < 0.04).astype(np.int64)
    x = random.normal(size=(2000, 1)) + 1.5 * y[:, None]
    table = Rows(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    recall = {}
    for weights in ("none", "balanced", [1.0, 24.0]):
        result = trained(table, table, class_weights=weights, epochs=5, replicas=1, hidden=[4])
        network = MLP(1, Shape([1, 4, 1], "relu"))
        network.load_state_dict(result.state)
        found = (network(table.x[None])[0, :, 0] > 0).numpy()
        recall[str(weights)] = found[y == 1].mean()
    assert recall["none"] < 0.3
    assert recall["balanced"] > 0.6
    assert abs(recall["balanced"] - recall["[1.0, 24.0]"]) < 0.1


def test_a_loss_far_off_stays_finite():
    logits = torch.tensor([[[1000.0], [-1000.0]]])
    loss, gradient = LOSSES["cross_entropy"](logits, torch.tensor([[0.0, 1.0]]), Smoothing([0.0], 2))
    assert loss.tolist() == [1000.0]
    assert gradient.flatten().tolist() == [0.5, -0.5]


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer_name": "sgd"},
        {"optimizer_name": "sgd", "optimizer_momentum": 0.9, "optimizer_weight_decay": 0.1},
        {"optimizer_name": "sgd", "optimizer_momentum": 0.9, "optimizer_nesterov": True},
        {"optimizer_name": "adam", "optimizer_weight_decay": 0.1},
        {"optimizer_name": "adam", "optimizer_beta1": 0.5, "optimizer_beta2": 0.0},
        {"optimizer_name": "adamw", "optimizer_weight_decay": 0.1},
        {"optimizer_name": "rmsprop", "optimizer_weight_decay": 0.1},
        {"optimizer_name": "rmsprop", "optimizer_momentum": 0.9},
    ],
)
def test_an_optimizer_is_that_of_torch_step_for_step(changes):
    section = train_section(**changes).optimizer
    network = initialized(MLP(2, Shape([4, 3], "relu")))
    ours = [parameter.detach() for parameter in network.parameters()]
    theirs = [nn.Parameter(parameter.clone()) for parameter in ours]
    network.roles = lambda: [Role(), Role()]  # here biases decay as well
    groups = lay_out(network, [section] * 2, torch.zeros)
    ours = [parameter.detach() for parameter in network.parameters()]
    ours_of = Optimization(groups, [section] * 2, [1.0] * 2)
    optimizer = TORCH_OPTIMIZERS[section.name](theirs, section)
    for index in range(12):
        rate = 0.1 / (1 + index)
        random = Generator().manual_seed(index)
        gradients = [torch.randn(parameter.shape, generator=random) for parameter in ours]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        with torch.no_grad():
            ours_of.step(gradients, [rate] * 2, index)
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other.data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", TORCH_OPTIMIZERS)
def test_roles_are_torchs_parameter_groups(name, decay):
    """Weights and embeddings decay, biases and factors do not; factors have a rate of their own."""
    momentum = 0.9 if name in ("sgd", "rmsprop") else 0.0
    section = train_section(
        optimizer_name=name, optimizer_weight_decay=decay, optimizer_momentum=momentum, input_scale_rate=50.0
    )
    network = initialized(MLP(2, Shape([17, 6, 1], "relu", **SIZES), scaled=True))
    theirs = {key: nn.Parameter(parameter.detach().clone()) for key, parameter in network.named_parameters()}
    sections = [section.optimizer] * 2
    groups = lay_out(network, sections, torch.zeros)
    ours = [parameter.detach() for parameter in network.parameters()]
    ours_of = Optimization(groups, sections, [50.0] * 2)
    still = [parameter for key, parameter in theirs.items() if key.endswith("bias")]
    decays = [parameter for key, parameter in theirs.items() if not key.endswith("bias") and key != "scale.weight"]
    optimizer = TORCH_OPTIMIZERS[name](decays, section.optimizer)
    optimizer.add_param_group({"params": still, "weight_decay": 0.0})
    optimizer.add_param_group({"params": [theirs["scale.weight"]], "weight_decay": 0.0})
    for index in range(12):
        random, rate = Generator().manual_seed(index), 0.01 / (1 + index)
        gradients = [torch.randn(parameter.shape, generator=random) for parameter in ours]
        for parameter, gradient in zip(theirs.values(), gradients, strict=True):
            parameter.grad = gradient.clone()
        for group, factor in zip(optimizer.param_groups, (1, 1, 50), strict=True):
            group["lr"] = rate * factor
        optimizer.step()
        ours_of.step(gradients, [rate] * 2, index)
    for mine, other in zip(ours, theirs.values(), strict=True):
        torch.testing.assert_close(mine, other.data, rtol=1e-5, atol=1e-6)


def test_every_optimizer_is_tested_here():
    assert set(TORCH_OPTIMIZERS) == set(OPTIMIZERS)


SCHEDULERS = {
    "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0),
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, 4, 0.3),
    "exponential": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.3),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10),
    "one_cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(
        o, 0.2, epochs=10, steps_per_epoch=7, cycle_momentum=False
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_that_of_torch(name):
    section = train_section(
        epochs=10, optimizer_learning_rate=0.2, schedule_name=name, schedule_gamma=0.3, schedule_step_epochs=4
    )
    rate = learning_rates(section, 7)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    scheduler = SCHEDULERS[name](optimizer)
    for epoch in range(1, 11):
        for step in range(7):
            assert rate(epoch, step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), (epoch, step)
            optimizer.step()
            if name == "one_cycle":
                scheduler.step()
        if name != "one_cycle":
            scheduler.step()


def test_a_schedule_gives_the_values_of_its_formula():
    def rates(**changes):
        section = train_section(epochs=8, optimizer_learning_rate=0.2, **changes)
        return [learning_rates(section, 3)(epoch, 2) for epoch in range(1, 9)]

    assert rates() == [0.2] * 8
    step = rates(schedule_name="step", schedule_step_epochs=3, schedule_gamma=0.5)
    assert step == pytest.approx([0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05])
    assert rates(schedule_name="exponential", schedule_gamma=0.5) == pytest.approx([0.2 * 0.5**e for e in range(8)])
    cosine = [0.1 * (1 + math.cos(math.pi * e / 8)) for e in range(8)]
    assert rates(schedule_name="cosine") == pytest.approx(cosine)


def test_the_warm_up_is_linear_and_ends():
    section = train_section(
        epochs=6, optimizer_learning_rate=0.2, schedule_name="exponential", schedule_gamma=0.5, schedule_warmup_epochs=2
    )
    rate = learning_rates(section, 5)
    climbing = [rate(epoch, step) / 0.5 ** (epoch - 1) for epoch in (1, 2) for step in range(5)]
    assert climbing == pytest.approx([0.2 * (position + 1) / 10 for position in range(10)])
    assert rate(3, 0) == rate(3, 4) == pytest.approx(0.2 * 0.5**2)


# --- replicas -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dropout": 0.4, "optimizer_momentum": 0.9},
        {"optimizer_name": "adam", "optimizer_learning_rate": 0.01, "gradient_clip": 0.1, "patience": 2, "epochs": 9},
        {"activation": "gelu", "init": "normal", "init_scale": 0.5, "loss": "mean_squared_error"},
        {"edges": EDGES, "input_scale_rate": 10.0, "optimizer_name": "adamw", "optimizer_learning_rate": 0.01}
        | {"optimizer_weight_decay": 0.1, "gradient_clip": 0.5, "dropout": 0.1},
    ],
    ids=["plain", "dropout and momentum", "adam, clipping, patience", "others", "bins and factors"],
)
def test_a_replica_is_the_same_alone_or_among_others(changes):
    alone, among = trained(replicas=1, **changes), trained(replicas=6, **changes)
    assert among.epochs[:1] == alone.epochs
    assert among.best_epoch[:1] == alone.best_epoch
    assert among.best_loss[:1] == pytest.approx(alone.best_loss, rel=1e-4)
    for one, many in zip(alone.state.values(), among.state.values(), strict=True):
        torch.testing.assert_close(one[0], many[0], rtol=1e-4, atol=1e-6)
    first = among.state["layers.0.weight"]
    assert not torch.isclose(first[0], first[1], rtol=0.01).any()  # they differ in seed
    for name in alone.header[2:]:
        assert column(among, name, 0) == pytest.approx(column(alone, name, 0), rel=1e-3, abs=1e-6), name


def test_the_same_section_gives_the_same_bits():
    changes = {"dropout": 0.3, "optimizer_name": "adam", "patience": 2, "epochs": 6}
    one, two, other = trained(**changes), trained(**changes), trained(**changes, seed=27)
    assert one.history == two.history
    assert torch.cat(one.step_losses).nan_to_num().equal(torch.cat(two.step_losses).nan_to_num())
    assert all(torch.equal(a, b) for a, b in zip(one.state.values(), two.state.values(), strict=True))
    assert one.history != other.history


def test_every_draw_has_a_generator_of_its_own():
    places = [(s, k, e, d) for s in (0, 1) for k in (0, 1) for e in (0, 1, 2) for d in (ORDER, DROPOUT)]
    drawn = {tuple(torch.rand(2, generator=generator(*place)).tolist()) for place in places}
    assert len(drawn) == len(places)
    assert torch.equal(torch.rand(2, generator=generator(1, 2, 3)), torch.rand(2, generator=generator(1, 2, 3)))


def test_dropout_is_on_in_training_only():
    # All weights alike and no learning: each unit passes its input on, so that only the masks move the loss.
    train = Rows(torch.ones(512, 1), torch.ones(512, dtype=torch.long))
    changes = {"hidden": [1], "activation": "identity", "init": "xavier_uniform", "optimizer_learning_rate": 1e-30}
    still = {**changes, "epochs": 1, "batch_size": 512, "optimizer_learning_rate": 1e-3}
    without, dropped = trained(train, train, **still), trained(train, train, **still, dropout=0.25)
    for replica in range(3):
        weight = (start(train_section(**still), [1, 1, 1]).layers[i].weight[replica].item() for i in (0, 1))
        logit = math.prod(weight)
        silent, kept = math.log(2), math.log1p(math.exp(-logit / 0.75))
        assert torch.cat(without.step_losses)[0, replica] == pytest.approx(math.log1p(math.exp(-logit)), rel=1e-5)
        loss = torch.cat(dropped.step_losses)[0, replica].item()
        share = (loss - kept) / (silent - kept)
        assert share == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 512))
        # Without masks the same weights are judged, but for the one small step.
        assert dropped.best_loss[replica] == pytest.approx(without.best_loss[replica], abs=1e-2)


def test_a_share_of_units_below_what_16_bits_can_tell_silences_none_and_not_all():
    without, hardly = trained(), trained(dropout=1e-6)
    torch.testing.assert_close(torch.cat(hardly.step_losses), torch.cat(without.step_losses), rtol=0.02, atol=0)
    assert trained(dropout=1 - 1e-6, hidden=[2000], epochs=1).history  # one of 65,536 is left


@pytest.mark.parametrize("classes", [2, 5])
def test_one_batch_can_be_overfitted(classes):
    # Random labels: nothing to learn but the rows themselves.
    random = Generator().manual_seed(0)
    noise = Rows(torch.randn(64, 10, generator=random), torch.randint(0, classes, (64,), generator=random))
    changes = {"hidden": [64], "epochs": 120, "batch_size": 64, "replicas": 2}
    result = trained(noise, noise, classes, **changes, optimizer_name="adam", optimizer_learning_rate=0.01)
    assert [column(result, "validation_accuracy", replica)[-1] for replica in range(2)] == [1.0, 1.0]


def test_no_hidden_layer_is_logistic_regression():
    result = trained(hidden=[], epochs=40, optimizer_learning_rate=0.5)
    assert [tuple(tensor.shape) for tensor in result.state.values()] == [(3, 3, 1), (3, 1, 1)]
    assert result.header[-1] == "gradient_norm_layer_1"
    # It is convex: every start ends at the same place.
    for replica in (1, 2):
        assert column(result, "train_loss", replica)[-1] == pytest.approx(column(result, "train_loss", 0)[-1], rel=0.02)


# --- history --------------------------------------------------------------------------------------------------------


def test_history_has_a_row_for_each_epoch_and_replica():
    result = trained()
    assert [row[:2] for row in result.history] == [[epoch, replica] for epoch in (1, 2, 3) for replica in range(3)]
    assert result.header == [
        *("epoch", "replica", "train_loss", "validation_loss", "validation_accuracy", "learning_rate"),
        *("gradient_norm_layer_1", "gradient_norm_layer_2", "gradient_norm_layer_3", "dead_layer_1", "dead_layer_2"),
    ]
    assert all(len(row) == len(result.header) for row in result.history)
    for activation, name in (("sigmoid", "saturated"), ("tanh", "saturated"), ("gelu", None)):
        assert trained(activation=activation, epochs=1).header[9:] == [f"{name}_layer_{i}" for i in (1, 2) if name]


def test_train_loss_is_the_mean_over_rows():
    result = trained()
    assert result.steps_per_epoch == 5
    weights = torch.tensor([32, 32, 32, 32, 22]) / 150
    for epoch, losses in enumerate(result.step_losses):
        assert losses.shape == (5, 3)
        mean = weights @ losses
        for replica in range(3):
            assert column(result, "train_loss", replica)[epoch] == pytest.approx(mean[replica].item(), rel=1e-5)


def test_learning_rate_is_that_of_the_last_step_of_the_epoch():
    result = trained(schedule_name="step", schedule_step_epochs=1, schedule_gamma=0.5, schedule_warmup_epochs=2)
    assert column(result, "learning_rate", 1) == pytest.approx([0.1 * 0.5, 0.05 * 1.0, 0.025])


def test_the_gradient_norm_of_a_single_step_is_autograds():
    section = train_section(replicas=3, hidden=[6, 5])
    result = trained(epochs=1, batch_size=150)
    network, train = start(section, [3, 6, 5, 1]), rows(150)
    for replica in range(3):
        one = plain(network, replica)
        torch_loss(one(train.x), train.y).backward()
        for layer, linear in enumerate(one[::2], 1):
            expected = torch.cat([linear.weight.grad.flatten(), linear.bias.grad]).norm().item()
            assert column(result, f"gradient_norm_layer_{layer}", replica) == pytest.approx([expected], rel=1e-4)


def test_dead_units_are_in_the_history_and_a_dead_layer_is_a_warning(capsys):
    result = trained(init="zeros")  # all units put out 0; only the last bias learns
    assert column(result, "dead_layer_1", 2) == column(result, "dead_layer_2", 2) == [1.0] * 3
    lines = capsys.readouterr().err.splitlines()
    dead = [f"train: warning: every unit of hidden layer {i} is dead in replicas 0, 1, 2" for i in (1, 2)]
    assert [line for line in lines if "dead" in line] == dead
    result = trained(init="he_uniform")
    assert column(result, "dead_layer_1", 0)[-1] < 1
    assert "dead" not in capsys.readouterr().err


def test_saturated_units_are_in_the_history():
    for activation in ("tanh", "sigmoid"):
        wild = trained(activation=activation, init="normal", init_scale=500.0)
        tame = trained(activation=activation, init="normal", init_scale=0.1)
        assert column(wild, "saturated_layer_1", 0)[-1] > 0.9
        assert column(tame, "saturated_layer_1", 0) == [0.0] * 3


def test_n07_an_exploding_gradient_is_a_warning(capsys):
    trained(Rows(1e5 * rows(150).x, rows(150).y), epochs=1, hidden=[], optimizer_learning_rate=1e-9)
    line = "train: warning: gradient norms over 10000 in layer 1, replicas 0, 1, 2"
    assert capsys.readouterr().err.splitlines()[-1] == line


# --- early stopping, the best epoch, clipping -----------------------------------------------------------------------


def test_each_replica_stops_by_its_own_patience_and_keeps_its_best_weights():
    # Few rows and a large network overfit soon, each replica in its own time.
    train, validation = rows(40), rows(60, seed=1)
    changes = {"replicas": 6, "hidden": [32], "batch_size": 8, "optimizer_learning_rate": 0.3}
    free = trained(train, validation, epochs=40, **changes)
    result = trained(train, validation, epochs=40, patience=3, **changes)
    assert len(set(result.epochs)) > 1
    assert max(result.epochs) < 40
    assert len(result.step_losses) == max(result.epochs)  # nobody trains on when all have stopped
    steps = torch.cat(result.step_losses)
    for replica in range(6):
        losses = column(free, "validation_loss", replica)
        best, stop = 0, 40
        for epoch, loss in enumerate(losses):
            if loss < losses[best]:
                best = epoch
            if epoch - best >= 3:
                stop = epoch + 1
                break
        assert (result.best_epoch[replica], result.epochs[replica]) == (best + 1, stop)
        assert column(result, "validation_loss", replica) == pytest.approx(losses[:stop], rel=1e-4)
        assert torch.isfinite(steps[: stop * 5, replica]).all()
        assert torch.isnan(steps[stop * 5 :, replica]).all()
    assert result.shipped == min(range(6), key=lambda replica: min(column(result, "validation_loss", replica)))
    assert_best_weights(result, validation, [3, 32, 1])


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.5}, {"optimizer_learning_rate": 2.0, "epochs": 12}])
def test_the_best_weights_reproduce_the_best_validation_loss(changes):
    validation = rows(60, seed=1)
    result = trained(validation=validation, **changes)
    for replica in range(3):
        losses = column(result, "validation_loss", replica)
        assert result.best_loss[replica] == min(losses)
        assert result.best_epoch[replica] == losses.index(min(losses)) + 1
    assert_best_weights(result, validation, [3, 6, 5, 1])


def assert_best_weights(result, validation, widths):
    network = MLP(len(result.best_loss), Shape(widths, "relu"))
    network.load_state_dict(result.state)
    for replica, best in enumerate(result.best_loss):
        logits = plain(network, replica)(validation.x)
        assert torch_loss(logits, validation.y).item() == pytest.approx(best, rel=1e-5)
        accuracy = ((logits[:, 0] >= 0) == validation.y).float().mean().item()
        assert column(result, "validation_accuracy", replica)[result.best_epoch[replica] - 1] == pytest.approx(accuracy)


def test_clipping_bounds_the_whole_gradient_of_each_replica():
    def first_step(**changes):
        section = train_section(replicas=3, hidden=[6, 5])
        result = trained(epochs=1, batch_size=150, optimizer_learning_rate=1.0, **changes)
        before = start(section, [3, 6, 5, 1]).state_dict().values()
        pairs = list(zip(before, result.state.values(), strict=True))
        return torch.stack([torch.cat([(new - old)[k].flatten() for old, new in pairs]) for k in range(3)])

    free = first_step()
    norms = free.norm(dim=1)
    limit = norms.sort().values[1].item() * 0.999  # one replica stays below it, two are shortened
    clipped = first_step(gradient_clip=limit)
    torch.testing.assert_close(clipped.norm(dim=1), norms.clamp(max=limit), rtol=1e-3, atol=0)
    # Shortened, not turned.
    assert torch.nn.functional.cosine_similarity(free, clipped).min() > 0.9999


# --- the mean of the replicas ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 4])
def test_log_mean_is_the_logarithm_of_the_mean_of_probabilities(outputs):
    logits = 3 * torch.randn(5, 30, outputs, generator=Generator().manual_seed(0))
    classes = torch.randint(0, max(2, outputs), (30,), generator=Generator().manual_seed(1))
    z = logits.numpy().astype(np.float64)
    z = np.concatenate([np.zeros_like(z), z], 2) if outputs == 1 else z
    probabilities = np.exp(z) / np.exp(z).sum(2, keepdims=True)
    expected = np.log(probabilities[:, np.arange(30), classes].mean(0))
    np.testing.assert_allclose(
        log_mean(log_right(logits, targets(classes.expand(5, -1), outputs))), expected, rtol=1e-6
    )


def test_log_mean_of_a_chance_beyond_all_numbers_is_finite():
    for logits in (torch.full((2, 1, 1), -1e4), torch.tensor([[[1e4, 0.0]], [[1e4, 0.0]]])):
        right = log_right(logits, targets(torch.ones(2, 1), logits.shape[2]))
        assert log_mean(right).tolist() == [-1e4]


@pytest.mark.parametrize(
    "changes", [{}, {"class_weights": "balanced"}, {"loss": "mean_squared_error"}, {"label_smoothing": 0.1}], ids=str
)
@pytest.mark.parametrize("classes", [2, 4])
def test_where_the_mean_ships_its_log_loss_stops_all_and_each_keeps_its_best(classes, changes, monkeypatch):
    monkeypatch.setattr(validation_module, "ROWS_AT_ONCE", 25)  # more than one piece
    train, validation = rows(40, classes=classes), rows(60, seed=1, classes=classes)
    changes = {"replicas": 4, "hidden": [32], "batch_size": 8, "optimizer_learning_rate": 0.3, "epochs": 40, **changes}
    # After each epoch, what each replica says of the validation rows.
    said = []
    closed = trainer.Trainer._closed

    def watched(self, *arguments):
        logits = self.network(validation.x.expand(4, -1, -1)).detach()
        logits = torch.stack([answered(each, changes.get("label_smoothing", 0)) for each in logits])
        both = torch.cat([torch.zeros_like(logits), logits], 2) if classes == 2 else logits
        chosen = torch.softmax(both.double(), 2)[:, torch.arange(60), validation.y]
        said.append((chosen, self.network.layers[0].weight.detach().clone()))
        return closed(self, *arguments)

    monkeypatch.setattr(trainer.Trainer, "_closed", watched)
    result = trained(train, validation, classes, **changes, ship="mean", patience=3)
    counts = torch.bincount(train.y, minlength=classes)
    weights = 40 / (classes * counts[validation.y]) if "class_weights" in changes else torch.ones(60)
    losses = [float(-(weights * chosen.mean(0).log()).sum() / weights.sum()) for chosen, _ in said]
    assert result.mean_losses == pytest.approx(losses, rel=1e-6)
    assert result.header[-1] == "validation_loss_of_mean"
    assert [row[-1] for row in result.history] == [loss for loss in result.mean_losses for _ in range(4)]
    best = losses.index(min(losses)) + 1
    assert (result.shipped, result.mean_epoch) == (None, best)
    assert result.epochs == [best + 3] * 4
    assert best + 3 < 40
    assert torch.isfinite(torch.cat(result.step_losses)).all()
    for replica in range(4):
        own = column(result, "validation_loss", replica)
        assert result.best_epoch[replica] == own.index(min(own)) + 1
        assert torch.equal(result.state["layers.0.weight"][replica], said[result.best_epoch[replica] - 1][1][replica])
    assert len({*result.best_epoch, best}) > 1  # or it would not tell the epochs apart
    together = torch.stack([said[epoch - 1][0][replica] for replica, epoch in enumerate(result.best_epoch)])
    assert result.mean_loss == pytest.approx(float(-(weights * together.mean(0).log()).sum() / weights.sum()), rel=1e-5)


def test_what_ships_changes_no_replica():
    best, mean = trained(), trained(ship="mean")
    assert best.shipped is not None
    assert [row[:-1] for row in mean.history] == best.history
    assert all(torch.equal(best.state[name], mean.state[name]) for name in best.state)


def test_folded_weights_reproduce_the_best_validation_loss():
    validation = rows(60, seed=1)
    result = trained(validation=validation, edges=EDGES, input_scale_rate=20.0)
    assert "scale.weight" not in result.state
    network = MLP(3, Shape([3 + BINS, 6, 5, 1], "relu", edges=EDGES))
    network.load_state_dict(result.state)
    logits = network(validation.x.expand(3, -1, -1))
    for replica, best in enumerate(result.best_loss):
        assert torch_loss(logits[replica], validation.y).item() == pytest.approx(best, rel=1e-5)


# --- warnings about the result --------------------------------------------------------------------------------------

LAST = "train: warning: the best epoch is the last one, 3: it still improves; raise train.epochs"


@pytest.mark.parametrize("ship", ["best", "mean"])
def test_a_training_that_still_improves_is_a_warning(ship, capsys):
    trained(ship=ship, optimizer_learning_rate=0.01)
    assert LAST in capsys.readouterr().err.splitlines()
    # Its last epoch is the best one, but not the last one allowed: with this patience it stops of itself.
    trained(rows(40), ship=ship, epochs=40, hidden=[32], batch_size=8, optimizer_learning_rate=0.3, patience=3)
    assert "the best epoch" not in capsys.readouterr().err
    trained(rows(40), ship=ship, epochs=30, hidden=[32], batch_size=8, optimizer_learning_rate=0.3)
    assert "the best epoch" not in capsys.readouterr().err


def test_which_replica_still_improves_matters_only_if_it_ships(capsys):
    changes = {"replicas": 6, "hidden": [32], "batch_size": 8, "optimizer_learning_rate": 0.3}
    for epochs in range(3, 12):
        result = trained(rows(40), rows(60, seed=1), epochs=epochs, **changes)
        assert result.shipped is not None
        ships = result.best_epoch[result.shipped] == epochs
        assert ("the best epoch is the last one" in capsys.readouterr().err) == ships
        if not ships and epochs in result.best_epoch:
            return
    raise AssertionError("no such case")


@pytest.mark.parametrize("ship", ["best", "mean"])
@pytest.mark.parametrize("classes", [2, 4])
def test_rows_that_are_learned_by_heart_are_a_warning(classes, ship, capsys):
    random = Generator().manual_seed(0)
    noise = [
        Rows(torch.randn(300, 10, generator=random), torch.randint(0, classes, (300,), generator=random))
        for _ in range(2)
    ]
    fast = {"hidden": [64], "epochs": 40, "optimizer_name": "adam", "optimizer_learning_rate": 0.01, "ship": ship}
    # Judged by training rows, so that the best weights are the last ones.
    result = trained(noise[0], Rows(noise[0].x[:60], noise[0].y[:60]), classes, **fast)
    assert "by heart" not in capsys.readouterr().err  # right on both
    assert max(column(result, "validation_accuracy", 0)) > 0.8
    mixed = Rows(torch.cat([noise[0].x[:100], noise[1].x[:100]]), torch.cat([noise[0].y[:100], noise[1].y[:100]]))
    trained(noise[0], mixed, classes, **{**fast, "loss": "mean_squared_error"})
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "by heart" in line]
    found = re.fullmatch(
        r"train: warning: accuracy (0\.\d+|1\.000) on training rows and (0\.\d+) on validation .*", line
    )
    assert found
    assert float(found[1]) - float(found[2]) > 0.1


@pytest.mark.parametrize(("count", "warns"), [(10, False), (800, True)])
def test_what_chance_may_do_with_few_rows_is_no_warning(count, warns, capsys):
    """A fifth of the validation rows is labelled wrong: two of ten may be luck, 160 of 800 are not."""
    y = torch.arange(count) // 5 % 2
    easy = Rows(2.0 * y[:, None] - 1, y)
    wrong = Rows(easy.x, torch.where(torch.arange(count) % 5 == 0, 1 - y, y))
    result = trained(easy, wrong, hidden=[], epochs=20, optimizer_learning_rate=0.5, batch_size=5)
    assert column(result, "validation_accuracy", 0)[-1] == pytest.approx(0.8)
    assert ("by heart" in capsys.readouterr().err) == warns


def test_a_warning_is_about_rows_from_all_over_the_table(capsys, monkeypatch):
    """Rows may stand in the order of their classes: the first ones alone would look perfect."""
    monkeypatch.setattr(validation_module, "ROWS_AT_ONCE", 50)
    ordered = Rows(torch.zeros(300, 1), torch.cat([torch.zeros(180), torch.ones(120)]).long())
    trained(ordered, Rows(ordered.x, ordered.y.flip(0)), hidden=[2], epochs=2)
    assert "by heart" not in capsys.readouterr().err


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "scale", "message"),
    [
        pytest.param({"optimizer_learning_rate": 1e6}, 1e3, r"the .*loss of replica \d is (nan|inf)", id="N01"),
        pytest.param(
            {"optimizer_learning_rate": 1e6, "classes": 4},
            1e3,
            r"the .*loss of replica \d is (nan|inf)",
            id="N01 classes",
        ),
        pytest.param({"gradient_clip": 1.0, "hidden": []}, 1e20, r"the gradient norm of replica \d is inf", id="N02"),
        pytest.param({"hidden": []}, 1e30, r"the loss of replica \d is (nan|inf)", id="N02 without clipping"),
        pytest.param(
            {"batch_size": 150, "epochs": 1, "hidden": []},
            1e30,
            r"the validation loss of replica \d is (nan|inf)",
            id="N01 in the last step",
        ),
    ],
)
def test_a_training_that_diverges_stops_and_says_where(changes, scale, message):
    train = Rows(scale * rows(150).x, rows(150, classes=changes.get("classes", 2)).y)
    with pytest.raises(
        UserError, match=rf"^train: epoch \d+, step \d+: {message} at learning rate (0.1|1e\+06); lower"
    ) as caught:
        trained(train, train, **changes)
    assert caught.value.status == MACHINE_FAULT
    assert "\n" not in str(caught.value)


def test_p15_a_last_batch_of_one_row_is_a_batch_like_any_other():
    """Nothing here is normalized over a batch; the loss of the epoch counts the row once."""
    result = trained(rows(65), rows(60, seed=1), batch_size=64, epochs=2, dropout=0.2)
    assert result.steps_per_epoch == 2
    losses = torch.cat(result.step_losses)
    assert torch.isfinite(losses).all()
    assert column(result, "train_loss", 0)[0] == pytest.approx(float(losses[0, 0] * 64 + losses[1, 0]) / 65, rel=1e-5)


@pytest.mark.parametrize("changes", [{"hidden": [4]}, {"hidden": []}])
def test_n06_a_training_in_which_no_weight_moves_is_a_fault(changes):
    # From zero weights every probability is a half, and as many rows pull up as down.
    even = Rows(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([0, 1]))
    with pytest.raises(UserError, match=r"^train: no weight changed in the whole training") as caught:
        trained(even, even, init="zeros", batch_size=2, **changes)
    assert caught.value.status == MACHINE_FAULT


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_cuda_learns_what_the_cpu_learns(name):
    section = train_section(replicas=3, hidden=[6, 5], epochs=3, batch_size=32, optimizer_name=name, gradient_clip=1.0)
    shape = Shape([3, 6, 5, 1], section.activation)
    results = [
        fit(MLP(section.replicas, shape), rows(150), rows(60, seed=1), members_of(section), device)
        for device in (CPU, torch.device("cuda"))
    ]
    for replica in range(3):
        losses = [column(result, "validation_loss", replica) for result in results]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
