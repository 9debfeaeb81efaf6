"""Section `evaluate`: how predictions are judged."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrace.params.section import Section, broken


class Costs(Section):
    cost_ratio: Annotated[float, Field(ge=0.001, le=1000)]


class Evaluate(Section):
    threshold: Annotated[
        Annotated[float, Field(gt=0, lt=1)] | Literal["best_f1"] | Costs,
        Field(description="a number > 0 and < 1, best_f1, or {cost_ratio: R} with R from 0.001 to 1,000"),
    ]
    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    resamples: Annotated[int, Field(ge=100, le=100_000)]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    calibration_bins: Annotated[int, Field(ge=2, le=100)]
    grid: Annotated[int, Field(ge=10, le=1000)]
    slices: list[Annotated[str, Field(min_length=1)]]
    permutations: Annotated[int, Field(ge=2, le=1000)]

    @model_validator(mode="after")
    def _each_column_once(self) -> Self:
        for place, name in enumerate(self.slices):
            if name in self.slices[:place]:
                raise broken("slices", f"must not name the column {name!r} twice")
        return self

    def decided(self, threshold: float) -> "Decided":
        """The section with the threshold that was chosen, or that stands there."""
        return Decided.model_validate(self.model_dump() | {"threshold": threshold})


class Decided(Evaluate):
    """With a number as the threshold, as all that judges predictions needs it."""

    threshold: Annotated[float, Field(gt=0, lt=1)]
