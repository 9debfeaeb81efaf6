"""The optimizers of torch.optim, in their functional form, registered by name.

Building an optimizer object imports torch._dynamo, 1 to 2 seconds that no network here needs; the functions below are
the ones those objects call. All are element-wise, so that stacked replicas are optimized each as if it were alone.
To add one: a function that returns its step and state, registered in OPTIMIZERS, its name in `retrace/params/train.py`
and in params.yaml.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam
from torch.optim.adamw import adamw as torch_adamw
from torch.optim.sgd import sgd as torch_sgd

from retrace.params.train import Optimizer
from retrace.training.roots import root


class Optimization(NamedTuple):
    """step: gradients, learning rate -> the parameters are changed in place. state: all that it remembers, by name."""

    step: Callable[[list[Tensor], float], None]
    state: dict[str, list[Tensor]]


@dataclass(frozen=True)
class Role:
    """How a parameter is optimized: whether weight decay pulls it to zero, and the multiple of the learning rate."""

    decays: bool = True
    rate: float = 1.0


# What the papers and torch use and nobody turns (Kingma and Ba 2015; Hinton 2012).
ADAM_BETAS = (0.9, 0.999)
RMSPROP_ALPHA = 0.99
EPSILON = 1e-8


def grouped(parameters: list[Tensor], section: Optimizer, roles: Sequence[Role]) -> Optimization:
    """The optimizer that `section` names, with a group for each role, as torch's parameter groups are."""
    if not section.weight_decay:
        roles = [Role(rate=role.rate) for role in roles]  # one group where nothing decays: fewer calls a step
    groups = []
    state: dict[str, list[Tensor]] = {}
    for role in dict.fromkeys(roles):
        places = [index for index, other in enumerate(roles) if other == role]
        own = section if role.decays else section.model_copy(update={"weight_decay": 0.0})
        group = OPTIMIZERS[section.name]([parameters[place] for place in places], own)
        groups.append((places, role.rate, group.step))
        for name, tensors in group.state.items():
            state.setdefault(name, []).extend(tensors)

    def step(gradients: list[Tensor], learning_rate: float) -> None:
        for places, rate, one in groups:
            one([gradients[place] for place in places], learning_rate * rate)

    return Optimization(step, state)


def sgd(parameters: list[Tensor], section: Optimizer) -> Optimization:
    # Zeros give the first step that torch's missing buffers give.
    remembered = [torch.zeros_like(parameter) for parameter in parameters] if section.momentum else []
    buffers: list[Tensor | None] = [*remembered] if remembered else [None] * len(parameters)

    def step(gradients: list[Tensor], learning_rate: float) -> None:
        torch_sgd(
            parameters,
            gradients,
            buffers,
            has_sparse_grad=False,
            # A plain loop over a few small tensors is quickest on the CPU; on CUDA each call is a kernel launch.
            foreach=parameters[0].is_cuda,
            weight_decay=section.weight_decay,
            momentum=section.momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=section.nesterov,
            maximize=False,
        )

    return Optimization(step, {"buffers": remembered})


def _adaptive(function: Callable[..., None]) -> Callable[[list[Tensor], Optimizer], Optimization]:
    """adam and adamw differ in how they apply weight decay and in nothing else."""

    def build(parameters: list[Tensor], section: Optimizer) -> Optimization:
        first = [torch.zeros_like(parameter) for parameter in parameters]
        second = [torch.zeros_like(parameter) for parameter in parameters]
        steps = [torch.zeros((), device=parameter.device) for parameter in parameters]

        def step(gradients: list[Tensor], learning_rate: float) -> None:
            function(
                parameters,
                gradients,
                first,
                second,
                [],
                steps,
                foreach=False,
                fused=True,
                amsgrad=False,
                beta1=ADAM_BETAS[0],
                beta2=ADAM_BETAS[1],
                lr=learning_rate,
                weight_decay=section.weight_decay,
                eps=EPSILON,
                maximize=False,
            )

        return Optimization(step, {"first": first, "second": second, "steps": steps})

    return build


def rmsprop(parameters: list[Tensor], section: Optimizer) -> Optimization:
    """Hinton 2012, as torch has it but for the root, so that every processor gives the same bytes (see roots.py)."""
    averages = [torch.zeros_like(parameter) for parameter in parameters]
    buffers = [torch.zeros_like(parameter) for parameter in parameters] if section.momentum else []

    def step(gradients: list[Tensor], learning_rate: float) -> None:
        for place, (parameter, gradient, average) in enumerate(zip(parameters, gradients, averages, strict=True)):
            if section.weight_decay:
                gradient = gradient.add(parameter, alpha=section.weight_decay)
            average.mul_(RMSPROP_ALPHA).addcmul_(gradient, gradient, value=1 - RMSPROP_ALPHA)
            divisor = root(average).add_(EPSILON)
            if buffers:
                buffers[place].mul_(section.momentum).addcdiv_(gradient, divisor)
                parameter.add_(buffers[place], alpha=-learning_rate)
            else:
                parameter.addcdiv_(gradient, divisor, value=-learning_rate)

    return Optimization(step, {"averages": averages, "buffers": buffers})


OPTIMIZERS: dict[str, Callable[[list[Tensor], Optimizer], Optimization]] = {
    "sgd": sgd,
    "adam": _adaptive(torch_adam),
    "adamw": _adaptive(torch_adamw),
    "rmsprop": rmsprop,
}
