"""tests/faults/test_machine.py with all its cases, of which `make test` runs a sample."""

from tests.faults.test_machine import *  # noqa: F403
