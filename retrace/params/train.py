"""Section `train`: the network, how its weights start and how they are learned."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrace.params.section import Section, broken

Fraction = Annotated[float, Field(ge=0, lt=1)]
ClassWeight = Annotated[float, Field(ge=1e-6, le=1e6)]


class Optimizer(Section):
    name: Literal["sgd", "adam", "adamw", "rmsprop"]
    learning_rate: Annotated[float, Field(gt=0, le=1e6)]
    momentum: Fraction
    nesterov: bool
    beta1: Fraction
    beta2: Fraction
    weight_decay: Annotated[float, Field(ge=0, le=1e6)]

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.name == "sgd" and self.momentum == 0:
            raise broken("momentum", "must be > 0 with nesterov: true")
        return self


class Schedule(Section):
    name: Literal["constant", "step", "exponential", "cosine", "one_cycle"]
    step_epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    gamma: Annotated[float, Field(gt=0, le=1)]
    warmup_epochs: Annotated[int, Field(ge=0, le=1_000_000)]

    @model_validator(mode="after")
    def _one_cycle_warms_up_itself(self) -> Self:
        if self.name == "one_cycle" and self.warmup_epochs:
            raise broken("warmup_epochs", "must be 0 with schedule one_cycle, which begins with a warm-up of its own")
        return self


class Train(Section):
    replicas: Annotated[int, Field(ge=1, le=1024)]
    ship: Literal["best", "mean"]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:[0-9]+)$", description="auto, cpu, cuda or cuda:N")]
    tf32: bool
    scaling: Literal["none", "standard", "robust", "quantile"]
    bins: Annotated[int, Field(ge=0, le=1000)]
    residuals_above: Annotated[float, Field(ge=0, le=1)]
    input_scale_rate: Annotated[float, Field(ge=0, le=1e6)]
    rare_below: Annotated[int, Field(ge=1, le=1_000_000)]
    embed_above: Annotated[int, Field(ge=1, le=1_000_000)]
    embedding_width: Annotated[int, Field(ge=1, le=1024)]
    architecture: Literal["mlp", "residual"]
    hidden: Annotated[list[Annotated[int, Field(ge=1, le=65_536)]], Field(max_length=32)]
    activation: Literal["sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "identity"]
    dropout: Fraction
    init: Literal[
        "default",
        "normal",
        "uniform",
        "xavier_uniform",
        "xavier_normal",
        "he_uniform",
        "he_normal",
        "orthogonal",
        "zeros",
    ]
    init_scale: Annotated[float, Field(gt=0, le=1000)]
    loss: Literal["cross_entropy", "mean_squared_error"]
    label_smoothing: Fraction
    class_weights: Literal["none", "balanced"] | Annotated[list[ClassWeight], Field(max_length=1000)]
    optimizer: Optimizer
    schedule: Schedule
    gradient_clip: Annotated[float, Field(gt=0)] | None
    batch_size: Annotated[int, Field(ge=1, le=10_000_000)]
    window: Annotated[int, Field(ge=100, le=100_000_000)] | None
    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    patience: Annotated[int, Field(ge=1, le=1_000_000)] | None
    temperature: Literal["none", "validation"]

    @model_validator(mode="after")
    def _residual_has_a_width(self) -> Self:
        if self.architecture == "residual" and not self.hidden:
            raise broken("hidden", "must hold at least one width with architecture: residual")
        return self

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.schedule.warmup_epochs > self.epochs:
            raise broken("schedule.warmup_epochs", f"must be at most train.epochs ({self.epochs})")
        return self
