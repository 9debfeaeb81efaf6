"""`retrace adopt`: what a study found, into params.yaml."""

from dataclasses import replace
from pathlib import Path

import pytest

from retrace.artifacts.study import Candidate, Interval, StudyResult, write_study
from retrace.cli.adopt import adopt
from retrace.params.messages import PATH
from retrace.params.reader import read, read_verbatim
from retrace.params.train import Train
from retrace.runtime.errors import BAD_DATA, BAD_PARAMS, UserError
from tests.conftest import PARAMS
from tests.project import run, turn

SETTINGS = {"optimizer.learning_rate": 0.0000012, "hidden": [32, 8], "activation": "tanh", "init": "he_uniform"}


def result(adopted: int | None) -> StudyResult:
    present = Candidate(0, {}, 0.2, 0.2, None, 0.01, None, 0.9, 0.01, 100.0, 1.0, Interval(0.5, 0.4, 0.6))
    winner = replace(present, trial=7, settings=SETTINGS, improvement=Interval(0.05, 0.02, 0.08))
    return StudyResult(
        *("circles", "tpe", 64, 3, 4, 0.95, 6700, read_verbatim(Train)[1], [], [12, 34, 100], {"complete": 64}, 7),
        candidates=[present, winner],
        adopted=adopted,
        reason="trial 7 is surely better" if adopted else "none is surely better; the present one stays",
        importance=[],
        procedure=None,
    )


def test_the_winner_is_written_and_comments_stay(project, capsys):
    write_study(result(7))
    adopt(yes=True)
    section = read(Train)
    assert (section.optimizer.learning_rate, section.hidden, section.activation) == (0.0000012, [32, 8], "tanh")
    before, after = (text.splitlines() for text in (PARAMS, PATH.read_text()))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new.split("#")[0].strip() for _, new in changed] == [
        "hidden: [32, 8]",
        "activation: tanh",
        "learning_rate: 0.0000012",
    ]
    assert all(old.partition("#")[2] == new.partition("#")[2] for old, new in changed)
    said = capsys.readouterr().out
    assert said.startswith("adopt: trial 7 is surely better\n")
    assert "-  activation: relu" in said
    assert said.endswith("adopt: written; next: make run, or: dvc repro; the way back: git checkout params.yaml\n")
    with pytest.raises(UserError, match=r"train.hidden was \[10\] for reports/study/study.json, and is \[32, 8\] now"):
        adopt(yes=True)


def test_where_nothing_is_better_the_default_stays(project, capsys):
    write_study(result(None))
    adopt(yes=False)
    assert PATH.read_text() == PARAMS
    assert capsys.readouterr().out == "adopt: the default stays: none is surely better; the present one stays\n"


def test_it_asks_and_with_nobody_there_it_writes_nothing(project):
    write_study(result(7))
    done = run(Path(), "-m", "retrace", "adopt")
    assert done.returncode == BAD_PARAMS
    assert done.stderr == "adopt: nothing was written, since nobody is there to ask; add --yes\n"
    assert PATH.read_text() == PARAMS
    assert run(Path(), "-m", "retrace", "adopt", "--yes").returncode == 0
    assert PATH.read_text() != PARAMS


def test_a_study_of_another_state_says_nothing_of_this_one(project):
    write_study(result(7))
    turn(project, {"train.epochs": 7})
    with pytest.raises(UserError) as caught:
        adopt(yes=True)
    assert caught.value.status == BAD_DATA
    assert str(caught.value) == (
        "params.yaml: train.epochs was 100 for reports/study/study.json, and is 7 now, so that the study says nothing"
        " of it; run: make study, or: dvc repro study/dvc.yaml"
    )


def test_without_a_study_there_is_nothing_to_adopt(project):
    with pytest.raises(UserError, match=r"reports/study/study\.json not found"):
        adopt(yes=True)
