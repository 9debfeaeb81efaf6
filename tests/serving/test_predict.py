"""`predict` on real files with a model of every kind of column, and the same model through MLflow's pyfunc."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrace.artifacts import paths
from retrace.artifacts.schema import read_schema
from retrace.artifacts.tables import read_table
from retrace.cli.main import invoke
from retrace.evaluation import predictions
from retrace.networks.model_files import load
from retrace.params.evaluate import Evaluate
from retrace.params.reader import read
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.serving.frame import rows_of
from stages import create, split, train
from tests.conftest import PARAMS, ROOT
from tests.project import TINY, environment, run, turn
from tests.windows import without_posix

COLUMNS = ["age", "town", "member", "when"]


def people(count: int, seed: int = 0, strange: bool = False) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    kind = random.integers(0, 3, count)
    towns = ["Rome", "Köln", "", "Bern, old"] + (["Atlantis"] if strange else [])
    return pd.DataFrame(
        {
            "id": np.arange(count) + 1,
            "age": np.where(random.random(count) < 0.1, np.nan, random.normal(40 + 9 * kind, 10).round(2)),
            "town": random.choice(towns, count),
            "member": random.choice(["yes", "no", ""], count),
            "when": [f"2026-01-{day:02}T{day % 24:02}:30:00" for day in random.integers(1, 29, count)],
            "species": np.array(["NA", "ant", "bee"])[kind],
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A project with a model of a table of one's own."""
    root = tmp_path_factory.mktemp("predict") / "project ü"
    (root / "data/tables").mkdir(parents=True)
    (root / "params.yaml").write_text(PARAMS)
    people(400).to_csv(root / "data/tables/people.csv", index=False)
    table = {"create.table.path": "data/tables/people.csv", "create.table.target": "species"}
    turn(root, {**TINY, "create.dataset": "table", **table})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for stage in (create, split, train):
            stage.main()
    return root


@pytest.fixture
def here(trained, monkeypatch):
    monkeypatch.chdir(trained)


def call(monkeypatch, *arguments: str) -> None:
    invoke(["predict", *arguments])


def expected(frame: pd.DataFrame) -> np.ndarray:
    model = load(Path("models"))
    rows = frame[COLUMNS].replace({"town": {"": None}, "member": {"": None}})
    known = model.description
    return model.probabilities(rows_of(rows, known.features, known.kinds, known.preprocessing))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("out", ["csv", "parquet"])
def test_it_says_what_evaluate_would(here, tmp_path, monkeypatch, ending, out):
    rows = people(1000, seed=5, strange=True)
    given, result = tmp_path / f"rows.{ending}", tmp_path / f"result.{out}"
    shuffled = rows[["when", "species", "member", "id", "town", "age"]].drop(columns="species")
    if ending == "csv":
        shuffled.to_csv(given, index=False)
    else:
        shuffled.replace({"town": {"": None}, "member": {"": None}}).to_parquet(given)
    call(monkeypatch, str(given), str(result))
    found = pd.read_csv(result, keep_default_na=False) if out == "csv" else pd.read_parquet(result)
    assert list(found) == ["label", "probability_NA", "probability_ant", "probability_bee"]
    np.testing.assert_allclose(found.iloc[:, 1:].to_numpy(), expected(rows), atol=1e-6)
    assert found["label"].tolist() == [["NA", "ant", "bee"][each] for each in expected(rows).argmax(1)]


def test_it_keeps_columns_and_counts_what_is_right(here, tmp_path, monkeypatch, capsys):
    rows = people(300, seed=6)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    call(monkeypatch, str(tmp_path / "rows.csv"), str(tmp_path / "out.csv"), "--keep")
    found = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert list(found)[:7] == [*rows, "label"]
    right = (found["label"] == rows["species"]).sum()
    assert f"300 rows of {tmp_path}/rows.csv" in (line := capsys.readouterr().out)
    assert f"; {right} of them right" in line


def test_in_small_pieces_it_says_the_same(here, tmp_path, monkeypatch):
    people(500, seed=7).to_csv(tmp_path / "rows.csv", index=False)
    call(monkeypatch, str(tmp_path / "rows.csv"), str(tmp_path / "whole.csv"))
    monkeypatch.setattr("retrace.data.source.BLOCK", 1000)
    call(monkeypatch, str(tmp_path / "rows.csv"), str(tmp_path / "pieces.csv"))
    whole, pieces = (pd.read_csv(tmp_path / name, keep_default_na=False) for name in ("whole.csv", "pieces.csv"))
    assert whole["label"].equals(pieces["label"])
    np.testing.assert_allclose(whole.iloc[:, 1:], pieces.iloc[:, 1:], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows.drop(columns="town"), "column town is missing; the model needs age, town, member, when"),
        (lambda rows: rows.assign(age="old"), "column age, row 1: 'old' is not a number"),
        (lambda rows: rows.assign(when="May"), "column when, row 1: 'May' is not a date"),
        (lambda rows: rows.assign(member="perhaps"), "column member, row 1: 'perhaps' is not true or false"),
        (lambda rows: rows.assign(species="wasp"), "row 1: the label 'wasp' is not one of the model's"),
        (lambda rows: rows.assign(age=1e300), "column age, row 1: 1e\\+300 is not a finite number"),
        (lambda rows: rows[:0], "has no rows"),
    ],
)
def test_a_bad_table_is_one_line_and_leaves_no_output(here, tmp_path, monkeypatch, change, words):
    change(people(30)).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(UserError, match=words) as caught:
        call(monkeypatch, str(tmp_path / "rows.csv"), str(tmp_path / "out.csv"))
    assert caught.value.status == BAD_DATA
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


COMMAND = """
import runpy, sys
sys.path.insert(0, {root!r})
sys.argv = ["retrace", "predict", "rows Ω.csv", {out!r}, "--keep"]
runpy.run_module("retrace", run_name="__main__", alter_sys=True)
"""


def test_it_needs_nothing_that_plain_windows_lacks(here, tmp_path):
    """The same bytes, and the same line, in letters that the terminal there may lack."""
    people(500, seed=7, strange=True).to_csv("rows Ω.csv", index=False)
    windows = {**environment(), "PYTHONIOENCODING": "cp1252"}
    done = run(Path(), "-m", "retrace", "predict", "rows Ω.csv", str(tmp_path / "a.csv"), "--keep")
    assert done.returncode == 0, done.stderr
    # What a writer left there that is gone; whether it is, another call tells on Windows.
    left = tmp_path / f".b.csv.{2**22 + 1}.tmp"
    left.touch()
    there = without_posix(COMMAND.format(root=str(ROOT), out=str(tmp_path / "b.csv")), Path(), windows)
    assert there.returncode == 0, there.stderr
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    assert there.stdout.replace("b.csv", "a.csv") == done.stdout.replace("Ω", r"\u03a9")
    assert not left.exists()


def test_there_too_a_fault_is_one_line(here, tmp_path):
    people(5).drop(columns="age").to_csv(tmp_path / "rows Ω.csv", index=False)
    for name in ("models", "params.yaml", "data"):
        (tmp_path / name).symlink_to(Path(name).absolute())
    there = without_posix(COMMAND.format(root=str(ROOT), out="b.csv"), tmp_path, environment())
    assert there.returncode == BAD_DATA, there.stderr
    assert re.fullmatch(r"rows Ω\.csv: column age is missing; the model needs .*\n", there.stderr), there.stderr


def test_files_of_other_kinds_are_refused(here, tmp_path, monkeypatch):
    for given, out, words in (
        ("nowhere.csv", "out.csv", "nowhere.csv not found"),
        ("params.yaml", "out.csv", "params.yaml must end with .csv"),
        ("data/tables/people.csv", "out.xlsx", "out.xlsx must end with .csv or .parquet"),
    ):
        with pytest.raises(UserError, match=words):
            call(monkeypatch, given, out)


def test_the_whole_way_judges_the_same_rows(here, capsys):
    """evaluate, on the test rows of this table, agrees with predict on them."""
    schema, test = read_schema(), read_table(paths.TEST)
    assert (schema.kinds["town"], schema.carried) == ("categorical", ["id"])
    section = read(Evaluate).decided(0.5)
    verdict = predictions.predict(load(Path("models")), load(Path("models"), "replicas"), test, schema, section).model
    ids = [int(each) - 1 for each in test.column("id").to_pylist()]
    np.testing.assert_allclose(verdict.probabilities, expected(people(400).iloc[ids]), atol=1e-7)


def test_the_answers_are_the_same_by_any_number_of_threads(here, tmp_path):
    """Of a table of three pieces, whose rows are all different."""
    people(140_000).to_parquet(tmp_path / "many.parquet", index=False)
    found = []
    for count in "123":
        out = tmp_path / f"{count}.parquet"
        done = run(Path(), "-m", "retrace", "predict", str(tmp_path / "many.parquet"), str(out), RETRACE_WORKERS=count)
        assert done.returncode == 0, done.stderr
        assert "predict: 140,000 rows" in done.stdout
        found.append(out.read_bytes())
    assert found[0] == found[1] == found[2]


def test_test_rows_teach_the_preprocessing_nothing(trained, tmp_path, monkeypatch):
    """Other test and validation rows: the fitted state is the same to the bit."""
    import shutil

    root = Path(shutil.copytree(trained, tmp_path / "copy"))
    monkeypatch.chdir(root)
    before = json.loads(Path("models/model.json").read_text())["preprocessing"]
    for path in (paths.TEST, paths.VALIDATION):
        table = read_table(path)
        table = table.set_column(0, "age", pa.array(np.full(table.num_rows, 1e6)))
        towns = pa.array(["Nowhere"] * table.num_rows).dictionary_encode()
        pq.write_table(table.set_column(1, "town", towns), path)
    train.main()
    assert json.loads(Path("models/model.json").read_text())["preprocessing"] == before


def test_a_parquet_table_with_empty_texts_and_missing_ones_is_predicted_as_it_was_learned(project):
    """Each in a tenth of the rows; the model knows both, and one that lacked none refuses what it cannot tell apart."""
    Path("data/tables").mkdir(parents=True)
    random = np.random.default_rng(0)
    town = random.choice(["", "a", "b"], 400).tolist()
    frame = pd.DataFrame({"town": town, "x": random.normal(size=400), "y": random.choice(["u", "v"], 400)})
    lacking = frame.assign(town=[None if row % 10 == 0 else text for row, text in enumerate(town)])
    turn(project, {**TINY, "create.dataset": "table", "create.table.path": "data/tables/t.parquet"})
    turn(project, {"create.table.target": "y"})
    for table, refused in ((lacking, False), (frame, True)):
        table.to_parquet("data/tables/t.parquet")
        for stage in (create, split, train):
            stage.main()
        lacking.to_parquet("new.parquet")
        if refused:
            with pytest.raises(UserError, match="column town, row 1: None may be the category ''"):
                invoke(["predict", "new.parquet", "out.parquet"])
        else:
            invoke(["predict", "new.parquet", "out.parquet"])
            assert len(pd.read_parquet("out.parquet")) == 400


def test_whole_numbers_that_pandas_wrote_as_floats_are_the_categories_of_training(project):
    """A gap makes pandas write 3 as 3.0."""
    Path("data/tables").mkdir(parents=True)
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"grade": random.integers(1, 5, 240), "x": random.normal(size=240)})
    frame["y"] = np.where((frame["grade"] > 2) ^ (random.random(240) < 0.1), "u", "v")
    frame.to_csv("data/tables/t.csv", index=False)
    turn(project, {**TINY, "create.dataset": "table", "create.table.path": "data/tables/t.csv"})
    turn(project, {"create.table.target": "y", "create.columns.categorical": ["grade"], "train.epochs": 20})
    for stage in (create, split, train):
        stage.main()
    answers = []
    for grade in (frame["grade"].astype(object), frame["grade"].astype(float)):
        frame.assign(grade=grade).drop(columns="y").to_csv("new.csv", index=False)
        invoke(["predict", "new.csv", "out.csv"])
        answers.append(Path("out.csv").read_bytes())
    assert answers[0] == answers[1]
