"""`retrace check`, and the warning of `retrace predict`: rows that are unlike the training rows."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retrace.cli.main import invoke
from retrace.preprocessing.reference import REFERENCE
from retrace.runtime.errors import BAD_DATA, UNLIKE, UserError
from tests.project import run
from tests.serving.test_predict import here, people, trained  # noqa: F401 - fixtures


def stranger(count: int, seed: int) -> pd.DataFrame:
    """The ages are in months, and a town has another name."""
    rows = people(count, seed)
    return rows.assign(age=12 * rows["age"], town=rows["town"].replace("Rome", "Roma"))


def put(rows: pd.DataFrame, path: Path) -> str:
    rows.to_csv(path, index=False) if path.suffix == ".csv" else rows.to_parquet(path)
    return str(path)


def test_rows_that_are_alike(here, tmp_path, capsys):  # noqa: F811
    invoke(["check", put(people(300, 3), tmp_path / "new.csv")])
    assert capsys.readouterr().out == (
        f"check: 300 rows of {tmp_path}/new.csv against 270 training rows\ncheck: nothing is unlike in 4 columns\n"
    )


def test_rows_that_are_not(here, tmp_path, capsys):  # noqa: F811
    """The columns that are unlike and no others, the surest first, what differs, by how much, how sure; status 6."""
    with pytest.raises(UserError) as caught:
        invoke(["check", put(stranger(300, 3), tmp_path / "new.csv")])
    assert caught.value.status == UNLIKE == 6
    assert str(caught.value).startswith(f"check: {tmp_path}/new.csv is unlike the training rows in ")
    head, titles, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("check: 300 rows of ")
    assert titles.split("  ")[1:2] == ["column"]
    assert {line.split()[0] for line in lines} <= {"age", "town", "(the"}
    age = next(line for line in lines if line.startswith("  age ") and "outside" in line)
    assert age.split("outside the training range")[1].split()[0] == "0.0%"
    assert any(line.startswith("  town ") and "with a rare or new value" in line for line in lines)
    chances = [line.split()[-1] for line in lines]
    assert all(chance == "1e-12" or float(chance) < 0.01 for chance in chances)


def test_a_target_that_is_there_is_held_against_the_classes(here, tmp_path, capsys):  # noqa: F811
    rows = people(600, 3)
    with pytest.raises(UserError, match="species"):
        invoke(["check", put(rows[rows["species"] != "ant"], tmp_path / "new.csv")])


def test_as_a_process_it_ends_with_six(trained, tmp_path):  # noqa: F811
    done = run(trained, "-m", "retrace", "check", put(stranger(300, 3), tmp_path / "new.csv"))
    assert done.returncode == UNLIKE
    assert done.stderr.count("\n") == 1
    assert run(trained, "-m", "retrace", "check", put(people(300, 3), tmp_path / "new.csv")).returncode == 0


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_predict_warns_in_one_line_and_says_the_same(here, tmp_path, capsys, ending):  # noqa: F811
    given = put(stranger(300, 3).drop(columns="species"), tmp_path / f"new.{ending}")
    answers = []
    for kept in (True, False):
        content = REFERENCE.read_bytes()
        if not kept:
            REFERENCE.unlink()
        try:
            invoke(["predict", given, str(tmp_path / "out.csv")])
        finally:
            REFERENCE.write_bytes(content)
        answers.append((tmp_path / "out.csv").read_bytes())
        error = capsys.readouterr().err
        assert error.count("\n") == kept
        if kept:
            assert error.startswith(f"predict: warning: {given} is unlike the training rows in ")
            assert "age" in error
            assert error.endswith("; see: retrace check\n")
    assert answers[0] == answers[1], "an older model has no reference, and answers alike"
    invoke(["predict", put(people(300, 3), tmp_path / "alike.csv"), str(tmp_path / "out.csv")])
    assert capsys.readouterr().err == ""


def test_what_is_said_to_see_shows_it(here, tmp_path, capsys):  # noqa: F811
    """`retrace check` names the columns that the warning of `predict` names."""
    given = put(stranger(300, 3), tmp_path / "new.csv")
    invoke(["predict", given, str(tmp_path / "out.csv")])
    warned = capsys.readouterr().err.partition("unlike the training rows in ")[2].partition(";")[0]
    with pytest.raises(UserError) as caught:
        invoke(["check", given])
    assert str(caught.value).endswith(warned)


def test_without_a_reference_there_is_nothing_to_check(here, tmp_path):  # noqa: F811
    content = REFERENCE.read_bytes()
    REFERENCE.unlink()
    try:
        with pytest.raises(UserError, match=r"models/reference.json not found; .*dvc repro"):
            invoke(["check", put(people(30, 3), tmp_path / "new.csv")])
        REFERENCE.write_text(json.dumps(json.loads(content) | {"columns": []}))
        for command, *out in (["check"], ["predict", str(tmp_path / "out.csv")]):
            with pytest.raises(UserError, match=r"models/reference.json is not of the model beside it; .*dvc repro"):
                invoke([command, str(tmp_path / "new.csv"), *out])
    finally:
        REFERENCE.write_bytes(content)


def test_what_is_refused_is_refused_as_by_predict(here, tmp_path):  # noqa: F811
    for rows, words in (
        (people(30, 3).drop(columns="age"), "column age is missing"),
        (people(30, 3).assign(age="old"), "column age, row 1"),
        (people(0, 3), "has no rows"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            invoke(["check", put(rows, tmp_path / "new.csv")])
        assert caught.value.status == BAD_DATA
    with pytest.raises(UserError, match=r"none.csv not found; name a CSV or Parquet file"):
        invoke(["check", "none.csv"])


def test_the_reference_holds_no_row(trained):  # noqa: F811
    content = json.loads((trained / REFERENCE).read_text())
    ages = {*people(400)["age"].dropna()}
    (age,) = (each for each in content["columns"] if each["column"] == "age")
    assert not {age["low"], age["high"]} & ages
    assert sum(content["classes"]) == content["rows"] == 270
    assert sum(content["answers"]) == 30
    assert np.sum(age["counts"]) == content["rows"]
