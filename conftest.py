"""What tests/ and campaigns/ have in common beside tests/conftest.py: how many cases a test runs."""

from collections.abc import Callable
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--campaign", action="store_true", help="all cases of each test, hours of them, and not a sample")


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> Callable[[Any, Any], Any]:
    """`cases(sample, campaign)`: the first in `make test`, the second in `make campaigns`."""
    return lambda sample, campaign: campaign if request.config.getoption("--campaign") else sample
