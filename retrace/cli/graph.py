"""Writes into dvc.yaml which code each stage depends on: the files that it imports, at any depth; and which
lessons there are.

What a person writes there stays as it is; only the code files at the end of each stage's deps are written anew, and in
the graph of the lessons their names.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import click

from retrace.artifacts.lesson import CODE, verdict_file
from retrace.params.lesson import FOLDER as LESSONS
from retrace.params.lesson import lesson_names, path_of
from retrace.runtime.atomic import write_text
from retrace.runtime.imports import ROOT, closure
from retrace.tracking.model import ENTRY

# The pipeline's, and those beside it.
GRAPHS = (Path("dvc.yaml"), Path("study/dvc.yaml"), Path("lessons/dvc.yaml"))
_STAGE = re.compile(r"^  (\w+):\n(?:(?:    .*)?\n)+", re.MULTILINE)
_CODE = re.compile(r"^      - (?:retrace|stages)/.*\.py\n", re.MULTILINE)
_MATRIX = re.compile(r"^      lesson:.*\n(?:        - .*\n)*", re.MULTILINE)
_LISTED = re.compile(r"^      - (?:lessons/\d.*\.yaml|reports/lessons/[^$]*/verdict\.json)\n", re.MULTILINE)
_DEPS = re.compile(r"^    deps:\n(?:      .*\n)+", re.MULTILINE)


def code_deps(stage: str, root: Path = ROOT) -> list[str]:
    """The code files that a stage depends on, sorted. Of lessons, stage lessons_code makes a digest instead."""
    if stage in CODE:
        return []
    if stage == "lessons_code":
        return sorted({file for each in (stage, *CODE) for file in closure(f"stages/{each}.py", root)})
    served = closure(ENTRY.as_posix(), root) if stage == "record" else []
    return sorted({*closure(f"stages/{stage}.py", root), *served})


def with_code(text: str, root: Path = ROOT) -> str:
    """dvc.yaml with each stage's code files as the last of its deps."""

    def stage(found: re.Match[str]) -> str:
        code = "".join(f"      - {path}\n" for path in code_deps(found[1], root))
        return _DEPS.sub(lambda deps: _CODE.sub("", deps[0]) + code, found[0])

    head, stages, *rest = re.split(r"^(?=stages:$|params:$)", text, maxsplit=2, flags=re.MULTILINE)
    return "".join([head, _STAGE.sub(stage, stages), *rest])


def with_lessons(text: str, names: Sequence[str]) -> str:
    """lessons/dvc.yaml with these lessons in its matrices, and their files among the deps of stage lessons_index."""
    text = _MATRIX.sub("".join(["      lesson:\n", *(f"        - {name}\n" for name in names)]), text)
    head, index = text.split("  lessons_index:\n")
    listed = [f"      - {path}\n" for name in names for path in (path_of(name), verdict_file(name))]

    def deps(found: re.Match[str]) -> str:
        others = _LISTED.sub("", _CODE.sub("", found[0]))
        return "".join([others, *sorted(listed), *_CODE.findall(found[0])])

    index = _DEPS.sub(deps, index)
    return f"{head}  lessons_index:\n{index}"


@click.command(epilog="Example: retrace graph && dvc repro")
def command() -> None:
    """Write into dvc.yaml which code each stage imports, at any depth; what a person wrote there stays."""
    for path in GRAPHS:
        write_text(path, generated(path))
    print(f"graph: {', '.join(map(str, GRAPHS))} name the code that each stage imports")


def generated(path: Path, root: Path = ROOT) -> str:
    """What a graph's file must say, by what it says now."""
    text = (root / path).read_text("utf-8")
    if path.parent == LESSONS:
        text = with_lessons(text, lesson_names(root))
    return with_code(text, root)
