"""A run in words: its name, and the Markdown that stands on its page.

Names of classes, data sets and experiments come from people and tables: they are escaped, and cut where they are long.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from retrace.artifacts.dvc_lock import Changes
from retrace.artifacts.scores import Scores
from retrace.artifacts.training import TrainingReport
from retrace.evaluation.comparisons import in_words, leads, what_ships
from retrace.runtime.text import escape, one_line
from retrace.tracking.registry import Registered

# MLflow keeps 8,000 characters of a tag, the description among them.
LONGEST = 8000
# Lines of a list of changes, and of its shorter forms where the whole would be too long.
MOST_LINES = (30, 10, 3)
# So many changed parameters are listed in a sentence, more of them in a table.
SENTENCE = 3


@dataclass(frozen=True)
class Previous:
    """The run recorded before this one, and what changed since; None where that is not known."""

    run_id: str
    name: str
    experiment_id: str
    changes: Changes | None


@dataclass(frozen=True)
class RunPlace:
    """A run, and the experiment that it is in: what a link needs."""

    run_id: str
    experiment_id: str


def run_name(
    dataset: str, scores: Scores, params: Mapping[str, Any], changes: Changes | None, dvc_experiment: str
) -> str:
    """What is special about the run, then its accuracy: `learning_rate=0.01, accuracy 0.9803`."""
    parts = []
    if changes and changes.params:
        short = short_names([*params, *changes.params])
        parts = [f"{short[key]}={'none' if new is None else new}" for key, (_, new) in changes.params.items()]
    elif changes and changes.code:
        names = [path.rsplit("/", 1)[-1] for path in changes.code]
        parts = [f"{names[0]} changed" if len(names) == 1 else f"{len(names)} code files changed"]
    shown = ", ".join(one_line(part, 40) for part in parts[:3]) or one_line(dataset, 40)
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    prefix = f"{one_line(dvc_experiment, 60)}: " if dvc_experiment else ""
    return f"{prefix}{shown}{more}, accuracy {scores.accuracy.value:.4f}"


def live_name(params: Mapping[str, str], committed: Mapping[str, str]) -> str:
    """Of a training run that is under way: `training: learning_rate=0.01`, what differs from the committed state."""
    short = short_names([*committed, *params])
    changed = [key for key, value in params.items() if committed and committed.get(key) != value]
    shown = ", ".join(one_line(f"{short[key]}={params[key]}", 40) for key in changed[:3])
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return f"training: {shown}{more}" if changed else "training"


def short_names(keys: list[str]) -> dict[str, str]:
    """Dotted name -> its shortest ending that no other name as short shares: learning_rate, but split.seed."""
    short = {}
    for key in keys:
        parts = key.split(".")
        for start in range(len(parts) - 1, -1, -1):
            ending = ".".join(parts[start:])
            sharing = {other for other in keys if other == ending or other.endswith(f".{ending}")} - {key}
            if all(other.count(".") > key.count(".") for other in sharing):
                break
        short[key] = ending
    return short


def description(
    run: RunPlace,
    dataset: str,
    scores: Scores,
    training: TrainingReport,
    previous: Previous | None,
    registered: Registered,
    facts: list[str],
    pictures: list[str],
    page: str | None,
) -> str:
    """The run page. facts: lines about the environment, already Markdown; pictures: names of figures that it shows.

    page: its artifact that is the page of the result.

    MLflow folds all but the first lines away: what matters stands first.
    """
    accuracy = scores.accuracy
    share = f"{100 * scores.confidence:g} %"
    result = (
        f"**Test accuracy {accuracy.value:.4f}** ({share} interval {accuracy.low:.4f} to {accuracy.high:.4f}):"
        f" {scores.correct:,} of {scores.rows:,} test rows of {escape(dataset)} right."
    )
    if page:
        result += f" [The report](#/experiments/{run.experiment_id}/runs/{run.run_id}/artifacts/{page}) has all of it."
    better = " ".join(f"**{escape(lead.text)}.**" for lead in leads(scores.baseline))
    seen = " ".join(
        f"![{name.replace('_', ' ')}](get-artifact?path=figures%2F{name}.png&run_uuid={run.run_id})"
        for name in pictures
    )
    chosen = training.of_shipped
    ships = what_ships(training.shipped, len(training.replicas))
    best = (
        f"{ships[0].upper()}{ships[1:]} ships: best epoch {chosen.best_epoch} of {chosen.epochs},"
        f" validation loss {chosen.best_validation_loss:.4f}."
    )
    if accuracy.jackknife is not None:
        best += f" The luck of their seeds: a standard error of {accuracy.jackknife:.4f} in accuracy (jackknife)."
    version = (
        f"[Version {registered.version}](#/models/{quote(registered.name)}/versions/{registered.version}) of the"
        f" registered model. {escape(registered.reason)}"
    )
    comparison, details = _comparison(scores, share), "\n".join(f"- {line}" for line in [best, *facts])
    for most in MOST_LINES:
        changed = "\n".join(_changed(previous, most))
        parts = (result, better, changed, version, seen, "\n".join(comparison), details)
        text = "\n\n".join(part for part in parts if part)
        if len(text) <= LONGEST:
            break
    return text[:LONGEST]


def _comparison(scores: Scores, share: str) -> list[str]:
    lines = header("on the same test rows", "accuracy", "this network minus it", "log loss", "this network minus it")
    if scores.training.replicas > 1:
        cells = []
        for own in (scores.accuracy, scores.log_loss):
            spread = "" if own.deviation is None else f", standard deviation {own.deviation:.4f}"
            cells += [f"{own.mean:.4f}{spread}", f"{own.value - own.mean:.4f}"]
        lines.append(row(f"one of its {scores.training.replicas} replicas, on average", *cells))
    others = {"Bayes limit (no classifier does better on average)": scores.bayes}
    others |= {escape(in_words(name)): other for name, other in scores.baseline.items()}
    for name, other in others.items():
        if other:
            cells = []
            for _, value, difference, low, high, _ in other.compared():
                cells += [f"{value:.4f}", f"{difference:.4f} ({share} interval {low:.4f} to {high:.4f})"]
            lines.append(row(name, *cells))
    return lines


def _changed(previous: Previous | None, most: int) -> list[str]:
    if previous is None:
        return ["The first run of this experiment."]
    link = f"[{escape(previous.name)}](#/experiments/{previous.experiment_id}/runs/{previous.run_id})"
    if previous.changes is None:
        return [f"What changed since {link} is not known: its dvc.lock cannot be read."]
    if not previous.changes.params and not previous.changes.code:
        return [f"Same parameters and same code as {link}; the data or the machine differs."]
    changed, code = list(previous.changes.params.items()), previous.changes.code
    parts = []
    if len(changed) <= SENTENCE:
        parts += [f"{escape(key)} {_cell(old)} → **{_cell(new)}**" for key, (old, new) in changed]
    else:
        parts.append(f"{len(changed)} parameters, below")
    if code:
        more = f" and {len(code) - most} more" if len(code) > most else ""
        parts.append(f"code: {', '.join(escape(path) for path in code[:most])}{more}")
    lines = [f"Changed since {link}: {'; '.join(parts)}."]
    if len(changed) > SENTENCE:
        lines += ["", *header("parameter", "before", "now")]
        lines += [row(escape(key), _cell(old), _cell(new)) for key, (old, new) in changed[:most]]
        if len(changed) > most:
            lines.append(row(f"and {len(changed) - most} more", "", ""))
    return lines


def header(*titles: str) -> list[str]:
    return [row(*titles), "|:---" * len(titles) + "|"]


def row(*cells: str) -> str:
    """A line of a table, with the space between columns that MLflow's page does not give."""
    return "".join(f"| {cell}&emsp; " for cell in cells) + "|"


def _cell(value: str | None) -> str:
    return "not there" if value is None else escape(value)
