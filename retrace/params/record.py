"""Section `record`: where the run is recorded."""

from typing import Annotated

from pydantic import Field

from retrace.params.section import Section


class Record(Section):
    experiment: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}$", description="letters, digits, spaces and _.-")
    ]
