"""tests/faults/test_cache.py with all its cases, of which `make test` runs a sample."""

from tests.faults.test_cache import *  # noqa: F403
