"""The optimizers of torch.optim for members side by side, registered by name.

The weights of all members lie in one table, a row each, and so do their gradients and what an optimizer remembers: one
call an operation, whatever the number of layers. All is element-wise, so that a member is optimized as if it were
alone; a setting is a number, or a column with one for each member, and gives the same bytes either way.

Adam's steps are torch's own function: building an optimizer object imports torch._dynamo, 1 to 2 seconds that no
network here needs. The others are written out, since torch's take one number for all. To add one: an Algorithm,
registered in OPTIMIZERS, its name in `retrace/params/train.py` and in params.yaml.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam
from torch.optim.adamw import adamw as torch_adamw

from retrace.networks.layers import Role
from retrace.networks.network import Network
from retrace.params.train import Optimizer
from retrace.training.members import Setting, neighbours_alike, setting
from retrace.training.roots import root

# Learning rates: of each member, or one for all.
Rates = Sequence[float]
# (gradients [members, numbers], rates, how many steps there were before): the weights are changed in place.
Step = Callable[[Tensor, Rates, int], None]

# What the papers and torch use and nobody turns (Hinton 2012; Kingma and Ba 2015).
RMSPROP_ALPHA = 0.99
EPSILON = 1e-8
# Numbers that a processor works on at once, at most. torch's fused Adam computes the last ones of a tensor by other
# code where there are fewer: rows are filled up, so that none of a member's numbers are ever among these.
AT_ONCE = 16


class Algorithm(NamedTuple):
    """remembers: names of what it keeps for each weight, which begins at 0, by the settings of the members.

    build: (weights [members, numbers], what it remembers, settings of each member) -> its step.
    """

    remembers: Callable[[Sequence[Optimizer]], list[str]]
    build: Callable[[Tensor, dict[str, Tensor], Sequence[Optimizer]], Step]


class Group(NamedTuple):
    """Parameters with the same role, parts of `weights`; places: in the network's order; used: columns they take.

    weights, and each of what an optimizer remembers of them: [members, numbers].
    """

    role: Role
    places: list[int]
    used: int
    weights: Tensor
    state: dict[str, Tensor]

    def of(self, members: slice) -> "Group":
        """The same memory, of some members."""
        state = {name: each[members] for name, each in self.state.items()}
        return Group(self.role, self.places, self.used, self.weights[members], state)


def lay_out(network: Network, sections: Sequence[Optimizer], zeros: Callable[..., Tensor]) -> list[Group]:
    """Move the network's parameters into tables, one for each role; sections: of each member.

    zeros: (members, numbers) -> float32 zeros, on the network's device.
    """
    roles, parameters, groups = network.roles(), list(network.parameters()), []
    if not any(section.weight_decay for section in sections):  # fewer calls a step where nothing decays
        roles = [Role(scales_input=role.scales_input) for role in roles]
    names = OPTIMIZERS[sections[0].name].remembers(sections)
    for role in dict.fromkeys(roles):
        places = [place for place, other in enumerate(roles) if other == role]
        sizes = [parameters[place][0].numel() for place in places]
        shape = (len(sections), -(-sum(sizes) // AT_ONCE) * AT_ONCE)
        weights, start = zeros(*shape), 0
        for place, size in zip(places, sizes, strict=True):
            parameter = parameters[place]
            part = weights[:, start : start + size].view(parameter.shape)
            part.copy_(parameter.detach())
            parameter.data = part
            start += size
        groups.append(Group(role, places, start, weights, {name: zeros(*shape) for name in names}))
    return groups


class Optimization:
    """All groups of some members, and a step of each. sections: of each member; scale_rates: train.input_scale_rate."""

    def __init__(self, groups: Sequence[Group], sections: Sequence[Optimizer], scale_rates: Sequence[float]):
        self.groups, self.scale_rates = groups, scale_rates
        self.steps = []
        for group in groups:
            still = [section.model_copy(update={"weight_decay": 0.0}) for section in sections]
            own = sections if group.role.decays else still
            self.steps.append(OPTIMIZERS[sections[0].name].build(group.weights, group.state, own))
        self.gradients = [torch.zeros_like(group.weights) for group in groups]
        self.used = [rows[:, : group.used] for rows, group in zip(self.gradients, groups, strict=True)]

    def step(self, gradients: Sequence[Tensor], rates: Rates, before: int) -> None:
        """gradients: of the network's parameters, in their order."""
        for group, rows, used, one in zip(self.groups, self.gradients, self.used, self.steps, strict=True):
            torch.cat([gradients[place].flatten(1) for place in group.places], 1, out=used)
            own = rates
            if group.role.scales_input:
                own = [rate * factor for rate, factor in zip(rates, self.scale_rates, strict=True)]
            one(rows, own, before)


def _of(sections: Sequence[Optimizer], name: str, like: Tensor) -> Setting:
    return setting([getattr(section, name) for section in sections], like.device)


def _add(x: Tensor, y: Tensor, factor: Setting) -> None:
    """x += factor * y, each product rounded once with its sum, whichever kind of setting it is."""
    if isinstance(factor, Tensor):
        x.addcmul_(y, factor)
    else:
        x.add_(y, alpha=factor)


def sgd(weights: Tensor, state: dict[str, Tensor], sections: Sequence[Optimizer]) -> Step:
    """With momentum as torch has it, and Nesterov's (Sutskever et al. 2013)."""
    decay, momentum = _of(sections, "weight_decay", weights), _of(sections, "momentum", weights)
    decays, nesterov = any(section.weight_decay for section in sections), sections[0].nesterov
    velocity = state.get("velocity")

    def step(gradients: Tensor, rates: Rates, before: int) -> None:
        if decays:
            _add(gradients, weights, decay)
        if velocity is not None:
            velocity.mul_(momentum).add_(gradients)
            if nesterov:
                _add(gradients, velocity, momentum)
            else:
                gradients = velocity
        _add(weights, gradients, setting([-rate for rate in rates], weights.device))

    return step


def rmsprop(weights: Tensor, state: dict[str, Tensor], sections: Sequence[Optimizer]) -> Step:
    """Hinton 2012, as torch has it but for the root, so that every processor gives the same bytes (see roots.py)."""
    decay, momentum = _of(sections, "weight_decay", weights), _of(sections, "momentum", weights)
    decays = any(section.weight_decay for section in sections)
    average, velocity = state["average"], state.get("velocity")

    def step(gradients: Tensor, rates: Rates, before: int) -> None:
        if decays:
            _add(gradients, weights, decay)
        average.mul_(RMSPROP_ALPHA).addcmul_(gradients, gradients, value=1 - RMSPROP_ALPHA)
        change = gradients.div_(root(average).add_(EPSILON))
        if velocity is not None:
            change = velocity.mul_(momentum).add_(change)
        _add(weights, change, setting([-rate for rate in rates], weights.device))

    return step


def _adaptive(function: Callable[..., None]) -> Callable[[Tensor, dict[str, Tensor], Sequence[Optimizer]], Step]:
    """adam and adamw differ in how they apply weight decay and in nothing else."""

    def build(weights: Tensor, state: dict[str, Tensor], sections: Sequence[Optimizer]) -> Step:
        first, second = state["first"], state["second"]
        count = torch.zeros((), device=weights.device)
        own = [(section.weight_decay, section.beta1, section.beta2) for section in sections]

        def step(gradients: Tensor, rates: Rates, before: int) -> None:
            # One call for neighbours with the same settings.
            for members, (rate, (decay, beta1, beta2)) in neighbours_alike(list(zip(rates, own, strict=True))):
                count.fill_(before)
                function(
                    *([each[members]] for each in (weights, gradients, first, second)),
                    [],
                    [count],
                    foreach=False,
                    fused=True,
                    amsgrad=False,
                    beta1=beta1,
                    beta2=beta2,
                    lr=rate,
                    weight_decay=decay,
                    eps=EPSILON,
                    maximize=False,
                )

        return step

    return build


def _velocity(sections: Sequence[Optimizer]) -> list[str]:
    return ["velocity"] if any(section.momentum for section in sections) else []


OPTIMIZERS: dict[str, Algorithm] = {
    "sgd": Algorithm(_velocity, sgd),
    "adam": Algorithm(lambda sections: ["first", "second"], _adaptive(torch_adam)),
    "adamw": Algorithm(lambda sections: ["first", "second"], _adaptive(torch_adamw)),
    "rmsprop": Algorithm(lambda sections: ["average", *_velocity(sections)], rmsprop),
}
