"""A folder of Parquet parts: of its row groups one is in memory at a time, whatever is kept of the rows before."""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrace.data.parquet_parts import ROWS_AT_ONCE, parquet_blocks


@pytest.fixture
def part(tmp_path) -> Path:
    """Three row groups of 3 MB, each of two blocks and a bit."""
    rows = 2 * ROWS_AT_ONCE + 5
    random = np.random.default_rng(0)
    columns = {"x": random.normal(size=3 * rows), "y": random.normal(size=3 * rows)}
    words = pa.array(random.choice(["a", "b", None], 3 * rows)).dictionary_encode()
    table = pa.table({**columns, "word": words, "list": pa.array([[place] for place in range(3 * rows)])})
    pq.write_table(table, tmp_path / "part.parquet", row_group_size=rows)
    return tmp_path / "part.parquet"


def test_blocks_are_the_rows_in_their_order(part):
    found = pa.Table.from_batches(parquet_blocks(part))
    assert found.unify_dictionaries() == pq.read_table(part).unify_dictionaries()
    assert [block.num_rows for block in parquet_blocks(part)] == 3 * [ROWS_AT_ONCE, ROWS_AT_ONCE, 5]


def test_a_block_keeps_nothing_else_of_its_row_group(part):
    before = pa.total_allocated_bytes()
    last = [block for block in parquet_blocks(part) if block.num_rows == 5]
    assert len(last) == 3
    deadline = time.monotonic() + 20
    while pa.total_allocated_bytes() - before >= 100_000:  # a thread of Arrow's may still let go of what it has read
        assert time.monotonic() < deadline
        time.sleep(0.05)
