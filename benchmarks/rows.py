"""Seconds and memory of `train` over rows: one epoch, batches of 4,096, the default network and replicas."""

import contextlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from ruamel.yaml import YAML

from benchmarks.measure import stage
from retrace.artifacts.schema import Schema, write_schema
from retrace.artifacts.tables import write_table

ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
# A row of the training tensors: two features and a target, float32 each.
ROW_BYTES = 12


class Result(NamedTuple):
    rows: int
    seconds: float
    peak: int  # bytes


def main(root: Path, folder: Path) -> tuple[list[Result], int]:
    """A result for each number of rows, and the bytes that the libraries take by themselves (with 100 rows)."""
    libraries = measure(root, folder, 100).peak
    return [measure(root, folder, rows) for rows in ROWS], libraries


def measure(root: Path, folder: Path, rows: int) -> Result:
    project = folder / f"rows {rows}"
    (project / "data").mkdir(parents=True)
    yaml = YAML()
    params = yaml.load(root / "params.yaml")
    params["train"]["epochs"], params["train"]["batch_size"] = 1, min(4096, rows)
    yaml.dump(params, project / "params.yaml")
    random = np.random.default_rng(0)
    for name, count in (("train", rows), ("validation", max(10, rows // 10))):
        target = random.integers(2, size=count)
        angle = random.uniform(0, 2 * np.pi, count)
        radius = np.where(target, 0.8, 1.0) + random.normal(scale=0.05, size=count)
        table = pa.table({"x1": radius * np.cos(angle), "x2": radius * np.sin(angle), "ring": target})
        write_table(project / "data" / f"{name}.parquet", table)
    with contextlib.chdir(project):
        write_schema(Schema("circles", ["x1", "x2"], "ring", ["outer", "inner"], [rows, rows], None))
    peak = stage(root, project, "stages.train").peak
    seconds = json.loads((project / ".retrace" / "train.json").read_text())["seconds"]
    for path in (project / "data").iterdir():
        path.unlink()
    return Result(rows, seconds, peak)
