"""The charts of a result, drawn from its tables; each with what it says in words, and with its values as a table."""

from typing import NamedTuple

import numpy as np

from retrace.artifacts.live import LOSS_OF_MEAN
from retrace.evaluation.comparisons import in_words
from retrace.evaluation.intervals import wilson
from retrace.figures.columns import Floats, numbers
from retrace.figures.inputs import by_replica
from retrace.report.html import Html, joined, table
from retrace.report.inputs import Result, spread
from retrace.report.svg import (
    Axis,
    across,
    box,
    chart,
    dot,
    drawing,
    key,
    line,
    mark,
    path,
    short,
    upwards,
    words,
)
from retrace.report.words import confidence, name, number, percent, plain, signed

# Of a wide chart, and what its right side needs for a value with its interval.
WIDTH, MARGIN = 760.0, 215.0
# Epochs that are drawn, columns in the chart of importance, characters of a name at the left of a chart.
MOST_EPOCHS, MOST_BARS, LONGEST = 160, 20, 20
# A best epoch beyond this share of all is among the last ones.
LATE = 0.95


class Score(NamedTuple):
    """One classifier's accuracy on the test rows, and its interval."""

    title: str
    value: float
    low: float
    high: float


def scores_of(result: Result) -> list[Score]:
    """The network, then what it is compared with, the best first."""
    scores = result.scores
    own = scores.accuracy
    others = [
        Score(in_words(title), other.accuracy, *wilson(other.correct, scores.rows, scores.confidence))
        for title, other in sorted(scores.baseline.items(), key=lambda item: -item[1].accuracy)
    ]
    return [Score("this network", own.value, own.low, own.high), *others]


def accuracy(result: Result) -> Html:
    """The network with its interval and its replicas, simple models, and the limit; what is far off is an arrow."""
    scores, shown = result.scores, scores_of(result)
    replicas = numbers(result.replicas, "accuracy")
    limit = result.scores.bayes.accuracy if result.scores.bayes else None
    near = [shown[0].low, shown[0].high, *replicas.tolist(), *([] if limit is None else [limit])]
    reach = max(0.02, 4 * (max(near) - min(near)))
    for each in shown[1:]:
        if each.high > min(near) - reach:
            near += [each.low, each.high]
    room = max(0.04 * (max(near) - min(near)), 0.001)
    axis = Axis(max(min(near) - room, 0), min(max(near) + room, 1), 165, WIDTH - MARGIN)
    bottom = 44.0 + 34 * len(shown)
    parts = [across(axis, 26, bottom, f"accuracy on {scores.rows:,} test rows")]
    if limit is not None:
        inside = [line(axis.at(limit), 22, axis.at(limit), bottom, "limit")]
        inside.append(box(axis.at(limit) - 5, 18, 10, bottom - 18, "hit"))
        parts.append(mark(f"Bayes limit: {number(limit)}; no classifier does better on average", *inside))
    for place, each in enumerate(shown):
        y = 50.0 + 34 * place
        said = f"{number(each.value)} ({number(each.low)} to {number(each.high)})"
        shapes = [box(0, y - 15, WIDTH, 30, "hit")]
        if each.high < axis.low:
            shapes.append(path([(axis.start + 12, y - 5), (axis.start + 3, y), (axis.start + 12, y + 5)], "l s1"))
        else:
            colour = "0" if place == 0 else "1"
            shapes.append(line(axis.at(each.low), y, axis.at(each.high), y, f"bar s{colour}"))
            shapes.append(dot(axis.at(each.value), y, 6, f"dot f{colour}"))
        shapes.append(words(axis.start - 12, y + 4, plain(each.title, LONGEST), "b e" if place == 0 else "e"))
        shapes.append(words(axis.end + 12, y + 4, said, "b" if place == 0 else ""))
        parts.append(mark(f"{each.title}: {said}", *shapes))
        if place == 0 and 1 < len(replicas) <= 100:
            parts += [
                mark(f"replica {index}: {number(value)}", dot(axis.at(value), y + 11, 3.2, "dot f0 faint"))
                for index, value in enumerate(replicas.tolist())
            ]
    entries = [(dot(8, 0, 5, "f0"), "this network"), (dot(8, 0, 5, "f1"), "simple models")]
    if len(replicas) > 1:
        entries.insert(1, (dot(8, 0, 3.2, "f0 faint"), "its replicas"))
    if limit is not None:
        entries.append((line(0, 0, 16, 0, "limit"), f"Bayes limit {number(limit)}"))
    parts.append(key(axis.start, 8, entries)[0])
    said = "; ".join(f"{each.title} {number(each.value)} ({number(each.low)} to {number(each.high)})" for each in shown)
    alt = f"Accuracy with intervals: {said}." + ("" if limit is None else f" Bayes limit {number(limit)}.")
    caption = f"Points with {confidence(scores)} intervals."
    if any(each.high < axis.low for each in shown):
        caption += " An arrow: to the left of what is drawn."
    rows = [[each.title, number(each.value), number(each.low), number(each.high)] for each in shown]
    rows += [["Bayes limit", number(limit), "-", "-"]] if limit is not None else []
    rows += [[f"replica {index}", number(value), "-", "-"] for index, value in enumerate(replicas[:100].tolist())]
    header = ["classifier", "accuracy", "from", "to"]
    return chart(drawing(WIDTH, bottom + 44, parts, alt), caption, table(header, rows, label="accuracy", kind="sort"))


def loss(result: Result) -> Html:
    """Loss by epoch: solid what ships, a band over the replicas, and the epoch whose weights ship."""
    training, count = result.training, len(result.training.replicas)
    best, shipped = training.of_shipped, training.shipped
    epochs, train = by_replica(result.history, "train_loss", count)
    validation = by_replica(result.history, "validation_loss", count)[1]
    of_train = spread(train)[1] if shipped is None else train[shipped]
    of_validation = validation[shipped or 0]
    if shipped is None:
        of_validation = by_replica(result.history, LOSS_OF_MEAN, count)[1][0]
    places = _thinned(len(epochs), best.best_epoch - 1)
    bands = [spread(train), spread(validation)]
    top = max(float(np.nanmax(band[2][places])) for band in bands)
    x, y = Axis(0, float(epochs[-1]), 56, WIDTH - 12), Axis(0, top * 1.04, 270, 36)
    parts = [upwards(y, x.start, x.end, "loss"), across(x, y.start, y.start, "epoch")]
    for tint, (low, _, high) in (("1", bands[0]), ("0", bands[1])):
        inside = [place for place in places if np.isfinite(low[place])]
        if count > 1:
            outline = [(x.at(epochs[i]), y.at(high[i])) for i in inside]
            outline += [(x.at(epochs[i]), y.at(low[i])) for i in reversed(inside)]
            parts.append(path(outline, f"a{tint}", closed=True))
    for tint, values in (("1", of_train), ("0", of_validation)):
        known = [place for place in places if np.isfinite(values[place])]
        parts.append(path([(x.at(epochs[i]), y.at(values[i])) for i in known], f"l s{tint}"))
        if len(known) == 1:
            parts.append(dot(x.at(epochs[known[0]]), y.at(values[known[0]]), 4, f"f{tint}"))
    last = best.best_epoch - 1
    parts.append(line(x.at(epochs[last]), y.end, x.at(epochs[last]), y.start, "limit"))
    rows = []
    for index, place in enumerate(places):
        left = x.at((epochs[places[index - 1]] + epochs[place]) / 2) if index else x.start
        right = x.at((epochs[place] + epochs[places[index + 1]]) / 2) if index + 1 < len(places) else x.end
        said = f"epoch {int(epochs[place]):,}: training {_known(of_train[place])}"
        said += f", validation {_known(of_validation[place])}"
        if count > 1:
            said += f"; replicas' validation {_known(bands[1][0][place])} to {_known(bands[1][2][place])}"
        parts.append(mark(said, box(left, y.end, max(right - left, 1), y.start - y.end, "hit")))
        if index % max(1, len(places) // 25) == 0 or place == last:
            losses = [_known(of_train[place]), _known(of_validation[place])]
            rows.append([f"{int(epochs[place]):,}", *losses])
    entries = [(line(0, 0, 16, 0, "bar s1"), "training"), (line(0, 0, 16, 0, "bar s0"), "validation")]
    if count > 1:
        entries.append((box(0, -5, 16, 10, "a0"), f"range over {count:,} replicas"))
    entries.append((line(0, 0, 16, 0, "limit"), f"best epoch, {best.best_epoch:,}"))
    parts.append(key(x.start + 60, 14, entries)[0])
    alt = (
        f"Loss by epoch. Training ends at {_known(_last(of_train))}, validation at {_known(_last(of_validation))}; the"
        f" lowest validation loss is {number(best.best_validation_loss)}, in epoch {best.best_epoch}."
    )
    caption = f"Lower is better. Solid: {result.ships}, which ships."
    if best.best_epoch > LATE * best.epochs:
        caption += " The best epoch is among the last ones: with more epochs it might become better."
    values = table(["epoch", "training", "validation"], rows, label="loss by epoch", kind="sort")
    return chart(drawing(WIDTH, 312, parts, alt), caption, values)


def calibration(result: Result) -> Html:
    """How often the network is right, by how sure it says that it is."""
    columns = [numbers(result.calibration, each) for each in ("low", "high", "confidence", "accuracy", "rows")]
    x, y = Axis(0, 1, 56, 440), Axis(0, 1, 410, 36)
    start = float(columns[0].min()) if len(columns[0]) else 0.0
    if start >= 0.5:  # of two classes the likelier one has half at least
        x, y = x._replace(low=0.5), y._replace(low=min(0.5, 0.1 * np.floor(10 * columns[3].min())))
    parts = [upwards(y, x.start, x.end, "right, share of rows"), across(x, y.end, y.start, "how sure it says it is")]
    parts.append(path([(x.at(share), y.at(share)) for share in (max(x.low, y.low), 1.0)], "l limit"))
    rows, largest = [], float(columns[4].max()) if len(columns[4]) else 1.0
    for low, high, sure, right, count in zip(*(column.tolist() for column in columns), strict=True):
        said = f"says {percent(sure)}, is right in {percent(right)} of {count:,.0f} rows"
        radius = 4 + 8 * (count / largest) ** 0.5
        parts.append(
            mark(said, dot(x.at(sure), y.at(right), radius, "dot f0"), dot(x.at(sure), y.at(right), 14, "hit"))
        )
        rows.append([f"{short(low)} to {short(high)}", percent(sure), percent(right), f"{count:,.0f}"])
    said = "; ".join(f"{sure} sure, {right} right" for _, sure, right, _ in rows)
    alt = f"Calibration, dots against a diagonal: {said}."
    caption = "Above the dashed line it is better than it says, below it is too sure. Larger dots: more rows."
    values = table(["probability", "on average", "right", "test rows"], rows, label="calibration", kind="sort")
    return chart(drawing(460, 452, parts, alt), caption, values, kind="square")


def importance(result: Result) -> Html:
    """What accuracy the network loses when a column is shuffled, the column that it needs most first."""
    columns = ("accuracy_drop", "accuracy_drop_low", "accuracy_drop_high")
    named = result.importance.column("column").to_pylist()
    drops = np.column_stack([numbers(result.importance, each) for each in columns])[:MOST_BARS]
    low, high = min(0.0, float(drops.min())), max(float(drops.max()), 0.001)
    axis, bottom = Axis(low, high * 1.03, 175, WIDTH - MARGIN), 20.0 + 26 * len(drops)
    parts = [across(axis, 8, bottom, "accuracy lost when the column is shuffled")]
    parts.append(line(axis.at(0), 8, axis.at(0), bottom, "axis"))
    for place, (column, (value, least, most)) in enumerate(zip(named, drops.tolist(), strict=False)):
        y, said = 22.0 + 26 * place, f"{signed(value)} ({signed(least)} to {signed(most)})"
        title = plain(column, LONGEST)
        shapes = [box(0, y - 12, WIDTH, 24, "hit"), line(axis.at(least), y, axis.at(most), y, "bar s0")]
        shapes += [dot(axis.at(value), y, 5, "dot f0"), words(axis.start - 12, y + 4, title, "e")]
        parts.append(mark(f"{title}: {said}", *shapes, words(axis.end + 12, y + 4, said)))
    first = "; ".join(
        f"{plain(column, 40)} {signed(drop)}" for column, drop in zip(named[:5], drops[:5, 0], strict=True)
    )
    more = f" The first {len(drops)} of {len(named):,} columns." if len(named) > len(drops) else ""
    intervals = f"{confidence(result.scores)} intervals over test rows"
    caption = f"Points with {intervals}; above 0 the network needs the column.{more}"
    rows = [[name(column), *map(signed, each)] for column, each in zip(named, drops.tolist(), strict=False)]
    values = table(["column", "accuracy lost", "from", "to"], rows, label="importance of columns", kind="sort")
    return chart(drawing(WIDTH, bottom + 44, parts, f"Importance of columns: {first}."), caption, values)


def bars(shares: list[float]) -> Html:
    """A small histogram beside words that say the same."""
    if not shares:
        return Html("")
    width = 110 / len(shares)
    drawn = (
        box(index * width, 24 - 23 * share, max(width - 1, 1), 23 * share, "") for index, share in enumerate(shares)
    )
    return Html(f'<svg class="mini" viewBox="0 0 110 24" aria-hidden="true">{joined(drawn, "")}</svg>')


def _thinned(count: int, keep: int) -> list[int]:
    """At most MOST_EPOCHS places of so many, the ends and `keep` among them."""
    places = {round(place) for place in np.linspace(0, count - 1, min(count, MOST_EPOCHS))}
    return sorted({*places, keep})


def _known(value: float) -> str:
    return number(float(value))


def _last(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else float("nan")
