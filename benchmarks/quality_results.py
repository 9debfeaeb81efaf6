"""What the quality benchmark has measured, kept in files: an entry a table, split and contestant.

An entry has a stamp: a digest of the rows, and what else made it (a package's version, a digest of the code). An entry
whose stamp is another one than today's is stale, and is measured again.
"""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrace.artifacts.tables import read_json, read_table
from retrace.evaluation.metrics import Predictions, metrics
from retrace.runtime.atomic import write_text
from retrace.runtime.digest import md5

MEASURES = ("accuracy", "macro_f1", "log_loss", "roc_auc", "calibration_error")
BINS = 10  # of the calibration error, as in the shipped params.yaml
DIGITS = 6

Entry = dict[str, Any]
Flags = NDArray[np.bool_]


class Results:
    """The entries of a file; each one is written as soon as it is there, so that a run can be cut off and resumed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = json.loads(path.read_text()) if path.exists() else {}

    def known(self, table: str, seed: int, contestant: str) -> Entry | None:
        return self.entries.get(key(table, seed, contestant))

    def put(self, table: str, seed: int, contestant: str, entry: Entry) -> None:
        self.entries[key(table, seed, contestant)] = entry
        # A line an entry, so that git shows which ones are others.
        ordered = sorted(self.entries.items())
        lines = [f"{json.dumps(name)}: {json.dumps(each, sort_keys=True)}" for name, each in ordered]
        write_text(self.path, "{\n" + ",\n".join(lines) + "\n}\n")


def is_fresh(entry: Entry | None, stamp: dict[str, str]) -> bool:
    """Whether it was measured of what the stamp tells."""
    return entry is not None and entry["stamp"] == stamp


def key(table: str, seed: int, contestant: str) -> str:
    return f"{table}/{seed}/{contestant}"


def measured(verdict: Predictions) -> Entry:
    """The metrics that are compared, by the pipeline's own definitions, and which rows were right."""
    found = metrics(verdict, np.ones((1, len(verdict.actual))), BINS)
    values = {name: round(float(found[name][0]), DIGITS) for name in MEASURES}
    return {**values, **rows_right(verdict.predicted == verdict.actual)}


def rows_right(right: Flags) -> Entry:
    return {"rows": len(right), "right": packed(right)}


def packed(right: Flags) -> str:
    """A bit a row, compressed, as text: some hundred letters for a thousand rows."""
    return base64.b64encode(zlib.compress(np.packbits(right).tobytes(), 9)).decode()


def unpacked(text: str, rows: int) -> Flags:
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    return np.unpackbits(bits, count=rows).astype(bool)


def split_digest(folder: Path) -> str:
    """Of the rows that `split` wrote, their order and their kinds: of the content, not of the bytes of the files."""
    schema = read_json(folder / "data" / "schema.json")
    digest = md5(json.dumps([schema["features"], schema["target"], schema["classes"]]).encode())
    for name in ("train", "validation", "test"):
        table = read_table(folder / "data" / f"{name}.parquet")
        digest.update(f"{name} {table.num_rows}\n".encode())
        digest.update(table.to_pandas().to_csv(index=False).encode())
    return digest.hexdigest()
