"""The data sets that `create` can make: one small function each, registered by name at the end of this file.

To add one: write a function that takes the section `create` and returns `GeneratedData`, register it in DATASETS, name
it in `retrace/params/create.py` (with its keys, if it has any) and document both in params.yaml. A test finds what is
missing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets as sklearn_datasets

from retrace.params.create import Create


class GeneratedData(NamedTuple):
    """features [rows, columns] float64; target [rows] int64 class indices; names; density as in schema.json."""

    features: NDArray[np.float64]
    target: NDArray[np.int64]
    feature_names: list[str]
    target_name: str
    class_names: list[str]
    density: dict[str, Any] | None = None


def circles(create: Create) -> GeneratedData:
    """Two rings with Gaussian noise: class outer on radius 1, class inner on radius `factor`."""
    section = create.circles
    features, target = sklearn_datasets.make_circles(
        create.rows, noise=section.noise, factor=section.factor, random_state=create.seed
    )
    density = {"name": "circles", "noise": section.noise, "factor": section.factor}
    return GeneratedData(features, target, _names(2), "ring", ["outer", "inner"], density)


def moons(create: Create) -> GeneratedData:
    """Two interleaved half circles of radius 1 with Gaussian noise."""
    features, target = sklearn_datasets.make_moons(create.rows, noise=create.moons.noise, random_state=create.seed)
    density = {"name": "moons", "noise": create.moons.noise}
    return GeneratedData(features, target, _names(2), "moon", ["upper", "lower"], density)


def blobs(create: Create) -> GeneratedData:
    """One isotropic Gaussian a class; the centres are drawn uniformly from a box."""
    section = create.blobs
    features, target, centers = sklearn_datasets.make_blobs(
        create.rows,
        n_features=section.features,
        centers=section.classes,
        cluster_std=section.spread,
        random_state=create.seed,
        return_centers=True,
    )
    density = _clouds([[center] for center in centers], section.spread)
    return GeneratedData(features, target, _names(section.features), "blob", _letters(section.classes), density)


def spirals(create: Create) -> GeneratedData:
    """Archimedean arms: x = t (cos a, sin a) + noise, a = 2 pi (turns t + c / classes), for class c.

    t = sqrt(u) with u uniform in [0, 1], so that the rows lie about evenly along each arm and the middle, where the
    arms meet, is not crowded.
    """
    section = create.spirals
    random = np.random.default_rng(create.seed)
    target = _even(create.rows, section.classes, random)
    radius = np.sqrt(random.uniform(size=create.rows))
    angle = 2 * np.pi * (section.turns * radius + target / section.classes)
    points = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    features = points + random.normal(scale=section.noise, size=points.shape)
    density = {"name": "spirals", "noise": section.noise, "turns": section.turns, "classes": section.classes}
    return GeneratedData(features, target, _names(2), "arm", _letters(section.classes), density)


def xor(create: Create) -> GeneratedData:
    """The exclusive or: x = (s1, s2) + noise with signs s1, s2 of -1 or 1; the class is whether they differ."""
    random = np.random.default_rng(create.seed)
    corner = _even(create.rows, 4, random)
    signs = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=np.float64)
    features = signs[corner] + random.normal(scale=create.xor.noise, size=(create.rows, 2))
    target = (signs[corner, 0] != signs[corner, 1]).astype(np.int64)
    density = _clouds([[signs[0], signs[3]], [signs[1], signs[2]]], create.xor.noise)
    return GeneratedData(features, target, _names(2), "signs", ["same", "different"], density)


def gaussians(create: Create) -> GeneratedData:
    """Two round Gaussians of deviation 1 whose centres lie `distance` apart on the first axis."""
    section = create.gaussians
    random = np.random.default_rng(create.seed)
    target = _even(create.rows, 2, random)
    centers = np.zeros((2, section.features))
    centers[:, 0] = -section.distance / 2, section.distance / 2
    features = centers[target] + random.normal(size=(create.rows, section.features))
    density = _clouds([[center] for center in centers], 1.0)
    return GeneratedData(features, target, _names(section.features), "cloud", ["left", "right"], density)


def classification(create: Create) -> GeneratedData:
    """scikit-learn's make_classification (Guyon 2003): one cluster a class at the corners of a hypercube."""
    section = create.classification
    features, target = sklearn_datasets.make_classification(
        create.rows,
        n_features=section.features,
        n_informative=section.informative,
        n_redundant=0,
        n_classes=section.classes,
        n_clusters_per_class=1,
        class_sep=section.separation,
        flip_y=section.flipped,
        random_state=create.seed,
    )
    return GeneratedData(features, target, _names(section.features), "class", _letters(section.classes))


def iris(create: Create) -> GeneratedData:
    return _bundled(sklearn_datasets.load_iris(), "species")


def wine(create: Create) -> GeneratedData:
    return _bundled(sklearn_datasets.load_wine(), "cultivar")


def breast_cancer(create: Create) -> GeneratedData:
    return _bundled(sklearn_datasets.load_breast_cancer(), "diagnosis")


def digits(create: Create) -> GeneratedData:
    return _bundled(sklearn_datasets.load_digits(), "digit")


DATASETS: dict[str, Callable[[Create], GeneratedData]] = {
    "circles": circles,
    "moons": moons,
    "blobs": blobs,
    "spirals": spirals,
    "xor": xor,
    "gaussians": gaussians,
    "classification": classification,
    "iris": iris,
    "wine": wine,
    "breast_cancer": breast_cancer,
    "digits": digits,
}


def _bundled(bunch: Any, target_name: str) -> GeneratedData:
    """A table that comes with scikit-learn."""
    names = [str(name).removesuffix(" (cm)").replace(" ", "_") for name in bunch.feature_names]
    return GeneratedData(bunch.data, bunch.target, names, target_name, [str(name) for name in bunch.target_names])


def _names(count: int) -> list[str]:
    return [f"x{index}" for index in range(1, count + 1)]


def _letters(count: int) -> list[str]:
    """a, b, c, ... for up to 26 classes, else 1, 2, 3, ..."""
    return [chr(ord("a") + index) if count <= 26 else str(index + 1) for index in range(count)]


def _even(rows: int, groups: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Group indices, each as often as the others to within one, in random order."""
    return random.permutation(np.arange(rows) % groups)


def _clouds(centers: list[list[Any]], spread: float) -> dict[str, Any]:
    """Density of one mixture of equally likely round Gaussians a class."""
    return {
        "name": "clouds",
        "centers": [[[float(x) for x in center] for center in group] for group in centers],
        "spread": spread,
    }
