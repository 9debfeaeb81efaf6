"""`make readme`: the README's tables, written from the files they speak of, so that they cannot drift. A test compares.

results  from reports/metrics.json
rerun    from dvc.yaml: which stages a change in a section of params.yaml reruns
bench    the first table of benchmarks/results.md, which `make bench` writes
quality  the first table of benchmarks/quality.md, which `make bench-quality` writes
"""

import json
import re
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from retrace.evaluation.comparisons import in_words, what_ships
from retrace.runtime.atomic import write_text

README = Path("README.md")
METRICS = Path("reports/metrics.json")
GRAPH = Path("dvc.yaml")
BENCH = Path("benchmarks/results.md")
QUALITY = Path("benchmarks/quality.md")


def results(metrics: dict[str, Any]) -> str:
    accuracy = metrics["accuracy"]
    training = metrics["training"]
    ships = "the replica that ships" if training["shipped"] is not None else what_ships(None, training["replicas"])
    rows = [
        (
            f"**the network** ({ships})",
            f"**{accuracy['value']:.4f}**",
            f"{accuracy['low']:.4f} to {accuracy['high']:.4f}",
            "",
        )
    ]
    if accuracy["deviation"] is not None:
        luck = f"{accuracy['mean']:.4f} ± {accuracy['deviation']:.4f}"
        rows.append((f"its {training['replicas']} replicas, mean and standard deviation", luck, "", ""))
    if accuracy.get("jackknife") is not None:
        rows.append(("the luck of its seeds (jackknife)", f"± {accuracy['jackknife']:.4f}", "", ""))
    others = {in_words(name): other for name, other in metrics["baseline"].items()}
    others["majority class"] = others.pop("majority")
    if metrics["bayes"] is not None:
        others = {"Bayes classifier (the limit)": metrics["bayes"], **others}
    for name, other in sorted(others.items(), key=lambda item: -item[1]["accuracy"]):
        low, high = other["difference_low"], other["difference_high"]
        rows.append((name, f"{other['accuracy']:.4f}", "", f"{other['difference']:+.4f} ({low:+.4f} to {high:+.4f})"))
    balance = metrics["macro_f1"]
    rows.append(("its macro-F1", f"{balance['value']:.4f}", f"{balance['low']:.4f} to {balance['high']:.4f}", ""))
    confidence = f"{metrics['confidence']:.0%}"
    return _table(
        [
            f"accuracy on {metrics['rows']:,} test rows",
            "",
            f"{confidence} interval",
            f"network minus it ({confidence})",
        ],
        [list(row) for row in rows],
    )


def reruns(graph: dict[str, Any]) -> dict[str, list[str]]:
    """section -> stages that rerun when a key of it changes, in the order of dvc.yaml.

    Every change of params.yaml reruns `validate`, which writes the same receipt again, so that nothing else follows
    from that.
    """
    stages = graph["stages"]
    made_by = {
        path: name
        for name, stage in stages.items()
        for kind in ("outs", "metrics", "plots")
        for path in map(_path, stage.get(kind, ()))
    }
    followers: dict[str, set[str]] = {name: set() for name in stages}
    for name, stage in stages.items():
        for maker in {made_by[path] for path in map(_path, stage["deps"]) if path in made_by} - {"validate"}:
            followers[maker].add(name)

    def after(name: str) -> set[str]:
        return {name}.union(*(after(follower) for follower in followers[name]))

    reached = {name: after(name) | {"validate"} for name in stages if stages[name].get("params")}
    reached["gate"] = {"validate"}
    return {section: [name for name in stages if name in rerun] for section, rerun in reached.items()}


def rerun(graph: dict[str, Any]) -> str:
    names = list(graph["stages"])
    return _table(
        ["change in section", *names],
        [[f"`{section}`", *("●" if name in run else "" for name in names)] for section, run in reruns(graph).items()],
        align=":---:",
    )


def first_table(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    match = re.search(r"(?m)(^\|.*\n)+", text)
    return match[0].strip() if match else ""


def filled(text: str) -> str:
    """The README with each marked part written anew."""
    parts = {
        "results": results(json.loads(METRICS.read_text())),
        "rerun": rerun(YAML(typ="safe").load(GRAPH.read_text())),
        "bench": first_table(BENCH),
        "quality": first_table(QUALITY),
    }
    for name, part in parts.items():
        pattern = rf"(<!-- {name}: make readme -->\n).*?(<!-- /{name} -->)"
        match = re.search(pattern, text, flags=re.DOTALL)
        assert match, f"{README} must have a part marked {name}"
        text = f"{text[: match.start()]}{match[1]}{part}\n{match[2]}{text[match.end() :]}"
    return text


def _path(entry: Any) -> str:
    return entry if isinstance(entry, str) else str(next(iter(entry)))


def _table(header: list[str], rows: list[list[str]], align: str = "---") -> str:
    rule = ["---", *[align] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


@click.command(epilog="Example: retrace readme")
def command() -> None:
    """Write the README's tables anew from the files they speak of."""
    write_text(README, filled(README.read_text()))
    print(f"readme: the tables of {README} are those of {METRICS}, {GRAPH}, {BENCH} and {QUALITY}")
