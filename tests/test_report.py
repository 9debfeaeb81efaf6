"""Stage report: one file, the same twice, made without any heavy library; the page itself: tests/report."""

import subprocess
import sys
from pathlib import Path

import pytest

from retrace.artifacts.result_page import COMMIT_SPOT, RESULT_PAGE
from retrace.report.result_page import result_page
from retrace.runtime.errors import BAD_DATA, UserError
from stages import report
from tests.conftest import PARAMS, ROOT
from tests.made_results import made, section, write_result

HEAVY = {"torch", "matplotlib", "mlflow", "sklearn", "scipy", "pandas", "optuna", "PIL"}


def test_the_stage_writes_the_page_of_its_section_and_the_same_again(project, capsys):
    result = made()
    (project / "params.yaml").write_text(PARAMS.replace("purpose: ''", "purpose: to tell left from right"))
    report.main()
    source = RESULT_PAGE.read_text("utf-8")
    assert capsys.readouterr().out == f"report: {RESULT_PAGE}, {len(source.encode()) / 1000:,.0f} kB\n"
    assert source == result_page(result, section(purpose="to tell left from right"))
    assert COMMIT_SPOT in source
    report.main()
    assert RESULT_PAGE.read_text("utf-8") == source


def test_a_file_that_is_missing_is_named(project):
    write_result()
    Path("data/decisions.json").unlink()
    with pytest.raises(UserError, match=r"data/decisions\.json not found; bring it back with: ") as caught:
        report.main()
    assert caught.value.status == BAD_DATA
    assert not RESULT_PAGE.exists()


@pytest.mark.parametrize("content", ["[]", '"circles"', "3"])
def test_decisions_that_are_none_are_refused(project, content):
    write_result()
    Path("data/decisions.json").write_text(content)
    with pytest.raises(UserError, match=r"data/decisions\.json is not what this code writes"):
        report.main()


def test_needs_no_heavy_library():
    check = f"import sys, stages.report; print({HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
