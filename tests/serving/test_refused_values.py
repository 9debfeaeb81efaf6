"""The model's border: what its network cannot judge is refused by row, whoever asks, and never answered with a NaN."""

import datetime
import importlib
import json
import re
import shutil
from decimal import Decimal
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from retrace.artifacts.tables import read_json, read_table, write_table
from retrace.cli.main import invoke
from retrace.networks.model_files import load, save
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.tracking.model import Served, write_model
from tests.conftest import PARAMS, ROOT
from tests.project import TINY, turn

FILES = ("model.json", "model.safetensors")


def project(root: Path, frame: pd.DataFrame, name: str = "table.csv", **changes) -> None:
    """A trained and exported model of the frame, in the present folder."""
    (root / "data/tables").mkdir(parents=True)
    (root / "params.yaml").write_text(PARAMS)
    (root / "retrace").symlink_to(ROOT / "retrace")  # whose code is recorded with the model
    path = root / "data/tables" / name
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    table = {"create.dataset": "table", "create.table.path": f"data/tables/{name}"}
    settings = {f"{key.replace('__', '.')}": value for key, value in changes.items()}
    turn(root, {**TINY, **table, **settings})
    for stage in ("create", "split", "train"):
        importlib.import_module(f"stages.{stage}").main()
    invoke(["export"])


def recorded(folder: Path) -> "mlflow.pyfunc.PyFuncModel":
    """The model as `record` writes it, loaded as MLflow loads it."""
    if not folder.exists():
        description = read_json(Path("models/model.json"))
        example = read_table(Path("data/test.parquet"), description["features"]).slice(0, 2)
        served = Served(description, tuple(Path("models") / name for name in FILES), example, 0.5)
        write_model(folder, served, "0" * 32, "m-" + "0" * 32)
    return mlflow.pyfunc.load_model(str(folder))


def served(model: "mlflow.pyfunc.PyFuncModel", body: str, kind: str = "application/json") -> pd.DataFrame:
    """What MLflow's server answers."""
    schema = model.metadata.get_input_schema()
    return pd.DataFrame(json.loads(scoring_server.invocations(body, kind, model, schema).response)["predictions"])


def commanded(monkeypatch, path: str) -> pd.DataFrame:
    invoke(["predict", path, "out.parquet"])
    return pd.read_parquet("out.parquet")


def plain(count: int = 200, **columns) -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x1": random.normal(size=count), "x2": random.normal(size=count)})
    return frame.assign(**{"class": np.where(frame["x1"] > 0, "b", "a")}, **columns)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("border")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        project(root, plain())
        recorded(Path("recorded"))
    return root


@pytest.fixture
def numbers(made, tmp_path, monkeypatch):
    """A copy of the project with a model of two numbers."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "copy", symlinks=True))


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ("3e38,-3e38", "-?3e\\+38"),
        ("1,inf", "inf"),
        ("-inf,1", "-inf"),
        ("1e39,0", "1e\\+39"),
        ("0,3.3e38", "3.3e\\+38"),
    ],
)
def test_10_what_the_network_cannot_judge_is_refused_by_row(numbers, monkeypatch, row, value):
    Path("new.csv").write_text(f"x1,x2\n0.1,0.2\n{row}\n0,0\n")
    # A network whose sums are no numbers there, however it was trained.
    harden(Path("models"))
    shutil.rmtree("recorded")
    with pytest.raises(UserError, match=rf"^new.csv: column x[12], row 2: .*{value}") as caught:
        commanded(monkeypatch, "new.csv")
    assert "\n" not in str(caught.value)
    assert not Path("out.parquet").exists()
    frame = pd.read_csv("new.csv")
    model = recorded(Path("recorded"))
    for ask in (
        model.predict,
        lambda rows: served(model, json.dumps({"dataframe_split": rows.to_dict("split", index=False)})),
    ):
        with pytest.raises(MlflowException, match=r"column 'x[12]', row 2: "):
            ask(frame)
    invoke(["export"])
    session = onnxruntime.InferenceSession("models/model.onnx", providers=["CPUExecutionProvider"])
    label, probabilities = session.run(None, {name: frame[[name]].to_numpy(np.float64) for name in frame})
    assert (label[1], np.isnan(probabilities[1]).all()) == ("", True)
    assert np.isfinite(probabilities[[0, 2]]).all()
    assert {label[0], label[2]} <= {"a", "b"}
    assert "NaN" in session.get_modelmeta().custom_metadata_map["limits"]


def harden(folder: Path) -> None:
    """Weights with which the sums of large numbers are infinite, and cancel."""
    model = load(folder, "replicas")
    state = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    state["layers.0.weight"].fill_(3.0)
    state["layers.1.weight"][:] = torch.tensor([1.0, -1.0] * 5)[:, None]
    save(folder, model.description, state, 0)


def test_10_evaluate_names_the_row_of_the_test_table(numbers, monkeypatch):
    importlib.import_module("stages.baseline").main()
    test = read_table(Path("data/test.parquet"))
    for column, value in (("x1", 3e38), ("x2", -3e38)):
        values = test.column(column).to_numpy().copy()
        values[4] = value
        test = test.set_column(test.column_names.index(column), column, pa.array(values))
    write_table(Path("data/test.parquet"), test)
    harden(Path("models"))
    with pytest.raises(UserError, match=r"^data/test.parquet: column x[12], row 5: -?3e\+38 is too large") as caught:
        importlib.import_module("stages.evaluate").main()
    assert caught.value.status == BAD_DATA
    assert not Path("reports/scores.json").exists()


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"x1": [1, 2], "x2": [0, 1]}),
        pd.DataFrame({"x1": [1, 2], "x2": [0, 1]}, dtype="Int64"),
        pd.DataFrame({"x1": [1, 2], "x2": [0, 1]}, dtype="int8[pyarrow]"),
        pd.DataFrame({"x1": [1, 2], "x2": [0, 1]}, dtype="uint32"),
        pd.DataFrame({"x1": [1.0, 2.0], "x2": [0.0, 1.0]}, dtype="float32"),
        pd.DataFrame({"x1": [1, 2.0], "x2": [Decimal(0), "1"]}, dtype=object),
        pd.DataFrame({"x1": ["1", " 2"], "x2": ["0", "1.0"]}, dtype="string"),
        pd.DataFrame({"x1": pd.Categorical([1, 2]), "x2": [False, True]}),
    ],
    ids=["int64", "Int64", "arrow", "uint32", "float32", "object", "string", "categories and bool"],
)
def test_11_whole_numbers_of_any_type_are_numbers(numbers, frame):
    model = recorded(Path("recorded"))
    expected = model.predict(pd.DataFrame({"x1": [1.0, 2.0], "x2": [0.0, 1.0]}))
    pd.testing.assert_frame_equal(model.predict(frame), expected)
    text = frame.to_csv(index=False)
    if frame["x2"].dtype == bool:  # in a text, true is not a number
        with pytest.raises(MlflowException, match="column 'x2', row 1: 'False' is not a number"):
            served(model, text, "text/csv")
    else:
        pd.testing.assert_frame_equal(served(model, text, "text/csv"), expected)
    rows = json.dumps({"dataframe_records": json.loads(frame.astype(object).to_json(orient="records"))})
    pd.testing.assert_frame_equal(served(model, rows), expected)


@pytest.mark.parametrize(
    "value", [pd.Timestamp("2026-01-01"), pd.Timedelta(1), "1_0", "-nan", "inf", "0x10", "1,5", [1.0]], ids=repr
)
def test_11_what_is_no_number_is_refused_by_row(numbers, value):
    frame = pd.DataFrame({"x1": [1.0, 2.0], "x2": pd.Series([0.5, value], dtype=object)})
    with pytest.raises(
        MlflowException, match=r"column 'x2', row 2: .* is not a number; leave the row out or fill it in"
    ):
        recorded(Path("recorded")).predict(frame)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.large_string())], ids=repr
)
def test_11_numbers_that_parquet_has_as_texts_are_numbers(numbers, monkeypatch, kind):
    Path("new.csv").write_text("x1,x2\n1.5,0\n-2,0.25\n")
    texts = pa.table({"x1": pa.array(["1.5", "-2"]).cast(kind), "x2": pa.array(["0", "0.25"]).cast(kind)})
    pq.write_table(texts, "new.parquet")
    expected = commanded(monkeypatch, "new.csv")
    pd.testing.assert_frame_equal(commanded(monkeypatch, "new.parquet"), expected)
    wrong = texts.set_column(0, "x1", pa.array(["1.5", "two"]).cast(kind))
    pq.write_table(wrong, "new.parquet")
    with pytest.raises(UserError, match=r"^new.parquet: column x1, row 2: 'two' is not a number; fix it"):
        commanded(monkeypatch, "new.parquet")


WRITTEN = {  # in training, asked, what it is
    "percent": (["12%", "7.5 %", "100%"], ["7.5%", "12 %"], [0.075, 0.12]),
    "comma": (["1.200,5", "2.300", "0,5"], ["2300", "0.5"], [2300.0, 0.5]),
    "whole beside commas": (["950", "800", "1"], ["800", "1"], [800.0, 1.0]),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_11_texts_of_numbers_are_read_as_in_training_or_refused(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    texts, asked, right = WRITTEN[case]
    commas = {name: plain()[name].astype(str).str.replace(".", ",") for name in ("x1", "x2")}
    project(tmp_path, plain().assign(**commas, share=np.resize(texts, 200)))
    model = recorded(Path("recorded"))
    rows = plain(2).drop(columns="class")
    expected = model.predict(rows.assign(share=right))
    pd.testing.assert_frame_equal(model.predict(rows.assign(share=asked)), expected)
    pd.testing.assert_frame_equal(served(model, rows.assign(share=asked).to_csv(index=False), "text/csv"), expected)
    wrong, rule = ("12", "is not a number with %") if case == "percent" else ("2.300", "has two readings or none")
    asked = rows.assign(share=[asked[0], wrong])
    for ask in (model.predict, lambda rows: served(model, rows.to_csv(index=False), "text/csv")):
        with pytest.raises(MlflowException, match=f"column 'share', row 2: '{wrong}' {rule}"):
            ask(asked)
    # As the lines advise.
    model.predict(asked.assign(share=[right[0], 0.12 if case == "percent" else 2300.0]))
    as_text = asked.assign(share=["7.5%", "12%"] if case == "percent" else ["0.5", "2300.0"])
    served(model, as_text.to_csv(index=False), "text/csv")


DAYS = [f"2021-01-{1 + index % 28:02}T{index % 24:02}:00:00" for index in range(200)]
ZONES = {
    "without": (DAYS, "2021-01-11T00:00:00+01:00", "without a zone", "2021-01-11"),
    "with": ([f"{day}+01:00" for day in DAYS], "2021-01-11T00:00:00", "with a zone", "2021-01-11T00:00:00Z"),
    "day first": (
        [f"{1 + index % 28:02}/02/2021" for index in range(200)], "02/13/2021", "the day first", "13/02/2021",
    ),
    "month first": (
        [f"2.{1 + index % 28}.2021" for index in range(200)], "13.2.2021", "the month first", "2.13.2021",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ZONES)
@pytest.mark.parametrize("stored", ["csv", "parquet"])
def test_12_times_that_are_not_written_as_in_training_are_refused(tmp_path, monkeypatch, case, stored):
    days, wrong, rule, right = ZONES[case]
    monkeypatch.chdir(tmp_path)
    project(tmp_path, plain(when=days), f"table.{stored}")
    assert "when" not in read_json(Path("data/schema.json"))["carried"]
    model = recorded(Path("recorded"))
    for value, ending in ((right, "csv"), (right, "parquet"), (wrong, "csv"), (wrong, "parquet")):
        rows = plain(20, when=[days[0], value] * 10).drop(columns="class")
        rows.to_csv("new.csv", index=False)
        rows.to_parquet("new.parquet")
        if value == right:
            expected = commanded(monkeypatch, f"new.{ending}")
            pd.testing.assert_frame_equal(model.predict(rows), expected)
            pd.testing.assert_frame_equal(served(model, rows.to_csv(index=False), "text/csv"), expected)
            continue
        with pytest.raises(UserError, match=rf"^new.{ending}: column when, row 2: {re.escape(repr(wrong))} .*{rule}"):
            commanded(monkeypatch, f"new.{ending}")
        with pytest.raises(MlflowException, match=rf"column 'when', row 2: {re.escape(repr(wrong))} .*{rule}"):
            model.predict(rows)


def test_12_times_with_a_type_are_refused_by_the_same_rule(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project(tmp_path, plain(when=pd.to_datetime(DAYS)), "table.parquet")
    model = recorded(Path("recorded"))
    zoned = plain(20, when=pd.to_datetime(DAYS[:20], utc=True)).drop(columns="class")
    zoned.to_parquet("new.parquet")
    with pytest.raises(UserError, match=r"column when, row 1: a timestamp.* is not .* without a zone"):
        commanded(monkeypatch, "new.parquet")
    for value in (zoned, zoned.assign(when=[datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)] * 20)):
        with pytest.raises(MlflowException, match=r"column 'when', row 1: '2021.*00:00' is not .* without a zone"):
            model.predict(value)
    with pytest.raises(MlflowException, match="column 'when', row 1: 0 is not a date"):
        model.predict(zoned.assign(when=range(20)))
    # Nanoseconds are cut, as `create` does.
    fine = zoned.assign(when=pd.to_datetime(DAYS[:20]) + pd.Timedelta(7, "ns"))
    pd.testing.assert_frame_equal(model.predict(fine), model.predict(zoned.assign(when=pd.to_datetime(DAYS[:20]))))


def test_12_a_mixture_is_refused_also_where_blocks_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("retrace.data.source.BLOCK", 2000)
    when = [day if row < 100 else f"{day}Z" for row, day in enumerate(DAYS)]
    with pytest.raises(UserError, match=r"column when, row 101: '.*Z' is not a date .* without a zone"):
        project(tmp_path, plain(when=when))
