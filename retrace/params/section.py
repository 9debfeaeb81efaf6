"""What every section of params.yaml is: a frozen, strict model whose fields carry their own constraints."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """Base of all sections. Strict: "10", 10.0 and true are not 10; no unknown key, NaN or infinity; no defaults."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def section_name(cls) -> str:
        """The section's name in params.yaml: class `Train` is section `train`."""
        return cls.__name__.lower()

    def faults(self) -> Iterable[tuple[tuple[str | int, ...], str, Any]]:
        """What fields cannot say of themselves, all at once: (key below the section, rule, value)."""
        return ()


def broken(key: str, rule: str) -> PydanticCustomError:
    """The error of a rule between keys, to raise in a model validator; `key` is relative to that model."""
    return PydanticCustomError("rule", "{rule}", {"key": key, "rule": rule})
