"""Stage train: from tables to a stored model, the device it runs on, and the result of the default recipe."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.datasets import load_wine
from torch.nn import functional as F

from retrace.artifacts import paths
from retrace.artifacts.schema import Schema, read_schema, write_schema
from retrace.artifacts.tables import read_table, write_table
from retrace.artifacts.training import CLOCK, HISTORY, LOSS, STEPS, TRAINING
from retrace.data.densities import bayes_predictions
from retrace.networks.model import Description
from retrace.networks.model_files import load
from retrace.preprocessing.apply import encode
from retrace.preprocessing.description import Number, Preprocessing
from retrace.runtime.errors import BAD_DATA, BAD_PARAMS, MACHINE_FAULT, UserError
from retrace.training.device import choose, make_deterministic
from retrace.training.resources import memory_bytes
from retrace.training.rows import fit_preprocessing, read_rows
from stages import create, split, train
from tests.conftest import PARAMS, ROOT, train_section

TINY = {"replicas": 3, "hidden": "[4]", "epochs": 3, "batch_size": 32}
OUTPUTS = (
    *("models/model.safetensors", "models/replicas.safetensors", "models/model.json", "models/training.json"),
    *("reports/history.csv", "reports/loss.csv", "reports/steps.parquet"),
)


@pytest.fixture(autouse=True)
def as_before():
    """The stage sets torch's threads and determinism for its whole process; other tests share this one."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)


def write_params(**changes):
    """The real params.yaml with leaves of section train changed, by their last name."""
    start, end = PARAMS.index("\ntrain:"), PARAMS.index("\nevaluate:")
    lines = PARAMS[start:end].split("\n")
    for key, value in changes.items():
        index = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{key}: "))
        lines[index] = f"{lines[index].split(key)[0]}{key}: {value}"
    Path("params.yaml").write_text(PARAMS[:start] + "\n".join(lines) + PARAMS[end:])


def write_data(features, target, classes=2, sizes=(150, 50)):
    """Training and validation tables out of the first rows of an array, and their schema."""
    names = [f"x{index}" for index in range(features.shape[1])]
    table = pa.table({**dict(zip(names, features.T, strict=True)), "kind": target.astype(np.int64)})
    counts = np.bincount(target, minlength=classes).tolist()
    write_schema(Schema("own", names, "kind", [f"class {index}" for index in range(classes)], counts, None))
    write_table(paths.TRAIN, table.slice(0, sizes[0]))
    write_table(paths.VALIDATION, table.slice(*sizes))


@pytest.fixture
def data(project):
    """Two features far from zero, one of them constant on the training rows too; two classes."""
    random = np.random.default_rng(0)
    features = random.normal(loc=[10.0, -3.0, 7.0], scale=[2.0, 0.1, 0.0], size=(200, 3))
    write_data(features, (features[:, 0] + random.normal(size=200) > 10).astype(int))
    write_params(**TINY)
    return project


def outputs() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in OUTPUTS}


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_files_tell_one_story(data, capsys):
    write_params(**TINY | {"seed": 5})
    train.main()
    out, err = capsys.readouterr()
    assert all(line.startswith("train: warning: ") for line in err.splitlines())  # no progress bar in a pipe
    training = json.loads(TRAINING.read_text())
    shipped = training["shipped"]
    assert shipped != 0  # or the test could not tell it from the first
    assert (training["steps_per_epoch"], training["precision"]) == (5, "float32")
    assert out.splitlines()[0].endswith("3 replicas of 3 - 4 - 1; 150 rows")
    assert f"replica {shipped} ships, best epoch {training['replicas'][shipped]['best_epoch']}" in out

    history = rows_of(HISTORY.path)
    assert [(row["epoch"], row["replica"]) for row in history] == [(e, r) for e in "123" for r in "012"]
    for replica, summary in enumerate(training["replicas"]):
        losses = [float(row["validation_loss"]) for row in history if row["replica"] == str(replica)]
        assert summary["best_epoch"] == losses.index(min(losses)) + 1
        assert summary["best_validation_loss"] == pytest.approx(min(losses))
    best = [summary["best_validation_loss"] for summary in training["replicas"]]
    assert best[shipped] == min(best)
    mine = [
        (row["epoch"], row["train_loss"], row["validation_loss"]) for row in history if int(row["replica"]) == shipped
    ]
    assert [tuple(row.values()) for row in rows_of(LOSS.path)] == mine

    steps = read_table(STEPS.path)
    assert (steps.num_rows, steps.column_names) == (15, ["replica_0", "replica_1", "replica_2"])
    first = np.average(steps.column("replica_1").to_numpy()[:5], weights=[32, 32, 32, 32, 22])
    assert float(history[1]["train_loss"]) == pytest.approx(first, rel=1e-5)

    # The stored model gives, from raw rows, the validation loss that was recorded.
    table = read_table(paths.VALIDATION)
    validation = table.to_pandas()
    for name, expected in (("model", [best[shipped]]), ("replicas", best)):
        model = load(paths.MODELS, name)
        probabilities = model.of_replicas(encode(model.description.preprocessing, table))
        chosen = probabilities[:, np.arange(50), validation["kind"]]
        np.testing.assert_allclose(-np.log(chosen).mean(1), expected, rtol=1e-5)


def test_the_files_tell_one_story_where_the_mean_ships(data, capsys):
    """With all that the first layer can have; the model is that of the training, to the last digit that counts."""
    given = {"ship": "mean", "bins": 8, "input_scale_rate": 10.0, "scaling": "standard", "epochs": 6}
    write_params(**TINY | given)
    train.main()
    training = json.loads(TRAINING.read_text())
    mean = training["mean"]
    assert training["shipped"] is None
    history = rows_of(HISTORY.path)
    of_mean = [float(row["validation_loss_of_mean"]) for row in history if row["replica"] == "0"]
    assert mean["best_epoch"] == of_mean.index(min(of_mean)) + 1
    assert mean["epochs"] == len(of_mean) == 6
    says = f"the mean of 3 replicas ships, best epoch {mean['best_epoch']}, validation loss"
    assert f"{says} {mean['best_validation_loss']:.4f}" in capsys.readouterr().out
    for row, epoch in zip(rows_of(LOSS.path), range(1, 7), strict=True):
        losses = [float(each["train_loss"]) for each in history if each["epoch"] == str(epoch)]
        assert (row["epoch"], float(row["validation"])) == (str(epoch), pytest.approx(of_mean[epoch - 1]))
        assert float(row["train"]) == pytest.approx(np.mean(losses))
    model, table = load(paths.MODELS), read_table(paths.VALIDATION)
    numbers = model.description.preprocessing.numbers
    assert [len(number.edges) for number in numbers] == [9, 9, 0]  # the last one is constant
    assert model.description.widths == [3 + 16, 4, 1]
    chosen = model.probabilities(table)[np.arange(50), table.column("kind").to_numpy()]
    assert -np.log(chosen).mean() == pytest.approx(mean["best_validation_loss"], rel=1e-5)
    each = model.of_replicas(encode(model.description.preprocessing, table))
    losses = -np.log(each[:, np.arange(50), table.column("kind").to_numpy()]).mean(1)
    np.testing.assert_allclose(losses, [one["best_validation_loss"] for one in training["replicas"]], rtol=1e-5)
    # The same bytes again, whatever the process did before.
    first = outputs()
    train.main()
    assert outputs() == first


def test_the_memory_that_is_asked_for_counts_bins_and_factors():
    """It must not be more than is taken: what one step of such a training holds, counted array by array."""
    edges = [float(edge) for edge in range(17)]
    preprocessing = Preprocessing([Number(f"x{index}", edges=edges) for index in range(100)])
    names = [number.column for number in preprocessing.numbers]
    description = Description(names, {}, "kind", ["a", "b"], [64], "relu", 0, preprocessing)
    assert description.widths == [1700, 64, 1]
    section = train_section(replicas=4, batch_size=128, hidden=[64])
    device = torch.device("cpu")
    plain = memory_bytes(description, section, 900, 100, device)
    weights = 1700 * 64 + 64 + 64 + 1
    assert plain == 4 * (1000 * 100 + 4 * (4 * weights + 2 * 128 * (1700 + 64 + 1)))
    factors = memory_bytes(description, section.model_copy(update={"input_scale_rate": 2.0}), 900, 100, device)
    assert factors - plain == 4 * 4 * 1700 * 64
    assert memory_bytes(description, section.model_copy(update={"ship": "mean"}), 900, 100, device) - plain == 8 * 400


def test_the_same_state_gives_the_same_bytes_and_no_clock(data):
    train.main()
    first, clock = outputs(), json.loads(CLOCK.read_text())
    train.main()
    assert outputs() == first
    assert json.loads(CLOCK.read_text())["started"] > clock["started"]
    write_params(**TINY | {"seed": 27})
    train.main()
    assert all(content != first[name] for name, content in outputs().items())


def test_d35_scaling_comes_from_the_training_rows_only(data):
    write_params(**TINY | {"scaling": "standard"})
    train.main()
    first = json.loads(Path("models/model.json").read_text())["preprocessing"]["numbers"]
    table = read_table(paths.TRAIN).to_pandas()[["x0", "x1", "x2"]]
    assert [each["center"] for each in first] == pytest.approx(table.mean().tolist())
    assert [each["spread"] for each in first] == pytest.approx(
        [*table.std(ddof=0)[:2], 1.0]
    )  # a constant column is only shifted
    # Other validation rows, and test rows whatever they are, change nothing of it.
    other = read_table(paths.VALIDATION).to_pandas() * 3
    write_table(paths.VALIDATION, pa.Table.from_pandas(other.assign(kind=other["kind"] // 3), preserve_index=False))
    Path("data/test.parquet").write_bytes(b"not even a table")
    train.main()
    assert json.loads(Path("models/model.json").read_text())["preprocessing"]["numbers"] == first
    # And the network sees training rows of mean 0 and deviation 1.
    schema = read_schema()
    x = read_rows(paths.TRAIN, schema, fit_preprocessing(paths.TRAIN, schema, train_section(scaling="standard"))).x
    torch.testing.assert_close(x.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]))


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.2, "class_weights": "balanced", "warmup_epochs": 2}])
def test_p14_a_batch_is_at_most_all_rows(data, changes):
    """Of 150: a larger batch is the same training, byte by byte."""
    made = {}
    for size in (150, 151, 10_000_000):
        write_params(**TINY | changes | {"batch_size": size})
        train.main()
        assert json.loads(TRAINING.read_text())["steps_per_epoch"] == 1
        made[size] = [path.read_bytes() for path in (HISTORY.path, STEPS.path, *sorted(paths.MODELS.iterdir()))]
    assert made[151] == made[10_000_000] == made[150]


def test_class_weights_must_be_as_many_as_the_classes(data):
    write_params(**TINY | {"class_weights": [1.0, 2.0, 3.0]})
    with pytest.raises(UserError) as caught:
        train.main()
    assert caught.value.status == BAD_PARAMS
    assert "train.class_weights must hold a weight for each of the 2 classes (" in str(caught.value)
    assert str(caught.value).endswith("got [1.0, 2.0, 3.0]")


@pytest.mark.parametrize(("value", "bins"), [(math.inf, 0), (1e39, 0), (1e39, 8)])
def test_a_value_no_float32_can_hold_is_named(data, value, bins):
    write_params(**TINY | {"bins": bins})
    table = read_table(paths.TRAIN).to_pandas()
    table.loc[6, "x1"] = value
    write_table(paths.TRAIN, pa.Table.from_pandas(table, preserve_index=False))
    with pytest.raises(
        UserError, match=r"^data/train.parquet: column x1, row 7: .* (is not a finite number|is too large)"
    ) as caught:
        train.main()
    assert caught.value.status == BAD_DATA


@pytest.mark.parametrize("index", [-100, 2, 65_536])  # the last is 0 as int16
def test_n09_m16_a_class_that_does_not_exist_is_refused(data, index):
    table = read_table(paths.VALIDATION).to_pandas()
    table.loc[3, "kind"] = index
    write_table(paths.VALIDATION, pa.Table.from_pandas(table, preserve_index=False))
    with pytest.raises(
        UserError, match=r"^data/validation.parquet: column kind must hold class indices 0 to 1"
    ) as caught:
        train.main()
    assert caught.value.status == BAD_DATA


def test_n01_a_diverging_training_ends_as_a_process_with_status_4(project):
    features, target = load_wine(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(target))
    write_data(features[order], target[order], classes=3, sizes=(140, 38))
    write_params(**TINY | {"learning_rate": "1e6", "hidden": "[9, 9]", "activation": "leaky_relu"})
    earlier = Path("models/model.json")
    earlier.parent.mkdir()
    earlier.write_text("of an earlier run")
    done = subprocess.run(
        [sys.executable, "-m", "stages.train"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == MACHINE_FAULT
    (line,) = done.stderr.splitlines()
    assert line.startswith("train: epoch 1, step ")
    assert "at learning rate 1e+06; lower train.optimizer.learning_rate" in line
    assert earlier.read_text() == "of an earlier run"
    assert [path for path in Path().rglob("*") if path.is_file() and path.parts[0] in ("models", "reports")] == [
        earlier
    ]


def test_n03_weights_that_overflow_behind_a_finite_loss_are_not_saved(project):
    # A sigmoid of infinity is 1: the squared error of an infinite weight can be perfect.
    features = np.repeat([[1e36], [-1e36]], 100, axis=0)
    write_data(features, (features[:, 0] > 0).astype(int), sizes=(200, 0))
    write_table(paths.VALIDATION, read_table(paths.TRAIN))
    write_params(**TINY | {"hidden": "[]", "init": "zeros", "loss": "mean_squared_error", "learning_rate": "1e6"})
    with pytest.raises(UserError, match="learning_rate") as caught:
        train.main()
    assert caught.value.status == MACHINE_FAULT
    assert not list(paths.MODELS.glob("*"))


def test_a_missing_table_says_how_to_get_it_back(data):
    paths.VALIDATION.unlink()
    with pytest.raises(UserError, match=r"^data/validation.parquet not found; bring it back with: dvc repro"):
        train.main()


# --- the device -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cuda:99", *([] if torch.cuda.is_available() else ["cuda", "cuda:0"])])
def test_m14_a_device_that_is_not_there_names_those_that_are(data, device):
    write_params(device=device)
    with pytest.raises(UserError) as caught:
        train.main()
    assert caught.value.status == BAD_PARAMS
    number = next(n for n, line in enumerate(PARAMS.splitlines(), 1) if "  device: " in line)
    here = ", ".join(["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))])
    rule = f"train.device must be a device of this machine ({here}) or auto"
    assert str(caught.value) == f"params.yaml:{number}: {rule}; got the text '{device}'"
    assert not list(paths.MODELS.glob("*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_auto_takes_the_cpu_where_there_is_no_cuda(data, capsys):
    assert choose(train_section(device="auto")) == (torch.device("cpu"), "auto: no CUDA here")
    train.main()
    assert "train: on cpu (auto: no CUDA here)" in capsys.readouterr().out
    training = json.loads(TRAINING.read_text())
    assert (training["device"], training["device_reason"]) == ("cpu", "auto: no CUDA here")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_auto_takes_cuda_where_there_is_one():
    assert choose(train_section(device="auto")) == (torch.device("cuda:0"), "auto: CUDA is there")
    assert choose(train_section(device="cuda")) == (torch.device("cuda:0"), "named in params.yaml")


def test_the_named_device_is_taken():
    assert choose(train_section(device="cpu")) == (torch.device("cpu"), "named in params.yaml")


def test_training_is_deterministic_on_one_thread():
    make_deterministic(torch.device("cpu"), tf32=False)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


# --- the default recipe ---------------------------------------------------------------------------------------------


def test_the_default_recipe_comes_within_a_hundredth_of_bayes(project):
    for stage in (create, split, train):
        stage.main()
    schema, test = read_schema(), read_table("data/test.parquet")
    features, target = test.select(schema.features).to_pandas().to_numpy(), test.column(schema.target).to_numpy()
    bayes = np.mean(bayes_predictions(schema.density, features) == target)
    assert (len(target), round(bayes, 4)) == (3300, 0.9821)

    model = load(paths.MODELS)
    accuracy = np.mean(model.probabilities(test).argmax(1) == target)
    assert bayes - 0.01 <= accuracy <= bayes + 0.005
    training = json.loads(TRAINING.read_text())
    shipped = training["replicas"][training["shipped"]]
    assert shipped["best_validation_loss"] == min(each["best_validation_loss"] for each in training["replicas"])
    validation = read_table(paths.VALIDATION)
    second = model.probabilities(validation)[:, 1]
    kinds = torch.tensor(validation.column(schema.target).to_numpy()).double()
    loss = F.binary_cross_entropy(torch.tensor(second), kinds)
    assert loss.item() == pytest.approx(shipped["best_validation_loss"], rel=1e-5)
    # The classic network: two inputs, ten hidden units, one logit.
    assert [tuple(p.shape[1:]) for p in model.network.parameters()] == [(2, 10), (1, 10), (10, 1), (1, 1)]
