"""`retrace study`: run the study as the graph study/dvc.yaml has it, then say in a few lines what came of it.

With --mirror its trials appear in a storage of Optuna while it is under way (retrace/cli/study_mirror.py). That is a
process of its own, and nothing here waits for it but at the end, for as long as it gets on.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from retrace.artifacts.study_feed import first_line
from retrace.cli.repro import repro
from retrace.cli.study_summary import summary_lines
from retrace.figures.study.inputs import read_study_tables
from retrace.report.study_advice import advice
from retrace.tracking.study_mirror import Target

GRAPH = Path("study/dvc.yaml")
# More than the mirror takes by its own clock: only one that was stopped, say, does not end by then.
MIRROR_SECONDS = 75


@click.command(
    epilog="Example: retrace study --mirror study.journal, and beside it: optuna-dashboard study.journal"
    " (of the package optuna-dashboard)"
)
@click.option(
    "--mirror",
    metavar="URL",
    help="Show finished trials in a storage of Optuna: FILE.journal, sqlite:///FILE or postgresql://USER@HOST/DATABASE.",
)
def command(mirror: str | None) -> None:
    """Which settings of section train are better, and is it sure? Runs `dvc repro study/dvc.yaml`, and sums it up.

    What is searched, and how long, is the section `study` of params.yaml. The exit status is DVC's."""
    target = Target.of(mirror) if mirror else None
    with mirroring(target) as mirror_process:
        status = repro(GRAPH.as_posix())
        if mirror_process:
            end(mirror_process, status)
        if status == 0:
            tables = read_study_tables()
            print("\n".join(summary_lines(tables.result, advice(tables))), flush=True)
    if status:
        raise click.exceptions.Exit(status)


@contextlib.contextmanager
def mirroring(target: Target | None) -> "Iterator[subprocess.Popen[str] | None]":
    """The process that mirrors; what is within need not wait for it, and what comes after is not before its end."""
    if target is None:
        yield None
        return
    before = first_line()
    # A session of its own: Ctrl-C is for the study, whose last trials are still to be mirrored.
    process = subprocess.Popen(
        [sys.executable, "-m", "retrace.cli.study_mirror"], stdin=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _tell(process, {"url": target.url, "before": before})
        yield process
        process.wait(MIRROR_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"study: mirror {target.shown}: does not end, and was left behind", file=sys.stderr)
    finally:
        process.kill()
        process.wait()


def end(process: "subprocess.Popen[str]", status: int) -> None:
    """Let it know that the study has ended: it brings what is missing, and ends."""
    _tell(process, {"status": status})


def _tell(process: "subprocess.Popen[str]", content: dict[str, object]) -> None:
    assert process.stdin
    with contextlib.suppress(BrokenPipeError):  # it has said why
        process.stdin.write(json.dumps(content) + "\n")
        process.stdin.flush()
