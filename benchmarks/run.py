"""`make bench`: measure the speed side by side into benchmarks/results.md; `make readme` takes its table from there.

Timings are noisy: contestants take turns in one run, medians are compared, and ratios are what counts.
"""

from retrace.runtime.run import run

import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks import checkpoints, packs, pipeline, rows, tables, training
from retrace.runtime.atomic import write_text
from retrace.runtime.cores import cores
from retrace.runtime.markdown import table

RESULTS, SCALE = Path("benchmarks/results.md"), Path("benchmarks/scale.md")
RECORD_SECONDS = 6


def judged(name: str, ours: float, theirs: float, ratio: float, bar: str, unit: str, good: bool) -> list[str]:
    scale = {"us": 1e6, "s": 1}[unit]
    return [
        name,
        f"{ours * scale:,.1f} {unit}",
        f"{theirs * scale:,.1f} {unit}",
        f"{ratio:.3g} x",
        f"{bar} {'yes' if good else '**no**'}",
    ]


def of_tables(own: tables.Results) -> list[list[str]]:
    """Rows a second, ours against theirs; then what has no contestant."""
    lines = []
    for name, ours, other, theirs, bar in (
        ("an epoch, 1 replica", own.epoch["1 replica"], "MLPClassifier", own.epoch["scikit-learn"], 3),
        ("an epoch, 1 replica", own.epoch["1 replica"], "a loop with DataLoader", own.epoch["DataLoader"], 5),
        ("an epoch, 8 replicas, each", own.epoch["8 replicas"], "MLPClassifier", own.epoch["scikit-learn"], 3),
        ("an epoch, 8 replicas, each", own.epoch["8 replicas"], "a loop with DataLoader", own.epoch["DataLoader"], 5),
        ("`predict`", own.predict["predict"], "reading and a bare forward pass", own.predict["bare"], 0.5),
    ):
        good = "yes" if ours >= bar * theirs else "**no**"
        speeds = [f"{speed:,.0f} rows/s" for speed in (ours, theirs)]
        lines.append([f"{name}, against {other}", *speeds, f"{ours / theirs:.3g} x", f"at least {bar:g} x: {good}"])
    for (ending, rows_), stages in own.stages.items():
        seconds = sum(each.seconds for each in stages.values())
        peak = max(each.peak for each in stages.values()) / 2**30
        what = f"`create` and `split` of {rows_:,} rows x 30 columns, {ending}"
        lines.append([what, f"{seconds:,.0f} s, {peak:.1f} GiB", "", "", ""])
    return lines


def of_packs(own: packs.Results) -> list[list[str]]:
    """An epoch in packs, against one core and against others with the same cores."""
    lines = []
    names = {"scikit-learn": "MLPClassifier, as often", "DataLoader": "a loop with DataLoader, as often"}
    for batch, seconds in own.epoch.items():
        members = (
            f"an epoch, 100,000 rows x 30, {packs.MEMBERS} members of 128 - 128, batches of {batch}, {cores()} cores"
        )
        for other, bar in (("one core", 1.7), ("scikit-learn", 4), ("DataLoader", 8)):
            ours, theirs = seconds["all cores"], seconds[other]
            what = f"{members}, against {names.get(other, other)}"
            lines.append(judged(what, ours, theirs, theirs / ours, f"at least {bar:g} x:", "s", theirs >= bar * ours))
    ours, theirs = own.million["all cores"], own.million["one core"]
    what = f"an epoch, 1,000,000 rows, {packs.MEMBERS_OF_MILLION} members, {cores()} cores, against one core"
    lines.append(judged(what, ours, theirs, theirs / ours, "at least 1.6 x:", "s", theirs >= 1.6 * ours))
    good = "yes" if own.worker <= 0.1 else "**no**"
    lines.append(["what another process adds to peak memory", "", "", f"{own.worker:.1%}", f"at most 10 %: {good}"])
    return lines


def write_scale(own: packs.Results) -> None:
    rows_ = [
        [f"{members:,}", *(f"{own.scale[members, count]:.1f} x" for count in packs.SCALED_CORES)]
        for members in packs.SCALED_MEMBERS
    ]
    counted = table(["members", *(f"{count} cores" for count in packs.SCALED_CORES)], rows_)
    write_text(
        SCALE, f"# More cores than there are\n\nWritten by `make bench`, counted from measured times.\n\n{counted}\n"
    )


def main() -> None:
    root = Path.cwd()
    steps = training.main()
    in_packs = packs.main()
    write_scale(in_packs)
    lines = []
    for replicas, other, bar in (
        (1, "textbook", 2.5),
        (8, "textbook", 12),
        (32, "textbook", 35),
        (8, "scikit-learn", 3),
    ):
        ours = steps[f"{replicas} replicas"] / replicas
        ratio = steps[other] / ours
        name = f"one step per replica, {replicas} side by side, against {other}"
        lines.append(judged(name, ours, steps[other], ratio, f"at least {bar:g} x:", "us", ratio >= bar))
    lines += of_packs(in_packs)
    with tempfile.TemporaryDirectory(prefix="retrace bench ") as folder:
        costs = checkpoints.main(Path(folder))
        runs, imports = pipeline.main(root, Path(folder))
        growth, libraries = rows.main(root, Path(folder))
        own = tables.main(root, Path(folder))
    for name, whole, against, most in (
        ("`dvc repro`, nothing cached, against the plain script", "everything", "plain script", 2.0),
        ("`dvc repro`, nothing to do, against `true` stages", "nothing", "true stages", 1.5),
        ("one `plot` key changed, against the full run", "plot key", "everything", 0.4),
    ):
        ratio = runs[whole] / runs[against]
        lines.append(judged(name, runs[whole], runs[against], ratio, f"at most {most:g} x:", "s", ratio <= most))
    for name, whole in (
        ("`record`, a new run in a store that exists", "record, new"),
        ("`record`, the same state again", "record, found"),
    ):
        good = "yes" if runs[whole] <= RECORD_SECONDS else "**no**"
        lines.append([name, f"{runs[whole]:,.1f} s", "", "", f"at most {RECORD_SECONDS} s: {good}"])
    for name, cost in costs.items():
        share = cost.checkpoints / cost.rest
        lines.append(
            [
                f"{cost.written} checkpoints of {cost.size / 1e6:.1f} MB, against the rest of the training, {name}",
                f"{cost.checkpoints * 1e3:,.0f} ms",
                f"{cost.rest:,.1f} s",
                f"{share:.1%}",
                f"at most 3 %: {'yes' if share <= 0.03 else '**no**'}",
            ]
        )
    # Below a million rows the tensors are smaller than what any training takes besides, and the share says nothing.
    million, largest = growth[-2:]
    per_row = [result.seconds / result.rows * 1e6 for result in (largest, million)]
    lines.append(
        [
            f"time a row of `train`, {largest.rows:,} rows against {million.rows:,}",
            f"{per_row[0]:.2f} us",
            f"{per_row[1]:.2f} us",
            f"{per_row[0] / per_row[1]:.2f} x",
            f"does not grow (at most 1.1 x): {'yes' if per_row[0] <= 1.1 * per_row[1] else '**no**'}",
        ]
    )
    memory, tensors = largest.peak - libraries, largest.rows * rows.ROW_BYTES
    lines.append(
        [
            f"peak memory over the libraries, {largest.rows:,} rows, against the training tensors",
            f"{memory / 2**20:,.0f} MiB",
            f"{tensors / 2**20:,.0f} MiB",
            f"{memory / tensors:.2f} x",
            f"at most 4 x: {'yes' if memory <= 4 * tensors else '**no**'}",
        ]
    )
    lines += of_tables(own)
    comparison = table(["what", "Retrace", "other", "ratio", "bar"], lines)
    sizes = table(
        ["training rows", "seconds", "microseconds a row", "peak memory", "over the libraries", "x training tensors"],
        [
            [
                f"{result.rows:,}",
                f"{result.seconds:.2f}",
                f"{result.seconds / result.rows * 1e6:.2f}",
                f"{result.peak / 2**20:,.0f} MiB",
                f"{(result.peak - libraries) / 2**20:,.0f} MiB",
                f"{(result.peak - libraries) / (result.rows * rows.ROW_BYTES):.1f}",
            ]
            for result in growth
        ],
    )
    seconds = table(["stage", "seconds to import"], [[name, f"{value:.2f}"] for name, value in imports.items()])
    machine = (
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, torch {version('torch')},"
        f" DVC {version('dvc')}, MLflow {version('mlflow')}"
    )
    write_text(
        RESULTS,
        f"# Speed\n\nWritten by `make bench` on {machine}. Medians of interleaved runs; the ratios are what counts.\n\n"
        f"{comparison}\n\n`train`, one epoch in batches of 4,096, 8 replicas:\n\n{sizes}\n\n"
        f"Imports, the floor under each stage's time:\n\n{seconds}\n",
    )
    print(RESULTS.read_text())


if __name__ == "__main__":
    run(main)
