"""The tables of a lesson, as its figures ask for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib import colormaps

from retrace.artifacts.lesson import Verdict, read_verdict, tables_of
from retrace.figures.columns import Floats, numbers
from retrace.figures.style import FEW, colour
from retrace.params.lesson import Told, read_lesson


@dataclass(frozen=True)
class LessonTables:
    """told: the lesson's file; the tables are those of retrace/artifacts/lesson.py."""

    told: Told
    verdict: Verdict
    history: pa.Table
    start: pa.Table
    plane: pa.Table
    points: pa.Table

    @cached_property
    def names(self) -> list[str]:
        return [each.name for each in self.told.variants]

    def chosen(self, variants: Sequence[str] | None) -> list[str]:
        return [name for name in self.names if variants is None or name in variants]

    def colour(self, variant: str) -> str | tuple[float, ...]:
        """The same in all figures of the lesson; variants that are steps of one number run from dark to bright."""
        place, count = self.names.index(variant), len(self.names)
        if count > len(FEW) - 1 or all(_is_number(name) for name in self.names):
            return tuple(colormaps["viridis"](0.88 * place / max(1, count - 1)))
        return colour(place, count)

    def by_replica(self, table: pa.Table, variant: str, column: str) -> Floats:
        """[replicas, epochs] of the history, [replicas, layers] of the start."""
        own = table.filter(pc.equal(table.column("variant"), variant))
        replicas = int(pc.max(own.column("replica")).as_py()) + 1
        return numbers(own, column).reshape(replicas, -1)

    def columns(self, prefix: str) -> list[str]:
        return [name for name in self.history.column_names if name.startswith(prefix)]


def read_lesson_tables(name: str) -> LessonTables:
    files = tables_of(name)
    return LessonTables(read_lesson(name), read_verdict(name), **{each: file.read() for each, file in files.items()})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def finite_mean(values: Floats) -> Floats:
    """Over the first axis, of those that are finite; NaN where none is."""
    known = np.isfinite(values)
    count = known.sum(0)
    sums = np.where(known, values, 0.0).sum(0)
    found: Floats = np.divide(sums, count, out=np.full(sums.shape, np.nan), where=count > 0)
    return found
