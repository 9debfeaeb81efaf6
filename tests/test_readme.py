"""The README says what the files say."""

import re

from commands.readme import filled
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_its_tables_are_those_of_the_files(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert filled(README) == README, "run: make readme"
    assert filled(README.replace("| validate | create |", "| create | validate |")) == README


def test_its_links_and_figures_are_there():
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).exists(), path


def test_its_make_targets_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?m)(?:^    |`)make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
