"""The README says what the files say."""

import re
import shutil
import subprocess
from pathlib import Path

from retrace.cli.main import invoke
from retrace.cli.readme import BENCH, GRAPH, METRICS, QUALITY, filled
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_its_tables_are_those_of_the_committed_files(tmp_path, monkeypatch):
    """Of the last commit's: what somebody is trying at the moment is not yet the project's result."""
    for path in (METRICS, GRAPH, BENCH, QUALITY):
        shown = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, check=False)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(shown.stdout if shown.returncode == 0 else (ROOT / path).read_text())
    monkeypatch.chdir(tmp_path)
    assert filled(README) == README, "run: make readme"
    assert filled(README.replace("| validate | create |", "| create | validate |")) == README


def test_make_readme_mends_a_marked_part_that_was_written_by_hand(tmp_path, monkeypatch):
    for path in (METRICS, GRAPH, BENCH, QUALITY):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tmp_path / path)
    monkeypatch.chdir(tmp_path)
    right = filled(README)
    start = right.index("make readme -->") + len("make readme -->\n")
    Path("README.md").write_text(f"{right[:start]}by hand\n{right[start:]}")
    invoke(["readme"])
    assert Path("README.md").read_text() == right


def test_its_links_and_figures_are_there():
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).exists(), path


def test_its_make_targets_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?m)(?:^    |`)make ([\w-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
