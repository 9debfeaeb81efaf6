"""`retrace`: its commands, their help and what a shell completes."""

import importlib
import os
import subprocess
import sys

import click
import pytest

from retrace.cli.main import COMMANDS
from tests.conftest import ROOT


def ask(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "retrace", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


def test_the_list_names_every_module_that_is_a_command():
    modules = {path.stem for path in (ROOT / "retrace/cli").glob("*.py") if "command" in vars(load(path.stem))}
    assert modules == {name.replace("-", "_") for name in COMMANDS}


def load(name: str):
    return importlib.import_module(f"retrace.cli.{name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_explains_itself_with_an_example(name):
    command = load(name.replace("-", "_")).command
    shown = command.get_help(click.Context(command, info_name=f"retrace {name}"))
    assert f"Usage: retrace {name}" in shown
    assert f"retrace {name}" in shown.split("Example: ", 1)[1]


def test_help_loads_none_of_them():
    code = "import sys\nfrom retrace.cli.main import invoke\ntry: invoke(['--help'])\nexcept Exception: pass\n"
    code += "print(sorted({'torch', 'mlflow', 'dvc', 'pyarrow', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in COMMANDS)


def test_an_unknown_command_and_a_missing_argument_are_named():
    for arguments, words in ((["predict"], "Missing argument 'INPUT'"), (["predictt"], "No such command 'predictt'")):
        done = ask(*arguments)
        assert done.returncode == 2
        assert words in done.stderr


def test_a_shell_completes_it():
    done = ask(_RETRACE_COMPLETE="bash_complete", COMP_WORDS="retrace check-", COMP_CWORD="1")
    assert done.stdout.splitlines() == ["plain,check-cache"], done.stderr
