"""Section `create`: which data set is made, and how."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.params.section import Section, broken

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Classes = Annotated[int, Field(ge=2, le=100)]
Features = Annotated[int, Field(ge=1, le=1000)]
Noise = Annotated[float, Field(ge=0, le=100)]


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
    separation: Annotated[float, Field(ge=0, le=100)]
    flipped: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _informative_fits(self) -> Self:
        if self.informative > self.features:
            raise broken("informative", f"must be at most classification.features ({self.features})")
        # make_classification puts each class at its own corner of a hypercube.
        if self.classes > 2**self.informative:
            raise broken("informative", f"must be at least log2 of classification.classes ({self.classes})")
        return self


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
