"""Figures of the test: how good, how sure, and where it errs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import StrMethodFormatter

from retrace.artifacts.scores import Metric
from retrace.evaluation.intervals import wilson
from retrace.figures.columns import Floats, indices, numbers
from retrace.figures.inputs import Tables
from retrace.figures.style import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    colour,
    labels,
    legend,
    new_figure,
)
from retrace.params.plot import Plot

MODELS = {"majority": "majority class"}
# Columns in the figure of their importance.
MOST_COLUMNS = 20


class Score(NamedTuple):
    """One classifier's accuracy on the test rows, and its interval."""

    name: str
    value: float
    low: float
    high: float


def accuracy(tables: Tables, section: Plot) -> Figure:
    """The network against simple models and the best that is possible, on the same test rows."""
    result = tables.scores
    own = result.accuracy
    scores = [Score("this network", own.value, own.low, own.high)]
    for name, item in sorted(result.baseline.items(), key=lambda pair: -pair[1].accuracy):
        interval = wilson(item.correct, result.rows, result.confidence)
        scores.append(Score(MODELS.get(name, name.replace("_", " ")), item.accuracy, *interval))
    replicas = numbers(tables.replicas, "accuracy")
    bayes = result.bayes.accuracy if result.bayes else None

    title = f"accuracy on {result.rows:,} test rows, {100 * result.confidence:g}% intervals"
    figure = new_figure(8.6, 3.3, tables.schema.dataset, title)
    views = _views(scores, [*replicas, *([] if bayes is None else [bayes])])
    panels = figure.subplots(1, len(views), sharey=True, squeeze=False)[0]
    for axes, view in zip(panels, views, strict=True):
        _dots(axes, scores, replicas, bayes)
        axes.set_xlim(view)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("accuracy")
    last = panels[-1]
    for row, score in enumerate(scores):
        last.annotate(
            f"{score.value:.3f}  ({score.low:.3f} to {score.high:.3f})",
            (1.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            fontweight="bold" if row == 0 else "normal",
            color=BLACK,
            annotation_clip=False,
        )
    panels[0].set_yticks(range(len(scores)), [score.name for score in scores])
    panels[0].get_yticklabels()[0].set_fontweight("bold")
    panels[0].set_ylim(len(scores) - 0.5, -0.6)
    if len(views) == 2:
        panels[0].axvspan(*views[1], color="#f2f2f2", zorder=0)
        panels[0].set_title("all")
        last.set_title("close view (the shaded part)")
        last.set_facecolor("#f7f7f7")
        last.tick_params(axis="y", length=0)
    handles = [_point(BLUE, 9), _point(ORANGE, 7)]
    names = [tables.ships if tables.shipped is None else "the replica that ships", "simple models"]
    if len(replicas) > 1:
        handles.insert(1, Line2D([], [], linestyle="none", marker="o", markersize=4, color=BLUE, alpha=0.45))
        names.insert(1, f"each of {len(replicas)} replicas")
    if bayes is not None:
        handles.append(Line2D([], [], color=GREEN, linestyle="--"))
        names.append(f"Bayes limit {bayes:.3f}")
    legend(figure, handles, names)
    return figure


def confusion_matrix(tables: Tables, section: Plot) -> Figure:
    """Rows of each actual class by predicted class: counts, and shares of the actual class."""
    classes = len(tables.schema.classes)
    names = labels(tables.schema.classes)
    pairs = indices(tables.predictions, "actual") * classes + indices(tables.predictions, "predicted")
    counts = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    longest = max(map(len, names))
    cells = min(max(0.55 * classes, 3.4), 8.0)
    turned = 0.09 * longest * classes > cells
    width, height = max(cells + 0.9 + 0.08 * longest, 4.8), cells + 1.2 + (0.08 * longest if turned else 0)
    figure = new_figure(width, height, tables.schema.dataset, "confusion matrix")
    axes = figure.subplots()
    axes.grid(False)
    axes.spines[:].set_visible(False)
    # Right in blue, wrong in orange; the square root lets one error in a hundred be seen.
    tint = np.where(np.eye(classes, dtype=bool)[..., None], to_rgb(BLUE), to_rgb(ORANGE))
    axes.imshow(1 - (1 - tint) * 0.95 * np.sqrt(shares)[..., None])
    decimals, shown = (1, True) if classes <= 6 else (0, classes <= 12)
    size = 11 if classes <= 6 else 8 if classes <= 12 else max(5.0, 200 / classes - 2)
    for actual, predicted in np.ndindex(counts.shape):
        count, share = counts[actual, predicted], shares[actual, predicted]
        if count or classes <= 6:
            text = f"{count:,}\n{share:.{decimals}%}" if shown else f"{count:,}"
            tone = "white" if share > 0.4 else BLACK
            axes.text(predicted, actual, text, ha="center", va="center", fontsize=size, color=tone)
    axes.set_xticks(range(classes), names, rotation=90 if turned else 0)
    axes.set_yticks(range(classes), names)
    axes.tick_params(labelsize=float(np.clip(13 - classes / 4, 5, 9)))
    axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("actual class")
    what = "and shares" if shown else "(colour: shares)"
    axes.set_title(f"{tables.scores.rows:,} test rows: counts {what}\nof each actual class")
    return figure


def roc_precision_recall(tables: Tables, section: Plot) -> Figure:
    """ROC and precision-recall curves: of the second of two classes, else of each class against the rest."""
    names, result = tables.schema.classes, tables.scores
    classes = len(names)
    title = "one-vs-rest ROC and precision-recall" if classes > 2 else "ROC and precision-recall"
    figure = new_figure(8.6, 4.4, tables.schema.dataset, title)
    left, right = figure.subplots(1, 2)
    mean = "" if classes == 2 else "mean "
    left.set_title(f"{mean}area under the curve\n{_with_interval(result.roc_auc)}")
    right.set_title(f"{mean}average precision\n{_with_interval(result.average_precision)}")
    left.plot([0, 1], [0, 1], color=GRAY, linestyle=":", linewidth=1)
    for axes, table, x, y in (
        (left, tables.roc, "false_positive_rate", "true_positive_rate"),
        (right, tables.precision_recall, "recall", "precision"),
    ):
        _curves(axes, table, x, y, names)
        axes.set_xlabel(x.replace("_", " "))
        axes.set_ylabel(y.replace("_", " "))
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
    if classes == 2:
        positive = result.classes[names[1]].rows / result.rows
        right.axhline(positive, color=GRAY, linestyle=":", linewidth=1)
        first, second = labels(names)
        handles = [Line2D([], [], color=BLUE), Line2D([], [], color=GRAY, linestyle=":")]
        legend(figure, handles, [f"{second} against {first}", "a guess"])
    else:
        handles = [Line2D([], [], color=colour(index, classes)) for index in range(classes)]
        legend(figure, handles, labels(names))
    return figure


def calibration(tables: Tables, section: Plot) -> Figure:
    """Is a probability of 0.8 right in 8 of 10 cases? Bins of the likeliest class's probability."""
    result, bins = tables.scores, tables.calibration
    low, high, rows, confidence, share = (
        numbers(bins, name) for name in ("low", "high", "rows", "confidence", "accuracy")
    )
    figure = new_figure(7.0, 5.6, tables.schema.dataset, f"calibration of {tables.ships}")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    error = _with_interval(result.calibration_error)
    top.set_title(f"{result.rows:,} test rows: expected calibration error {error}")
    top.plot([0, 1], [0, 1], color=GRAY, linestyle=":", label="perfect calibration")
    ends = np.array(
        [wilson(round(s * n), int(n), result.confidence) for s, n in zip(share, rows, strict=True)]
    ).reshape(-1, 2)
    top.vlines(confidence, ends[:, 0], ends[:, 1], color=BLUE, linewidth=1.4, alpha=0.6)
    top.plot(confidence, share, color=BLUE, marker="o", markersize=6, label="test rows, a dot a bin, with interval")
    top.set_ylim(min(ends.min(initial=1.0), low.min(initial=1.0)) - 0.03, 1.02)
    top.set_ylabel("share of them that is right")
    bars = bottom.bar((low + high) / 2, rows, width=(high - low) * 0.92, color=BLUE, alpha=0.55)
    if len(rows) <= 12:
        bottom.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8)
    bottom.margins(y=0.2)
    bottom.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    bottom.set_ylabel("rows")
    bottom.set_xlabel("probability of the likeliest class")
    bottom.set_xlim(low.min(initial=1.0) - 0.02, 1.02)
    legend(figure, *top.get_legend_handles_labels())
    return figure


def importance(tables: Tables, section: Plot) -> Figure:
    """What the network loses when a column is shuffled: the columns that it needs most."""
    every = tables.importance.column("column").to_pylist()
    names = labels(every[:MOST_COLUMNS], 32)
    drop, low, high = (
        numbers(tables.importance, f"accuracy_drop{end}")[:MOST_COLUMNS] for end in ("", "_low", "_high")
    )
    rows, confidence = numbers(tables.importance, "rows")[0], 100 * tables.scores.confidence
    which = f"{len(names)} of {len(every):,} columns" if len(every) > len(names) else "the columns"
    title = f"importance of {which}, {confidence:g}% intervals"
    figure = new_figure(8.6, 1.5 + 0.27 * len(names), tables.schema.dataset, title)
    axes = figure.subplots()
    axes.set_title(f"accuracy on {rows:,.0f} test rows, lost when a column is shuffled")
    axes.axvline(0, color=GRAY, linewidth=1.2, zorder=1)
    places = np.arange(len(names))
    axes.hlines(places, low, high, color=BLUE, linewidth=2, zorder=2)
    axes.plot(drop, places, linestyle="none", marker="o", markersize=7, color=BLUE, markeredgecolor="white", zorder=3)
    for place, values in enumerate(zip(drop, low, high, strict=True)):
        text = "{:.3f}  ({:.3f} to {:.3f})".format(*(round(value, 3) + 0.0 for value in values))
        axes.annotate(
            text, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=9, annotation_clip=False
        )
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("accuracy lost")
    return figure


def _views(scores: Sequence[Score], more: Sequence[float]) -> list[tuple[float, float]]:
    """The range of all scores, and where that is wide, the range of the network and of what comes close to it."""
    everything = [*more, *(end for score in scores for end in score[1:])]
    near = [*scores[0][1:], *more]
    reach = 3 * (max(near) - min(near))
    close = [end for score in scores if abs(score.value - scores[0].value) < reach for end in score[1:]]
    views = [(min(everything), max(everything)), (min(near + close), max(near + close))]
    whole, part = ((low - 0.06 * (high - low), high + 0.06 * (high - low)) for low, high in views)
    return [whole] if part[1] - part[0] > 0.5 * (whole[1] - whole[0]) else [whole, part]


def _dots(axes: Axes, scores: Sequence[Score], replicas: Floats, bayes: float | None) -> None:
    if bayes is not None:
        axes.axvline(bayes, color=GREEN, linestyle="--", linewidth=1.6, zorder=1)
    for row, score in enumerate(scores):
        tint = ORANGE if row else BLUE
        axes.hlines(row, score.low, score.high, color=tint, linewidth=3.2 if row == 0 else 2, zorder=2)
        size = 7 if row else 9
        axes.plot(score.value, row, marker="o", markersize=size, color=tint, markeredgecolor="white", zorder=4)
    if len(replicas) > 1:
        axes.scatter(replicas, np.full(len(replicas), 0.28), s=16, color=BLUE, alpha=0.45, linewidths=0, zorder=3)


def _curves(axes: Axes, table: pa.Table, x: str, y: str, names: Sequence[str]) -> None:
    column = table.column("class").combine_chunks().dictionary_encode()
    which = np.from_dlpack(column.indices)
    across, up = numbers(table, x), numbers(table, y)
    width, alpha = (1.5, 0.9) if len(names) <= 10 else (0.9, 0.6)
    for index, name in enumerate(column.dictionary.tolist()):
        chosen = which == index
        tint = BLUE if len(names) == 2 else colour(names.index(name), len(names))
        axes.plot(across[chosen], up[chosen], color=tint, linewidth=width, alpha=alpha)


def _point(tint: str, size: float) -> Line2D:
    return Line2D([], [], color=tint, marker="o", markersize=size, markeredgecolor="white", linewidth=2)


def _with_interval(metric: Metric) -> str:
    """`0.981 (0.975 to 0.985)`."""
    return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"
