"""`make readme`: tables of README.md and docs/, written from the files they describe, so that they cannot drift.

results     from reports/scores.json, which git has not: where nothing ran yet, they stay as they are
rerun       from dvc.yaml: which stages a change in a section of params.yaml reruns
parameters  from params.yaml: each key, its value there and its comment
bench       the first table of benchmarks/results.md, which `make bench` writes
scale       the table of benchmarks/scale.md, which it writes, too
quality     the first table of benchmarks/quality.md, which `make bench-quality` writes

A page has a part where it has the two comments that mark it; a test compares the pages with the files.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from retrace.artifacts.scores import SCORES, Metric, Scores, read_scores
from retrace.evaluation.comparisons import in_words, what_ships
from retrace.runtime.atomic import write_text
from retrace.runtime.markdown import table

README = Path("README.md")
DOCS = Path("docs")
GRAPH = Path("dvc.yaml")
PARAMS = Path("params.yaml")
BENCH = Path("benchmarks/results.md")
SCALE = Path("benchmarks/scale.md")
QUALITY = Path("benchmarks/quality.md")
SOURCES = (GRAPH, PARAMS, BENCH, SCALE, QUALITY)

# A line of params.yaml: a key, perhaps a value, perhaps a comment; or a comment that goes on from the line before.
LINE = re.compile(r"(?P<indent> *)(?:(?P<key>[\w.]+):(?: (?P<value>\S.*?))?)?(?:(?:^| +)# (?P<comment>.*))?")


def results(scores: Scores) -> str:
    accuracy, training = scores.accuracy, scores.training
    ships = "the replica that ships" if training.shipped is not None else what_ships(None, training.replicas)
    rows = [(f"**the network** ({ships})", f"**{accuracy.value:.4f}**", _interval(accuracy), "")]
    if accuracy.deviation is not None:
        luck = f"{accuracy.mean:.4f} ± {accuracy.deviation:.4f}"
        rows.append((f"its {training.replicas} replicas, mean and standard deviation", luck, "", ""))
    if accuracy.jackknife is not None:
        rows.append(("the luck of its seeds (jackknife)", f"± {accuracy.jackknife:.4f}", "", ""))
    others = {in_words(name): other for name, other in scores.baseline.items()}
    others["majority class"] = others.pop("majority")
    if scores.bayes:
        others = {"Bayes classifier (the limit)": scores.bayes, **others}
    for name, other in sorted(others.items(), key=lambda item: -item[1].accuracy):
        interval = f"({other.difference_low:+.4f} to {other.difference_high:+.4f})"
        rows.append((name, f"{other.accuracy:.4f}", "", f"{other.difference:+.4f} {interval}"))
    rows.append(("its macro-F1", f"{scores.macro_f1.value:.4f}", _interval(scores.macro_f1), ""))
    confidence = f"{scores.confidence:.0%}"
    header = [
        f"accuracy on {scores.rows:,} test rows",
        "",
        f"{confidence} interval",
        f"network minus it ({confidence})",
    ]
    return table(header, rows, "---")


def _interval(metric: Metric) -> str:
    return f"{metric.low:.4f} to {metric.high:.4f}"


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
    # Read beside the pipeline: by `make gate`, and by the study's own graph.
    reached |= {"gate": {"validate"}, "study": {"validate"}}
    return {section: [name for name in stages if name in rerun] for section, rerun in reached.items()}


def rerun(graph: dict[str, Any]) -> str:
    names = list(graph["stages"])
    return table(
        ["change in section", *names],
        [[f"`{section}`", *("●" if name in run else "" for name in names)] for section, run in reruns(graph).items()],
        align=":---:",
    )


def first_table(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    match = re.search(r"(?m)(^\|.*\n)+", text)
    return match[0].strip() if match else ""


def described(text: str) -> dict[str, tuple[str | None, str]]:
    """Dotted key of params.yaml -> its value as it is written there, None where it has keys of its own; its comment."""
    keys: dict[str, tuple[str | None, str]] = {}
    parents: list[str] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):  # between two sections
            continue
        match = LINE.fullmatch(line)
        assert match, f"{PARAMS}: {line!r}"
        comment = match["comment"] or ""
        if match["key"]:
            parents[len(match["indent"]) // 2 :] = [match["key"]]
            keys[".".join(parents)] = (match["value"], comment)
        else:
            value, before = keys[".".join(parents)]
            # A comment may end without a full stop, and another sentence follow on the next line.
            join = ". " if re.match("[A-Z][a-z]+ ", comment) and before[-1] not in ".;:," else " "
            keys[".".join(parents)] = (value, f"{before}{join}{comment}")
    return keys


def parameters(text: str) -> str:
    """A heading, what the section is about, and a table, for each section."""
    blocks: list[str] = []
    keys = described(text)
    for section in (key for key in keys if "." not in key):
        rows = [
            [f"`{key}`", "" if value is None else f"`{value}`", comment.replace("|", "\\|")]
            for key, (value, comment) in keys.items()
            if key.startswith(f"{section}.") and (value is not None or comment)
        ]
        about = keys[section][1]
        blocks += [
            f"## {section}",
            f"{about[:1].upper()}{about[1:]}.",
            table(["key", "default", "meaning"], rows, "---"),
        ]
    return "\n" + "\n\n".join(blocks) + "\n"


def filled(text: str) -> str:
    """A page with each marked part that it has written anew."""
    parts: dict[str, Callable[[], str]] = {
        "rerun": lambda: rerun(YAML(typ="safe").load(GRAPH.read_text())),
        "parameters": lambda: parameters(PARAMS.read_text()),
        "bench": lambda: first_table(BENCH),
        "scale": lambda: first_table(SCALE),
        "quality": lambda: first_table(QUALITY),
    }
    if SCORES.exists():
        parts["results"] = lambda: results(read_scores())
    for name, part in parts.items():
        pattern = rf"(<!-- {name}: make readme -->\n).*?(<!-- /{name} -->)"
        if match := re.search(pattern, text, flags=re.DOTALL):
            text = f"{text[: match.start()]}{match[1]}{part()}\n{match[2]}{text[match.end() :]}"
    return text


def _path(entry: Any) -> str:
    return entry if isinstance(entry, str) else str(next(iter(entry)))


@click.command(epilog="Example: retrace readme")
def command() -> None:
    """Write the generated tables of README.md and docs/ anew from the files they describe."""
    for page in (README, *sorted(DOCS.glob("*.md"))):
        write_text(page, filled(page.read_text()))
    sources = [SCORES, *SOURCES] if SCORES.exists() else SOURCES
    print(f"readme: the tables of {README} and {DOCS} are those of {', '.join(map(str, sources))}")
    if not SCORES.exists():
        print(f"readme: the results in {README} stay as they were, since {SCORES} is not there; run: dvc repro")
