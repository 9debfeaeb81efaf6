"""Writes into dvc.yaml which code each stage depends on: the files that it imports, at any depth.

What a person writes there stays as it is; only the code files at the end of each stage's deps are written anew.
"""

import re
from pathlib import Path

import click

from retrace.runtime.atomic import write_text
from retrace.runtime.imports import ROOT, closure
from retrace.tracking.model import ENTRY

# The pipeline's, and those beside it.
GRAPHS = (Path("dvc.yaml"), Path("study/dvc.yaml"))
_STAGE = re.compile(r"^  (\w+):\n(?:(?:    .*)?\n)+", re.MULTILINE)
_CODE = re.compile(r"^      - (?:retrace|stages)/.*\.py\n", re.MULTILINE)
_DEPS = re.compile(r"^    deps:\n(?:      .*\n)+", re.MULTILINE)


def code_deps(stage: str, root: Path = ROOT) -> list[str]:
    """The code files that a stage depends on, sorted."""
    served = closure(ENTRY.as_posix(), root) if stage == "record" else []
    return sorted({*closure(f"stages/{stage}.py", root), *served})


def with_code(text: str, root: Path = ROOT) -> str:
    """dvc.yaml with each stage's code files as the last of its deps."""

    def stage(found: re.Match[str]) -> str:
        code = "".join(f"      - {path}\n" for path in code_deps(found[1], root))
        return _DEPS.sub(lambda deps: _CODE.sub("", deps[0]) + code, found[0])

    head, stages, *rest = re.split(r"^(?=stages:$|params:$)", text, maxsplit=2, flags=re.MULTILINE)
    return "".join([head, _STAGE.sub(stage, stages), *rest])


@click.command(epilog="Example: retrace graph && dvc repro")
def command() -> None:
    """Write into dvc.yaml which code each stage imports, at any depth; what a person wrote there stays."""
    for path in GRAPHS:
        write_text(path, with_code(path.read_text("utf-8")))
    print(f"graph: {' and '.join(map(str, GRAPHS))} name the code that each stage imports")
