"""Which rows belong together: duplicates by a hash of their content, groups by a column, both at once; the splits."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from retrace.artifacts.table_columns import Columns, pieces_of

Hashes = NDArray[np.uint64]


class SplitRows(NamedTuple):
    """Row numbers of each split, int64."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def class_counts(target: NDArray[np.integer], classes: int, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Rows of each class [classes], among those with these numbers, or all; target [rows]: class indices.

    A few at a time: numpy would make wide numbers of all of them first.
    """
    found, count = np.zeros(classes, dtype=np.int64), len(target) if rows is None else len(rows)
    for start in range(0, count, _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        found += np.bincount(target[some if rows is None else rows[some]], minlength=classes)
    return found


# Odd constants of MurmurHash3's 64-bit finalizer (Appleby 2011), which spreads every bit over all others.
_FIRST, _SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio
_MISSING = np.uint64(0x6D697373696E6700)


# Hashes that are computed at once: what comes of a step is then still in the processor's cache for the next one.
_AT_ONCE = 1 << 16
_ROWS_AT_ONCE = 1 << 20


def row_hashes(table: Columns, columns: Sequence[str]) -> Hashes:
    """64 bits for each row, the same for the same content in any file and order; 0.0 and -0.0 are the same.

    Two different rows of 10 million share a hash once in 400,000 tables; they would be in the same split, no more.
    """
    result = np.zeros(table.num_rows, dtype=np.uint64)
    for name in columns:
        start = 0
        for piece in pieces_of(table, name):
            some = slice(start, start := start + len(piece))
            result[some] = _mix(result[some] * _STEP + column_hashes(piece))
    return result


def shuffled_hash(hashes: Hashes, seed: int) -> Hashes:
    """Another hash of each for each seed."""
    result, own = np.empty_like(hashes), _mix(np.array([seed + 1], dtype=np.uint64) * _STEP)
    for start in range(0, len(hashes), _AT_ONCE):
        result[start : start + _AT_ONCE] = _mix(hashes[start : start + _AT_ONCE] + own)
    return result


def values(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Any column as whole numbers in its own order, equal for equal values."""
    if isinstance(column.type, pa.DictionaryType):
        column = column.cast(column.type.value_type)
    ranks: NDArray[np.int64] = pc.rank(column, tiebreaker="dense").to_numpy().astype(np.int64)
    return ranks


def together(*groups: NDArray[np.integer]) -> Hashes:
    """Rows that share any of their groups, at whatever remove, as one group: connected components."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = len(groups[0])
    edges, count = [], rows
    for group in groups:
        names, inverse = np.unique(group, return_inverse=True)
        edges.append(inverse + count)
        count += len(names)
    row = np.tile(np.arange(rows), len(groups))
    links = coo_array((np.ones(len(row), dtype=np.int8), (row, np.concatenate(edges))), shape=(count, count))
    _, labels = connected_components(links, directed=False)
    found: Hashes = labels[:rows].astype(np.uint64)
    return found


def column_hashes(column: pa.Array) -> Hashes:
    """64 bits for each value, the same for the same one; missing ones, NaN among them, are the same."""
    if isinstance(column.type, pa.DictionaryType):
        each = np.array([_text_hash(text) for text in column.dictionary.to_pylist()] + [_MISSING], dtype=np.uint64)
        codes = column.indices.fill_null(len(each) - 1).to_numpy(zero_copy_only=False)
        hashes: Hashes = each[codes]
        return hashes
    if pa.types.is_floating(column.type):
        numbers = column.fill_null(np.nan).to_numpy() + 0.0  # -0.0 becomes 0.0
        return np.where(np.isnan(numbers), _MISSING, _mix(numbers.view(np.uint64)))
    codes = column.cast(pa.int64() if pa.types.is_timestamp(column.type) else pa.int8())
    bits = codes.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    absent = column.is_null().to_numpy(zero_copy_only=False)
    return np.where(absent, _MISSING, _mix(bits))


def _text_hash(text: str) -> int:
    """Not Python's own, which differs from process to process."""
    from hashlib import blake2b

    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(hashes: Hashes) -> Hashes:
    with np.errstate(over="ignore"):
        hashes = (hashes ^ (hashes >> np.uint64(33))) * _FIRST
        hashes = (hashes ^ (hashes >> np.uint64(33))) * _SECOND
        return hashes ^ (hashes >> np.uint64(33))
