"""Section `split`: which rows are for training, validation and test."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrace.params.section import Section, broken

Share = Annotated[float, Field(gt=0, lt=1)]


class Split(Section):
    method: Literal["auto", "random", "stratified", "hash", "group", "time"]
    column: Annotated[str, Field(min_length=1)] | None
    test_size: Share
    validation_size: Share
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]

    @model_validator(mode="after")
    def _column_where_it_is_needed(self) -> Self:
        if self.method in ("group", "time") and self.column is None:
            raise broken("column", f"must name the column that method: {self.method} goes by")
        if self.method not in ("group", "time") and self.column is not None:
            raise broken("column", f"must be null with method: {self.method}, which goes by no column")
        return self
