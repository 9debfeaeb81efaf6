"""tests/faults/test_tracker.py with all its cases, of which `make test` runs a sample."""

from tests.faults.test_tracker import *  # noqa: F403
