"""tests/faults/test_security_files.py with all its cases, of which `make test` runs a sample."""

from tests.faults.test_security_files import *  # noqa: F403
