"""Section `gate`: the bar that `make gate` and CI hold a result against."""

from typing import Annotated

from pydantic import Field

from stages.params.section import Section


class Gate(Section):
    min_accuracy: Annotated[float, Field(ge=0, le=1)]
