"""Section `create`: which data set is made, and how."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrace.params.section import Section, broken

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Classes = Annotated[int, Field(ge=2, le=100)]
Features = Annotated[int, Field(ge=1, le=1000)]
Noise = Annotated[float, Field(ge=0, le=100)]
Name = Annotated[str, Field(min_length=1)]


class Circles(Section):
    noise: Noise
    factor: Annotated[float, Field(ge=0, lt=1)]


class Moons(Section):
    noise: Noise


class Blobs(Section):
    classes: Classes
    features: Features
    spread: Annotated[float, Field(gt=0, le=100)]


class Spirals(Section):
    classes: Classes
    turns: Annotated[float, Field(gt=0, le=10)]
    noise: Noise


class Xor(Section):
    noise: Noise


class Gaussians(Section):
    features: Features
    distance: Annotated[float, Field(ge=0, le=100)]


class Classification(Section):
    classes: Classes
    features: Features
    informative: Features
    separation: Annotated[float, Field(gt=0, le=100)]
    flipped: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _informative_fits(self) -> Self:
        if self.informative > self.features:
            raise broken("informative", f"must be at most classification.features ({self.features})")
        # make_classification puts each class at its own corner of a hypercube.
        if self.classes > 2**self.informative:
            raise broken("informative", f"must be at least log2 of classification.classes ({self.classes})")
        return self


class TableSource(Section):
    path: Annotated[
        str,
        Field(
            pattern=r"^data/tables/[^/\\\x00]+(/[^/\\\x00]+)*$",
            description="a path below data/tables/, relative to the repository, with / between its parts",
        ),
    ]
    target: Name

    @model_validator(mode="after")
    def _stays_inside(self) -> Self:
        if {".", ".."} & set(self.path.split("/")):
            raise broken("path", "must stay below data/tables/, without . and ..")
        return self


class Reading(Section):
    delimiter: Literal["auto", "comma", "semicolon", "tab", "pipe", "space"]
    encoding: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="auto or the name of an encoding")]
    decimal: Literal["auto", "point", "comma"]
    missing: list[str]

    @model_validator(mode="after")
    def _encoding_exists(self) -> Self:
        if self.encoding != "auto":
            try:
                "".encode(self.encoding)  # codecs.lookup also knows base64, which is not an encoding of texts
            except (LookupError, UnicodeError):
                rule = "must be auto or an encoding that Python knows, such as utf-8, cp1252 or utf-16"
                raise broken("encoding", rule) from None
        return self


class Columns(Section):
    numeric: list[Name]
    categorical: list[Name]
    boolean: list[Name]
    datetime: list[Name]
    identifier: list[Name]
    ignored: list[Name]

    @model_validator(mode="after")
    def _one_kind_each(self) -> Self:
        seen: dict[str, str] = {}
        for kind, names in self:
            for name in names:
                if name in seen:
                    raise broken(kind, f"must not name the column {name!r} again; it is in columns.{seen[name]}")
                seen[name] = kind
        return self

    def kinds(self) -> dict[str, str]:
        """Column -> kind, of the columns that are named."""
        return {name: kind for kind, names in self for name in names}


class Create(Section):
    dataset: Literal[
        "circles",
        "moons",
        "blobs",
        "spirals",
        "xor",
        "gaussians",
        "classification",
        "iris",
        "wine",
        "breast_cancer",
        "digits",
        "table",
    ]
    rows: Annotated[int, Field(ge=20, le=100_000_000)]
    seed: Seed
    circles: Circles
    moons: Moons
    blobs: Blobs
    spirals: Spirals
    xor: Xor
    gaussians: Gaussians
    classification: Classification
    table: TableSource
    reading: Reading
    columns: Columns
