"""The last lines of `make run`: the result for a person, from reports/metrics.json."""

from typing import Any

import click

from retrace.artifacts.paths import METRICS
from retrace.artifacts.tables import read_json
from retrace.evaluation.comparisons import in_words, leads, what_ships


def summary(metrics: dict[str, Any]) -> list[str]:
    accuracy, balance, loss = metrics["accuracy"], metrics["macro_f1"], metrics["log_loss"]
    lines = [
        "",
        f"Test accuracy        {accuracy['value']:.4f}   {metrics['confidence']:.0%} interval {accuracy['low']:.4f} to"
        f" {accuracy['high']:.4f} on {metrics['rows']:,} rows; {_luck(accuracy, metrics['training'])}",
        f"Macro-F1             {balance['value']:.4f}   {balance['low']:.4f} to {balance['high']:.4f}; mean of classes",
        f"Log loss             {loss['value']:.4f}   {loss['low']:.4f} to {loss['high']:.4f}",
    ]
    if metrics["bayes"] is not None:
        lines.append(
            f"Bayes limit          {metrics['bayes']['accuracy']:.4f}   no classifier can do better on average"
        )
    for name, baseline in sorted(metrics["baseline"].items(), key=lambda item: -item[1]["accuracy"]):
        lines.append(
            f"{in_words(name).capitalize():<21}{baseline['accuracy']:.4f}   the network is"
            f" {_with_interval(baseline, 'difference')}; log loss {baseline['log_loss']:.4f}:"
            f" {_with_interval(baseline, 'log_loss_difference')}"
        )
    better = [f"Better baseline      {lead.text}" for lead in leads(metrics["baseline"])]
    return [
        *lines,
        *([""] if better else []),
        *better,
        "",
        "Figures              reports/figures/",
        "Runs                 make ui",
        "Good enough?         make gate",
    ]


def _luck(accuracy: dict[str, Any], training: dict[str, Any]) -> str:
    """What is the model, and how much of its accuracy the seeds decide."""
    words = what_ships(training["shipped"], training["replicas"])
    if accuracy["jackknife"] is not None:
        words += f", +- {accuracy['jackknife']:.4f} by the luck of their seeds"
    if accuracy["deviation"] is not None:
        words += f"; {training['replicas']} replicas one by one {accuracy['mean']:.4f} +- {accuracy['deviation']:.4f}"
    return words


def _with_interval(baseline: dict[str, Any], key: str) -> str:
    return f"{baseline[key]:+.4f} ({baseline[f'{key}_low']:+.4f} to {baseline[f'{key}_high']:+.4f})"


@click.command(epilog="Example: retrace summary")
def command() -> None:
    """The result in a few lines, from reports/metrics.json."""
    print("\n".join(summary(read_json(METRICS))))
