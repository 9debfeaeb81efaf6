"""tests/faults/test_security_text.py with all its cases, of which `make test` runs a sample."""

from tests.faults.test_security_text import *  # noqa: F403
