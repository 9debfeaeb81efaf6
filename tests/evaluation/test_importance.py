"""Permutation importance: what scikit-learn finds, with intervals that hold what they promise."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.inspection import permutation_importance

from retrace.evaluation import importance as module
from retrace.evaluation.importance import importance, mean_loss, rows_in_reach
from retrace.networks.model import Description, Model, decide
from retrace.params.evaluate import Evaluate
from retrace.preprocessing.apply import encode
from retrace.preprocessing.description import Category, Number, Preprocessing
from tests.conftest import VALUES, changed


def section(**changes) -> Evaluate:
    return Evaluate(**changed(VALUES["evaluate"], changes))


def linear(preprocessing: Preprocessing, features: list[str], weights, kinds: dict[str, str] | None = None) -> Model:
    """Two classes, the second one where the weighted sum of the inputs is positive."""
    weight = torch.tensor([[weights]], dtype=torch.float32)
    state = {"layers.0.weight": weight, "layers.0.bias": torch.zeros(1, 1)}
    return Model(Description(features, kinds or {}, "y", ["a", "b"], [], "relu", 0, preprocessing), state)


def numeric(weights: list[float]) -> Model:
    names = [f"x{index}" for index in range(len(weights))]
    return linear(Preprocessing([Number(name) for name in names]), names, weights)


def sample(rows: int, columns: int, seed: int = 0):
    """inputs, and classes that follow the first column but for some luck."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(rows, columns)).astype(np.float32)
    return inputs, (inputs[:, 0] + 0.5 * random.normal(size=rows) > 0).astype(np.int64)


def test_the_decisive_column_is_surely_needed_and_one_of_pure_noise_is_not():
    inputs, actual = sample(2000, 3)
    found, rows = importance(numeric([0.0, 0.4, 3.0][::-1]), inputs, actual, section())
    assert rows == 2000
    assert [each.column for each in found] == ["x0", "x1", "x2"]
    decisive, noise, unused = found
    assert decisive.accuracy.low > 0.25
    assert decisive.log_loss.low > 0.5
    assert noise.accuracy.low < 0 < noise.accuracy.high
    assert noise.log_loss.low < 0 < noise.log_loss.high
    assert noise.accuracy.high - noise.accuracy.low < 0.05
    assert unused[1:] == ((0, 0, 0), (0, 0, 0))


def test_the_mean_is_that_of_scikit_learn():
    inputs, actual = sample(500, 3)
    model = numeric([2.0, 0.7, 0.1])

    class Estimator:
        def fit(self, x, y):
            return self

        def score(self, x, y):
            return (decide(model.of_inputs(x), 0.5) == y).mean()

    theirs = permutation_importance(Estimator(), inputs, actual, n_repeats=200, random_state=0)
    ours = {each.column: each.accuracy.mean for each in importance(model, inputs, actual, section(permutations=200))[0]}
    for index, (mean, spread) in enumerate(zip(theirs.importances_mean, theirs.importances_std, strict=True)):
        assert ours[f"x{index}"] == pytest.approx(mean, abs=4 * spread * (2 / 200) ** 0.5)


def test_all_inputs_of_a_column_go_together_as_if_the_raw_values_were_shuffled():
    """Each shuffle done again by hand on raw rows, which the model then encodes itself."""
    random = np.random.default_rng(3)
    count = 300
    raw = pa.table(
        {
            "number": pa.array(random.normal(size=count), mask=random.random(count) < 0.3),
            "colour": pa.array(random.choice(["red", "blue", "green"], count)).dictionary_encode(),
            "day": pa.array([datetime(2026, 1, 1) + timedelta(days=int(d)) for d in random.integers(0, 90, count)]),
            "same": ["x"] * count,
        }
    )
    numbers = [Number("number", fill=0.0, indicator=True), *(Number("day", part) for part in ("weekday", "month"))]
    categories = [Category("colour", ["red", "blue"], "none", True), Category("same", [], "none", False)]
    kinds = {"colour": "categorical", "day": "datetime", "same": "categorical"}
    preprocessing = Preprocessing(numbers, categories)
    model = linear(preprocessing, raw.column_names, [1.0, 0.3, -0.5, -0.8, 0.9, -0.4, 0.6], kinds)
    actual = random.integers(0, 2, count)
    found, _ = importance(model, encode(preprocessing, raw), actual, section(permutations=3))

    def judge(rows: pa.Table) -> tuple[float, float]:
        chances = model.probabilities(rows)
        return (decide(chances, 0.5) == actual).mean(), -np.log(chances[np.arange(count), actual]).mean()

    accuracy, loss = judge(raw)
    for each in found:
        generator = np.random.default_rng([section().seed, module.crc32(each.column.encode())])
        place = raw.column_names.index(each.column)
        judged = [
            judge(raw.set_column(place, each.column, raw.column(place).take(generator.permutation(count))))
            for _ in range(3)
        ]
        assert each.accuracy.mean == pytest.approx(accuracy - np.mean([score for score, _ in judged]))
        assert each.log_loss.mean == pytest.approx(np.mean([lost for _, lost in judged]) - loss)
    assert [each.column for each in found if each.log_loss.mean == 0] == ["same"]


def test_the_same_again_and_no_column_has_a_say_in_another_ones_shuffles():
    inputs, actual = sample(400, 3)
    both, _ = importance(numeric([2.0, 0.7]), inputs[:, :2], actual, section())
    assert both == importance(numeric([2.0, 0.7]), inputs[:, :2], actual, section())[0]
    assert both != importance(numeric([2.0, 0.7]), inputs[:, :2], actual, section(seed=1))[0]
    names = ["new", "x0", "x1"]
    model = linear(Preprocessing([Number(name) for name in names]), names, [0.0, 2.0, 0.7])
    more, _ = importance(model, inputs[:, [2, 0, 1]], actual, section())
    for each, before in zip([each for each in more if each.column != "new"], both, strict=True):
        assert each.column == before.column
        assert each.accuracy == before.accuracy
        assert each.log_loss == pytest.approx(before.log_loss, rel=1e-6)  # a sum of three may be rounded otherwise


def test_the_interval_holds_the_true_value_as_often_as_it_says():
    """Rows that lose, rows that give away what makes others lose, and luck: each could be forgotten."""
    for parts in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (1, -1, 0)):
        held = 0
        for seed in range(400):
            random = np.random.default_rng(seed)
            own, given = random.normal(size=(2, 80))
            given = own if parts == (1, -1, 0) else given  # a row that loses as much as it makes others lose
            donors = np.stack([random.permutation(80) for _ in range(10)])
            luck = random.normal(size=donors.shape)
            losses = 0.3 + parts[0] * own + parts[1] * given[donors] + parts[2] * luck
            result = mean_loss(losses, donors, 0.9)
            assert result.mean == pytest.approx(losses.mean())
            held += result.low <= 0.3 <= result.high
        assert held >= 0.86 * 400, parts


def test_the_interval_is_no_wider_than_it_must_be():
    """The width against the spread of the means themselves, over test sets of which each is a new one."""
    means, halves = [], []
    for seed in range(300):
        inputs, actual = sample(300, 2, seed)
        decisive = importance(numeric([2.0, 0.5]), inputs, actual, section(permutations=20))[0][0]
        means.append(decisive.accuracy.mean)
        halves.append((decisive.accuracy.high - decisive.accuracy.low) / 2 / 1.96)
    assert 0.93 < np.mean(halves) / np.std(means) < 1.25


def test_few_rows_are_drawn_of_many_and_fewer_for_many_columns(monkeypatch):
    inputs, actual = sample(3000, 2)
    monkeypatch.setattr(module, "MOST_ROWS", 700)
    found, rows = importance(numeric([2.0, 0.5]), inputs, actual, section())
    assert rows == 700
    assert found[0].accuracy.low > 0
    # Drawn from all rows, which may stand in the order of time: the first 700 ones here are of another kind.
    inputs[:1500, 0] = 0
    assert importance(numeric([2.0, 0.5]), inputs, actual, section())[0][0].accuracy.low > 0.1
    wide = numeric([0.5] * 400)
    few = rows_in_reach(wide, 400, 10)
    assert few == 700
    monkeypatch.setattr(module, "WORK", 400 * 10 * 401 * 600)
    assert rows_in_reach(wide, 400, 10) == 600
    assert rows_in_reach(wide, 400, 1000) == module.FEWEST_ROWS
