"""Where the values of a searched parameter stand on an axis from 0 to 1, and what is written there."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from retrace.artifacts.study import Parameter
from retrace.figures.columns import Floats
from retrace.figures.study.inputs import StudyTables, show
from retrace.figures.style import clean

# Where what has no place on the scale stands: 0 on a logarithmic one, and trials in which it was not searched.
BESIDE = -0.14
ABSENT = "none"


@dataclass(frozen=True)
class Scale:
    """Of one parameter.

    categories: the values of a list as JSON, in its order; None for a range, from low to high. zero: whether a trial
    has a value that is not on a logarithmic one; absent: whether the parameter was not searched in some trial.
    """

    name: str
    categories: tuple[str, ...] | None
    low: float
    high: float
    log: bool
    whole: bool
    zero: bool
    absent: bool

    def place(self, settings: Mapping[str, Any]) -> float:
        """NaN where the parameter was not searched."""
        if self.name not in settings:
            return math.nan
        value = settings[self.name]
        if self.categories is not None:
            return (self.categories.index(json.dumps(value)) + 0.5) / len(self.categories)
        return self._of_number(value)

    def places(self, every: Sequence[Mapping[str, Any]]) -> Floats:
        return np.array([self.place(settings) for settings in every])

    def _of_number(self, value: float) -> float:
        if self.log and value <= 0:
            return BESIDE
        low, high, own = (math.log(each) if self.log else each for each in (self.low, self.high, value))
        # Also of two numbers so close that their logarithms are the same.
        return (own - low) / (high - low) if high > low else 0.5

    def ticks(self, count: int, length: int) -> list[tuple[float, str]]:
        """At most about `count` of a range, all of a list; texts of at most `length` letters."""
        if self.categories is not None:
            names = told_apart([show(json.loads(each)) for each in self.categories], length)
            return [((index + 0.5) / len(names), name) for index, name in enumerate(names)]
        extra = [(BESIDE, "0")] if self.zero else []
        return extra + [(self._of_number(value), f"{value:g}") for value in self._numbers(count)]

    def _numbers(self, count: int) -> list[float]:
        if self.low == self.high:
            return [self.low]
        if not self.log:
            found = MaxNLocator(count, steps=[1, 2, 5, 10], integer=self.whole).tick_values(self.low, self.high)
            return [float(value) for value in found if self.low <= value <= self.high]
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for factors in ((1, 2, 5), (1, 3), (1,)):
            # From the text, since 3 * 10.0**-3 is not 0.003 to the last digit.
            every = [float(f"{factor}e{power}") for power in range(first, last + 1) for factor in factors]
            inside = [value for value in every if self.low <= value <= self.high]
            if len(inside) <= count:
                break
        if not inside:
            return [self.low, self.high]
        return inside[:: math.ceil(len(inside) / count)]

    @property
    def start(self) -> float:
        """Where the axis begins."""
        return BESIDE - 0.08 if self.zero else -0.04 if self.categories is None else 0.0

    @property
    def end(self) -> float:
        return 1.04 if self.categories is None else 1.0

    @property
    def beside(self) -> str:
        """What stands beside the scale, in words; "" where nothing does."""
        return " or ".join(["0"] * self.zero + [ABSENT] * self.absent)

    def is_turned(self, letters: int) -> bool:
        """Whether the values of a list stand upright below an axis that has room for so many letters in all."""
        if self.categories is None:
            return False
        lengths = [len(text) for _, text in self.ticks(0, letters)]
        return any(((one + other) / 2 + 1.5) * len(lengths) > letters for one, other in pairwise(lengths))

    def name_x(self, axes: Axes, count: int = 5, letters: int = 40) -> None:
        """Ticks of a horizontal axis, which has room for so many letters; limits."""
        turned = self.is_turned(letters)
        ticks = self.ticks(count, 16 if turned else letters)
        axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks], rotation=90 if turned else 0)
        axes.set_xlim(self.start, self.end)
        if self.zero:
            axes.axvspan(self.start, -0.05, color="#f4f4f4", zorder=0, linewidth=0)

    def name_y(self, axes: Axes, count: int = 6, letters: int = 16) -> None:
        ticks = self.ticks(count, letters)
        axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks])
        axes.set_ylim(self.start, self.end)
        if self.zero:
            axes.axhspan(self.start, -0.05, color="#f4f4f4", zorder=0, linewidth=0)


def scale_of(parameter: Parameter, tables: StudyTables) -> Scale:
    """Wide enough for every trial: the present setting need not lie in what was searched."""
    found = [each.settings[parameter.name] for each in tables.trials if parameter.name in each.settings]
    absent = len(found) < len(tables.trials)
    if parameter.choices is not None:
        texts = dict.fromkeys(json.dumps(value) for value in [*parameter.choices, *found])
        return Scale(parameter.name, tuple(texts), 0.0, 0.0, False, False, False, absent)
    assert parameter.low is not None
    assert parameter.high is not None
    on_it = [value for value in found if value > 0 or not parameter.log]
    low, high = min([parameter.low, *on_it]), max([parameter.high, *on_it])
    whole = all(isinstance(value, int) for value in found)
    return Scale(parameter.name, None, low, high, parameter.log, whole, len(on_it) < len(found), absent)


def told_apart(names: Sequence[str], length: int) -> list[str]:
    """Short texts, with a number before those that cleaning or shortening made the same as another."""
    short = [clean(name, length) for name in names]
    return [
        f"{index + 1}: {clean(name, max(length - 4, 4))}" if short.count(short[index]) > 1 else short[index]
        for index, name in enumerate(names)
    ]
