"""Every fault of docs/faults.md has a test: its number stands in the name of one, in a comment or an id beside it."""

import functools
import re

import pytest

from tests.conftest import ROOT

FAULTS = re.findall(r"^\| ([PDMNS]\d\d) \|", (ROOT / "docs/faults.md").read_text(), re.MULTILINE)


def has_test(fault: str) -> bool:
    number = re.compile(rf"def test_(\w+_)?{fault.lower()}_|\b{fault}\b")
    return any(number.search(text) for text in texts())


@functools.cache
def texts() -> list[str]:
    """Of the tests, and of those campaigns of which they run a sample."""
    own = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path.name != "test_coverage.py"]
    sampled = re.findall(r"^from campaigns\.(\w+) import", "\n".join(own), re.MULTILINE)
    return [*own, *((ROOT / f"campaigns/{name}.py").read_text() for name in sampled)]


def test_the_list_is_there():
    assert len(FAULTS) == len(set(FAULTS)) > 100


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_a_test(fault):
    assert has_test(fault)


def test_a_fault_without_a_test_is_seen():
    assert not has_test("P05")
