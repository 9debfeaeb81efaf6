"""The plane of a decision-boundary picture: two numbers as they are, else the first two principal components.

Those are of what the network sees: of numbers as they are scaled, and of an input or a vector for each category.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from retrace.networks.model import Description, Model
from retrace.preprocessing.apply import encode

Floats = NDArray[np.float64]


class Plane(NamedTuple):
    """Coordinates u [rows, 2] of points in a `space`: u = ((points - center) / spread) @ axes.T.

    projected: whether the axes are principal components of the standardized training rows; labels name the axes.
    """

    labels: list[str]
    projected: bool
    center: Floats
    spread: Floats
    axes: Floats

    def coordinates(self, points: Floats) -> Floats:
        shifted = points - self.center
        shifted /= self.spread
        return shifted @ self.axes.T

    def points(self, coordinates: Floats) -> Floats:
        """Where points of the plane lie in the space, as it runs through the mean of the training rows."""
        return coordinates @ self.axes * self.spread + self.center


def is_flat(description: Description) -> bool:
    """Whether raw rows can be drawn as they are."""
    return len(description.features) <= 2 and not description.kinds


def space(model: Model, rows: pa.Table, seen: NDArray[np.float32] | None = None) -> Floats:
    """Raw rows as points: one or two raw numbers, missing ones filled, or else the first layer's inputs [rows, inputs].

    seen: the rows as the network sees them, where that is known.
    """
    description = model.description
    if not is_flat(description):
        seen = encode(description.preprocessing, rows) if seen is None else seen
        return model.expanded(seen).astype(np.float64)
    columns = []
    for number in description.preprocessing.numbers:
        column = rows.column(number.column)
        columns.append((column if number.fill is None else column.fill_null(number.fill)).to_numpy())
    return np.column_stack(columns)


def probabilities(model: Model, points: Floats) -> Floats:
    """Of points in the `space`, [points, classes]."""
    if is_flat(model.description):
        columns = zip(model.description.features, points.T, strict=True)
        rows = pa.table({name: np.ascontiguousarray(column) for name, column in columns})
        chances: Floats = model.probabilities(rows)
    else:
        chances = model.of_expanded(points.astype(np.float32))
    return chances


def plane(train: Floats, description: Description) -> Plane:
    """The plane for training rows as points of the `space`; with one feature the second axis is zero everywhere."""
    count = train.shape[1]
    if is_flat(description):
        labels = [*description.features, ""][:2]
        return Plane(labels, False, np.zeros(count), np.ones(count), np.eye(2, count))
    center, spread = train.mean(0), train.std(0)
    spread[spread == 0] = 1
    with np.errstate(invalid="ignore"):  # of no variance: each category is a rare one, say
        analysis = PCA(min(2, count), svd_solver="covariance_eigh").fit((train - center) / spread)
    shares = np.nan_to_num(analysis.explained_variance_ratio_)
    labels = [f"principal component {index + 1} ({share:.0%} of variance)" for index, share in enumerate(shares)]
    axes = np.zeros((2, count))
    axes[: len(shares)] = analysis.components_
    return Plane([*labels, ""][:2], True, center, spread, axes)


def grid(coordinates: Floats, points: int) -> Floats:
    """points x points regular points [points^2, 2] over coordinates [rows, 2] with a margin; x runs fastest."""
    low, high = coordinates.min(0), coordinates.max(0)
    margin = np.where(high > low, 0.05 * (high - low), 1.0)
    x, y = (np.linspace(low[axis] - margin[axis], high[axis] + margin[axis], points) for axis in (0, 1))
    return np.column_stack([np.tile(x, points), np.repeat(y, points)])
