"""Figures of the training: losses and gradients over time, all replicas."""

import re
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import chain
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from retrace.artifacts.live import LOSS_OF_MEAN
from retrace.figures.columns import Floats, numbers
from retrace.figures.inputs import Tables, by_replica
from retrace.figures.style import BLUE, GRAY, TRAINING, VALIDATION, legend, logarithmic, new_figure
from retrace.params.plot import Plot

# Runs of points that a line is thinned to: more than a figure has columns of pixels.
RUNS = 1500


def steps(tables: Tables, section: Plot) -> Figure:
    """Training loss of every step, smoothed: of the replica that ships over its own raw loss, the others behind.

    Where the mean of all ships: the mean of their losses, and each of them behind.
    """
    per_epoch, shipped = tables.training.steps_per_epoch, tables.shipped
    figure = new_figure(8.0, 4.0, tables.schema.dataset, "training loss step by step")
    axes = figure.subplots()
    window = min(section.smoothing, tables.steps.num_rows)
    mean = f"running mean over {window:,} steps; " if window > 1 else ""
    axes.set_title(f"{mean}{per_epoch:,} {'step' if per_epoch == 1 else 'steps'} an epoch")
    highest = 0.0
    behind = [replica for replica in range(tables.count) if replica != shipped]
    of_others = "each replica" if shipped is None else "the other replicas"
    first = (
        reduce(np.add, _steps(tables, behind)) / tables.count if shipped is None else next(_steps(tables, [shipped]))
    )
    for index, loss in enumerate(chain([first], _steps(tables, behind))):
        loss = loss[np.isfinite(loss)]  # NaN after the replica stopped
        smooth = running_mean(loss, section.smoothing)
        middle = (len(loss) - len(smooth)) / 2  # a mean stands at the middle of its steps
        x = (np.arange(len(smooth)) + 1 + middle) / per_epoch
        highest = max(highest, smooth.max())
        if index == 0:
            title = tables.ships if shipped is None else f"{tables.ships}, which ships"
            axes.plot(*thin(x, smooth), color=BLUE, linewidth=2.2, zorder=4, label=title, **_visible(smooth))
            x = (np.arange(len(loss)) + 1) / per_epoch
            axes.plot(*thin(x, loss), color=BLUE, alpha=0.25, linewidth=0.6, label=f"{tables.ships}, each step")
            highest = max(highest, float(np.quantile(loss, 0.999)))  # a single outlier must not flatten the rest
        else:
            label = of_others if index == 1 else None
            axes.plot(*thin(x, smooth), color=GRAY, alpha=0.7, linewidth=0.8, zorder=3, label=label)
    axes.set_ylim(0, highest * 1.05)
    _epochs(axes, tables.steps.num_rows / per_epoch)
    axes.set_ylabel("training loss")
    legend(figure, *axes.get_legend_handles_labels())
    return figure


def loss(tables: Tables, section: Plot) -> Figure:
    """Training and validation loss by epoch: mean and range over the replicas, and the one that ships.

    Where their mean ships: the mean of the training losses, and the validation loss of the mean.
    """
    shipped = tables.shipped
    best = tables.training.of_shipped
    figure = new_figure(8.0, 4.0, tables.schema.dataset, "loss by epoch")
    axes = figure.subplots()
    others = f"; dotted and shaded: mean and range of {tables.count} replicas" if tables.count > 1 else ""
    axes.set_title(f"solid: {tables.ships}, which ships{others}")
    for name, title, tint in (("train_loss", "training", TRAINING), ("validation_loss", "validation", VALIDATION)):
        epoch, values = by_replica(tables.history, name, tables.count)
        if tables.count > 1:
            _band(axes, epoch, values, tint, linestyle=":")
        if shipped is not None:
            solid = values[shipped]
        elif name == "train_loss":
            solid = values.mean(0)
        else:
            solid = by_replica(tables.history, LOSS_OF_MEAN, tables.count)[1][0]
        axes.plot(epoch, solid, color=tint, label=title, **_visible(epoch))
    last, value = best.best_epoch, best.best_validation_loss
    label = f"best epoch, {last:,}: validation loss {value:.4g}"
    if shipped is None:  # of which each replica ships as it was at its own best epoch
        label, value = f"{label} as it ships", solid[last - 1]
    axes.scatter(last, value, s=180, marker="*", color=VALIDATION, edgecolors="white", zorder=4, label=label)
    axes.set_ylim(0, axes.dataLim.y1 * 1.05)
    _epochs(axes, axes.dataLim.x1)
    axes.set_ylabel("loss")
    legend(figure, *axes.get_legend_handles_labels())
    return figure


def gradients(tables: Tables, section: Plot) -> Figure:
    """Norm of the gradient by layer, and the share of dead or saturated units where the activation knows such."""
    columns = tables.history.column_names
    norms = [name for name in columns if name.startswith("gradient_norm_layer_")]
    health = [name for name in columns if re.fullmatch(r"(dead|saturated)_layer_\d+", name)]
    figure = new_figure(8.6, 4.0, tables.schema.dataset, "gradients by layer")
    panels = list(figure.subplots(1, 2 if health else 1, squeeze=False)[0])
    whose = f"mean and range of {tables.count} replicas" if tables.count > 1 else "one replica"
    panels[0].set_title(
        f"gradient norm, {whose}" if health else f"{whose}; dead or saturated units are not defined here"
    )
    tints = [colormaps["viridis"](value) for value in np.linspace(0.0, 0.82, len(norms))]
    for index, name in enumerate(norms):
        epoch, values = by_replica(tables.history, name, tables.count)
        values[values <= 0] = np.nan  # zero has no place on a logarithmic axis
        title = "output layer" if index == len(norms) - 1 else f"hidden layer {index + 1}"
        _band(panels[0], epoch, values, tints[index], label=title)
    # Weight decay moves weights whose every gradient is zero, and then nothing has a place on such an axis.
    if np.isfinite(panels[0].dataLim.minposy):
        logarithmic(panels[0])
    panels[0].set_ylabel("Euclidean norm of the gradient")
    if health:
        panels[1].set_title(f"{health[0].split('_')[0]} units")
        for index, name in enumerate(health):
            epoch, values = by_replica(tables.history, name, tables.count)
            _band(panels[1], epoch, values, tints[index])
        panels[1].yaxis.set_major_formatter(PercentFormatter(1))
        panels[1].set_ylim(-0.02, 1.02)
        panels[1].set_ylabel("share of the layer's units")
    for axes in panels:
        _epochs(axes, float(numbers(tables.history, "epoch").max()))
    legend(figure, *panels[0].get_legend_handles_labels())
    return figure


def _steps(tables: Tables, replicas: Sequence[int]) -> Iterator[Floats]:
    """The training loss of every step of each."""
    return (numbers(tables.steps, f"replica_{replica}") for replica in replicas)


def running_mean(values: Floats, window: int) -> Floats:
    """Mean of each `window` values in a row, [values - window + 1]; of all of them where there are fewer."""
    window = min(window, len(values))
    sums: Floats = np.concatenate([[0.0], values.cumsum()])
    return (sums[window:] - sums[:-window]) / window


def thin(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The same picture with fewer points: the lowest and the highest of each run of neighbours."""
    length = len(y) // RUNS
    if length <= 2:
        return x, y
    whole = len(y) // length * length
    runs = y[:whole].reshape(-1, length)
    ends = np.sort([runs.argmin(1), runs.argmax(1)], axis=0).T + np.arange(0, whole, length)[:, None]
    kept = np.concatenate([ends.ravel(), np.arange(whole, len(y))])
    return x[kept], y[kept]


def _band(axes: Axes, epoch: Floats, values: Floats, tint: Any, linestyle: str = "-", label: str | None = None) -> None:
    """Mean and range over the replicas that still train; values [replicas, epochs]."""
    known = np.isfinite(values).any(0)
    epoch, values = epoch[known], values[:, known]
    if len(values) > 1:
        axes.fill_between(epoch, np.nanmin(values, 0), np.nanmax(values, 0), color=tint, alpha=0.18, linewidth=0)
    mean = np.nanmean(values, 0)
    axes.plot(epoch, mean, color=tint, linestyle=linestyle, linewidth=1.4, label=label, **_visible(epoch))


def _visible(values: Floats) -> dict[str, Any]:
    """A line through one point cannot be seen: a dot there."""
    return {"marker": "o"} if len(values) == 1 else {}


def _epochs(axes: Axes, last: float) -> None:
    axes.set_xlabel("epoch")
    axes.set_xlim(0, last * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
