"""tests/faults/test_security_code.py with all its cases, of which `make test` runs a sample."""

from tests.faults.test_security_code import *  # noqa: F403
