"""Tables larger than memory, measured: `create`, `split` and one epoch of `train`, into benchmarks/large_tables.md.

    python -m benchmarks.large_tables [ROWS [ROWS_THAT_FIT [LIMIT]]]     30,000,000, 3,000,000, 4 (GiB) if not said

Each stage in a process of its own: of a table that fits into memory; of one of ROWS rows in a control group of LIMIT
bytes, where this machine lets one make one; of the same without a limit, which must give the same bytes. Beside them
stands a plain PyTorch loop over pyarrow's batches of the large one (plain_large_table.py), on the same cores; and of
the one that fits with the networks of params.yaml, eight small ones.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.control_group import NotAllowedError, control_group
from retrace.params.edit import edited
from retrace.runtime.markdown import table

ROOT = Path(__file__).resolve().parent.parent
REPORT = Path(__file__).with_suffix(".md")
COLUMNS, PART, WINDOW = 30, 1_000_000, 200_000
STAGES = ("create", "split", "train")
CHANGES = {
    "create.dataset": "table",
    "create.table.path": "data/tables/large",
    "create.table.target": "class",
    "split.method": "hash",
    "split.test_size": 0.02,
    "split.validation_size": 0.02,
    "train.scaling": "standard",
    "train.optimizer.name": "adam",
    "train.optimizer.learning_rate": 0.001,
    "train.epochs": 1,
    "train.window": WINDOW,
}

# What one trains where there are many rows, and what params.yaml says for the circles.
ONE = {"train.hidden": [128, 128], "train.batch_size": 1024, "train.replicas": 1}
EIGHT = {"train.hidden": [10], "train.batch_size": 64, "train.replicas": 8}


class Cost(NamedTuple):
    """Of a process: seconds, seconds of the processor, which others do not slow down, and peak memory in bytes."""

    seconds: float
    cpu: float
    peak: int

    def __str__(self) -> str:
        return f"{self.seconds:,.1f} s, {self.cpu:,.1f} s, {self.peak / 2**30:.2f} GiB"


class Run(NamedTuple):
    """rows: of the table; stages: what each took, by name."""

    rows: int
    stages: dict[str, Cost]

    def rate(self, *stages: str, cpu: bool = False) -> float:
        """Rows a second, or a second of the processor."""
        return self.rows / sum(self.stages[stage].cpu if cpu else self.stages[stage].seconds for stage in stages)


def make(folder: Path, rows: int) -> None:
    """Parts of Parquet: numbers of three digits behind the point, which make files of two bytes a value."""
    folder = folder / "data/tables/large"
    folder.mkdir(parents=True)
    weights = np.random.default_rng(0).normal(size=COLUMNS)
    for place, start in enumerate(range(0, rows, PART)):
        random = np.random.default_rng([1, place])
        x = random.normal(size=(min(PART, rows - start), COLUMNS)).round(3)
        label = x @ weights + x[:, 0] * x[:, 1] + random.normal(size=len(x)) > 0
        columns = {f"x{index}": x[:, index] for index in range(COLUMNS)}
        content = pa.table({**columns, "class": pa.array(np.where(label, "yes", "no")).dictionary_encode()})
        pq.write_table(content, folder / f"part-{place:04}.parquet")


def project(folder: Path, rows: int) -> Path:
    """A folder with a table and the parameters, in which stages can run."""
    # In another process, since a peak of a stage begins with that of the process which it was copied from.
    code = f"from pathlib import Path; from benchmarks.large_tables import make; make(Path({str(folder)!r}), {rows})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    turn(folder, CHANGES | ONE)
    return folder


def turn(folder: Path, changes: dict[str, Any]) -> None:
    """The shipped parameters with these changes, where there are none; else these."""
    path = folder / "params.yaml"
    before = (path if path.exists() else ROOT / path.name).read_text("utf-8")
    path.write_text(edited(before, {tuple(key.split(".")): value for key, value in changes.items()}), "utf-8")


def plain(folder: Path, rows: int, networks: dict[str, Any]) -> Run:
    """The plain loop: two files, and an epoch of these networks. It takes the place of what `split` wrote."""
    for path in ("train", "validation", "test"):
        (folder / f"data/{path}.parquet").unlink()
    hidden, batch_size, count = networks.values()
    train = f"train {','.join(map(str, hidden))} {batch_size} {count}"
    stages = {"split": "split", "train": train}
    return Run(
        rows, {stage: measured(folder, f"benchmarks.plain_large_table {words}") for stage, words in stages.items()}
    )


def measured(folder: Path, module: str, group: Path | None = None) -> Cost:
    """What a module takes that runs in that folder. Raises RuntimeError with what it has said where it fails."""
    enter = f"echo $$ > '{group}/cgroup.procs' && " if group else ""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["sh", "-c", f'{enter}exec "$0" -m {module}', sys.executable]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # which nobody else can ask for any more
        seconds = time.perf_counter() - started
        if status:
            said.seek(0)
            raise RuntimeError(f"{module}: {process.returncode}: {said.read().decode()[-2000:]}")
    cost = Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
    print(f"{module}: {cost}", flush=True)
    return cost


def run(folder: Path, rows: int, stages: Sequence[str] = STAGES, group: Path | None = None) -> Run:
    return Run(rows, {stage: measured(folder, f"stages.{stage}", group) for stage in stages})


def models(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "models").iterdir()}


def report(runs: dict[str, Run], limit: int, unlimited: str) -> str:
    lines = []
    for name, each in runs.items():
        cells = [str(each.stages.get(stage, "")) for stage in STAGES]
        lines.append([name, f"{each.rows:,}", *cells, f"{each.rate('split', 'train'):,.0f}"])
    large, fits, loop = runs["larger than memory"], runs["fits"], runs["plain loop"]
    eight, eight_plain = runs["eight small networks"], runs["plain loop, eight small networks"]
    pairs = (large, fits, STAGES), (large, loop, STAGES[1:]), (eight, eight_plain, STAGES[1:])
    whole, against, against_eight = (
        [one.rate(*stages, cpu=cpu) / other.rate(*stages, cpu=cpu) for cpu in (False, True)]
        for one, other, stages in pairs
    )
    gigabytes = 8 * COLUMNS * large.rows / 2**30
    return "\n".join(
        [
            "# Tables larger than memory",
            "",
            "Written by `python -m benchmarks.large_tables`. Each cell: seconds, seconds of the processor, peak memory",
            f"of a stage's process, start and imports too; {COLUMNS} columns of numbers, `split.method: hash`, one",
            f"epoch of a network of {COLUMNS} - 128 - 128 - 1 in batches of 1,024, `train.window: {WINDOW:,}`; and of",
            f"eight of {COLUMNS} - 10 - 1 in batches of 64, as params.yaml has them.",
            "The plain loop divides the rows into two files, by chance, and reads these batch by batch, with a scaling",
            "that is known beforehand; it looks at nothing and keeps nothing else.",
            "",
            f"The table that is larger than memory takes {gigabytes:,.1f} GiB there, and each of its processes got",
            f"{limit} GiB. Without a limit it gave the same models, byte for byte.",
            "",
            table(["run", "rows", *STAGES, "rows a second, split and train"], lines),
            "",
            f"Rows a second of the three stages against those of the table that fits: {whole[0]:.2f} (bar: 0.75), by"
            f" seconds of the processor {whole[1]:.2f}.",
            f"Rows a second of `split` and `train` against the plain loop: {against[0]:.2f} x (bar: 2 x), by seconds of"
            f" the processor {against[1]:.2f} x.",
            f"The same with eight small networks: {against_eight[0]:.2f} x, by seconds of the processor"
            f" {against_eight[1]:.2f} x.",
            *([unlimited] if unlimited else []),
            "",
        ]
    )


def main(rows: int = 30_000_000, fitting: int = 3_000_000, limit: int = 4) -> None:
    folder = Path(tempfile.mkdtemp(prefix=".large-", dir=ROOT))
    try:
        runs, unlimited = {}, ""
        small = project(folder / "small", fitting)
        runs["fits"] = run(small, fitting)
        turn(small, EIGHT)
        train = measured(small, "stages.train")
        runs["eight small networks"] = Run(fitting, {"split": runs["fits"].stages["split"], "train": train})
        runs["plain loop, eight small networks"] = plain(small, fitting, EIGHT)
        shutil.rmtree(small)
        large = project(folder / "large", rows)
        try:
            with control_group(limit << 30) as group:
                runs["larger than memory"] = run(large, rows, STAGES, group)
                found = models(large)
            runs["the same, no limit"] = run(large, rows, STAGES[1:])
            assert models(large) == found
        except NotAllowedError as error:
            unlimited = f"Nothing was limited here: {error}."
            runs["larger than memory"] = run(large, rows)
        runs["plain loop"] = plain(large, rows, ONE)
        REPORT.write_text(report(runs, limit, unlimited), "utf-8")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
