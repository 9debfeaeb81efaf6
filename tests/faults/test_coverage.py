"""Every fault of the list has a test: its number stands in the name of one, or in a comment or an id beside it."""

import re

import pytest

from tests.conftest import ROOT

# The list's own numbers, which have gaps: bad params, bad data, the machine and services, numbers, security.
FAULTS = {
    "P": "01 02 03 04 06 07 08 09 10 11 13 14 15 16 17 18 20 21 22 23 25 26 28",
    "D": "01 02 03 04 06 07 08 09 10 12 13 14 15 16 17 19 20 21 22 23 24 26 27 28 30 31 32 33 34 35",
    "M": "01 02 04 05 06 08 09 10 11 12 13 14 15 16 17 18 19 21 22 23 25 26 27 28 29 30 31 32 33 34 35 36",
    "N": "01 02 03 05 06 07 08 09 10 11 12",
    "S": "01 02 03 04 05 06 08 10 11 13 14 15 16 18 19 20 21 22",
}


def listed(faults: dict[str, str]) -> list[str]:
    return [f"{kind}{number}" for kind, numbers in faults.items() for number in numbers.split()]


def has_test(fault: str) -> bool:
    number = re.compile(rf"def test_(\w+_)?{fault.lower()}_|\b{fault}\b")
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != "test_coverage.py"]
    return any(number.search(path.read_text()) for path in files)


@pytest.mark.parametrize("fault", listed(FAULTS))
def test_a_fault_has_a_test(fault):
    assert has_test(fault)


def test_a_fault_without_a_test_is_seen():
    assert not has_test("P05")
