"""benchmarks/quality.md out of what has been measured (quality_board.py); its first table goes into docs/."""

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.peers import PATIENCE, ROUNDS
from benchmarks.quality_board import ACCURACY, BEST, CALIBRATION, CPU, LOG_LOSS, MEASURES, Board, Measure, Place
from retrace.runtime.markdown import table


def shown(value: float, measure: Measure) -> str:
    return "" if np.isnan(value) else f"{value:.{measure.digits}f}"


def means(board: Board, names: Sequence[str], seeds: Sequence[int], places: Sequence[Place] | None = None) -> str:
    """A line a contestant: each measure's mean, the ranks, and how the network does against it by McNemar's test."""
    ranks = [board.ranks(names, measure, places) for measure in (ACCURACY, LOG_LOSS)]
    header = [measure.title for measure in MEASURES] + ["rank, accuracy", "rank, log loss"]
    lines = []
    for name in names:
        values = [shown(board.overall(name, measure, places), measure) for measure in MEASURES]
        line = [f"**{name}**" if name == board.own else name, *values, *(f"{rank[name]:.1f}" for rank in ranks)]
        if places is None and board.own in names:
            line.append("" if name == board.own else str(board.count(name, seeds)))
        lines.append(line)
    if places is None and board.own in names:
        header.append(f"tables where {board.own} is surely better / worse")
        lines.append([BEST, *[""] * (len(header) - 1), str(board.count(BEST, seeds))])
    return table(["", *header], lines)


def bars(board: Board, seeds: Sequence[int], against: str = "CatBoost") -> str:
    """What the network is to reach, and whether it does."""
    names = board.complete()
    lines = []
    for measure in (ACCURACY, LOG_LOSS, CALIBRATION, CPU):
        ours, theirs = (board.overall(name, measure) for name in (board.own, against))
        good = ours >= theirs if measure.more_is_better else ours <= theirs
        lines.append([measure.title, shown(ours, measure), f"{against}'s: {shown(theirs, measure)}", yes(good)])
    for measure in (ACCURACY, LOG_LOSS):
        ranks = board.ranks(names, measure)
        best = min((rank, name) for name, rank in ranks.items() if name != board.own)
        ours = ranks[board.own]
        bar = f"first; {best[1]}: {best[0]:.2f}"
        lines.append([f"mean rank, {measure.title}", f"{ours:.2f}", bar, yes(ours < best[0])])
    worse = board.count(BEST, seeds).worse
    lines.append(["tables where it is surely worse than the best peer", str(worse), "at most 2", yes(worse <= 2)])
    return table(["", board.own, "bar", ""], lines)


def yes(good: bool) -> str:
    return "yes" if good else "**no**"


def each_table(board: Board, measure: Measure, seeds: Sequence[int]) -> str:
    """A line a table; a star where not all splits were measured."""
    names = [name for name in board.entries if board.entries[name]]
    lines = []
    for name in board.tables:
        line = []
        for contestant in names:
            done = sum((name, seed) in board.entries[contestant] for seed in seeds)
            value = shown(board.mean(contestant, measure, name), measure)
            line.append(f"{value}{'*' if 0 < done < len(seeds) else ''}")
        lines.append([name, *line])
    complete = board.complete()
    lines.append(
        ["mean", *(shown(board.overall(each, measure), measure) if each in complete else "" for each in names)]
    )
    return table(["", *names], lines)


def tests(board: Board, seeds: Sequence[int]) -> str:
    """McNemar's test by peer: on how many tables the network is surely better / worse, in each split and pooled."""
    lines = []
    others = [name for name in board.peers if set(board.entries[board.own]) <= set(board.entries[name])]
    for name in (*others, BEST):
        counts = [board.count(name, [seed]) for seed in seeds]
        lines.append([name, *map(str, counts), str(board.count(name, seeds))])
    return table(["surely better / worse than", *(f"split {seed}" for seed in seeds), "all splits"], lines)


def against_best(board: Board, seeds: Sequence[int]) -> str:
    lines = []
    for name in board.tables:
        if not any(place[0] == name for place in board.entries[board.own]):
            continue
        peer = board.best_peer(name)
        ours, theirs, p = board.test(name, peer, seeds)
        values = [shown(board.mean(each, ACCURACY, name), ACCURACY) for each in (board.own, peer)]
        each = ", ".join(f"{board.test(name, peer, [seed])[2]:.3f}" for seed in seeds)
        lines.append([name, peer, *values, f"{ours} / {theirs}", f"{p:.3f}", each])
    header = ["best peer", f"accuracy, {board.own}", "the peer", "rows only one has right", "p, all splits", "in each"]
    return table(["", *header], lines)


def alone(board: Board) -> str:
    """Where not all contestants were measured, each against all others on the same tables and splits."""
    parts = []
    for name in board.partial():
        places = list(board.entries[name])
        tables = ", ".join(dict.fromkeys(f"{place[0]}" for place in places))
        names = [*board.complete(), name]
        parts.append(
            f"{name} was measured on {len(places)} of the {len(board.places)} pairs of table and split ({tables});"
            f" means over these:\n\n{means(board, names, (), places)}"
        )
    return "\n\n".join(parts)


def bundled(board: Board) -> str:
    """The tables that come with scikit-learn, against logistic regression."""
    line, lines = board.peers[0], []
    for name in board.tables:
        ours, theirs = (board.mean(each, ACCURACY, name) for each in (board.own, line))
        losses = [shown(board.mean(each, LOG_LOSS, name), LOG_LOSS) for each in (board.own, line)]
        values = [shown(each, ACCURACY) for each in (ours, theirs)]
        gap = "" if np.isnan(ours) else f"{ours - theirs:+.4f}"
        good = "" if np.isnan(ours) else yes(ours >= theirs - 0.01)
        lines.append([name, *values, gap, f"at least -0.01: {good}", *losses])
    header = [board.own, line, "difference", "bar", f"log loss, {board.own}", f"log loss, {line}"]
    return table(["accuracy", *header], lines)


def single(board: Board) -> str:
    """Every measure of every contestant on each table, for boards with few tables."""
    lines = [
        [name, contestant, *(shown(board.mean(contestant, measure, name), measure) for measure in MEASURES)]
        for name in board.tables
        for contestant in board.entries
        if any(place[0] == name for place in board.entries[contestant])
    ]
    return table(["", "", *(measure.title for measure in MEASURES)], lines)


def made_with(boards: Iterable[Board]) -> str:
    """The versions of the peers, and the machines, of all that is reported."""
    entries = [entry for board in boards for each in board.entries.values() for entry in each.values()]
    versions = {(name, text) for entry in entries for name, text in entry["stamp"].items()}
    packages = ", ".join(f"{name} {text}" for name, text in sorted(versions) if name not in ("split", "code", "rounds"))
    machines = sorted({entry["machine"] for entry in entries})
    return f"{packages}. Measured on: {'; '.join(machines)}"


def report(fifteen: Board, four: Board, large: Board, seeds: Sequence[int]) -> str:
    complete = fifteen.complete()
    own = fifteen.own
    parts = [
        "# Quality",
        f"Written by `make bench-quality`: {made_with([fifteen, four, large])}.",
        f"{own} is the pipeline with the shipped params.yaml and what `make table` writes for it; the others have"
        f" their libraries' defaults, and stop early by the validation rows (boosted trees: of at most {ROUNDS}"
        f" rounds the best, {PATIENCE} without a better one end the fit). All have the same training, validation"
        f" and test rows, over splits {', '.join(map(str, seeds))}, and one thread. A table's value is the mean"
        " over the splits, a mean is over the tables; ranks are among those of the table below. CPU seconds are"
        f" those of the fit; those of {own} are of the whole process of `train`, with its imports. *Surely better /"
        " worse* counts tables by McNemar's exact test, p < 0.05, on the test rows of all splits together; a row"
        " may be in more than one of them, so that these counts are rather too large than too small. The best peer"
        " of a table is the one with the highest accuracy on its test rows, of those that were measured on all"
        " splits.",
        f"{len(fifteen.tables)} tables, {len(fifteen.places)} pairs of table and split:",
        means(fifteen, complete, seeds),
        alone(fifteen),
    ]
    if own in complete:
        without = fifteen.overall(own, Measure("cpu_without_imports", "", 1, False))
        parts += [
            "## What is to be reached",
            bars(fifteen, seeds),
            f"Without the imports of its libraries, the process of `train` takes {without:.1f} CPU seconds.",
            "## McNemar's test",
            tests(fifteen, seeds),
            against_best(fifteen, seeds),
        ]
    for measure in MEASURES:
        parts += [f"## {measure.title[0].upper()}{measure.title[1:]}", each_table(fifteen, measure, seeds)]
    if four.places:
        parts += ["## Tables that come with scikit-learn", bundled(four)]
    if large.places:
        parts += ["## Larger tables, one split", single(large)]
    notes = [*fifteen.notes, *four.notes, *large.notes]
    states = {entry["stamp"]["code"] for board in (fifteen, four, large) for entry in board.entries[own].values()}
    if len(states) > 1:
        notes.append(f"{own} was measured in {len(states)} states of the code, and not in one: measure it again.")
    if notes:
        parts += ["## Left out", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(part for part in parts if part) + "\n"
