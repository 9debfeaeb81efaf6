"""tests/faults/test_parquet.py with all its cases, of which `make test` runs a sample."""

from tests.faults.test_parquet import *  # noqa: F403
