"""What a lesson trains and measures: each variant as if it were alone, divergence as a result, numbers by hand."""

import math

import numpy as np
import pytest
import torch

from retrace.lessons import training
from retrace.lessons.lesson_run import teach
from retrace.lessons.measures import MEASURES, REDUCERS, Measures, faults_of_expression
from retrace.lessons.training import Observed, observe, picture_epochs, prepare
from retrace.params.lesson import read_lesson
from retrace.runtime.errors import UserError
from tests.made_lessons import NAME, WILD, write_lesson


@pytest.fixture
def folder(tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def same(a: Observed, b: Observed) -> bool:
    arrays = ("values", "start_loss", "start_gradient", "start_activation", "points")
    equal = all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True) for name in arrays)
    return (
        equal and a.plane.keys() == b.plane.keys() and all(np.array_equal(a.plane[at], b.plane[at]) for at in a.plane)
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_variant_is_the_same_alone_and_among_others_on_any_number_of_cores(folder, monkeypatch, workers):
    monkeypatch.setenv("RETRACE_WORKERS", workers)
    told = read_lesson(write_lesson(folder) and NAME)
    prepared = prepare(told.variants, folder / "rows")
    assert prepared[0].shape == prepared[1].shape, "two rates train in one pack"
    together = observe(prepared, ["ten"], ["zeros"])
    for each in prepared:
        alone = observe([each], ["ten"], ["zeros"])[each.variant.name]
        assert same(alone, together[each.variant.name])
        assert alone.values.shape == (3, 4, 3 + 2 + 1)
    assert list(together["ten"].plane) == [4]
    assert list(together["zeros"].plane) == [0, 1, 2, 3, 4]
    assert together["fast"].plane == {}


def test_what_is_trained_is_what_a_training_of_the_pipeline_gives(folder, monkeypatch):
    """The trainer's own history, of the same settings and rows."""
    from retrace.training.members import members_of
    from retrace.training.trainer import fit

    told = read_lesson(write_lesson(folder) and NAME)
    prepared = prepare(told.variants[:1], folder / "rows")[0]
    seen = observe([prepared], [], [])["ten"]
    section = prepared.variant.train
    network = prepared.description.network(section.replicas, scaled=False)
    result = fit(network, prepared.data.training, prepared.data.validation, members_of(section), torch.device("cpu"))
    place = {name: result.header.index(name) for name in ("epoch", "replica", "validation_loss", "validation_accuracy")}
    for row in result.history:
        own = seen.values[int(row[place["replica"]]), int(row[place["epoch"]]) - 1]
        assert math.isclose(own[1], row[place["validation_loss"]], rel_tol=1e-6)
        assert math.isclose(own[2], row[place["validation_accuracy"]], rel_tol=1e-6)


def test_a_network_that_diverges_is_a_result(folder):
    write_lesson(
        folder,
        variants={"ten": {}, "wild": WILD},
        expect=[
            {"says": "diverged", "value": 'mean(diverged("wild"))', "equals": 1},
            {"says": "it is not right", "value": 'mean(accuracy("wild"))', "equals": 0},
            {"says": "the other trains", "value": 'mean(diverged("ten"))', "equals": 0},
        ],
        animation=[],
    )
    verdict, tables = teach(NAME)
    assert verdict.holds
    wild = verdict.variants[1]
    assert (wild.diverged, wild.accuracy, wild.loss, wild.deviation) == (3, None, None, None)
    assert tables["history"].num_rows == 2 * 3 * 4


def test_a_claim_that_is_not_true_does_not_hold(folder):
    write_lesson(folder, expect=[{"says": "zeros learn", "value": 'mean(start_gradient("zeros", 2))', "above": 0.1}])
    verdict, _ = teach(NAME)
    assert not verdict.holds
    assert verdict.expectations[0].value == 0
    assert not verdict.expectations[0].holds


def test_another_seed_gives_other_networks(folder):
    write_lesson(folder)
    first, other = (teach(NAME, seed).verdict for seed in (None, 7))
    assert first.seed == 26
    assert other.seed == 7
    assert first.variants[0].loss != other.variants[0].loss


def test_a_boundary_is_drawn_over_two_inputs_only(folder):
    write_lesson(folder, settings={"create.dataset": "iris", "split.method": "stratified", "train.epochs": 1})
    with pytest.raises(UserError, match=r"variant ten has 4 inputs, and a boundary is drawn over two; name others"):
        teach(NAME)


def test_an_expression_that_is_none_is_said_before_anything_is_trained(folder, monkeypatch):
    monkeypatch.setattr(training, "Pack", None)
    write_lesson(folder, expect=[{"says": "x", "value": 'mean(acuracy("ten"))', "above": 0}])
    with pytest.raises(UserError, match=r"01-a-small-one.yaml: expect\[0\].value must use .*; did you mean accuracy\?"):
        teach(NAME)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('mean(accuracy("eleven"))', "must name variants of the lesson (ten); got 'eleven'"),
        ("mean(", "must be an expression"),
        ("open('ten')", "must use "),
        ('mean(accuracy("ten")', "must be an expression"),
        ('accuracy("ten").tofile("ten")', "must hold calls of measures, numbers and arithmetic only"),
        ('[accuracy("ten")]', "must hold calls of measures, numbers and arithmetic only"),
    ],
)
def test_faults_of_an_expression(expression, expected):
    (fault,) = faults_of_expression(expression, {"ten": {}})
    assert fault.startswith(expected)


def test_no_expression_reaches_what_is_not_a_measure():
    measures = Measures({"ten": by_hand()})
    for expression in ("__import__('os')", "mean.__globals__", "().__class__", '[1 for x in "ten"]', '"ten" * 10**9'):
        with pytest.raises(ValueError, match=r".+"):
            measures.value(expression)


@pytest.mark.parametrize(
    "expression", ['accuracy("ten")', "mean(accuracy(ten))", 'mean(accuracy("ten", 99))', 'mean(start_gradient("ten"))']
)
def test_what_gives_no_number_is_said_before_anything_is_trained(folder, monkeypatch, expression):
    monkeypatch.setattr(training, "Pack", None)
    write_lesson(folder, expect=[{"says": "x", "value": expression, "above": 0}])
    with pytest.raises(UserError, match=r"01-a-small-one.yaml: expect\[0\].value must give one number"):
        teach(NAME)


def by_hand() -> Observed:
    """Two replicas, four epochs, two layers; the second replica diverges in the third epoch."""
    values = np.zeros((2, 4, 6))
    values[0, :, 0] = [0.9, 0.7, 0.5, 0.4]
    values[0, :, 1] = [0.8, 0.6, 0.5, 0.7]
    values[0, :, 2] = [0.5, 0.6, 0.9, 0.8]
    values[0, :, 3:5] = 0.1
    values[0, :, 5] = [0.0, 0.1, 0.2, 0.3]
    values[1] = values[0]
    values[1, 2:] = np.nan
    start = np.array([[1.0, 4.0], [2.0, 8.0]])
    return Observed(values, 2, np.array([0.7, 0.9]), start, start / 10, {}, np.empty((0, 2)))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('lowest(accuracy("ten"))', 0.0),
        ('highest(accuracy("ten"))', 0.8),
        ('mean(accuracy("ten", 2))', 0.6),
        ('highest(loss("ten", 2))', 0.6),
        ('lowest(loss("ten"))', 0.7),
        ('lowest(train_loss("ten"))', 0.4),
        ('mean(best_loss("ten"))', 0.55),
        ('mean(start_loss("ten"))', 0.8),
        ('sd(start_loss("ten"))', 0.2 / 2**0.5),
        ('highest(start_gradient("ten", 1) / start_gradient("ten", -1))', 0.25),
        ('median(start_spread("ten", 2))', 0.6),
        ('lowest(epochs_to_loss("ten", 0.55))', 3.0),
        ('highest(epochs_to_loss("ten", 0.55))', 5.0),
        ('lowest(epochs_to_accuracy("ten", 0.55))', 2.0),
        ('lowest(wobble("ten", 2))', math.nan),
        ('lowest(unhealthy("ten"))', 0.3),
        ('highest(unhealthy("ten"))', 1.0),
        ('mean(diverged("ten"))', 0.5),
        ('share_above(accuracy("ten"), 0.5)', 0.5),
        ("log10(100) + 1", 3.0),
        ("log10(0)", math.nan),
        ("1 / 0", math.nan),
    ],
)
def test_measures_by_hand(expression, expected):
    found = Measures({"ten": by_hand()}).value(expression)
    assert math.isclose(found, expected) or (math.isnan(found) and math.isnan(expected))


def test_every_measure_says_what_it_is():
    assert all(getattr(Measures, name).__doc__ for name in MEASURES)
    assert set(REDUCERS).isdisjoint(MEASURES)


def test_an_animation_shows_the_first_epochs_one_by_one_and_the_last():
    assert picture_epochs(1) == [0, 1]
    found = picture_epochs(300)
    assert found[:4] == [0, 1, 2, 3]
    assert found[-1] == 300
    assert len(found) <= training.PICTURES + 2
