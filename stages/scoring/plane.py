"""The plane of a decision-boundary picture: two features as they are, else the first two principal components."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from stages.datasets.schema import Schema

Floats = NDArray[np.float64]


class Plane(NamedTuple):
    """Coordinates u [rows, 2] of raw rows [rows, features]: u = ((rows - center) / spread) @ axes.T.

    projected: whether the axes are principal components of the standardized training rows; labels name the axes.
    """

    labels: list[str]
    projected: bool
    center: Floats
    spread: Floats
    axes: Floats

    def coordinates(self, rows: Floats) -> Floats:
        return ((rows - self.center) / self.spread) @ self.axes.T

    def rows(self, coordinates: Floats) -> Floats:
        """The raw rows of points in the plane, as it runs through the mean of the training rows."""
        return coordinates @ self.axes * self.spread + self.center

    def content(self) -> dict[str, Any]:
        return {
            "x": self.labels[0],
            "y": self.labels[1],
            "projected": self.projected,
            "center": self.center.tolist(),
            "spread": self.spread.tolist(),
            "axes": self.axes.tolist(),
        }


def plane(train: Floats, schema: Schema) -> Plane:
    """The plane for training rows [rows, features]; with one feature the second axis is zero everywhere."""
    count = len(schema.features)
    if count <= 2:
        labels = [*schema.features, ""][:2]
        return Plane(labels, False, np.zeros(count), np.ones(count), np.eye(2, count))
    center, spread = train.mean(0), train.std(0)
    spread[spread == 0] = 1
    analysis = PCA(2, svd_solver="covariance_eigh").fit((train - center) / spread)
    shares = analysis.explained_variance_ratio_
    labels = [f"principal component {index + 1} ({share:.0%} of variance)" for index, share in enumerate(shares)]
    return Plane(labels, True, center, spread, analysis.components_)


def grid(coordinates: Floats, points: int) -> Floats:
    """points x points regular points [points^2, 2] over coordinates [rows, 2] with a margin; x runs fastest."""
    low, high = coordinates.min(0), coordinates.max(0)
    margin = np.where(high > low, 0.05 * (high - low), 1.0)
    x, y = (np.linspace(low[axis] - margin[axis], high[axis] + margin[axis], points) for axis in (0, 1))
    return np.column_stack([np.tile(x, points), np.repeat(y, points)])
