"""Stage create: the data sets are what their formulas say, and the Bayes classifier of each is the best there is."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, i0e
from scipy.stats import norm
from sklearn.datasets import load_digits, make_circles
from sklearn.neighbors import KNeighborsClassifier

from retrace.artifacts import paths
from retrace.artifacts.schema import read_schema
from retrace.artifacts.tables import read_table
from retrace.data.dataset import create
from retrace.data.densities import DENSITIES, bayes_predictions, bayes_probabilities
from retrace.data.generators import DATASETS
from stages import create as stage
from tests.conftest import PARAMS, create_section

REAL = {"iris", "wine", "breast_cancer", "digits"}
KNOWN = ("circles", "moons", "blobs", "spirals", "xor", "gaussians")


def rows_of(**changes):
    """features [rows, columns], target [rows] and schema."""
    table, schema = create(create_section(**changes))
    features = np.column_stack([table.column(name).to_numpy() for name in schema.features])
    return features, table.column(schema.target).to_numpy(), schema


def run_stage(dataset: str, seed: int) -> bytes:
    """The bytes of both files that the stage writes for 60 rows."""
    text = PARAMS.replace("dataset: circles", f"dataset: {dataset}").replace("rows: 10000 ", "rows: 60 ")
    Path("params.yaml").write_text(text.replace("  seed: 26 ", f"  seed: {seed} ", 1))
    stage.main()
    return paths.DATASET.read_bytes() + Path("data/schema.json").read_bytes()


def test_the_default_is_the_classic_circles():
    features, target, schema = rows_of()
    expected, classes = make_circles(10_000, noise=0.05, factor=0.8, random_state=26)
    assert np.array_equal(features, expected)
    assert np.array_equal(target, classes)
    # Class 0 lies outside, which the class names must not turn round.
    radius = np.linalg.norm(features, axis=1)
    assert (
        radius[target == schema.classes.index("outer")].mean() > radius[target == schema.classes.index("inner")].mean()
    )


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_data_set_survives_the_way_through_its_files(project, dataset, capsys):
    run_stage(dataset, seed=26)
    table, schema = create(create_section(dataset=dataset, rows=60))
    stored = read_table(paths.DATASET)
    assert stored.equals(table)
    assert read_schema() == schema
    assert stored.column_names == [*schema.features, schema.target]
    assert len(set(stored.column_names)) == len(stored.column_names)
    assert all(name and name == name.strip() for name in stored.column_names)
    assert {str(stored.schema.field(name).type) for name in schema.features} == {"double"}
    assert all(np.isfinite(stored.column(name).to_numpy()).all() for name in schema.features)
    target = stored.column(schema.target).to_numpy()
    assert np.bincount(target).tolist() == schema.counts
    assert sum(schema.counts) == stored.num_rows
    assert min(schema.counts) > 0
    assert len(set(schema.classes)) == len(schema.classes) == len(schema.counts)
    assert (stored.num_rows == 60) == (dataset not in REAL)
    assert f"create: {dataset}, {stored.num_rows:,} rows" in capsys.readouterr().out


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_seed_alone_decides_the_bytes(project, dataset):
    first = run_stage(dataset, seed=1)
    assert run_stage(dataset, seed=1) == first
    assert (run_stage(dataset, seed=2) == first) == (dataset in REAL)


def test_digits_are_the_real_ones():
    features, target, schema = rows_of(dataset="digits")
    assert np.array_equal(features, load_digits().data)
    assert np.array_equal(target, load_digits().target)
    assert schema.features[:2] == ["pixel_0_0", "pixel_0_1"]


def test_spirals_without_noise_lie_on_their_formula():
    features, target, schema = rows_of(
        dataset="spirals", rows=3_000, **{"spirals.noise": 0.0, "spirals.classes": 3, "spirals.turns": 1.5}
    )
    t = np.linalg.norm(features, axis=1)
    angle = 2 * np.pi * (1.5 * t + target / 3)
    np.testing.assert_allclose(features, np.column_stack([t * np.cos(angle), t * np.sin(angle)]), atol=1e-12)
    assert schema.counts == [1000, 1000, 1000]
    # t^2 is uniform: its deciles are the tenths.
    np.testing.assert_allclose(np.quantile(t**2, np.arange(1, 10) / 10), np.arange(1, 10) / 10, atol=0.04)


def test_xor_without_noise_is_the_exclusive_or():
    features, target, schema = rows_of(dataset="xor", rows=400, **{"xor.noise": 0.0})
    assert set(map(tuple, features)) == {(-1, -1), (-1, 1), (1, -1), (1, 1)}
    assert np.array_equal(target, (features[:, 0] > 0) ^ (features[:, 1] > 0))
    assert schema.counts == [200, 200]


def test_classes_differ_by_one_row_at_most():
    for dataset in KNOWN:
        _, _, schema = rows_of(dataset=dataset, rows=101)
        assert max(schema.counts) - min(schema.counts) <= 1, dataset


def test_bayes_of_circles_is_the_closed_form():
    features, target, schema = rows_of()
    r, noise = np.linalg.norm(features, axis=1), 0.05
    # The integral of a round Gaussian over a ring of radius R is a Bessel function of r R / noise^2.
    score = {R: np.log(i0e(r * R / noise**2)) - (r - R) ** 2 / (2 * noise**2) for R in (1.0, 0.8)}
    exact = (score[0.8] > score[1.0]).astype(int)
    ours = bayes_predictions(schema.density, features)
    chances = bayes_probabilities(schema.density, features)
    np.testing.assert_allclose(chances[:, 1], expit(score[0.8] - score[1.0]), atol=1e-6)
    np.testing.assert_allclose(chances.sum(1), 1)
    assert np.mean(ours != exact) < 0.0005
    assert np.mean(ours == target) == pytest.approx(np.mean(exact == target), abs=0.0005)
    assert 0.97 < np.mean(ours == target) < 0.99


def test_bayes_of_gaussians_is_the_sign_and_gets_the_known_accuracy():
    features, target, schema = rows_of(dataset="gaussians", rows=40_000, **{"gaussians.features": 3})
    ours = bayes_predictions(schema.density, features)
    assert np.array_equal(ours, features[:, 0] > 0)
    expected = norm.cdf(2.0 / 2)
    assert np.mean(ours == target) == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 40_000))


def test_bayes_of_xor_is_the_sign_of_the_product():
    features, _, schema = rows_of(dataset="xor")
    assert np.array_equal(bayes_predictions(schema.density, features), features[:, 0] * features[:, 1] < 0)


def test_every_density_has_a_test_here():
    assert {rows_of(dataset=name, rows=40)[2].density["name"] for name in KNOWN} == set(DENSITIES)
    assert {name for name in DATASETS if rows_of(dataset=name, rows=40)[2].density} == set(KNOWN)


@pytest.mark.parametrize("dataset", KNOWN)
def test_no_classifier_beats_bayes(dataset):
    # Wide enough noise that the classes overlap: where all is certain, nothing is tested.
    overlap = {"moons.noise": 0.4, "spirals.noise": 0.15, "spirals.classes": 3, "blobs.spread": 5.0, "xor.noise": 0.8}
    features, target, schema = rows_of(dataset=dataset, rows=24_000, **{**overlap, "circles.noise": 0.1})
    fitted, judged = slice(0, 16_000), slice(16_000, None)
    neighbours = KNeighborsClassifier(75).fit(features[fitted], target[fitted]).predict(features[judged])
    bayes = bayes_predictions(schema.density, features[judged])
    gain = (neighbours == target[judged]).astype(int) - (bayes == target[judged])
    # Only rows on which the two disagree move the difference: its standard error is their root.
    assert gain.sum() <= 3 * np.sqrt(np.abs(gain).sum())
    assert np.mean(bayes == target[judged]) < 0.95
    assert gain.mean() > -0.05  # near its limit, or the comparison says nothing


@pytest.mark.parametrize("dataset", ["circles", "moons", "spirals", "xor"])
def test_bayes_without_noise_is_never_wrong(dataset):
    features, target, schema = rows_of(dataset=dataset, rows=500, **{f"{dataset}.noise": 0.0})
    # Two arms meet in one point at the centre of the spirals.
    assert np.mean(bayes_predictions(schema.density, features) == target) > 0.99


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "blobs", "blobs.classes": 100, "blobs.features": 1000},
        {"dataset": "classification", "classification.classes": 100, "classification.informative": 7},
        {"dataset": "classification", "classification.features": 1000, "classification.informative": 1000},
        {"dataset": "spirals", "spirals.classes": 100},
        {"dataset": "circles", "circles.factor": 0},
    ],
)
def test_the_ends_of_the_allowed_ranges_work(changes):
    features, target, schema = rows_of(rows=20, **changes)
    assert np.isfinite(features).all()
    assert np.bincount(target, minlength=len(schema.classes)).tolist() == schema.counts
