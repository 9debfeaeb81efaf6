"""tests/training/test_real_tables.py with all its cases, of which `make test` runs a sample."""

from tests.training.test_real_tables import *  # noqa: F403
