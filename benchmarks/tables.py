"""Seconds and memory over a table of 20 numbers and 10 categories, 5 % of their values missing."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from ruamel.yaml import YAML

ROWS, MANY_ROWS = 1_000_000, 10_000_000
NUMBERS, CATEGORIES, MISSING = 20, 10, 0.05
PIECE = 500_000


class Result(NamedTuple):
    seconds: float
    peak: int  # bytes


def pieces(rows: int) -> Iterator[pa.Table]:
    """The table, reproducible; its class follows from some of the columns, with noise."""
    words = [pa.array([f"c{index}_{value}" for value in range(4 * (index + 1))]) for index in range(CATEGORIES)]
    for start in range(0, rows, PIECE):
        random = np.random.default_rng(start)
        count = min(PIECE, rows - start)
        numbers = random.normal(size=(NUMBERS, count)).round(4)
        codes = [random.integers(len(each), size=count) for each in words]
        score = numbers[:4].sum(0) + codes[0] + codes[3] / 4 + random.normal(size=count)
        columns: dict[str, pa.Array] = {}
        for index, values in enumerate(numbers):
            columns[f"n{index}"] = pa.array(values, mask=random.random(count) < MISSING)
        for index, each in enumerate(codes):
            indices = pa.array(each.astype(np.int32), mask=random.random(count) < MISSING)
            columns[f"c{index}"] = words[index].take(indices)
        columns["class"] = pa.array(["low", "middle", "high"]).take(pa.array(np.digitize(score, [2, 5])))
        yield pa.table(columns)


def write(path: Path, rows: int) -> None:
    writer = None
    with open(path, "wb") as file:
        for piece in pieces(rows):
            if writer is None:
                kind = pq.ParquetWriter if path.suffix == ".parquet" else pc.CSVWriter
                writer = kind(file, piece.schema)
            writer.write_table(piece)
        assert writer
        writer.close()


def project(root: Path, folder: Path, name: str, train: dict[str, object] | None = None) -> Path:
    """A folder in which stages run on data/tables/NAME, with the shipped parameters."""
    (folder / "data" / "tables").mkdir(parents=True, exist_ok=True)
    yaml = YAML()
    params = yaml.load(root / "params.yaml")
    params["create"]["dataset"] = "table"
    params["create"]["table"].update(path=f"data/tables/{name}", target="class")
    params["train"].update(train or {})
    yaml.dump(params, folder / "params.yaml")
    return folder


def stage(root: Path, folder: Path, module: str, *arguments: str) -> Result:
    """Wall clock, imports included, and peak memory of a stage or command in a process of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); sys.argv = {[module, *arguments]!r}\n"
        f"import resource, importlib; importlib.import_module({module!r}).main()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return Result(seconds, int(done.stdout.split()[-1]) * unit)
