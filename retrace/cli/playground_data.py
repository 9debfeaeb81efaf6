"""The four classification data sets of TensorFlow Playground, and what comes closest to each among Retrace's.

How Playground makes them is in src/dataset.ts of tensorflow/playground (commit 02469bd); p is its noise, 0 to 0.8:

- circle: radius uniform in 0 to 2.5, and in 3.5 to 5; each point's label is that of the point shifted by up to 5 p
  along both axes, uniformly (deviation 10 p / sqrt(12)). Retrace has rings and not areas, and noise of points and not
  of labels.
- xor: uniform in four squares from 0.3 to 5.3; labels as above. Retrace has four round clouds.
- gauss: round clouds about (2, 2) and (-2, -2) of variance 0.5 + 7 p. Retrace's have deviation 1, and their distance on
  the first axis is what that makes of sqrt(32): the same classes but for a turn and a scale, so that no classifier can
  get more right here or there.
- spiral: r = 5 i / n, angle 2 pi 1.75 i / n, shifted by up to p along both axes, uniformly (deviation p / sqrt(3)).
  Retrace's arms have radius 1, are as dense outside as inside, and have Gaussian noise.

Lengths are divided by that of the outer ring's mean radius 4.25, of a square's centre 2.8, of the spiral's end 5. Where
an area becomes a line or a point, half of its width counts as three deviations of the noise, added as variances.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST = 80.0  # per cent of noise that a link can say


@dataclass(frozen=True)
class Counterpart:
    """dataset: Retrace's; settings: its parameters that are the same for any noise; noise: the one that is not."""

    dataset: str
    settings: dict[str, Any]
    noise: str
    of_percent: Callable[[float], float]
    to_percent: Callable[[float], float]
    unlike: str

    def value(self, percent: float) -> float:
        """Of Playground's noise in per cent, with as few decimals, four or more, as `percent` finds it by."""
        exact = self.of_percent(percent)
        decimals = next(places for places in range(4, 18) if self.percent(round(exact, places)) == percent)
        return round(exact, decimals)

    def percent(self, value: float) -> float:
        """The noise, of two decimals, that comes closest to a value."""
        return round(min(max(self.to_percent(value), 0.0), MOST), 2)


def _shifted(length: float, shift: float, half_width: float) -> dict[str, Callable[[float], float]]:
    """Gaussian noise in units of `length`, where a shift of up to `shift` times p comes on half an area's width."""
    width = half_width / 3 / length
    by_shift = shift / math.sqrt(3) / length / 100  # for each per cent

    def of_percent(percent: float) -> float:
        return math.hypot(width, by_shift * percent)

    def to_percent(value: float) -> float:
        return math.sqrt(max(value**2 - width**2, 0.0)) / by_shift

    return {"of_percent": of_percent, "to_percent": to_percent}


COUNTERPARTS = {
    "circle": Counterpart(
        "circles",
        {"create.circles.factor": 0.29},  # 1.25 / 4.25
        "create.circles.noise",
        **_shifted(4.25, 5, 0.75),
        unlike="two rings with noisy points, where Playground has a disc and a ring with noisy labels",
    ),
    "xor": Counterpart(
        "xor",
        {},
        "create.xor.noise",
        **_shifted(2.8, 5, 2.5),
        unlike="four round clouds with noisy points, where Playground has four squares with noisy labels",
    ),
    "gauss": Counterpart(
        "gaussians",
        {"create.gaussians.features": 2},
        "create.gaussians.distance",
        of_percent=lambda percent: math.sqrt(32 / (0.5 + 7 * percent / 100)),
        to_percent=lambda value: 100 * (32 / value**2 - 0.5) / 7 if value else MOST,
        unlike="the same two clouds, turned by 45 degrees and scaled to deviation 1",
    ),
    "spiral": Counterpart(
        "spirals",
        {"create.spirals.classes": 2, "create.spirals.turns": 1.75},
        "create.spirals.noise",
        **_shifted(5, 1, 0),
        unlike="the same arms of radius 1 and not 5, evenly dense, with Gaussian noise of the same deviation",
    ),
}
