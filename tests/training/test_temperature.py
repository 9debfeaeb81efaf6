"""`train.temperature`: found on validation rows, kept where it is surely better, part of the model."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from retrace.artifacts.training import TemperatureReport, read_training_report
from retrace.networks.model import Description, Model
from retrace.networks.model_files import load, save, shipped_model
from retrace.networks.probabilities import class_probabilities
from retrace.preprocessing.description import Number, Preprocessing
from retrace.training.rows import Rows
from retrace.training.temperature import FEWEST, FEWEST_WRONG, best_temperature, find_temperature, row_losses
from stages import create, split, train
from tests.project import TINY, turn

PREPROCESSING = Preprocessing([Number("x1"), Number("x2")])


def model_of(classes: int, sharp: float, replicas: int = 1, smoothing: float = 0.0) -> Model:
    """One linear layer whose logits are `sharp` times those that the labels of `rows_of` are drawn by."""
    names = [f"c{index}" for index in range(classes)]
    description = Description(["x1", "x2"], {}, "y", names, [], "relu", 0, PREPROCESSING, smoothing)
    outputs = 1 if classes == 2 else classes
    weight = torch.tensor([[math.cos(2.4 * place), math.sin(2.4 * place)] for place in range(outputs)]) * 2 * sharp
    state = {
        "layers.0.weight": weight.expand(replicas, -1, -1).clone(),
        "layers.0.bias": torch.zeros(replicas, outputs),
    }
    return Model(description, state)


def rows_of(classes: int, count: int, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 2)).astype(np.float32)
    chances = model_of(classes, 1.0).of_inputs(x)
    y = (random.random((count, 1)) > chances.cumsum(1)).sum(1).clip(0, classes - 1)
    return Rows(torch.from_numpy(x), torch.from_numpy(y.astype(np.int16)))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("sharp", [0.5, 1.7, 3.0])
def test_it_undoes_what_made_the_model_too_sure(classes, sharp):
    found = find_temperature(model_of(classes, sharp, replicas=3), rows_of(classes, 4000), 26)
    assert found.temperature == pytest.approx(sharp, rel=0.12)
    assert found.low > 0
    assert found.words.startswith(f"temperature {found.temperature:.3f}; log loss ")


def test_one_that_is_right_is_left_alone():
    """Twenty times: chance alone is surely better in one of them at most, or two."""
    kept = [find_temperature(model_of(3, 1.0), rows_of(3, 300, seed), 26).temperature for seed in range(20)]
    assert sum(each != 1 for each in kept) <= 2


def test_what_validation_rows_cannot_say_is_not_said():
    few = find_temperature(model_of(2, 3.0), rows_of(2, FEWEST - 1), 26)
    assert (few.temperature, few.gain) == (1.0, None)
    assert few.words == f"temperature 1: {FEWEST - 1} validation rows say too little for another one"
    rows = rows_of(2, 400)
    likeliest = model_of(2, 0.2).of_inputs(rows.x.numpy()).argmax(1).astype(np.int16)
    likeliest[: FEWEST_WRONG - 1] = 1 - likeliest[: FEWEST_WRONG - 1]
    sure = find_temperature(model_of(2, 0.2), Rows(rows.x, torch.from_numpy(likeliest)), 26)
    assert (sure.temperature, sure.gain) == (1.0, None)
    likeliest[FEWEST_WRONG - 1] = 1 - likeliest[FEWEST_WRONG - 1]
    assert find_temperature(model_of(2, 0.2), Rows(rows.x, torch.from_numpy(likeliest)), 26).temperature < 0.6


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_the_one_that_scikit_learn_finds(classes):
    rows = rows_of(classes, 1500, 3)
    x, y = rows.x.numpy().astype(np.float64), rows.y.numpy()
    linear = LogisticRegression(C=100).fit(x[:100], y[:100])
    linear.coef_ *= 2.5
    theirs = CalibratedClassifierCV(FrozenEstimator(linear), method="temperature").fit(x, y).predict_proba(x)
    logits = torch.from_numpy(np.atleast_2d(linear.decision_function(x).T).T).reshape(1, len(x), -1)
    found = best_temperature(logits, rows.y.long(), 0.0)
    ours = class_probabilities(logits, 0.0, found)[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_the_loss_is_that_of_the_mean_of_the_replicas_without_smoothing():
    random = np.random.default_rng(1)
    logits, y = torch.from_numpy(random.normal(size=(3, 50, 4))), torch.from_numpy(random.integers(0, 4, 50))
    chances = class_probabilities(logits, 0.1, 2.0).mean(0)
    expected = -chances[torch.arange(50), y].log().numpy()
    np.testing.assert_allclose(row_losses(logits, y, 0.1, 2.0), expected)
    np.testing.assert_allclose(class_probabilities(logits, 0.1, 2.0), class_probabilities(logits / 2, 0.1))


@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_part_of_the_model(project, classes):
    """In the file, in all ways to ask it; without one the file is as it has been."""
    x = rows_of(classes, 50).x.numpy()
    for temperature in (1.0, 2.5):
        model = model_of(classes, 1.0, replicas=2)
        state = model.network.state_dict()
        description = replace(model.description, temperature=temperature)
        Path("models").mkdir(exist_ok=True)
        save(Path("models"), description, state, None)
        assert ("temperature" in json.loads(Path("models/model.json").read_text())) == (temperature != 1)
        read = load(Path("models"))
        expected = class_probabilities(model.logits(x), 0.0, temperature).mean(0).numpy()
        np.testing.assert_array_equal(read.of_inputs(x), expected)
        np.testing.assert_array_equal(read.of_replicas(x).mean(0), expected)
        np.testing.assert_array_equal(shipped_model(description, state, None).of_inputs(x), expected)
    with pytest.raises(TypeError, match="temperature must be above 0"):
        replace(description, temperature=0.0)


def test_the_stage_asks_and_tells(project, capsys, monkeypatch):
    for stage, changes in ((create, TINY), (split, {}), (train, {})):
        turn(project, {**changes, "create.rows": 400, "train.temperature": "validation"})
        stage.main()
    assert "train: temperature 1: 30 validation rows say too little for another one\n" in capsys.readouterr().out
    assert read_training_report().temperature.rows == 30
    weights = Path("models/model.safetensors").read_bytes()
    given = TemperatureReport(400, 1.25, 0.5, 0.02, 0.01)
    monkeypatch.setattr("retrace.training.result_files.find_temperature", lambda *_: given)
    train.main()
    assert read_training_report().temperature == given
    assert load(Path("models")).description.temperature == 1.25
    assert Path("models/model.safetensors").read_bytes() == weights
    assert "train: temperature 1.250; log loss 0.5000 on 400 validation rows without one, 0.4800 with one" in (
        capsys.readouterr().out
    )
    turn(project, {"train.temperature": "none"})
    train.main()
    assert "temperature" not in Path("models/training.json").read_text() + Path("models/model.json").read_text()
    assert "temperature" not in capsys.readouterr().out
