"""Section `baseline`: the simple models that the network has to beat."""

from typing import Annotated

from pydantic import Field

from retrace.params.section import Section


class Baseline(Section):
    regularization: Annotated[float, Field(ge=1e-6, le=1e6)]
    boosting_iterations: Annotated[int, Field(ge=1, le=10_000)]
    rows: Annotated[int, Field(ge=10, le=1_000_000_000)] | None
