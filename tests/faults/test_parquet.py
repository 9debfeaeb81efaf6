"""d28, m30: a Parquet file of ours whose pages are damaged is refused by name, whoever reads it."""

import ast
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrace.artifacts.tables import read_first, read_pieces, read_table, write_table
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.tracking.registry import hits
from tests.conftest import ROOT

TABLE = pa.table(
    {
        "number": np.random.default_rng(0).normal(size=500),
        "count": np.arange(500) % 9,
        "text": [None if row % 7 == 0 else "abcdef"[row % 6] * 3 for row in range(500)],
        "flag": np.arange(500) % 5 == 0,
    }
)
READERS = {
    "read_table": read_table,
    "read_first": lambda path: read_first(path, 500, TABLE.column_names),
    "read_pieces": lambda path: pa.table(
        {name: pa.chunked_array(read_pieces(path, name), TABLE.schema.field(name).type) for name in TABLE.column_names}
    ),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_d28_a_flipped_bit_in_the_pages_is_refused_by_name_or_changes_nothing(reader, tmp_path, cases):
    """Of a page's header some bytes say nothing of the values; all else has a checksum."""
    path = tmp_path / "table.parquet"
    write_table(path, TABLE)
    whole = path.read_bytes()
    metadata = pq.read_metadata(path)
    chunks = [metadata.row_group(0).column(index) for index in range(metadata.num_columns)]
    # Of each column the first page, that of its dictionary if it has one, and all behind it.
    spans = [(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.total_compressed_size) for chunk in chunks]
    bits = [bit for start, length in spans for bit in range(8 * start, 8 * (start + length))]
    assert len(bits) > 40_000
    refused = harmless = 0
    chosen = random.Random(0).sample(bits, min(len(bits), cases(300, len(bits))))
    for bit in chosen:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = reader(path)
        except UserError as fault:
            refused += fault.status == BAD_DATA and str(fault).startswith(f"{path} is damaged (")
        else:
            harmless += found.equals(TABLE)
    assert refused + harmless == len(chosen)
    assert refused > 0.9 * len(chosen)


def test_d28_a_champion_is_not_compared_with_damaged_predictions(tmp_path):
    """They come out of a tracking store, which has no dvc.lock."""
    path = tmp_path / "predictions.parquet"
    write_table(path, pa.table({"actual": np.arange(100) % 2, "predicted": np.arange(100) % 3 % 2}))
    content = path.read_bytes()
    assert hits(content).sum() == 51
    page = pq.read_metadata(path).row_group(0).column(0)
    last = page.dictionary_page_offset + page.total_compressed_size - 1
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        hits(content[:last] + bytes([content[last] ^ 1]) + content[last + 1 :])


# --- who reads ------------------------------------------------------------------------------------------------------

CHECKED = {"ParquetFile": "page_checksum_verification", "ParquetWriter": "write_page_checksum"}
FOOTERS = {"read_schema", "read_metadata"}  # which hold no values


def unchecked(code: str) -> list[str]:
    """The ways in which code reads or writes Parquet without its checksums."""
    tree = ast.parse(code)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    named = [kind for each in functions for kind in (each.returns, *(one.annotation for one in each.args.args)) if kind]
    types = {id(node) for kind in named for node in ast.walk(kind)}
    nodes = [node for node in ast.walk(tree) if id(node) not in types]
    good = {
        id(node.func)
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        for keyword in node.keywords
        if keyword.arg == CHECKED.get(node.func.attr) and ast.unparse(keyword.value) == "True"
    }
    found = []
    for node in nodes:
        text = ast.unparse(node)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pq":
            if id(node) not in good and node.attr not in FOOTERS:
                found.append(text)
        elif isinstance(node, ast.Attribute) and node.attr in ("read_parquet", "to_parquet"):
            found.append(text)
        elif isinstance(node, ast.ImportFrom) and text.startswith("from retrace."):
            continue
        elif isinstance(node, ast.Import | ast.ImportFrom) and ("parquet" in text or "pyarrow.dataset" in text):
            found += [] if text == "import pyarrow.parquet as pq" else [text]
    return found


def test_d28_all_of_our_code_reads_and_writes_parquet_with_checksums():
    found = {
        path.relative_to(ROOT).as_posix(): ways
        for folder in ("stages", "retrace")
        for path in (ROOT / folder).rglob("*.py")
        if (ways := unchecked(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        "pq.read_table(path)",
        "pq.ParquetFile(path).read()",
        "pq.ParquetFile(path, page_checksum_verification=False)",
        "pq.ParquetFile(path, page_checksum_verification=wanted)",
        "pq.ParquetWriter(path, schema)",
        "kind = pq.ParquetWriter",
        "pd.read_parquet(path)",
        "from pyarrow.parquet import ParquetFile",
        "import pyarrow.parquet",
        "from pyarrow import parquet",
        "import pyarrow.dataset as ds",
    ],
)
def test_d28_code_that_does_not_is_seen(code):
    assert unchecked(code)
