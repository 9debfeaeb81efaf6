"""Section `report`: what the page of a result says beside its numbers, and what it must not show."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from retrace.params.section import Section, broken

Words = Annotated[str, Field(max_length=2000)]


class Report(Section):
    purpose: Words
    contact: Words
    private: list[Annotated[str, Field(min_length=1)]]
    worst_rows: Annotated[int, Field(ge=0, le=100)]

    @model_validator(mode="after")
    def _each_column_once(self) -> Self:
        for place, name in enumerate(self.private):
            if name in self.private[:place]:
                raise broken("private", f"must not name the column {name!r} twice")
        return self
