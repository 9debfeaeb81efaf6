"""Lessons under real DVC: what a change reruns, what `retrace lesson` says, and that an untrue claim fails."""

import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from retrace.cli.graph import with_lessons
from retrace.cli.lesson import GRAPH
from retrace.params.lesson import lesson_names, path_of
from tests.conftest import ROOT
from tests.made_lessons import NAME, SMALL, write_lesson
from tests.project import TINY, copied, copy_project, once, run

SECOND = "02-another"


@pytest.fixture(scope="module")
def made() -> Path:
    """A project with two small lessons in place of the shipped ones, after `retrace lesson`."""
    with once("a project with lessons") as (folder, empty):
        if empty:
            copy_project(folder, TINY)
            for name in lesson_names(folder):
                (folder / path_of(name)).unlink()
            for name in (NAME, SECOND):
                write_lesson(folder, name, animation=[], figures=SMALL["figures"][:1])
            done = lesson(folder)
            assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    return copied(made, tmp_path / "a copy")


def lesson(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run(folder, "-m", "retrace", "lesson", *arguments)


def ran(done: "subprocess.CompletedProcess[str]") -> list[str]:
    return [line.split(":")[1].rstrip("'") for line in done.stdout.splitlines() if line.startswith("Running stage")]


def test_all_lessons_are_told_with_a_page_each_and_an_index(made, folder):
    done = lesson(folder)
    assert done.returncode == 0, done.stderr
    assert ran(done) == []
    assert done.stdout.splitlines()[-4:] == [
        f"holds    {NAME}",
        f"holds    {SECOND}",
        "in all   2 of 2 lessons hold",
        "page     reports/lessons/index.html",
    ]
    for name in (NAME, SECOND):
        assert (folder / f"reports/lessons/{name}/lesson.html").exists()
    index = (folder / "reports/lessons/index.html").read_text()
    assert f'href="{NAME}/lesson.html"' in index
    assert "2 of 2 hold" in index


def test_a_change_of_a_lesson_runs_that_lesson_and_the_index(folder):
    write_lesson(folder, animation=[], figures=SMALL["figures"][:1], title="Another title")
    done = lesson(folder, "1")
    assert ran(done) == [f"lessons@{NAME}", f"lessons_plot@{NAME}"]
    assert "lesson   Another title" in done.stdout
    assert "Another title" in (folder / f"reports/lessons/{NAME}/lesson.html").read_text()


def test_changed_code_runs_what_imports_it(folder):
    """By its digest: of figures no lesson is trained again."""
    with open(folder / "retrace/figures/lesson/panels.py", "a", encoding="utf-8") as file:
        file.write("# another word\n")
    done = lesson(folder, "1")
    assert ran(done) == ["lessons_code", f"lessons_plot@{NAME}"], done.stdout
    with open(folder / "retrace/lessons/measures.py", "a", encoding="utf-8") as file:
        file.write("# another word\n")
    assert ran(lesson(folder, "1"))[:2] == ["lessons_code", f"lessons@{NAME}"]


def test_params_yaml_of_today_changes_no_lesson(folder):
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("activation: relu", "activation: tanh"))
    assert ran(lesson(folder)) == []


def test_a_claim_that_is_untrue_fails_and_says_by_how_much(folder):
    expect = [{"says": "zeros learn", "value": 'mean(start_gradient("zeros", 1))', "above": 0.5}]
    write_lesson(folder, animation=[], figures=SMALL["figures"][:1], expect=expect)
    done = lesson(folder)
    assert done.returncode == 5
    assert sorted(ran(done)) == sorted([f"lessons@{NAME}", f"lessons_plot@{NAME}", "lessons_index"])
    assert f"FAILS    {NAME}; zeros learn: 0, must be > 0.5" in done.stdout
    assert "in all   1 of 2 lessons hold" in done.stdout
    assert "1 of 2 hold" in (folder / "reports/lessons/index.html").read_text()
    alone = lesson(folder, NAME)
    assert alone.returncode == 5
    assert "FAILS    zeros learn: 0, must be > 0.5" in alone.stdout


def test_a_lesson_is_added_by_adding_its_file(folder):
    write_lesson(folder, "03-new", animation=[], figures=SMALL["figures"][:1])
    done = lesson(folder, "3")
    assert done.returncode == 0, done.stderr
    assert ran(done) == ["lessons@03-new", "lessons_plot@03-new"]
    (folder / "lessons/03-new.yaml").unlink()
    done = lesson(folder)
    assert "03-new" not in (folder / GRAPH).read_text()
    assert "2 of 2 lessons hold" in done.stdout


def test_faults_are_said_before_anything_runs(folder):
    write_lesson(folder, settings={"train.epoch": 3})
    done = lesson(folder)
    assert (done.returncode, ran(done)) == (2, [])
    assert (
        "settings.train.epoch must be a parameter of section create, split or train; did you mean train.epochs?"
        in done.stderr
    )
    done = lesson(folder, "7")
    assert done.returncode == 2
    assert done.stderr.strip() == f"lessons/ has no lesson the text '7'; it has {NAME}, {SECOND}"


def test_the_graph_of_the_shipped_lessons_is_up_to_date_as_it_is():
    """So that `retrace lesson` leaves the file alone."""
    text = (ROOT / GRAPH).read_text()
    assert with_lessons(text, lesson_names(ROOT)) == text


def test_the_graph_has_each_lesson_and_reads_nothing_of_the_pipeline():
    stages = YAML(typ="safe").load(ROOT / GRAPH)["stages"]
    names = lesson_names(ROOT)
    for name in ("lessons", "lessons_plot"):
        assert stages[name]["matrix"]["lesson"] == names
    for stage in stages.values():
        assert not [path for path in stage["deps"] if path.startswith(("data/", "models/"))]
    assert {f"lessons/{name}.yaml" for name in names} <= set(stages["lessons_index"]["deps"])
