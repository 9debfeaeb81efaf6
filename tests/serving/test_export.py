"""The model as ONNX, run by onnxruntime: the same as `predict` and as MLflow's pyfunc, and as each part of it."""

from dataclasses import replace

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from retrace.artifacts import paths
from retrace.artifacts.training import TemperatureReport
from retrace.cli import export
from retrace.cli.main import invoke
from retrace.data.values import PARTS
from retrace.networks.activations import ACTIVATIONS
from retrace.networks.initializers import initialize
from retrace.networks.layout import to_torch_layout
from retrace.networks.model import Description, Model, decide
from retrace.networks.model_files import load
from retrace.preprocessing.description import Category, Number, Preprocessing
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.serving import onnx_builder, onnx_graph, onnx_inputs
from retrace.serving.pyfunc import Classifier
from stages import create, split, train
from tests.conftest import PARAMS
from tests.preprocessing.test_preprocessing import SCHEMA, rows
from tests.project import TINY, turn
from tests.serving.test_predict import COLUMNS, people


def inputs(table: pa.Table, kinds: dict[str, str]) -> dict[str, np.ndarray]:
    """What the graph takes, by name [rows, 1]."""
    given = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if kinds.get(name) == "categorical":
            values = np.array([text or "" for text in column.cast(pa.string()).to_pylist()], dtype=object)
        elif kinds.get(name) == "datetime":
            values = column.cast(pa.int64()).cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        else:
            values = column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        given[name] = values[:, None]
    return given


def session(content: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def model_of(
    preprocessing: Preprocessing,
    activation: str = "tanh",
    classes: int = 3,
    replicas: int = 1,
    smoothing: float = 0.0,
) -> Model:
    names = [f"class {index}" for index in range(classes)]
    width = 3 if preprocessing.embedded else 0
    description = Description(
        SCHEMA.features, SCHEMA.kinds, "class", names, [7, 5], activation, width, preprocessing, smoothing
    )
    network = description.network(replicas)
    initialize(network, "default", 1.0, activation, [torch.Generator().manual_seed(seed) for seed in range(replicas)])
    return Model(description, to_torch_layout(network.state_dict()))


def both(model: Model, table: pa.Table, threshold: float = 0.5) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Ours, and label and probabilities of the graph."""
    label, probabilities = session(onnx_graph.build(model, threshold).SerializeToString()).run(
        ["label", "probabilities"], inputs(table, model.description.kinds)
    )
    return model.probabilities(table), list(label), probabilities


@pytest.mark.parametrize(("bins", "replicas"), [(0, 1), (6, 3)], ids=["one", "bins, mean of three"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("embed_above", [64, 1])
@pytest.mark.parametrize("scaling", ["none", "standard", "robust", "quantile"])
def test_every_scaling_and_kind_of_column(scaling, embed_above, classes, bins, replicas):
    from retrace.preprocessing.fit import fit

    fitted = fit(rows(400), SCHEMA, scaling, bins, 1.0, 10, embed_above)
    assert any(fitted.edges) == bool(bins)
    for table in (rows(400), rows(300, seed=1, strange=True)):
        ours, label, probabilities = both(model_of(fitted, classes=classes, replicas=replicas), table, threshold=0.4)
        np.testing.assert_allclose(probabilities, ours, atol=1e-6)
        assert label == [f"class {index}" for index in decide(ours, 0.4)]


@pytest.mark.parametrize("bins", [0, 6])
def test_residuals(bins):
    from retrace.preprocessing.fit import fit

    fitted = fit(rows(400), SCHEMA, "standard", bins, 0.0, 10, 64)
    places = {place for each in fitted.residuals for place in (each.first, each.second)}
    assert places & set(fitted.indicators)  # of a number that may be missing, too
    lacking = rows(300, seed=2)  # what no training row lacked, too
    for name in ("size", "ties", "when"):
        column = pc.if_else(pa.array(np.random.default_rng(len(name)).random(300) < 0.3), None, lacking.column(name))
        lacking = lacking.set_column(lacking.column_names.index(name), name, column)
    for table in (rows(400), rows(300, seed=1, strange=True), lacking):
        ours, _, probabilities = both(model_of(fitted, replicas=3), table)
        np.testing.assert_allclose(probabilities, ours, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_smoothed_labels(classes):
    from retrace.preprocessing.fit import fit

    model = model_of(fit(rows(400), SCHEMA, "standard", 0, 1.0, 10, 64), classes=classes, replicas=3, smoothing=0.6)
    table = rows(300, seed=1, strange=True)
    ours, label, probabilities = both(model, table, threshold=0.4)
    np.testing.assert_allclose(probabilities, ours, atol=1e-6)
    assert label == [f"class {index}" for index in decide(ours, 0.4)]
    assert not np.allclose(ours, both(replace_smoothing(model, 0.0), table)[0], atol=0.01)
    unusable = {name: values[:1].copy() for name, values in inputs(table, SCHEMA.kinds).items()}
    unusable[next(name for name in SCHEMA.features if name not in SCHEMA.kinds)][:] = np.inf
    graph = session(onnx_graph.build(model, 0.5).SerializeToString())
    label, probabilities = graph.run(["label", "probabilities"], unusable)
    assert np.isnan(probabilities).all()
    assert list(label) == [""]


@pytest.mark.parametrize("classes", [2, 3])
def test_a_temperature(classes):
    from retrace.preprocessing.fit import fit

    fitted = fit(rows(400), SCHEMA, "standard", 0, 1.0, 10, 64)
    model = model_of(fitted, classes=classes, replicas=3, smoothing=0.1)
    before = model.probabilities(rows(300, seed=1))
    model = Model(replace(model.description, temperature=0.4), to_torch_layout(model.network.state_dict()))
    ours, _, probabilities = both(model, rows(300, seed=1), threshold=0.4)
    np.testing.assert_allclose(probabilities, ours, atol=1e-6)
    assert np.abs(ours - before).max() > 0.01


def replace_smoothing(model: Model, smoothing: float) -> Model:
    return Model(replace(model.description, label_smoothing=smoothing), to_torch_layout(model.network.state_dict()))


def test_a_model_without_numbers():
    from retrace.preprocessing.fit import fit

    for embed_above in (64, 1):
        fitted = replace(fit(rows(400), SCHEMA, "none", 0, 1.0, 10, embed_above), numbers=[])
        ours, _, probabilities = both(model_of(fitted, replicas=3), rows(300, seed=1, strange=True))
        np.testing.assert_allclose(probabilities, ours, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    from retrace.preprocessing.fit import fit

    ours, _, probabilities = both(model_of(fit(rows(300), SCHEMA, "standard", 0, 1.0, 10, 64), activation), rows(300))
    np.testing.assert_allclose(probabilities, ours, atol=1e-6)


def test_parts_of_dates_are_those_of_a_calendar():
    """Each day from 1890 to 2110, and moments within days, before 1970 too."""
    first, last = (np.datetime64(f"{year}-01-01", "us").astype(np.int64) for year in (1890, 2110))
    random = np.random.default_rng(0)
    moments = np.concatenate([np.arange(first, last, 86_400_000_000), random.integers(first, last, 5000)])
    column = pa.array(moments, pa.timestamp("us"))
    for part, expected in PARTS.items():
        graph = onnx_builder.Graph(["when"])
        result = onnx_inputs.source(graph, Number("when", part))
        made = onnx_graph.helper.make_model(
            onnx_graph.helper.make_graph(
                graph.nodes,
                "part",
                [onnx_graph.helper.make_tensor_value_info("when", onnx_inputs.TensorProto.DOUBLE, ["rows", 1])],
                [onnx_graph.helper.make_tensor_value_info(result, onnx_inputs.TensorProto.DOUBLE, ["rows", 1])],
                graph.constants,
            ),
            opset_imports=[onnx_graph.helper.make_opsetid("", onnx_builder.OPSET)],
            ir_version=onnx_builder.IR,
        )
        found = session(made.SerializeToString()).run(None, {"when": moments.astype(np.float64)[:, None]})[0][:, 0]
        np.testing.assert_allclose(found, expected(column), rtol=1e-12, err_msg=part)


def test_names_of_columns_may_be_those_of_the_graph():
    fitted = Preprocessing([Number("label"), Number("Cast 3")])
    model = model_of(fitted)
    model.description = replace(model.description, features=["label", "Cast 3"], kinds={})
    table = pa.table({"label": [0.5, -1.0], "Cast 3": [2.0, 3.0]})
    made = session(onnx_graph.build(model, 0.5).SerializeToString())
    assert [each.name for each in made.get_outputs()] == ["label_", "probabilities"]
    np.testing.assert_allclose(made.run(None, inputs(table, {}))[1], model.probabilities(table), atol=1e-6)


def test_an_empty_text_cannot_be_a_category():
    with pytest.raises(UserError, match="column colour has the empty text") as caught:
        onnx_graph.build(model_of(Preprocessing([], [Category("colour", ["", "red"], "none", False)])), 0.5)
    assert caught.value.status == BAD_DATA


@pytest.mark.parametrize("ship", ["best", "mean"])
def test_predict_and_mlflow_and_onnx_say_the_same(ship, tmp_path, monkeypatch, capsys):
    """On 1,000 raw rows with shuffled columns, missing values and unknown categories."""
    (tmp_path / "data/tables").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text(PARAMS)
    people(600).to_csv(tmp_path / "data/tables/people.csv", index=False)
    table = {"create.table.path": "data/tables/people.csv", "create.table.target": "species"}
    shipped = {"train.ship": ship, "train.replicas": 3, "train.bins": 8, "train.input_scale_rate": 10.0}
    shipped["train.label_smoothing"] = 0.1
    others = {"train.scaling": "standard", "train.embed_above": 3, "train.optimizer.learning_rate": 0.05}
    turn(tmp_path, {**TINY, "create.dataset": "table", **table, **shipped, **others})
    monkeypatch.chdir(tmp_path)
    if ship == "mean":  # the rows are too few to find one
        turn(tmp_path, {"train.temperature": "validation"})
        found = TemperatureReport(54, 1.7, 1.0, 0.1, 0.05)
        monkeypatch.setattr("retrace.training.result_files.find_temperature", lambda *_: found)
    for stage in (create, split, train):
        stage.main()
    assert load(paths.MODELS).description.temperature == (1.7 if ship == "mean" else 1.0)
    invoke(["export"])
    content = export.EXPORTED.read_bytes()
    assert load(paths.MODELS).network.replicas == (3 if ship == "mean" else 1)
    assert "export: models/model.onnx" in capsys.readouterr().out
    invoke(["export"])
    assert export.EXPORTED.read_bytes() == content

    raw = people(1000, seed=5, strange=True)
    shuffled = raw[["when", "member", "id", "town", "age"]]
    shuffled.to_csv("rows.csv", index=False)
    invoke(["predict", "rows.csv", "out.csv"])
    by_command = pd.read_csv("out.csv", keep_default_na=False)

    frame = shuffled.replace({"town": {"": None}, "member": {"": None}})
    mlflow.pyfunc.save_model(
        "saved", python_model=Classifier(), artifacts={"model": "models"}, model_config={"threshold": 0.5},
        code_paths=[], pip_requirements=[],
    )  # fmt: skip
    by_mlflow = mlflow.pyfunc.load_model("saved").predict(frame)

    made = session(content)
    assert made.get_modelmeta().custom_metadata_map["classes"] == '["NA", "ant", "bee"]'
    member = frame["member"].map({"yes": 1.0, "no": 0.0}).to_numpy(np.float64)
    when = pd.to_datetime(frame["when"]).to_numpy("datetime64[us]").astype(np.int64).astype(np.float64)
    given = {
        **{"age": frame["age"].to_numpy(), "member": member, "when": when},
        "town": shuffled["town"].to_numpy(dtype=object),
    }
    assert {each.name for each in made.get_inputs()} == set(COLUMNS)
    label, by_onnx = made.run(["label", "probabilities"], {name: values[:, None] for name, values in given.items()})
    np.testing.assert_allclose(by_onnx, by_command.iloc[:, 1:].to_numpy(), atol=1e-5)
    np.testing.assert_allclose(by_onnx, by_mlflow.iloc[:, 1:].to_numpy(), atol=1e-5)
    assert list(label) == by_command["label"].tolist() == by_mlflow["label"].tolist()
