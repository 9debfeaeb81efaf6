"""Section `plot`: how the figures look."""

from typing import Annotated

from pydantic import Field

from retrace.params.section import Section


class Plot(Section):
    dpi: Annotated[int, Field(ge=50, le=600)]
    points: Annotated[int, Field(ge=10, le=100_000)]
    smoothing: Annotated[int, Field(ge=1, le=100_000)]
