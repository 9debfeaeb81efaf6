"""Numbers as MLflow wants them: a key, a step, a value. Nothing here knows the tracker, nothing touches a disk."""

import math
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrace.artifacts.live import LOSS_OF_MEAN
from retrace.artifacts.scores import Scores

# Curves that come with mean, lowest and highest over replicas; the others are of what ships alone.
BANDED = ("train_loss", "validation_loss", "validation_accuracy")

# More points would make neither the picture nor the answer better (MLflow draws 320 a curve), only the store slow.
MOST_POINTS = 10_000


class Point(NamedTuple):
    """One value of one metric.

    at: when it came about, as a share of the training, 0 to 1
    side: the split that it evaluates the model on, if it does
    """

    key: str
    step: int
    value: float
    at: float
    side: Literal["validation", "test"] | None = None


def epoch_points(header: list[str], history: NDArray[np.float64], shipped: int | None) -> list[Point]:
    """Curves over epochs from the rows of history.csv [rows, columns]: of what ships, and the band over replicas.

    shipped: None: the mean of all replicas, whose validation loss is its own and all else the mean of theirs.
    A replica that stopped early is missing from the bands of later epochs.
    """
    replicas = len(np.unique(history[:, header.index("replica")]))
    last = max(history[:, header.index("epoch")].max(initial=0), 1)
    points: list[Point] = []
    for key, steps, values in [*_of_shipped(header, history, shipped), *_bands(header, history, replicas)]:
        kept = thin(len(steps))
        points.extend(
            Point(key, int(step), float(value), float(step / last))
            for step, value in zip(steps[kept], values[kept], strict=True)
            if math.isfinite(value)
        )
    return points


def live_points(header: list[str], rows: NDArray[np.float64], replicas: int, epochs: int, before: int) -> list[Point]:
    """Of `epoch_points`, those that stay true whichever replica ships, from the rows of some whole epochs.

    Bands, and the learning rate while all replicas train; of a single replica, and of their mean, everything.
    replicas, epochs: that are planned; before: the epoch before these rows: `at` is a share of the time since then.
    """
    curves = list(_bands(header, rows, replicas))
    if LOSS_OF_MEAN in header:
        curves += _of_shipped(header, rows, None)
    elif replicas == 1:
        curves += _of_shipped(header, rows, 0)
    else:
        curves.append(_common(header, rows, replicas))
    last = rows[:, header.index("epoch")].max(initial=before + 1)
    # As `thin` will do it, if no replica stops early.
    every = math.ceil(epochs / MOST_POINTS)
    return [
        Point(key, int(step), float(value), float((step - before) / (last - before)))
        for key, steps, values in curves
        for step, value in zip(steps, values, strict=True)
        if math.isfinite(value) and (epochs - step) % every == 0
    ]


# Key, epochs, values.
Curve = tuple[str, NDArray[np.float64], NDArray[np.float64]]


def _of_shipped(header: list[str], history: NDArray[np.float64], shipped: int | None) -> Iterator[Curve]:
    columns = {name: history[:, index] for index, name in enumerate(header)}
    epochs, replica = columns.pop("epoch"), columns.pop("replica")
    if shipped is None:
        columns["validation_loss"] = columns.pop(LOSS_OF_MEAN)
    for name, values in columns.items():
        if shipped is None:
            steps, bands = band(epochs, values)
            yield curve_key(name), steps, bands.get("mean", steps)
        else:
            yield curve_key(name), epochs[replica == shipped], values[replica == shipped]


def _bands(header: list[str], history: NDArray[np.float64], replicas: int) -> Iterator[Curve]:
    """Over several replicas."""
    for name in header if replicas > 1 else ():
        if name not in BANDED:
            continue
        steps, bands = band(history[:, header.index("epoch")], history[:, header.index(name)])
        for suffix, line in bands.items():
            yield f"{curve_key(name)}_{suffix}", steps, line


def _common(header: list[str], rows: NDArray[np.float64], replicas: int) -> Curve:
    """The learning rate, one for all, of the epochs in which each replica trained: so did the one that will ship."""
    steps, firsts, counts = np.unique(rows[:, header.index("epoch")], return_index=True, return_counts=True)
    whole = counts == replicas
    return curve_key("learning_rate"), steps[whole], rows[firsts[whole], header.index("learning_rate")]


def band(
    epochs: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Epochs, and for each of them mean, low and high over the finite values."""
    finite = np.isfinite(values)
    order = np.argsort(epochs[finite], kind="stable")
    steps, firsts, counts = np.unique(epochs[finite][order], return_index=True, return_counts=True)
    if not len(steps):
        return steps, {}
    sorted_values = values[finite][order]
    low, high = (function.reduceat(sorted_values, firsts) for function in (np.minimum, np.maximum))
    # Of equal values the mean is that value, and not one beside it.
    return steps, {"mean": (np.add.reduceat(sorted_values, firsts) / counts).clip(low, high), "low": low, "high": high}


def step_points(losses: NDArray[np.floating]) -> list[Point]:
    """The training loss of every step [steps] of what ships; steps count from 1."""
    kept = thin(len(losses))
    return [
        Point("train/step_loss", index + 1, float(losses[index]), (index + 1) / len(losses))
        for index in kept.tolist()
        if math.isfinite(losses[index])
    ]


def headline_points(scores: Scores, names: Mapping[str, str]) -> list[Point]:
    """The headlines of the result, each once. names: class name -> safe key (see `safe_keys`).

    Every interval and count would be a bar of its own on the run's page, a hundred of them above the curves: what is
    left out here is in the run's tables/scores.json.
    """
    values: dict[str, float | None] = {f"test/{name}": metric.value for name, metric in scores.headlines.items()}
    parts = asdict(scores.accuracy)
    values |= {f"test/accuracy_{part}": number for part, number in parts.items() if part != "value"}
    values |= {f"test/f1/{names[name]}": each.f1 for name, each in scores.classes.items()}
    others = {"bayes": scores.bayes, **scores.baseline}
    values |= {f"baseline/{name}": other.accuracy for name, other in others.items() if other}
    if scores.threshold_choice:
        values["best/threshold"] = scores.threshold
    values["best/epoch"] = scores.training.best_epoch
    values["best/validation_loss"] = scores.training.best_validation_loss
    return [Point(key, 0, float(value), 1.0, _side(key)) for key, value in values.items() if value is not None]


def _side(key: str) -> Literal["validation", "test"] | None:
    group = key.partition("/")[0]
    return "validation" if group == "best" else "test" if group == "test" else None


def thin(count: int) -> NDArray[np.int64]:
    """Which of `count` points to keep: all, or every k-th up to the last."""
    every = max(math.ceil(count / MOST_POINTS), 1)
    return np.arange(count - 1, -1, -every)[::-1]


def curve_key(column: str) -> str:
    """train_loss -> train/loss, gradient_norm_layer_1 -> gradient_norm/layer_1: MLflow groups by the part before /."""
    if found := re.fullmatch(r"(.+)_(layer_\d+)", column):
        return f"{safe_key(found[1])}/{found[2]}"
    if found := re.fullmatch(r"(train|validation)_(.+)", column):
        return f"{found[1]}/{safe_key(found[2])}"
    return safe_key(column)


def safe_key(name: str) -> str:
    """A name from the data as one part of a key that MLflow accepts: letters, digits and `_-.: `, at most 80."""
    key = re.sub(r"[^\w.\- :]", "_", name)[:80].strip()
    return key if key and posixpath.normpath(key) == key and not key.startswith(".") else f"_{key}"


def safe_keys(names: Iterable[str]) -> dict[str, str]:
    """name -> safe key, a different one for each, also for a store that ignores case."""
    keys: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        key, count = safe_key(name), 1
        while key.casefold() in taken:
            count += 1
            key = f"{safe_key(name)}_{count}"
        taken.add(key.casefold())
        keys[name] = key
    return keys
