"""Section `evaluate`: how predictions are judged."""

from typing import Annotated

from pydantic import Field

from stages.params.section import Section


class Evaluate(Section):
    threshold: Annotated[float, Field(gt=0, lt=1)]
    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    resamples: Annotated[int, Field(ge=100, le=100_000)]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    calibration_bins: Annotated[int, Field(ge=2, le=100)]
    grid: Annotated[int, Field(ge=10, le=1000)]
