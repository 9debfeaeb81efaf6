"""Section `study`: which settings of section `train` are tried, and how it is judged whether one is surely better."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from retrace.params.section import Section
from retrace.params.space import faults_of, grid, searched


class Study(Section):
    method: Literal["grid", "random", "quasi_random", "tpe"]
    trials: Annotated[int, Field(ge=2, le=10_000)]
    seeds: Annotated[int, Field(ge=1, le=64)]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None
    rungs: Annotated[int, Field(ge=1, le=6)]
    fresh_seeds: Annotated[int, Field(ge=2, le=256)]
    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    folds: Annotated[int, Field(ge=2, le=20)] | None
    space: dict[str, JsonValue]

    def faults(self) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
        """Of the space, which has rules of its own for each parameter: (key below the section, rule, value)."""
        for key, rule, value in faults_of(self.space):
            yield ("space", *key), rule, value
        if self.method != "grid" or any(True for _ in faults_of(self.space)):
            return
        ranges = [name for name, given in self.space.items() if isinstance(given, dict) and "low" in given]
        for name in ranges:
            yield ("space", name), "must be a list of values with study.method: grid", self.space[name]
        if not ranges and (needed := 1 + len(grid(searched(self.space)))) > self.trials:
            rule = f"must be at least {needed:,} with method: grid, for all combinations and the present setting"
            yield ("trials",), rule, self.trials
