"""The Bayes classifier of generated data: no classifier does better on average (Duda, Hart, Stork 2001, ch. 2).

With equally frequent classes it picks the class whose density is highest at a row. All densities here are a curve or a
few points, drawn from uniformly (in the curve's parameter), plus round Gaussian noise.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Neighbouring points of a sampled curve stay closer than half a deviation of the noise, where a sum of Gaussians is
# the integral to float precision; the cap bounds the cost for tiny noise, where the nearest point decides anyway.
_FEWEST, _MOST = 512, 8192
_SMALLEST_NOISE = 1e-3


def bayes_predictions(density: dict[str, Any], features: Floats) -> NDArray[np.int64]:
    """Class index [rows] of the highest density at each row of features [rows, columns]."""
    best: NDArray[np.int64] = bayes_probabilities(density, features).argmax(1)
    return best


def bayes_probabilities(density: dict[str, Any], features: Floats) -> Floats:
    """Chance of each class at each row of features [rows, columns] -> [rows, classes]."""
    anchors, noise = DENSITIES[density["name"]](density)
    noise = max(noise, _SMALLEST_NOISE)
    scores = np.empty((len(anchors), len(features)))
    for index, points in enumerate(anchors):
        # Rows go in pieces that keep the distance matrix in a few tens of MB.
        piece = max(1, 4_000_000 // len(points))
        for start in range(0, len(features), piece):
            rows = features[start : start + piece]
            squared = ((rows**2).sum(1)[:, None] - 2 * rows @ points.T + (points**2).sum(1)) / (2 * noise**2)
            nearest = squared.min(1)
            total = np.exp(nearest[:, None] - squared).sum(1)
            scores[index, start : start + piece] = np.log(total) - nearest - np.log(len(points))
    likelihoods = np.exp(scores - scores.max(0))
    probabilities: Floats = (likelihoods / likelihoods.sum(0)).T
    return probabilities


def _circles(density: dict[str, Any]) -> tuple[list[Floats], float]:
    angle = 2 * np.pi * _parameters(2 * np.pi, density["noise"])
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    return [ring, density["factor"] * ring], density["noise"]


def _moons(density: dict[str, Any]) -> tuple[list[Floats], float]:
    angle = np.pi * _parameters(np.pi, density["noise"])
    upper = np.column_stack([np.cos(angle), np.sin(angle)])
    return [upper, np.array([1.0, 0.5]) - upper], density["noise"]


def _spirals(density: dict[str, Any]) -> tuple[list[Floats], float]:
    radius = np.sqrt(_parameters(1 + 2 * np.pi * density["turns"], density["noise"]))
    arms = []
    for index in range(density["classes"]):
        angle = 2 * np.pi * (density["turns"] * radius + index / density["classes"])
        arms.append(radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]))
    return arms, density["noise"]


def _clouds(density: dict[str, Any]) -> tuple[list[Floats], float]:
    return [np.array(group, dtype=np.float64) for group in density["centers"]], density["spread"]


DENSITIES: dict[str, Callable[[dict[str, Any]], tuple[list[Floats], float]]] = {
    "circles": _circles,
    "moons": _moons,
    "spirals": _spirals,
    "clouds": _clouds,
}


def _parameters(length: float, noise: float) -> Floats:
    """Midpoints of equal pieces of [0, 1], fine enough for a curve of this length under this noise."""
    count = int(np.clip(4 * length / max(noise, _SMALLEST_NOISE), _FEWEST, _MOST))
    return (np.arange(count) + 0.5) / count
