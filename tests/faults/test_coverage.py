"""Every fault of docs/faults.md has a test: its number stands in the name of one, in a comment or an id beside it."""

import re

import pytest

from tests.conftest import ROOT

FAULTS = re.findall(r"^\| ([PDMNS]\d\d) \|", (ROOT / "docs/faults.md").read_text(), re.MULTILINE)


def has_test(fault: str) -> bool:
    number = re.compile(rf"def test_(\w+_)?{fault.lower()}_|\b{fault}\b")
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != "test_coverage.py"]
    return any(number.search(path.read_text()) for path in files)


def test_the_list_is_there():
    assert len(FAULTS) == len(set(FAULTS)) > 100


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_a_test(fault):
    assert has_test(fault)


def test_a_fault_without_a_test_is_seen():
    assert not has_test("P05")
