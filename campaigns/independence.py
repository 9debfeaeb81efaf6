"""Random recipes, each trained by members in packs of many widths: a member's bytes must be its own.

    python -m campaigns.independence wide 40 7   40 recipes from the seventh on; says which are not independent
    python -m campaigns.independence controls    a recipe for each remedy, with this taken away, which must be seen

small: networks whose bytes every processor gives; wide: others, whose products are the processor's own; cut: these with
steps in shards, shared by one thread, two or three.
"""

import contextlib
import hashlib
import io
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count, cycle
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from campaigns.digests import CATEGORIES, EDGES, rows
from retrace.networks import arithmetic, entrance, layers, mlp
from retrace.networks.activations import ACTIVATIONS
from retrace.networks.architectures import ARCHITECTURES
from retrace.networks.arithmetic import set_portable
from retrace.networks.entrance import Shape
from retrace.networks.initializers import INITIALIZERS
from retrace.runtime.errors import UserError
from retrace.training import gradients, optimizers, pack, pack_runner
from retrace.training.device import make_deterministic
from retrace.training.losses import LOSSES
from retrace.training.members import Member
from retrace.training.optimizers import OPTIMIZERS
from retrace.training.result import TrainingResult
from retrace.training.rows import Rows
from retrace.training.trainer import fit
from tests.conftest import train_section

CPU = torch.device("cpu")
MEMBERS = 33
WIDTHS = (1, 2, 3, 4, 8, 16, 32)
UNITS = {"small": [1, 3, 5, 10, 16], "wide": [1, 5, 17, 40, 64, 100, 128]}
UNITS["cut"] = UNITS["wide"]


class Recipe(NamedTuple):
    """members: of one pack; data: number of training rows, classes, which kinds of columns there are."""

    members: list[Member]
    data: tuple[int, int, str]


def recipe(kind: str, place: int) -> Recipe:
    """The recipe of that place: half of them are of members that differ in settings, half in seeds only."""
    source = random.Random(f"{kind} {place}")
    choose = source.choice
    architecture = choose(["mlp", "mlp", "residual"])
    depth = choose([0, 1, 2, 3] if architecture == "mlp" else [1, 2, 3])
    common = {
        "architecture": architecture,
        "hidden": [choose(UNITS[kind]) for _ in range(depth)],
        "activation": choose(list(ACTIVATIONS)),
        "loss": choose(list(LOSSES)),
        "optimizer_name": choose(list(OPTIMIZERS)),
        "batch_size": choose([7, 16, 32, 33, 64]),
        "epochs": 2,
        "ship": choose(["best", "mean"]),
        "class_weights": choose(["none", "none", "balanced"]),
    }
    scaled, rates = choose([False, True]), [0.1, 0.03, 0.01] if common["optimizer_name"] == "sgd" else [0.01, 0.003]

    def own() -> dict[str, Any]:
        return {
            "seed": source.randrange(1000),
            "init": choose([name for name in INITIALIZERS if name != "zeros"]),
            "init_scale": choose([0.3, 1.0]),
            "dropout": choose([0.0, 0.0, 0.1, 0.5]),
            "label_smoothing": choose([0.0, 0.0, 0.1]),
            "input_scale_rate": choose([2.0, 5.0]) if scaled else 0.0,
            "optimizer_learning_rate": choose(rates),
            "optimizer_momentum": choose([0.0, 0.9]),
            "optimizer_beta1": choose([0.9, 0.5]),
            "optimizer_beta2": choose([0.999, 0.9]),
            "optimizer_weight_decay": choose([0.0, 0.01, 0.1]),
            "gradient_clip": choose([None, None, 0.5, 0.05]),
            "schedule_name": choose(["constant", "constant", "cosine", "exponential"]),
            "schedule_gamma": 0.9,
        }

    alike, first = choose([True, False]), own()
    settings = [{**first, "seed": source.randrange(1000)} if alike else own() for _ in range(MEMBERS)]
    replicas = [source.randrange(9) for _ in settings]
    data = choose([97, 150, 300]), choose([2, 2, 3, 5]), choose(["plain", "bins", "codes", "all"])
    if window := choose([None, 100]):  # those that share windows have one seed
        settings = [{**each, "window": window, "seed": first["seed"]} for each in settings]
    members = [Member(train_section(**common, **each), place) for each, place in zip(settings, replicas, strict=True)]
    return Recipe(members, data)


def train(members: Sequence[Member], data: tuple[int, int, str]) -> TrainingResult:
    """In one pack; nothing is printed."""
    section, (training, classes, columns) = members[0].section, data
    more: dict[str, Any] = {"edges": EDGES} if columns in ("bins", "all") else {}
    inputs = 2 + (5 if more else 0)
    if columns in ("codes", "all"):
        more |= CATEGORIES
        inputs += 8 + 7
    shape = Shape([inputs, *section.hidden, 1 if classes == 2 else classes], section.activation, **more)
    network = ARCHITECTURES[section.architecture](len(members), shape, section.input_scale_rate > 0)
    sides = [rows(size, classes, seed) for seed, size in enumerate((training, 70))]
    if columns not in ("codes", "all"):
        sides = [Rows(side.x[:, :2].contiguous(), side.y) for side in sides]
    with contextlib.redirect_stderr(io.StringIO()):
        return fit(network, *sides, members, CPU)


def digests(result: TrainingResult) -> list[str]:
    """Of all that is of each member; what they give together, the loss of their mean, is left out."""
    losses, header = torch.cat(result.step_losses), result.header
    own = [place for place, name in enumerate(header) if name not in ("replica", "validation_loss_of_mean")]
    found = []
    for member in range(losses.shape[1]):
        made = hashlib.sha256()
        for _, tensor in sorted(result.state.items()):
            made.update(tensor[member].contiguous().numpy().tobytes())
        made.update(losses[:, member].contiguous().numpy().tobytes())
        history = [[row[place] for place in own] for row in result.history if row[1] == member]
        made.update(repr((history, result.best_epoch[member], result.best_loss[member])).encode())
        found.append(made.hexdigest())
    return found


def dependent(one: Recipe, source: random.Random) -> Iterator[int]:
    """The widths at which a member is not what it is among all; in each, others beside it and another place."""
    among_all = digests(train(*one))
    for width in WIDTHS:
        picked = source.sample(range(MEMBERS), width)
        again = digests(train([one.members[place] for place in picked], one.data))
        if again != [among_all[place] for place in picked]:
            yield width


def _clip_stacked(self: pack.Pack, gradients: list[torch.Tensor], *rest: object) -> None:
    norms = torch.stack([gradient.square().sum((1, 2)) for gradient in gradients]).sum(0).sqrt()
    factors = (self.clip / (norms + 1e-6)).clamp(max=1.0)[:, None, None]
    torch._foreach_mul_(gradients, [factors] * len(gradients))


def _without_products() -> None:
    for module in (layers, mlp, entrance):
        module.product, module.affine = torch.bmm, torch.baddbmm  # type: ignore[attr-defined]


class Control(NamedTuple):
    """remove: takes a remedy away; kind, place: of a recipe in which that must be seen."""

    remove: Callable[[], None]
    kind: str
    place: int


CONTROLS: dict[str, Control] = {
    "products": Control(_without_products, "small", 8),
    "sigmoid": Control(
        lambda: ACTIVATIONS.update(sigmoid=ACTIVATIONS["sigmoid"]._replace(forward=torch.sigmoid)), "small", 17
    ),
    "silu": Control(
        lambda: ACTIVATIONS.update(
            silu=ACTIVATIONS["silu"]._replace(
                forward=F.silu, gradient=lambda gradient, z, a: torch.ops.aten.silu_backward(gradient, z)
            )
        ),
        "small",
        148,
    ),
    "elu": Control(lambda: ACTIVATIONS.update(elu=ACTIVATIONS["elu"]._replace(forward=F.elu)), "small", 14),
    "clip": Control(lambda: setattr(pack.Pack, "_clip", _clip_stacked), "small", 28),
    "adam": Control(lambda: setattr(optimizers, "AT_ONCE", 1), "small", 24),
    # Seen where MKL has code for AVX-512; elsewhere the recipe may be independent without it.
    "mkl": Control(lambda: setattr(arithmetic, "NATIVE", {}), "wide", 15),
}


def controls() -> None:
    """Each in a process of its own, since torch takes its settings once."""
    for name, control in CONTROLS.items():
        sys.stdout.flush()
        if not (pid := os.fork()):
            control.remove()
            set_up(control.kind)
            width = next(dependent(recipe(control.kind, control.place), random.Random(control.place)), None)
            print(f"{name}: {'not seen' if width is None else f'seen at width {width}'}", flush=True)
            os._exit(0)
        os.waitpid(pid, 0)


def set_up(kind: str) -> None:
    set_portable(kind == "small")
    make_deterministic(CPU, tf32=False)
    pack_runner.cores = lambda: 1
    if kind == "cut":
        numbers = cycle([1, 2, 3])
        pack_runner.cores = lambda: next(numbers)
        gradients.FEWEST_ROWS = gradients.FEWEST_FLOPS = 1


def search(kind: str, number: int, first: int = 0) -> None:
    set_up(kind)
    done = bad = 0
    for place in count(first):
        if done == number:
            break
        one = recipe(kind, place)
        try:
            widths = list(dependent(one, random.Random(place)))
        except UserError:  # it diverges, or learns nothing
            continue
        done += 1
        if widths:
            bad += 1
            print(f"{place} at widths {widths}: {one.data} {one.members[0].section}")
    print(f"{bad} of {done} recipes are not independent")


if __name__ == "__main__":
    if sys.argv[1] == "controls":
        controls()
    else:
        search(sys.argv[1], *map(int, sys.argv[2:]))
