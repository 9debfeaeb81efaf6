"""The last lines of `make run`: the result for a person, from reports/scores.json."""

import click

from retrace.artifacts.result_page import RESULT_PAGE
from retrace.artifacts.scores import Metric, Scores, ShippedTraining, read_scores
from retrace.evaluation.comparisons import in_words, leads, what_ships


def summary(scores: Scores) -> list[str]:
    accuracy, balance, loss = scores.accuracy, scores.macro_f1, scores.log_loss
    lines = [
        "",
        f"Test accuracy        {accuracy.value:.4f}   {scores.confidence:.0%} interval {accuracy.low:.4f} to"
        f" {accuracy.high:.4f} on {scores.rows:,} rows; {_luck(accuracy, scores.training)}",
        f"Macro-F1             {balance.value:.4f}   {balance.low:.4f} to {balance.high:.4f}; mean of classes",
        f"Log loss             {loss.value:.4f}   {loss.low:.4f} to {loss.high:.4f}",
    ]
    if scores.threshold_choice:
        lines.append(f"Threshold            {scores.threshold_choice.words}")
    if scores.bayes:
        lines.append(f"Bayes limit          {scores.bayes.accuracy:.4f}   no classifier can do better on average")
    for name, other in sorted(scores.baseline.items(), key=lambda item: -item[1].accuracy):
        of_accuracy, of_loss = (
            f"{difference:+.4f} ({low:+.4f} to {high:+.4f})" for _, _, difference, low, high, _ in other.compared()
        )
        lines.append(
            f"{in_words(name).capitalize():<21}{other.accuracy:.4f}   the network is {of_accuracy}; log loss"
            f" {other.log_loss:.4f}: {of_loss}"
        )
    better = [f"Better baseline      {lead.text}" for lead in leads(scores.baseline)]
    return [
        *lines,
        *([""] if better else []),
        *better,
        "",
        f"On one page          {RESULT_PAGE}",
        "Figures              reports/figures/",
        "Runs                 make ui",
        "Good enough?         make gate",
    ]


def _luck(accuracy: Metric, training: ShippedTraining) -> str:
    """What is the model, and how much of its accuracy the seeds decide."""
    words = what_ships(training.shipped, training.replicas)
    if accuracy.jackknife is not None:
        words += f", +- {accuracy.jackknife:.4f} by the luck of their seeds"
    if accuracy.deviation is not None:
        words += f"; {training.replicas} replicas one by one {accuracy.mean:.4f} +- {accuracy.deviation:.4f}"
    return words


@click.command(epilog="Example: retrace summary")
def command() -> None:
    """The result in a few lines, from reports/scores.json."""
    print("\n".join(summary(read_scores())))
