"""The residual architecture: what torch's own modules make of it, and the same wherever a network is used."""

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
import torch
from torch import Generator, nn

from retrace.networks import model, model_files
from retrace.networks.architectures import ARCHITECTURES
from retrace.networks.entrance import Shape
from retrace.networks.initializers import gain_of, initialize
from retrace.networks.layers import Role
from retrace.networks.layout import to_torch_layout
from retrace.networks.model import Description, Model
from retrace.networks.residual import ResidualMLP
from retrace.preprocessing.description import Category, Number, Preprocessing
from retrace.serving import onnx_graph
from retrace.training.callbacks import Callback
from retrace.training.members import members_of
from retrace.training.rows import Rows
from retrace.training.trainer import fit
from stages import baseline, create, evaluate, split, train, validate
from tests.conftest import train_section
from tests.project import TINY, turn
from tests.training.test_training import CPU, column, rows

WIDTHS = [3, 6, 9, 5, 4]  # three inputs, a stream of 6, blocks of 9 and 5 units, four classes


def drawn(network: ResidualMLP) -> ResidualMLP:
    """Norms that are not what they begin with, too."""
    generators = [Generator().manual_seed(replica) for replica in range(network.replicas)]
    initialize(network, "default", 1.0, "relu", generators)
    with torch.no_grad():
        for norm in network.norms:
            norm.weight.normal_(1, 0.3, generator=Generator().manual_seed(7))
            norm.bias.normal_(0, 0.3, generator=Generator().manual_seed(8))
    return network


class Plain(nn.Module):
    """One replica, of torch's own modules."""

    def __init__(self, widths: list[int]):
        super().__init__()
        inputs, stream, *blocks, outputs = widths
        self.first, self.last = nn.Linear(inputs, stream), nn.Linear(stream, outputs)
        self.blocks = nn.ModuleList(nn.ModuleList([nn.Linear(stream, w), nn.Linear(w, stream)]) for w in blocks)
        self.norms = nn.ModuleList(nn.LayerNorm(stream) for _ in [*blocks, stream])

    def forward(self, x):
        x = self.first(x)
        for (up, down), norm in zip(self.blocks, self.norms[:-1], strict=True):
            x = x + down(torch.relu(up(norm(x))))
        return self.last(torch.relu(self.norms[-1](x)))

    def in_order(self) -> list[nn.Parameter]:
        linear = [self.first, *(layer for block in self.blocks for layer in block), self.last]
        return [own for module in (*linear, *self.norms) for own in (module.weight, module.bias)]


def plain(network: ResidualMLP, replica: int, widths: list[int]) -> Plain:
    own = Plain(widths)
    with torch.no_grad():
        state = to_torch_layout(network.state_dict()).values()
        for parameter, tensor in zip(own.in_order(), state, strict=True):
            parameter.copy_(tensor[replica])
    return own


@pytest.mark.parametrize("widths", [WIDTHS, [3, 6, 4]], ids=["blocks", "none"])
def test_each_replica_is_torchs_own_modules_with_their_gradients(widths):
    network = drawn(ResidualMLP(2, Shape(widths, "relu")))
    x, upstream = (torch.randn(2, 10, width, generator=Generator().manual_seed(9)) for width in (3, 4))
    with torch.no_grad():
        passed = network.forward_pass(x)
        gradients = passed.backward(upstream)
    assert not passed.logits.requires_grad
    assert [gradient.shape for gradient in gradients] == [parameter.shape for parameter in network.parameters()]
    names = [name for name, _ in network.named_parameters()]
    ours = to_torch_layout(dict(zip(names, gradients, strict=True)))
    for replica in range(2):
        theirs = plain(network, replica, widths)
        logits = theirs(x[replica])
        torch.testing.assert_close(passed.logits[replica], logits)
        torch.testing.assert_close(network(x)[replica], logits)
        for mine, expected in zip(
            ours.values(), torch.autograd.grad(logits, theirs.in_order(), upstream[replica]), strict=True
        ):
            torch.testing.assert_close(mine[replica], expected)


def test_it_says_what_it_consists_of():
    network = ResidualMLP(2, Shape(WIDTHS, "relu"))
    assert [tuple(layer.weight.shape[1:]) for layer in network.layers] == ResidualMLP.linear(WIDTHS)
    assert sum(parameter.numel() for parameter in network.parameters()) == 2 * ResidualMLP.size(WIDTHS)
    seen = network.observe(torch.randn(2, 5, 3)).watched
    assert [outputs.shape[2] for outputs in seen] == [9, 5]
    assert all((outputs >= 0).all() for outputs in seen)


def test_only_layers_before_the_activation_start_with_its_gain():
    network = ResidualMLP(1, Shape([50, 50, 50, 50], "relu"))
    initialize(network, "he_uniform", 1.0, "relu", [Generator().manual_seed(0)])
    bounds = [layer.weight.abs().max().item() * (50 / 3) ** 0.5 for layer in network.layers]
    assert bounds == pytest.approx([1, gain_of("relu"), 1, 1], rel=0.02)


def test_norms_and_biases_do_not_decay():
    network = ResidualMLP(2, Shape(WIDTHS, "relu"), scaled=True)
    found = dict(zip([name for name, _ in network.named_parameters()], network.roles(), strict=True))
    assert {name for name, role in found.items() if role == Role()} == {f"layers.{place}.weight" for place in range(6)}


def trained(replicas: int = 3, callbacks=(), resume_from=None, **changes):
    small = {"hidden": [6, 5], "epochs": 8, "batch_size": 16, "optimizer_name": "adam", "optimizer_learning_rate": 0.02}
    section = train_section(**{**small, "architecture": "residual", "dropout": 0.2, "replicas": replicas, **changes})
    network = ResidualMLP(replicas, Shape([3, *section.hidden, 1], section.activation))
    return fit(network, rows(200), rows(80, seed=1), members_of(section), CPU, callbacks, resume_from)


def test_it_learns_each_replica_as_if_alone():
    three, one = trained(), trained(1)
    assert column(three, "validation_loss", 0) == pytest.approx(column(one, "validation_loss", 0), rel=1e-4)
    assert three.header[6:] == [*(f"gradient_norm_layer_{place}" for place in (1, 2, 3, 4)), "dead_layer_2"]


def test_it_learns_what_no_line_tells_apart():
    x = torch.randn(400, 2, generator=Generator().manual_seed(0))
    corners = Rows(x, (x[:, 0] * x[:, 1] > 0).long())
    section = train_section(
        architecture="residual", hidden=[16, 16, 16], epochs=40, optimizer_name="adam", optimizer_learning_rate=0.01
    )
    result = fit(
        ResidualMLP(section.replicas, Shape([2, 16, 16, 16, 1], "relu")), corners, corners, members_of(section), CPU
    )
    assert min(column(result, "validation_accuracy", replica)[-1] for replica in range(section.replicas)) > 0.95


def test_it_goes_on_in_the_same_bytes():
    taken = {}

    class Keep(Callback):
        def on_epoch_end(self, trainer, epoch):
            found = trainer.snapshot()
            taken[epoch.number] = type(found)(
                {name: [*fact] if isinstance(fact, list) else fact for name, fact in found.facts.items()},
                {name: tensor.clone() for name, tensor in found.tensors.items()},
            )

    whole = trained(callbacks=[Keep()])
    again = trained(resume_from=taken[3])
    assert all(torch.equal(whole.state[name], again.state[name]) for name in whole.state)
    assert whole.history == again.history


CATEGORIES = [Category("town", ["a", "b", "c"], "none", False), Category("street", ["x", "y"], "none", True)]


def stored_model() -> Model:
    """Numbers with and without bins, a category of each kind, three replicas."""
    numbers = [Number("size", edges=[-1.0, 0.0, 1.0]), Number("age")]
    description = Description(
        ["size", "age", "town", "street"], {"town": "categorical", "street": "categorical"}, "class",
        ["p", "q", "r"], [6, 9], "silu", 2, Preprocessing(numbers, CATEGORIES), architecture="residual",
    )  # fmt: skip
    return Model(description, to_torch_layout(drawn(description.network(3)).state_dict()))


def table() -> pa.Table:
    random = np.random.default_rng(0)
    return pa.table(
        {
            **{name: random.normal(size=50) for name in ("size", "age")},
            **{each.column: random.choice([*each.values, "unknown"], 50) for each in CATEGORIES},
        }
    )


def test_files_mlflow_and_onnx_say_the_same(tmp_path):
    made = stored_model()
    expected = made.probabilities(table())
    model_files.save(tmp_path, made.description, made.network.state_dict(), None)
    read = model.read(tmp_path)
    assert type(read.network) is ResidualMLP
    np.testing.assert_array_equal(read.probabilities(table()), expected)
    session = onnxruntime.InferenceSession(onnx_graph.build(made, 0.5).SerializeToString())
    given = {name: table().column(name).to_numpy()[:, None] for name in table().column_names}
    given |= {each.column: given[each.column].astype(object) for each in CATEGORIES}
    np.testing.assert_allclose(session.run(["probabilities"], given)[0], expected, atol=1e-6)


def test_a_model_of_before_has_no_name_of_an_architecture():
    assert "architecture" not in Description(["a"], {}, "b", ["no", "yes"], [], "relu", 0, Preprocessing([])).content()
    assert stored_model().description.content()["architecture"] == "residual"


def test_the_stages_take_it(project, capsys):
    turn(project, {**TINY, "train.architecture": "residual", "train.hidden": [8, 8], "train.ship": "mean"})
    for stage in (validate, create, split, baseline, train, evaluate):
        stage.main()
    assert "residual replicas of 2 - 8 - 8 - 1" in capsys.readouterr().out
    assert type(model_files.load(project / "models").network) is ARCHITECTURES["residual"]


def test_it_needs_a_width():
    with pytest.raises(ValueError, match="at least one width"):
        train_section(architecture="residual", hidden=[])
    assert train_section(architecture="mlp", hidden=[]).hidden == []
