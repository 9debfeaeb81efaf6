"""As many cases as some hours allow: of each test here, `make test` runs a sample (tests/conftest.py)."""

import pytest

from tests.conftest import *  # noqa: F403 - fixtures, and what pytest is to do at its start


@pytest.fixture(scope="session")
def cases():
    """`cases(sample, campaign)`: how many cases a test runs, in `make test` and here."""
    return lambda sample, campaign: campaign
