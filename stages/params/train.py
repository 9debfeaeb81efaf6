"""Section `train`: the network, how its weights start and how they are learned."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.params.section import Section, broken

Fraction = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=1e6)]
ClassWeight = Annotated[float, Field(ge=1e-6, le=1e6)]
Decay = Annotated[float, Field(ge=0, le=1e6)]
OptimizerName = Literal["sgd", "adam", "adamw", "rmsprop"]
Scaling = Literal["none", "standard", "robust", "quantile"]
Hidden = Annotated[list[Annotated[int, Field(ge=1, le=65_536)]], Field(max_length=32)]


class Optimizer(Section):
    name: OptimizerName
    learning_rate: Rate
    momentum: Fraction
    nesterov: bool
    weight_decay: Decay

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


class TableOptimizer(Section):
    name: OptimizerName
    learning_rate: Rate
    weight_decay: Decay


class TableRecipe(Section):
    """What a person's own table gets in place of the keys of the same name."""

    scaling: Scaling
    hidden: Hidden
    optimizer: TableOptimizer


class Train(Section):
    replicas: Annotated[int, Field(ge=1, le=1024)]
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:[0-9]+)$", description="auto, cpu, cuda or cuda:N")]
    tf32: bool
    scaling: Scaling
    rare_below: Annotated[int, Field(ge=1, le=1_000_000)]
    embed_above: Annotated[int, Field(ge=1, le=1_000_000)]
    embedding_width: Annotated[int, Field(ge=1, le=1024)]
    hidden: Hidden
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
    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    patience: Annotated[int, Field(ge=1, le=1_000_000)] | None
    table: TableRecipe

    def for_table(self) -> "Train":
        """The section as it counts for a person's own table."""
        recipe = dict(self.table)
        recipe["optimizer"] = self.optimizer.model_copy(update=dict(self.table.optimizer))
        return self.model_copy(update=recipe)

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.schedule.warmup_epochs > self.epochs:
            raise broken("schedule.warmup_epochs", f"must be at most train.epochs ({self.epochs})")
        return self
