"""Members of a pack: networks of one shape that train side by side, each with settings and a seed of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import torch
from torch import Tensor

from retrace.params.train import Train

T = TypeVar("T")

# One number for all members, or a column of theirs, float32 [members, 1].
Setting = float | Tensor

# What members of a pack may differ in, by name in the section; what else there is must be the same.
OWN = frozenset({"seed", "dropout", "init", "init_scale", "label_smoothing", "gradient_clip", "schedule"})
OWN_OF_OPTIMIZER = frozenset({"learning_rate", "momentum", "weight_decay", "beta1", "beta2"})


@dataclass(frozen=True)
class Member:
    """section: its settings; replica: its place among those that differ in nothing but this, which its draws follow."""

    section: Train
    replica: int


def members_of(section: Train) -> list[Member]:
    """The replicas that the section asks for."""
    return [Member(section, replica) for replica in range(section.replicas)]


def shared(section: Train) -> dict[str, object]:
    """What members must have in common to train in one pack."""
    content = section.model_dump(
        exclude={"replicas": True, **dict.fromkeys(OWN, True), "optimizer": {*OWN_OF_OPTIMIZER}}
    )
    # Whether there is such a thing at all decides which operations there are; how much of it is a member's own.
    content["input_scale_rate"] = section.input_scale_rate > 0
    content["class_weights"] = section.class_weights != "none"
    if section.window is not None:  # which rows are read together follows from it
        content["seed"] = section.seed
    return content


def neighbours_alike(settings: Sequence[T]) -> list[tuple[slice, T]]:
    """Runs of neighbours with equal settings: which members, and what they have."""
    found, start = [], 0
    for own, some in groupby(settings):
        found.append((slice(start, start := start + len(list(some))), own))
    return found


def setting(values: Sequence[float], device: torch.device | str) -> Setting:
    if values.count(values[0]) == len(values):
        return values[0]
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None]
