"""Section `split`: which rows are for training, validation and test."""

from typing import Annotated

from pydantic import Field

from stages.params.section import Section

Share = Annotated[float, Field(gt=0, lt=1)]


class Split(Section):
    test_size: Share
    validation_size: Share
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    stratified: bool
