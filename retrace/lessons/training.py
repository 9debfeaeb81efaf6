"""Trains the variants of a lesson, and keeps all that is seen on the way.

Variants whose networks have one shape and the same rows train side by side in one pack; packs are shared out to the
cores. A network that diverges is a result here, and not the end.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrace.artifacts.paths import TRAIN, VALIDATION
from retrace.artifacts.schema import Schema
from retrace.artifacts.tables import write_table
from retrace.data.dataset import create
from retrace.data.splitting import split
from retrace.networks.arithmetic import is_small, set_portable
from retrace.networks.model import Description
from retrace.networks.network import Network
from retrace.networks.probabilities import class_probabilities
from retrace.params.lesson import Variant
from retrace.runtime.cores import cores
from retrace.runtime.workers import shared_out
from retrace.training.device import make_deterministic
from retrace.training.losses import targets
from retrace.training.members import Member, members_of, shared
from retrace.training.pack import Data, Pack, allocate
from retrace.training.rows import fit_preprocessing, read_rows
from retrace.training.trainer import draw_initial_weights
from retrace.training.training_run import describe

Floats = NDArray[np.float64]
# Small networks, which no GPU trains faster; and the same bytes wherever a lesson is read.
DEVICE = torch.device("cpu")
# Rows on which networks are looked at before the first step.
START_ROWS = 2_000
# Points a side of the plane in which a boundary is drawn, rows that are drawn upon it, and pictures of an animation.
SIDE, SHOWN_ROWS, PICTURES = 80, 400, 24
# Columns of Observed.values; and how many there are before those of layers.
LOSS, ACCURACY, FIXED = 1, 2, 3


class Prepared(NamedTuple):
    """A variant and the rows that it learns from; key: which rows these are."""

    variant: Variant
    schema: Schema
    description: Description
    data: Data
    key: str

    @property
    def shape(self) -> str:
        """What variants of one pack have in common."""
        epochs = self.variant.train.epochs
        content = shared(self.variant.train) | {"epochs": epochs}
        return f"{self.key} {content}"

    def untrained(self) -> "Observed":
        """What is observed, in its shapes, of networks that were never made: ones."""
        replicas, layers = self.variant.train.replicas, len(self.description.layers)
        own = np.ones((replicas, layers))
        values = np.ones((replicas, self.variant.train.epochs, FIXED + 2 * layers - 1))
        return Observed(values, layers, own[:, 0], own, own, {}, np.empty((0, 2)))


class Observed(NamedTuple):
    """Of a variant; arrays of replicas [replicas, epochs, columns] and [replicas, layers].

    values:   training loss, validation loss and accuracy, gradient norm of each layer, health of each watched one.
    start:    loss [replicas]; gradient and activation [replicas, layers], see retrace/artifacts/lesson.py.
    plane:    epoch -> what the replica of the median says at the points of `points` [SIDE * SIDE], where it is wanted.
    """

    values: Floats
    layers: int
    start_loss: Floats
    start_gradient: Floats
    start_activation: Floats
    plane: dict[int, Floats]
    points: Floats


def prepare(variants: Sequence[Variant], folder: Path) -> list[Prepared]:
    """Make and split the rows of each variant, in files of the folder; settings of torch are this process's own."""
    made: dict[str, tuple[Schema, Path]] = {}
    described = []
    for variant in variants:
        key = f"{variant.create.model_dump()} {variant.split.model_dump()}"
        if key not in made:
            table, schema = create(variant.create)
            own = folder / str(len(made))
            for path, rows in zip((TRAIN, VALIDATION), split(table, schema, variant.split)[:2], strict=True):
                write_table(own / path.name, table.take(pa.array(rows)))
            made[key] = schema, own
        schema, own = made[key]
        preprocessing = fit_preprocessing(own / TRAIN.name, schema, variant.train)
        described.append((variant, schema, describe(schema, variant.train, preprocessing), own, key))
    set_portable(all(is_small(description) for _, _, description, _, _ in described))
    make_deterministic(DEVICE, tf32=False)
    found = []
    for variant, schema, description, own, key in described:
        training, validation = (
            read_rows(own / path.name, schema, description.preprocessing) for path in (TRAIN, VALIDATION)
        )
        counts = torch.bincount(training.y.long(), minlength=len(schema.classes))
        seen = f"{key} {description.preprocessing}"
        found.append(Prepared(variant, schema, description, Data(training, validation, counts), seen))
    return found


def observe(prepared: Sequence[Prepared], drawn: Sequence[str], animated: Sequence[str]) -> dict[str, Observed]:
    """Train all variants. drawn, animated: names of those whose boundary is wanted, at the end or over the epochs."""
    packs: dict[str, list[Prepared]] = {}
    for each in prepared:
        packs.setdefault(each.shape, []).append(each)

    def work(place: int) -> list[tuple[str, Observed]]:
        return list(_observe_pack(ordered[place], drawn, animated))

    # The longest first, so that no core waits long for the last one.
    ordered = sorted(packs.values(), key=_work, reverse=True)
    found: dict[str, Observed] = {}
    does = ["lessons: " + ", ".join(each.variant.name for each in pack) for pack in ordered]
    count = min(cores(), len(ordered))
    for _, answer in shared_out(work, range(len(ordered)), does, count, "retrace lessons"):
        found.update(answer)
    return {each.variant.name: found[each.variant.name] for each in prepared}


def _work(pack: Sequence[Prepared]) -> float:
    """About how long a pack takes, to order packs by."""
    train, rows = pack[0].variant.train, len(pack[0].data.training.x)
    steps = math.ceil(rows / train.batch_size)
    weights = pack[0].description.weights
    members = sum(each.variant.train.replicas for each in pack)
    return train.epochs * (steps * 1e-4 + members * rows * weights * 2e-10)


def _observe_pack(
    pack: Sequence[Prepared], drawn: Sequence[str], animated: Sequence[str]
) -> Iterator[tuple[str, Observed]]:
    members = [member for each in pack for member in members_of(each.variant.train)]
    first = pack[0]
    data, section = first.data, first.variant.train
    network = first.description.network(len(members), scaled=section.input_scale_rate > 0)
    draw_initial_weights(network, members)
    state = allocate(network, data, members, torch.zeros, right=False)
    trainer = Pack(network, data, members, state, DEVICE)
    start = _start(trainer, network, data, members)
    nobody, values = [False] * len(members), []
    ends = np.cumsum([each.variant.train.replicas for each in pack]).tolist()
    places = {
        each.variant.name: slice(end - each.variant.train.replicas, end) for each, end in zip(pack, ends, strict=True)
    }
    # The names are of variants with two inputs: lesson_run.py makes sure of that.
    planes: dict[str, dict[int, Tensor]] = {name: {} for name in places if name in drawn or name in animated}
    points = plane_points(data)
    pictures = set(picture_epochs(section.epochs))
    for epoch in range(section.epochs + 1):
        if epoch:
            trainer.train_epoch(epoch, nobody)
            values.append(state.values.double().numpy().copy())
        for name in planes:
            if epoch == section.epochs or (name in animated and epoch in pictures):
                planes[name][epoch] = _plane(network.of(places[name]), points, section.label_smoothing)
    history = np.stack(values, 1)
    for name, own in places.items():
        # Of several networks the one in the middle is shown.
        last = np.nan_to_num(history[own, -1, 2], nan=-1.0)
        shown = int(np.argsort(last, kind="stable")[(len(last) - 1) // 2])
        plane = {epoch: each[shown].double().numpy() for epoch, each in planes.get(name, {}).items()}
        loss, gradient, activation = (each[own] for each in start)
        yield name, Observed(history[own], len(network.layers), loss, gradient, activation, plane, points)


@torch.no_grad()
def _start(trainer: Pack, network: Network, data: Data, members: Sequence[Member]) -> tuple[Floats, Floats, Floats]:
    """Loss [members], gradient norm [members, layers], spread of the activations [members, layers], no step made."""
    x = data.training.x[:START_ROWS].expand(len(members), -1, -1).contiguous()
    y = targets(data.training.y[:START_ROWS], network.outputs).expand(len(members), -1)
    watched = network.observe(x).watched
    passed = network.forward_pass(x)
    loss, gradient = trainer.gradients.loss(passed.logits, y, trainer.gradients.smoothing, None)
    gradients = passed.backward(gradient)[: 2 * len(network.layers)]
    norms = torch.stack([gradient.double().square().sum((1, 2)).sqrt() for gradient in gradients[::2]], 1)
    spread = torch.full((len(members), len(network.layers)), math.nan, dtype=torch.float64)
    for layer, outputs in zip(network.watched, watched, strict=True):
        # Of each unit over the rows, and then their root mean square: what still tells one row from another.
        spread[:, layer] = outputs.double().var(1).mean(1).sqrt()
    return loss.double().numpy(), norms.numpy(), spread.numpy()


def picture_epochs(epochs: int) -> list[int]:
    """Of an animation: the first epochs one by one, later ones further apart, the last one always."""
    return sorted({0, *np.unique(np.geomspace(1, epochs, PICTURES).round().astype(int)).tolist(), epochs})


def plane_points(data: Data) -> Floats:
    """[SIDE * SIDE, 2] regular points over the two inputs of the rows, with a margin; x runs fastest."""
    x = np.concatenate([rows.x[:][:, :2].numpy() for rows in (data.training, data.validation)]).astype(np.float64)
    low, high = x.min(0), x.max(0)
    margin = 0.06 * (high - low)
    across, up = (np.linspace(low[axis] - margin[axis], high[axis] + margin[axis], SIDE) for axis in (0, 1))
    return np.column_stack([np.tile(across, SIDE), np.repeat(up, SIDE)])


@torch.no_grad()
def _plane(network: Network, points: Floats, smoothing: float) -> Tensor:
    """[replicas, points]: probability of the second of two classes, else the likeliest class."""
    x = torch.from_numpy(points.astype(np.float32)).expand(network.replicas, -1, -1)
    found = class_probabilities(network(x), smoothing)
    return found[..., 1] if found.shape[2] == 2 else found.argmax(2).float()


def rows_shown(data: Data) -> tuple[Any, Any]:
    """Coordinates and classes of the validation rows that are drawn."""
    return data.validation.x[:SHOWN_ROWS][:, :2].numpy(), data.validation.y[:SHOWN_ROWS].numpy()
