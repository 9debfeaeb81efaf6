"""The network: stacked replicas compute what ordinary torch layers compute, and a stored model is what was trained."""

import hashlib
import json
import math
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save
from torch import Generator, nn

from retrace.artifacts.schema import Schema
from retrace.networks import model, model_files
from retrace.networks.activations import ACTIVATIONS, UNIT_HEALTH, dead, saturated
from retrace.networks.encodings import Bins, Residuals
from retrace.networks.entrance import Shape
from retrace.networks.initializers import INITIALIZERS, gain_of, initialize
from retrace.networks.layers import Linear
from retrace.networks.layout import folded, to_torch_layout
from retrace.networks.mlp import MLP, Lookup
from retrace.networks.model import Description, Model
from retrace.networks.probabilities import class_probabilities, unsmoothed
from retrace.preprocessing.description import Number, Preprocessing, Residual
from retrace.preprocessing.fit import _binned
from retrace.runtime.errors import BAD_DATA, MACHINE_FAULT, UserError

TORCH_ACTIVATIONS = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "identity": nn.Identity,
}
MODELS = Path("models")
CENTER, SPREAD = [1.0, -2.0, 0.0], [2.0, 0.5, 1.0]


def description_of(classes, hidden, activation, center=(0.0,) * 3, spread=(1.0,) * 3):
    numbers = [Number(*each[:1], center=each[1], spread=each[2]) for each in zip("abc", center, spread, strict=True)]
    return Description(list("abc"), {}, "kind", classes, hidden, activation, 0, Preprocessing(numbers))


DESCRIPTION = description_of(["no", "yes"], [5, 4], "tanh", CENTER, SPREAD)


def seeded(seed):
    return Generator().manual_seed(seed)


def network_of(description, replicas=3):
    network = MLP(replicas, Shape(description.widths, description.activation))
    initialize(network, "default", 1.0, description.activation, [seeded(index) for index in range(replicas)])
    return network


def plain(state, replica, activation):
    """The same replica as a stack of ordinary torch layers, from the stored layout."""
    weights = [tensor[replica] for name, tensor in state.items() if name.endswith("weight")]
    biases = [tensor[replica] for name, tensor in state.items() if name.endswith("bias")]
    layers = []
    for weight, bias in zip(weights, biases, strict=True):
        linear = nn.Linear(*weight.T.shape)
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        layers += [linear, TORCH_ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def test_a_stacked_layer_is_one_torch_linear_a_replica():
    stacked = Linear(3, 4, 2)
    with torch.no_grad():
        stacked.weight.normal_(generator=seeded(0))
        stacked.bias.normal_(generator=seeded(1))
    x = torch.randn(3, 7, 4, generator=seeded(2), requires_grad=True)
    upstream = torch.randn(3, 7, 2, generator=seeded(3))
    ours = stacked(x)
    ours.backward(upstream)
    for replica in range(3):
        one = nn.Linear(4, 2)
        with torch.no_grad():
            one.weight.copy_(stacked.weight[replica].T)
            one.bias.copy_(stacked.bias[replica, 0])
        row = x[replica].detach().requires_grad_()
        theirs = one(row)
        theirs.backward(upstream[replica])
        torch.testing.assert_close(ours[replica], theirs)
        torch.testing.assert_close(stacked.weight.grad[replica].T, one.weight.grad)
        torch.testing.assert_close(stacked.bias.grad[replica, 0], one.bias.grad)
        torch.testing.assert_close(x.grad[replica], row.grad)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_network_is_a_stack_of_torch_layers(activation):
    network = MLP(2, Shape([3, 6, 5, 4], activation))
    initialize(network, "default", 1.0, activation, [seeded(0), seeded(1)])
    x = torch.randn(2, 9, 3, generator=seeded(2))
    state = to_torch_layout(network.state_dict())
    for replica in range(2):
        torch.testing.assert_close(network(x)[replica], plain(state, replica, activation)(x[replica]))


@pytest.mark.parametrize("chances", [[0.75, 0.25], [0.5, 0.3, 0.2], [0.05] * 20], ids=len)
def test_what_label_smoothing_added_is_taken_out_of_the_answer(chances):
    """A network that has learned smoothed labels by heart answers what they are; the chances come out."""
    smoothed = torch.tensor([chances]) * 0.9 + 0.1 / len(chances)
    logits = torch.log(smoothed)
    if len(chances) == 2:
        logits = logits[:, 1:] - logits[:, :1]
    found = class_probabilities(logits.expand(3, -1, -1), 0.1)
    assert (found.dtype, found.shape) == (torch.float64, (3, 1, len(chances)))
    np.testing.assert_allclose(found, np.broadcast_to(chances, found.shape), rtol=1e-5)
    again = class_probabilities(unsmoothed(logits[None], 0.1))
    torch.testing.assert_close(again, found[:1])


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_class_is_possible_however_sure_smoothed_labels_made_the_network(outputs):
    logits = torch.full((1, 1, outputs), 1e4)
    logits[..., 1:] = -1e4
    found = class_probabilities(logits, 0.1)[0, 0].sort().values
    assert found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(0.01 / len(found), rel=0.1)
    assert unsmoothed(torch.full((1, 1, outputs), math.nan), 0.1).isnan().all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_derivative_of_an_activation_is_autograds(activation):
    z = torch.linspace(-6, 6, 101).view(1, 101, 1).requires_grad_()  # with 0, where relu has its corner
    function = ACTIVATIONS[activation]
    upstream = torch.randn(1, 101, 1, generator=seeded(0))
    expected = torch.autograd.grad(TORCH_ACTIVATIONS[activation]()(z), z, upstream)[0]
    with torch.no_grad():  # as in training
        torch.testing.assert_close(function.gradient(upstream, z, function.forward(z)), expected)


def test_dead_and_saturated_units_are_counted():
    layer = Linear(2, 3, 4)
    with torch.no_grad():
        layer.weight.normal_(generator=seeded(0))
        layer.bias[0] = -1000.0  # replica 0 is pushed below zero on every row
        layer.bias[1, 0, :3] = -1000.0
        layer.bias[1, 0, 3] = 1000.0
        outputs = torch.relu(layer(torch.randn(2, 50, 3, generator=seeded(1))))
    assert dead(outputs).tolist() == [1.0, 0.75]
    assert UNIT_HEALTH["relu"][1](outputs).tolist() == [1.0, 0.75]
    # A unit that answers one row only is not dead.
    outputs[0, 0, 0] = 1.0
    assert dead(outputs).tolist() == [0.75, 0.75]
    z = torch.tensor([[[0.0, 9.0], [0.1, -9.0], [0.0, 9.0], [9.0, 0.0]]])
    for name, function in (("sigmoid", torch.sigmoid), ("tanh", torch.tanh)):
        assert UNIT_HEALTH[name][1](function(z)).tolist() == [0.5]
    assert saturated(torch.zeros(3, 5, 2), lambda s: s, 1.0).tolist() == [1, 1, 1]


TORCH_INITIALIZERS = {
    "xavier_uniform": lambda w, gain, nonlinearity, g: nn.init.xavier_uniform_(w, gain, generator=g),
    "xavier_normal": lambda w, gain, nonlinearity, g: nn.init.xavier_normal_(w, gain, generator=g),
    "he_uniform": lambda w, gain, nonlinearity, g: nn.init.kaiming_uniform_(
        w, 0.01, nonlinearity=nonlinearity, generator=g
    ),
    "he_normal": lambda w, gain, nonlinearity, g: nn.init.kaiming_normal_(
        w, 0.01, nonlinearity=nonlinearity, generator=g
    ),
    "orthogonal": lambda w, gain, nonlinearity, g: nn.init.orthogonal_(w, gain, generator=g),
    "normal": lambda w, gain, nonlinearity, g: nn.init.normal_(w, std=0.3, generator=g),
    "uniform": lambda w, gain, nonlinearity, g: nn.init.uniform_(w, -0.3, 0.3, generator=g),
    "zeros": lambda w, gain, nonlinearity, g: nn.init.zeros_(w),
}


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid", "identity"])
@pytest.mark.parametrize("method", TORCH_INITIALIZERS)
def test_initial_weights_are_those_of_torch(method, activation):
    network = MLP(3, Shape([4, 6, 5], activation))
    initialize(network, method, 0.3, activation, [seeded(10 + replica) for replica in range(3)])
    state = to_torch_layout(network.state_dict())
    nonlinearity = "linear" if activation == "identity" else activation
    for replica in range(3):
        source = seeded(10 + replica)  # one generator runs through the layers
        for index, (inputs, outputs) in enumerate([(4, 6), (6, 5)]):
            kind = nonlinearity if index == 0 else "linear"  # nothing follows the last layer
            one = nn.Linear(inputs, outputs)
            with torch.no_grad():
                TORCH_INITIALIZERS[method](one.weight, nn.init.calculate_gain(kind, 0.01), kind, source)
            torch.testing.assert_close(state[f"layers.{index}.weight"][replica], one.weight)
            assert not state[f"layers.{index}.bias"][replica].any()


def test_the_default_is_that_of_torch_linear():
    network = MLP(2, Shape([4, 6, 3], "relu"))
    initialize(network, "default", 1.0, "relu", [seeded(5), seeded(6)])
    state = to_torch_layout(network.state_dict())
    for replica in range(2):
        torch.manual_seed(5 + replica)
        for index, one in enumerate([nn.Linear(4, 6), nn.Linear(6, 3)]):
            torch.testing.assert_close(state[f"layers.{index}.weight"][replica], one.weight)
            torch.testing.assert_close(state[f"layers.{index}.bias"][replica], one.bias)


def test_every_init_is_tested_here():
    assert {*TORCH_INITIALIZERS, "default"} == set(INITIALIZERS)
    assert set(TORCH_ACTIVATIONS) == set(ACTIVATIONS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_variances_are_those_of_the_papers(activation):
    inputs, outputs = 400, 600
    gain = {"tanh": 5 / 3, "sigmoid": 1.0, "identity": 1.0, "leaky_relu": math.sqrt(2 / 1.0001)}.get(
        activation, math.sqrt(2)
    )
    assert gain_of(activation) == pytest.approx(gain)
    for method, variance in {
        "xavier_uniform": gain**2 * 2 / (inputs + outputs),
        "xavier_normal": gain**2 * 2 / (inputs + outputs),
        "he_uniform": gain**2 / inputs,
        "he_normal": gain**2 / inputs,
        "orthogonal": gain**2 / outputs,  # columns of length gain
        "normal": 0.5**2,
        "uniform": 0.5**2 / 3,
        "default": 1 / (3 * inputs),
        "zeros": 0.0,
    }.items():
        weight, bias = torch.empty(outputs, inputs), torch.zeros(outputs)
        INITIALIZERS[method](weight, bias, gain_of(activation), 0.5, seeded(0))
        assert weight.var().item() == pytest.approx(variance, rel=0.02), method
        assert bias.any().item() == (method == "default")


def test_orthogonal_columns_are_orthogonal():
    weight = torch.empty(8, 5)
    INITIALIZERS["orthogonal"](weight, torch.zeros(8), 2.0, 1.0, seeded(0))
    torch.testing.assert_close(weight.T @ weight, 4 * torch.eye(5), atol=1e-5, rtol=0)


# --- the stored model -----------------------------------------------------------------------------------------------


@pytest.fixture
def stored(project):
    """A model of three replicas, the second one shipped, and its state."""
    state = network_of(DESCRIPTION).state_dict()
    model_files.save(MODELS, DESCRIPTION, state, shipped=1)
    return state


def rows(count=20, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3))


def raw(values):
    return pa.table(dict(zip("cab", np.ascontiguousarray(values.T)[[2, 0, 1]], strict=True)))


def scaled(values):
    return ((values - CENTER) / SPREAD).astype(np.float32)


def test_a_model_comes_back_as_it_was_saved(stored):
    shipped, replicas = model_files.load(MODELS), model_files.load(MODELS, "replicas")
    assert shipped.description == replicas.description == DESCRIPTION
    assert replicas.of_replicas(scaled(rows())).shape == (3, 20, 2)
    second = replicas.of_replicas(scaled(rows()))[1]
    np.testing.assert_allclose(shipped.probabilities(raw(rows())), second, rtol=1e-6)
    before = {path.name: path.read_bytes() for path in MODELS.iterdir()}
    model_files.save(MODELS, replicas.description, replicas.network.state_dict(), shipped=1)
    assert {path.name: path.read_bytes() for path in MODELS.iterdir()} == before
    assert set(before) == {"model.json", "model.safetensors", "replicas.safetensors"}


def test_the_files_hold_ordinary_torch_layers(stored):
    # What another program would do: scale, ordinary layers, sigmoid.
    state = {name: tensor.unsqueeze(0) for name, tensor in load_file(MODELS / "model.safetensors").items()}
    x = (torch.tensor(rows()) - torch.tensor(CENTER)) / torch.tensor(SPREAD)
    second = torch.sigmoid(plain(state, 0, "tanh")(x.float())).squeeze(1)
    ours = model_files.load(MODELS).probabilities(raw(rows()))
    np.testing.assert_allclose(ours[:, 1], second.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(ours.sum(1), 1)


def test_probabilities_of_many_classes_are_a_softmax(project):
    description = description_of(["x", "y", "z"], [], "relu")
    network = network_of(description)
    ours = Model(description, to_torch_layout(network.state_dict())).of_replicas(rows().astype(np.float32))
    logits = network(torch.tensor(rows()).float().expand(3, -1, -1)).detach()
    np.testing.assert_allclose(ours, torch.softmax(logits, 2).numpy(), rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_where_the_mean_ships_the_model_is_the_mean_of_all_probabilities(classes, project):
    description = description_of(["x", "y", "z"][:classes], [4], "relu", CENTER, SPREAD)
    state = network_of(description).state_dict()
    model_files.save(MODELS, description, state, shipped=None)
    assert (MODELS / "model.safetensors").read_bytes() == (MODELS / "replicas.safetensors").read_bytes()
    each = []
    for replica in range(3):
        one = {name: tensor[replica : replica + 1] for name, tensor in to_torch_layout(state).items()}
        each.append(Model(description, one).probabilities(raw(rows())))
    shipped = model_files.load(MODELS)
    np.testing.assert_allclose(shipped.of_replicas(scaled(rows())), each, rtol=1e-6)
    np.testing.assert_allclose(shipped.probabilities(raw(rows())), np.mean(each, 0), rtol=1e-6)
    np.testing.assert_allclose(shipped.of_expanded(shipped.expanded(scaled(rows()))), np.mean(each, 0), rtol=1e-5)
    assert np.abs(np.mean(each, 0) - each[0]).max() > 0.01


# --- bins and factors -----------------------------------------------------------------------------------------------

EDGES = [[-1.0, 0.0, 0.5, 2.0], [], [0.0, 10.0], [1.0, 1.5, 4.0]]


def far_and_wide(count=200):
    """Numbers [2, count, 4], also far outside of the edges and right at them."""
    x = torch.randn(2, count, 4, generator=seeded(0)) * 3
    for place, edges in enumerate(EDGES):
        x[:, : len(edges), place] = torch.tensor(edges)
    return x


def test_bins_are_those_of_their_formula():
    """Piece by piece, number by number, as Gorishniy et al. (2022) write it; the ends are open."""
    x = far_and_wide()
    found = Bins(EDGES)(x).numpy()
    assert (len(Bins(EDGES)), found.shape[2]) == (6, 6)
    for (replica, row), values in zip(np.ndindex(2, 200), x.flatten(0, 1).tolist(), strict=True):
        expected = []
        for value, edges in zip(values, EDGES, strict=True):
            for index, (low, high) in enumerate(pairwise(edges)):
                if value < low and index > 0:
                    expected.append(0.0)
                elif value > high and index < len(edges) - 2:
                    expected.append(1.0)
                else:
                    expected.append((value - low) / (high - low))
        np.testing.assert_allclose(found[replica, row], expected, rtol=1e-6, atol=1e-6)


def test_bins_are_those_of_the_papers_authors():
    theirs = pytest.importorskip("rtdl_num_embeddings")
    x = far_and_wide()[0]
    edges = [torch.tensor(each) for each in EDGES if each]
    expected = theirs.PiecewiseLinearEncoding(edges)(x[:, [place for place, each in enumerate(EDGES) if each]])
    torch.testing.assert_close(Bins(EDGES)(x), expected)
    table = x.numpy().astype(np.float64)
    computed = theirs.compute_bins(torch.tensor(table), n_bins=8)
    for column, wanted in zip(table.T, computed, strict=True):
        fitted = _binned(Number("x"), pd.DataFrame({"x": column}), 8, Schema("t", ["x"], "y", ["a"], [1], None))
        np.testing.assert_allclose(fitted.edges, wanted, rtol=1e-6)


def test_a_residual_is_what_a_line_leaves_and_nothing_where_a_number_was_missing():
    ends = {"least": -3.0, "most": 3.0}
    both = [Residual(0, 1, 2.0, 0.5, 0.25, **ends), Residual(2, 1, -1.0, 0.0, 1.0, **ends)]
    numbers = torch.tensor([[1.0, 0.25, 3.0, 0.0], [1.0, 0.25, 3.0, 1.0], [9.0, 0.0, -9.0, 0.0]])
    without, missing = Residuals(both, {}, 4), Residuals(both, {0: 3}, 4)
    assert without(numbers).tolist() == [[0.0, 3.0], [0.0, 3.0], [3.0, -3.0]]
    moved = numbers + torch.tensor([0.125, 0, 0, 0])
    assert missing(moved).tolist() == [[0.5, 3.0], [0.0, 3.0], [3.0, -3.0]]
    assert missing(moved.expand(2, -1, -1)).shape == (2, 3, 2)
    # A point of a picture lies between rows: here near one that lacks nothing.
    between = torch.tensor([[1.125, 0.25, 3.0, 0.05]])
    assert missing(between).tolist() == without(between).tolist()
    assert len(Residuals([], {}, 4)) == 0


def test_no_edges_are_no_bins():
    assert len(Bins([])) == len(Bins([[], []])) == 0
    assert MLP(1, Shape([2, 1], "relu", edges=[[], []])).numbers == 2


RESIDUAL = Residual(first=1, second=0, slope=0.8, center=0.25, spread=0.5, least=-2.0, most=1.5)
FULL = {
    "one_hot": [3],
    "embedded": [(2, 2)],
    "edges": [[-1.0, 0.0, 1.0], []],
    "residuals": [RESIDUAL],
}
FULL_INPUTS = 2 + 1 + 2 + 3 + 2


def full_network() -> MLP:
    """Two numbers, one of them with two bins, their residual, a category of each kind, factors that are not 1."""
    network = MLP(2, Shape([FULL_INPUTS, 5, 3], "tanh", **FULL), scaled=True)
    initialize(network, "default", 1.0, "tanh", [seeded(0), seeded(1)])
    assert torch.equal(network.scale.weight, torch.ones(2, FULL_INPUTS, 1))
    with torch.no_grad():
        network.scale.weight.normal_(generator=seeded(2))
    return network


def full_rows(count=30):
    codes = torch.stack([torch.arange(count) % 4, torch.arange(count) % 3], 1).float()  # unknown ones among them
    return torch.cat([2 * torch.randn(count, 2, generator=seeded(3)), codes], 1)


def test_a_network_with_bins_and_factors_is_one_of_ordinary_layers():
    network, x = full_network(), full_rows()
    state = to_torch_layout(network.state_dict())
    bins = torch.stack([(x[:, 0] + 1).clamp(max=1), x[:, 0].clamp(min=0)], 1)
    residual = ((x[:, 1:2] - 0.8 * x[:, :1] - 0.25) / 0.5).clamp(-2, 1.5)
    ones = torch.eye(4)[x[:, 2].long(), :3]
    logits = network(x.expand(2, -1, -1))
    torch.testing.assert_close(network.classify(network.expand(x)), logits)
    for replica in range(2):
        vectors = state["embeddings.0.weight"][replica][x[:, 3].long()]
        assert not vectors[x[:, 3] == 2].any()
        inputs = torch.cat([x[:, :2], residual, bins, ones, vectors], 1) * network.scale.weight[replica, :, 0]
        layers = {name: tensor for name, tensor in state.items() if name.startswith("layers")}
        torch.testing.assert_close(logits[replica], plain(layers, replica, "tanh")(inputs))


def test_the_space_of_points_has_numbers_and_codes_and_no_bins():
    network, x = full_network(), full_rows()
    points = network.expand(x)
    assert points.shape == (30, 2 + 3 + 2 * 2)  # each replica's vectors
    assert torch.equal(points[:, :2], x[:, :2])
    # A point that is moved has the bins of where it is then.
    moved = x.clone()
    moved[:, 0] += 1.5
    points[:, 0] += 1.5
    torch.testing.assert_close(network.classify(points), network(moved.expand(2, -1, -1)))


@pytest.mark.parametrize("one_hot", [[], [3]], ids=["", "codes"])
@pytest.mark.parametrize("edges", [[[], [-0.5, 0.1, 2.0]], [[-1.0, 0.5, 1.5, 1.75], [-0.5, 0.1, 2.0]]], ids=str)
@pytest.mark.parametrize("residuals", [[], [RESIDUAL]], ids=["", "residual"])
def test_the_first_layer_out_of_tables_gives_what_each_replica_gives(edges, one_hot, residuals):
    inputs = 2 + len(residuals) + sum(max(0, len(each) - 1) for each in edges) + sum(one_hot)
    network = MLP(3, Shape([inputs, 5, 4], "relu", one_hot, edges=edges, residuals=residuals), scaled=True)
    initialize(network, "default", 1.0, "relu", [seeded(index) for index in range(3)])
    # On the edges, between and far beyond them; of the codes also one that the network does not know.
    values = torch.tensor([-50, -1.0, -0.5, -0.2, 0.1, 0.5, 1.6, 1.75, 2.0, 50])
    numbers = torch.cartesian_prod(values, values)
    x = torch.cat([numbers, *(torch.arange(len(numbers))[:, None] % (count + 1) for count in one_hot)], 1)
    torch.testing.assert_close(Lookup(network)(x), network(x.expand(3, -1, -1)), rtol=1e-5, atol=1e-5)


def test_folded_weights_give_what_the_network_with_factors_gives():
    network, x = full_network(), full_rows().expand(2, -1, -1)
    state = folded(network.state_dict())
    without = MLP(2, Shape([FULL_INPUTS, 5, 3], "tanh", **FULL))
    without.load_state_dict(state)
    torch.testing.assert_close(without(x), network(x))
    assert set(network.state_dict()) - set(state) == {"scale.weight"}
    assert folded(state) == state


def test_n10_any_float_type_gives_the_same_probabilities(stored):
    exact = rows().astype(np.float32)
    shipped = model_files.load(MODELS)
    expected = shipped.probabilities(raw(exact.astype(np.float64)))
    np.testing.assert_array_equal(shipped.probabilities(raw(exact)), expected)
    assert expected.dtype == np.float64
    whole = np.arange(12).reshape(4, 3)
    np.testing.assert_array_equal(shipped.probabilities(raw(whole)), shipped.probabilities(raw(whole.astype(float))))


def test_rows_in_pieces_give_the_same_probabilities(stored, monkeypatch):
    replicas = model_files.load(MODELS, "replicas")
    expected = replicas.probabilities(raw(rows()))
    monkeypatch.setattr(model, "ENCODED_AT_ONCE", 7)
    monkeypatch.setattr(model, "ROWS_OF_REPLICAS_AT_ONCE", 3)
    np.testing.assert_allclose(replicas.probabilities(raw(rows())), expected, rtol=1e-6)


def test_another_file_under_the_models_name_is_refused(stored):
    path = MODELS / "model.safetensors"
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[-1] ^= 1
    for content in (bytes(flipped), good[:-1], b"", pickle.dumps(Canary())):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"^models/model.safetensors is not the file that .* \(SHA-256\)") as caught:
            model_files.load(MODELS)
        assert caught.value.status == BAD_DATA
    assert not Path("canary").exists()
    path.unlink()
    with pytest.raises(UserError, match=r"^models/model.safetensors not found; bring it back with"):
        model_files.load(MODELS)


class Canary:
    """A pickle that leaves a file where it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("canary"),)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_n03_a_weight_that_is_not_finite_is_refused(stored, value):
    # At load, even with the right digest.
    tensors = load_file(MODELS / "model.safetensors")
    tensors["layers.1.weight"][0, 0] = value
    content = save(tensors)
    (MODELS / "model.safetensors").write_bytes(content)
    description = json.loads((MODELS / "model.json").read_text())
    description["sha256"]["model.safetensors"] = hashlib.sha256(content).hexdigest()
    (MODELS / "model.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"^models/model.safetensors holds a weight that is not finite") as caught:
        model_files.load(MODELS)
    assert caught.value.status == BAD_DATA
    # At save, and nothing of the earlier model is touched.
    before = {path.name: path.read_bytes() for path in MODELS.iterdir()}
    stored["layers.0.bias"][2, 0, 0] = value
    with pytest.raises(UserError, match="a weight is not finite") as caught:
        model_files.save(MODELS, DESCRIPTION, stored, shipped=1)
    assert caught.value.status == MACHINE_FAULT
    assert {path.name: path.read_bytes() for path in MODELS.iterdir()} == before
