"""Files of lessons/: the shipped ones are sound, and each fault of another is one line that names its place."""

import re
import shlex

import pytest
from ruamel.yaml import YAML

from retrace.lessons.measures import faults_of_expression
from retrace.params.lesson import lesson_names, read_lesson, unknown_lesson
from retrace.params.reader import check, leaves
from retrace.runtime.errors import UserError
from stages.validate import SECTIONS
from tests.conftest import PARAMS, ROOT
from tests.made_lessons import NAME, SMALL, write_lesson
from tests.project import turn

NAMES = lesson_names(ROOT)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_shipped_lessons_are_numbered_one_by_one():
    assert [int(name[:2]) for name in NAMES] == list(range(1, len(NAMES) + 1))
    assert len(NAMES) >= 12


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_lesson_is_sound_and_what_it_tells_to_try_next_can_be_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    lesson = read_lesson(name).lesson
    assert len(lesson.questions) >= 2
    assert lesson.claim.strip().endswith(".")
    for each in lesson.expect:
        assert list(faults_of_expression(each.value, lesson.variants)) == []
    command = shlex.split(lesson.next)
    assert command[:3] == ["dvc", "exp", "run"]
    changes = dict(item.split("=", 1) for item in command[4::2])
    assert set(command[3::2]) == {"-S"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    known = dict(leaves(YAML(typ="safe").load(PARAMS)))
    assert set(changes) <= set(known)
    turn(tmp_path, {key: YAML(typ="safe").load(value) for key, value in changes.items()})
    assert set(check(SECTIONS)) == set(known)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"claim": None}, r"lessons/01-a-small-one.yaml: claim is missing; must be a text"),
        ({"clame": "x"}, r"lessons/01-a-small-one.yaml:\d+: clame is no part of a lesson; did you mean claim\?"),
        ({"title": 3}, r"lessons/01-a-small-one.yaml:\d+: title must be a text; got 3"),
        ({"variants": {}, "animation": []}, r"lessons/01-a-small-one.yaml:\d+: variants .*"),
        (
            {"settings": {"train.epoch": 3}},
            r".*:\d+: settings.train.epoch must be a parameter of section create, split or train; did you mean "
            r"train.epochs\?",
        ),
        (
            {"settings": {"train.epochs": 0}},
            r".*:\d+: settings.train.epochs must be a whole number from 1 to 1,000,000; got 0",
        ),
        (
            {"variants": {"ten": {"train.optimizer.nesterov": True}}, "animation": []},
            r".*:\d+: .* must be > 0 with nesterov: true; got .*",
        ),
        (
            {"variants": {"ten": {"train.patience": 3}}, "animation": []},
            r".*:\d+: variants.ten must leave train.patience, ship and temperature as they are: .*",
        ),
        (
            {"settings": {"create.dataset": "table"}},
            r".*:\d+: settings.create.dataset must be made or come with scikit-learn: a lesson has no table beside it",
        ),
        (
            {"animation": ["eleven"]},
            r".*:\d+: animation must name variants of the lesson \(ten, fast, zeros\); got the text 'eleven'",
        ),
        (
            {"figures": [{"kind": "curves", "title": "x"}]},
            r".*:\d+: figures\[0\] is of kind curves, and must be of one of accuracy, loss, .*, health; got null",
        ),
        (
            {"figures": [{"kind": "layers", "of": "loss", "title": "x"}]},
            r".*:\d+: figures\[0\] is of kind layers, and must be of one of gradient, activation; got the text 'loss'",
        ),
        (
            {"expect": [{"says": "x", "value": "1"}]},
            r".*:\d+: expect\[0\] must have one of above, below and equals beside it",
        ),
    ],
)
def test_a_fault_is_one_line_that_names_its_place(folder, changes, expected):
    write_lesson(folder, **changes)
    with pytest.raises(UserError) as caught:
        read_lesson(NAME)
    assert caught.value.status == 2
    (line,) = str(caught.value).split("\n")
    assert re.fullmatch(expected, line), line


def test_all_faults_are_said_at_once(folder):
    write_lesson(folder, settings={"train.epoch": 3, "train.replicas": 0}, animation=["x"])
    with pytest.raises(UserError) as caught:
        read_lesson(NAME)
    assert len(str(caught.value).split("\n")) == 3


def test_the_small_lesson_is_sound(folder):
    told = read_lesson(write_lesson(folder) and NAME)
    assert [each.name for each in told.variants] == list(SMALL["variants"])
    assert told.variants[1].train.optimizer.learning_rate == 2.0
    assert told.variants[0].train.optimizer.learning_rate == 1.0
    assert told.variants[2].train.init == "zeros"
    assert told.variants[0].create.rows == 300


def test_a_file_that_is_no_lesson_is_said_to_be_none(folder):
    write_lesson(folder)
    (folder / f"lessons/{NAME}.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match=r"01-a-small-one.yaml:1: column 1: must hold a lesson .*; got a list"):
        read_lesson(NAME)


def test_a_lesson_that_is_not_there(folder):
    write_lesson(folder)
    assert str(unknown_lesson("9")) == "lessons/ has no lesson the text '9'; it has 01-a-small-one"
