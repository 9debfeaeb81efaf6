"""Section `gate`: the bar that `make gate` and CI hold a result against."""

from typing import Annotated

from pydantic import Field

from retrace.params.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class Gate(Section):
    min_accuracy: Share
    min_macro_f1: Share
    margin: Share
    beat_baselines: bool
