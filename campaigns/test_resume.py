"""tests/faults/test_resume.py with all its cases, of which `make test` runs a sample."""

from tests.faults.test_resume import *  # noqa: F403
