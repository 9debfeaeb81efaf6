"""docs/notebook.ipynb: the script beside it, cell by cell; and the script runs in a project that has run."""

import subprocess
import sys

import jupytext
import pytest

from tests import project
from tests.conftest import ROOT
from tests.project import warm_environment


def cells(name: str) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in jupytext.read(ROOT / name).cells]


def test_the_notebook_is_its_script():
    fix = "run: jupytext --to ipynb docs/notebook.py"
    assert cells("docs/notebook.ipynb") == cells("docs/notebook.py"), fix
    assert all(not cell.get("outputs") for cell in jupytext.read(ROOT / "docs/notebook.ipynb").cells)


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> str:
    folder = project.finished(tmp_path_factory.mktemp("notebook") / "tiny")
    before = project.git(folder, "status", "--short")
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "docs/notebook.py"]
    env = warm_environment() | {"MPLBACKEND": "Agg", "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert project.git(folder, "status", "--short") == before, "the experiment left the folder as it was"
    return done.stdout


def test_the_script_tells_the_result_the_predictions_and_what_another_setting_gave(printed):
    assert "accuracy on 100 test rows: " in printed
    assert " outer  inner" in printed
    assert "dvc exp apply" in printed
    assert "{'accuracy': " in printed
