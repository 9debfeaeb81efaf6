"""The last lines of `make run`: the result for a person, from reports/metrics.json."""

from pathlib import Path
from typing import Any

from stages.files.tables import read_json
from stages.process.damage import check
from stages.process.run import run

METRICS = Path("reports/metrics.json")


def summary(metrics: dict[str, Any]) -> list[str]:
    accuracy, training = metrics["accuracy"], metrics["training"]
    spread = ""
    if accuracy["deviation"] is not None:
        spread = f"; {training['replicas']} replicas {accuracy['mean']:.4f} +- {accuracy['deviation']:.4f}"
    lines = [
        "",
        f"Test accuracy        {accuracy['value']:.4f}   {metrics['confidence']:.0%} interval {accuracy['low']:.4f} to"
        f" {accuracy['high']:.4f} on {metrics['rows']:,} rows{spread}",
    ]
    balance = metrics["macro_f1"]
    lines.append(
        f"Macro-F1             {balance['value']:.4f}   {balance['low']:.4f} to {balance['high']:.4f}; mean of classes"
    )
    if metrics["bayes"] is not None:
        lines.append(
            f"Bayes limit          {metrics['bayes']['accuracy']:.4f}   no classifier can do better on average"
        )
    for name, baseline in sorted(metrics["baseline"].items(), key=lambda item: -item[1]["accuracy"]):
        lines.append(
            f"{name.replace('_', ' ').capitalize():<21}{baseline['accuracy']:.4f}   the network is"
            f" {baseline['difference']:+.4f} ({baseline['difference_low']:+.4f} to {baseline['difference_high']:+.4f})"
        )
    return [
        *lines,
        "",
        "Figures              reports/figures/",
        "Runs                 make ui",
        "Good enough?         make gate",
    ]


def main() -> None:
    metrics = read_json(METRICS)
    check(METRICS)
    print("\n".join(summary(metrics)))


if __name__ == "__main__":
    run(main)
