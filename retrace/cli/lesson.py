"""`retrace lesson [NUMBER]`: one lesson or all of them, by the graph lessons/dvc.yaml, and whether they hold."""

import webbrowser
from collections.abc import Sequence
from pathlib import Path

import click

from retrace.artifacts.lesson import INDEX, Found, Verdict, page_files, read_verdict
from retrace.cli.graph import with_lessons
from retrace.cli.repro import repro
from retrace.params.lesson import lesson_names, read_lesson, unknown_lesson
from retrace.runtime.atomic import write_text
from retrace.runtime.errors import BAD_PARAMS, GATE_FAILED, UserError
from retrace.runtime.text import listed

GRAPH = "lessons/dvc.yaml"


@click.command(epilog="Example: retrace lesson 9 --open")
@click.argument("lesson", metavar="[NUMBER]", required=False)
@click.option("--open", "opens", is_flag=True, help="Open its page in the browser.")
def command(lesson: str | None, opens: bool) -> None:
    """Does a lesson hold? Trains its variants, judges its numbers and draws its page; without a number: all lessons.

    The exit status is DVC's; 5 where a claim does not hold.
    """
    names = lesson_names() if lesson is None else [named(lesson)]
    for name in names:
        read_lesson(name)  # its faults are said before anything runs
    bring_up_to_date()
    targets = [GRAPH] if lesson is None else [f"{GRAPH}:lessons_plot@{names[0]}"]
    if status := repro(*targets):
        raise click.exceptions.Exit(status)
    verdicts = [read_verdict(name) for name in names]
    page = INDEX if lesson is None else page_files(names[0]).html
    lines = summary(verdicts) if lesson is None else told(verdicts[0])
    print("\n".join(["", *lines, f"{'page':<8} {page.as_posix()}"]), flush=True)
    if opens:
        webbrowser.open((Path.cwd() / page).as_uri())
    if not all(verdict.holds for verdict in verdicts):
        raise click.exceptions.Exit(GATE_FAILED)


def bring_up_to_date() -> None:
    """A lesson is added by adding its file: the graph is told of it here, and of one that is gone."""
    path = Path(GRAPH)
    text = path.read_text("utf-8")
    if (new := with_lessons(text, lesson_names())) != text:
        write_text(path, new)


def named(asked: str) -> str:
    """The lesson with this number, or of this name; raises UserError where there is none."""
    number = f"{int(asked):02}-" if asked.isascii() and asked.isdigit() else None
    found = [name for name in lesson_names() if name == asked or (number and name.startswith(number))]
    if len(found) > 1:
        raise UserError(BAD_PARAMS, f"lessons/ has {listed(found)}: one number is for one lesson; rename one of them")
    if not found:
        raise unknown_lesson(asked)
    return found[0]


def summary(verdicts: Sequence[Verdict]) -> list[str]:
    held = sum(verdict.holds for verdict in verdicts)
    lines = [
        f"{'holds' if verdict.holds else 'FAILS':<8} {verdict.name}" + "".join(map(_failed, verdict.expectations))
        for verdict in verdicts
    ]
    return [*lines, f"{'in all':<8} {held} of {len(verdicts)} lessons hold"]


def _failed(found: Found) -> str:
    return "" if found.holds else f"; {found.says}: {_numbers(found)}"


def told(verdict: Verdict) -> list[str]:
    """The lesson, and each of its expectations with its number."""
    lesson = read_lesson(verdict.name).lesson
    lines = [f"{'lesson':<8} {lesson.title}", f"{'claim':<8} {' '.join(lesson.claim.split())}"]
    lines += [
        f"{'holds' if found.holds else 'FAILS':<8} {found.says}: {_numbers(found)}" for found in verdict.expectations
    ]
    return [*lines, f"{'next':<8} {lesson.next}"]


def _numbers(found: Found) -> str:
    value = "no number" if found.value is None else f"{found.value:.3g}"
    return f"{value}, must be {found.must_be}"
