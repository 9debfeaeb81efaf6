"""`make table` on real files, as a process in a project of its own: what it prints, copies, asks and writes."""

import gzip
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from ruamel.yaml import YAML

from retrace.params.create import Create
from retrace.params.edit import edited, written
from retrace.params.gate import Gate
from retrace.params.reader import leaves, read, read_verbatim
from retrace.params.study import Study
from retrace.params.train import Train
from retrace.runtime.errors import BAD_DATA, BAD_PARAMS
from retrace.training.table_recipe import recipe
from tests.conftest import PARAMS, VALUES
from tests.project import copy_project, environment, git, repro, run, turn, warm_environment

ROWS = 60
# Of which 36 are for training; a mass, and the four parts of a date.
RECIPE = {".".join(key): value for key, value in recipe(36, 5, 2).items()}
DIFFERING = [key for key, value in leaves(VALUES) if RECIPE.get(key, value) != value]


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    return copy_project(tmp_path_factory.mktemp("table") / "project ü", {})


@pytest.fixture
def project(copied, monkeypatch) -> Path:
    """As it was copied, and as the working directory."""
    git(copied, "checkout", "--quiet", "--", ".")
    git(copied, "clean", "--quiet", "--force", "-d", "-x")
    (copied / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(copied)
    return copied


def frame(**columns) -> pd.DataFrame:
    random = np.random.default_rng(0)
    table = {
        "rowid": np.arange(ROWS) + 1,
        "mass": np.where(np.arange(ROWS) % 6, random.normal(size=ROWS).round(2), np.nan),
        "island": np.resize(["Dream", "Biscoe", "Torgersen", "Dream", "Biscoe"], ROWS),
        "when": [f"2026-01-{1 + index % 28:02}" for index in range(ROWS)],
        "species": np.resize(["Gentoo", "Adelie", "Gentoo", "Chinstrap"], ROWS),
    }
    return pd.DataFrame({**table, **columns})


def call(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = run(Path(), "-m", "retrace", "table", *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def refused(*arguments: str, status: int = BAD_DATA) -> str:
    """The one line with which it refuses; nothing has changed."""
    before = listing()
    line = call(*arguments, "--yes", status=status).stderr
    assert line.count("\n") == 1
    assert listing() == before
    return line


def answered(answer: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """With a terminal as its input, at which somebody types `answer`."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        command = [sys.executable, "-m", "retrace", "table", *arguments]
        return subprocess.run(command, stdin=theirs, capture_output=True, env=environment(), timeout=120, check=False)
    finally:
        os.close(ours)
        os.close(theirs)


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    installed = Path(".venv/installed")
    installed.parent.mkdir(exist_ok=True)
    installed.touch()
    return subprocess.run(
        ["make", "table", *arguments], env=warm_environment(), capture_output=True, text=True, check=False
    )


def listing() -> dict[str, bytes]:
    """params.yaml and all that lies in data/tables."""
    return {str(path): path.read_bytes() for path in (Path("params.yaml"), *Path("data/tables").rglob("*.*"))}


def section() -> tuple[str, str, str]:
    """As the stage reads it."""
    found = read(Create)
    return found.dataset, found.table.path, found.table.target


def settings() -> dict[str, Any]:
    """Those of train and gate, and what is searched, as the stages read them."""
    return (
        read_verbatim(Train)[1]
        | read_verbatim(Gate)[1]
        | {"study.seeds": read(Study).seeds, "study.space": read(Study).space}
    )


def changed_lines() -> list[str]:
    """Lines of params.yaml that are not the shipped ones; each is one of those in another shape, comment and all.

    But for the space of the study, at the end, which is another one.
    """
    shipped, written = (text.partition("\n  space:")[0] for text in (PARAMS, Path("params.yaml").read_text()))
    pairs = list(zip(shipped.split("\n"), written.split("\n"), strict=True))
    for old, new in pairs:
        assert old.partition("#")[2] == new.partition("#")[2]
        assert old.partition(":")[0] == new.partition(":")[0]
    return [new.partition("#")[0].rstrip() for old, new in pairs if old != new]


# --- what it finds and writes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.parquet", "parts"])
@pytest.mark.parametrize("outside", [True, False])
def test_from_the_file_to_the_data_set(project, tmp_path, name, outside):
    file = (tmp_path if outside else Path("data/tables")) / name
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    if name == "parts":
        for part in ("a.parquet", "more/b.parquet"):
            (file / part).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table.slice(0 if part == "a.parquet" else 30, 30), file / part)
        (file / "_SUCCESS").touch()
    elif name == "p.parquet":
        pq.write_table(table, file)
    else:
        text = frame().to_csv(index=False).encode()
        file.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    said = call(str(file), "species", "--yes").stdout
    place = Path("data/tables") / name
    assert section() == ("table", place.as_posix(), "species")
    assert (f"copy {file} to {place}" in said) == outside
    if outside and file.is_file():
        assert place.read_bytes() == file.read_bytes()
    if outside and name == "parts":
        assert sorted(each.name for each in place.rglob("*.*")) == ["a.parquet", "b.parquet"]
    assert not list(place.parent.glob(".*"))
    for stage in ("validate", "create"):
        done = run(project, "-m", f"stages.{stage}")
        assert done.returncode == 0, done.stderr
    assert f"create: {place}, 60 rows, 3 features" in done.stdout
    before = listing()
    assert "nothing to write" in call(str(file), "species").stdout
    assert listing() == before


def test_the_report(project, tmp_path):
    many = {f"c{index}": np.random.default_rng(index).normal(size=ROWS) for index in range(9)}
    table = frame(**many, same="x", empty="", other=[f"n{index % 15:02}" for index in range(ROWS)])
    table.to_csv(tmp_path / "p.csv", index=False, sep=";", decimal=",", encoding="cp1252")
    said = call(str(tmp_path / "p.csv"), "species", "--yes").stdout
    for line in (
        "  rows         60",
        "  read as      delimiter semicolon, encoding utf-8, decimal sign ,",
        "  numeric      10  mass, c0, c1, c2, c3, c4, c5, c6 and 2 more",
        "  categorical   3  island, same, other",
        "  datetime      1  when",
        "  identifier    1  rowid",
        "  ignored       1  empty",
        "  missing values: 2\n    empty  60  100.0%\n    mass   10   16.7%",
        "  classes of species: 3\n    Gentoo     30   50.0%\n    Adelie     15   25.0%\n    Chinstrap  15   25.0%",
        "  suspicions: 3",
        "    column same is the same in every row; create.columns.ignored settles it",
    ):
        assert f"{line}\n" in said
    said = call("data/tables/p.csv", "other", "--yes").stdout
    assert "classes of other: 15\n    n00  4    6.7%" in said.replace("   4 ", "  4 ")
    assert "    and 3 more, of 4 to 4 rows\n" in said


def test_of_params_only_the_table_and_its_recipe_change(project, tmp_path):
    frame().to_csv(tmp_path / "a longer name than the one that is there.csv", index=False)
    said = call(str(tmp_path / "a longer name than the one that is there.csv"), "species", "--yes").stdout
    lines = changed_lines()
    assert lines[:3] == [
        "  dataset: table",
        "    path: 'data/tables/a longer name than the one that is there.csv'",
        "    target: species",
    ]
    assert lines[3:] == [
        f"{'  ' * key.count('.')}{key.rpartition('.')[2]}: {written(RECIPE[key])}" for key in DIFFERING
    ]
    assert settings() == settings() | RECIPE
    assert "\ntrain: the recipe for about 36 training rows, 5 numbers in each, and 3 classes; gate: " in said
    assert "\n-  ship: best                # which of them is the model" in said
    assert "\n+  ship: mean                # which of them is the model" in said
    # The comment keeps its column where there is room.
    assert "\n    target: species         # the column to predict" in Path("params.yaml").read_text()
    assert "\n-    target: class           # the column" in said
    assert "\n+    target: species         # the column" in said
    assert "next: make run" in said
    assert said.endswith("; the way back: git checkout params.yaml\n")


def test_a_file_of_another_layout(project, tmp_path):
    """Line ends of Windows, a mapping on one line, quotes, a list with a line for each item."""
    frame().to_csv(tmp_path / "p.csv", index=False)
    text = PARAMS
    i, j = text.index("    path: "), text.index("  reading:")
    text = (
        text[:i].rstrip().removesuffix("# your own table").rstrip()
        + ' { path: "data/tables/t.csv", target: class } # mine\n'
        + text[j:]
    )
    text = text.replace("    numeric: []  ", "    numeric:\n      - old # 1\n      - rowid\n   ").replace("\n", "\r\n")
    Path("params.yaml").write_bytes(text.encode())
    call(str(tmp_path / "p.csv"), "species", "--yes")
    expected = text.replace("dataset: circles", "dataset: table  ").replace('"data/tables/t.csv"', "data/tables/p.csv")
    expected = expected.replace("target: class", "target: species").replace("- old # 1\r\n      - rowid", "  [rowid]")
    expected = edited(expected, {tuple(key.split(".")): RECIPE[key] for key in [*DIFFERING, "study.space"]})
    assert Path("params.yaml").read_bytes() == expected.encode()
    assert expected.count("\n") == expected.count("\r\n")


def test_a_layout_that_it_cannot_edit(project, tmp_path):
    frame().to_csv(tmp_path / "p.csv", index=False)
    Path("params.yaml").write_text(PARAMS.replace("    target: class ", "    target: |\n      class\n   "))
    line = refused(str(tmp_path / "p.csv"), "species", status=BAD_PARAMS)
    assert (
        "write by hand: create.dataset: table, create.table.path: data/tables/p.csv, create.table.target: species, "
        in line
    )
    advice = re.findall(r"((?:\w+\.)+\w+): (\{.*\}|\[.*?\]|[^,\n]+)", line.partition("by hand: ")[2])
    turn(project, {key: YAML(typ="safe").load(value) for key, value in advice})
    by_hand = Path("params.yaml").read_bytes()
    said = call(str(tmp_path / "p.csv"), "species", "--yes").stdout
    assert f"copy {tmp_path / 'p.csv'} to data/tables/p.csv" in said
    assert "train, gate and study stay" not in said
    assert Path("params.yaml").read_bytes() == by_hand
    assert settings() == settings() | RECIPE


def test_a_recipe_in_another_layout(project, tmp_path):
    """Lists over several lines, mappings on one line, nothing for null, whole numbers, other signs of the same."""
    frame().to_csv(tmp_path / "p.csv", index=False)
    text = PARAMS
    optimizer = (
        "\n  optimizer: {name: 'sgd', learning_rate: .1, momentum: 0, nesterov: false, beta1: .9, beta2: .999,"
        ' "weight_decay": +0.0} # one'
    )
    i, j = text.index("\n  optimizer:"), text.index("\n  schedule:")
    text = f"{text[:i]}{optimizer}\n  # two{text[j:]}"
    for old, new in (
        ("  hidden: [10]  ", "  hidden: [ # of the item\n    10,\n    20\n  ] # three\n"),
        ("  patience: null  ", "  patience:   # four\n"),
        ("  gradient_clip: null ", "  gradient_clip: 1.0\n"),
        ("  ship: best ", "  ship: 'best'"),
        ("  dropout: 0.0 ", "  dropout: 0 "),
        ("  label_smoothing: 0.0 ", "  label_smoothing: 0 "),
        ("  rare_below: 10 ", "  rare_below: +10 "),
        ("  input_scale_rate: 0.0 ", "  input_scale_rate: -0.0\n"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    Path("params.yaml").write_text(text)
    call(str(tmp_path / "p.csv"), "species", "--yes")
    assert settings() == settings() | RECIPE
    new = Path("params.yaml").read_text()
    assert [line.partition("#")[2] for line in new.split("\n") if "#" in line] == [
        line.partition("#")[2] for line in text.split("\n") if "#" in line and "# of the item" not in line
    ]
    assert "  rare_below: +10 " in new
    assert yaml.safe_load(new) == YAML(typ="safe").load(new)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *(("p:\n  q: 1", "p: 12\n  q: 1"), ("q: 1\n  p:\n\n", "q: 1\n  p: 12\n\n"), ("p: ~ # x", "p: 12 # x")),
        *(("p:    # x\n  # y\n  q: 1", "p: 12 # x\n  # y\n  q: 1"), ("p: null", "p: 12")),
        ("p:    # x: y\n    # z: z\nb: 1", "p: 12 # x: y\n    # z: z\nb: 1"),
        *(("{ p: , q: 1 }", "{ p: 12 , q: 1 }"), ("p: !!null null # x", "p: 12          # x")),
    ],
)
def test_nothing_becomes_a_value(before, after):
    assert edited(f"a:\n  {before}\n", {("a", "p"): 12}) == f"a:\n  {after}\n"


def test_settings_that_somebody_tuned_stay(project, tmp_path):
    frame().to_csv(tmp_path / "p.csv", index=False)
    call(str(tmp_path / "p.csv"), "species", "--yes")
    turn(project, {"train.epochs": 7, "train.hidden": [9], "gate.min_accuracy": 0.8})
    before = listing()
    said = call(str(tmp_path / "p.csv"), "species", "--yes").stdout
    assert (
        "\ntrain, gate and study stay, since params.yaml names this table already; RECIPE=1 (--recipe) writes"
        f" train.hidden: {written(RECIPE['train.hidden'])}, train.epochs: {RECIPE['train.epochs']},"
        " gate.min_accuracy: 0.0\ntable: params.yaml names this table already; nothing to write\n"
    ) in said
    assert listing() == before
    # What else is written leaves them alone, too.
    turn(project, {"create.columns.numeric": ["of another table"]})
    call(str(tmp_path / "p.csv"), "species", "--yes")
    assert (read(Create).columns.numeric, settings()["train.epochs"]) == ([], 7)
    call(str(tmp_path / "p.csv"), "species", "--yes", "--recipe")
    assert settings() == settings() | RECIPE
    # Another target is another table.
    turn(project, {"train.epochs": 7})
    call(str(tmp_path / "p.csv"), "island", "--yes")
    assert settings() == settings() | RECIPE


def test_the_pipeline_runs_with_what_it_writes(project, tmp_path):
    """36 rows for training, and a number that tells the species but for some noise."""
    random = np.random.default_rng(0)
    mass = np.resize([2.0, 1.0, 2.0, 3.0], ROWS) + random.normal(scale=0.2, size=ROWS)
    frame(mass=mass).to_csv(tmp_path / "p.csv", index=False)
    call(str(tmp_path / "p.csv"), "species", "--yes")
    assert len(repro(project)) == 9
    done = run(project, "-m", "retrace", "gate")
    assert done.returncode == 0, done.stdout + done.stderr


def test_kinds_of_columns_that_the_table_lacks_go(project, tmp_path):
    frame().to_csv(tmp_path / "p.csv", index=False)
    turn(project, {"create.columns.numeric": ["of another table"], "create.columns.ignored": ["island", "species"]})
    assert "ignored       1  island" in call(str(tmp_path / "p.csv"), "species", "--yes").stdout
    found = read(Create).columns
    assert (found.numeric, found.ignored) == ([], ["island"])


ODD = [
    ("two words.csv", "null"),
    ("größe 'x' \"y\".csv", "yes"),
    ("#x.csv", "1.0"),
    ("a: b.csv", "#x"),
    ("- [x], {y} & *z %.csv", "a: b"),
    ("line\nbreak\t.csv", 'a\n\t\x07\x1b[31mb\u202e\U000e0001\\"'),
    (" 日本 .csv", "'it''s'"),  # blanks around a name in a CSV file are not part of it
    ("~x.csv", "2026-01-01"),
    ("1e3.csv", "-"),
]


@pytest.mark.parametrize(("name", "target"), ODD)
def test_odd_names_come_back_as_they_are(project, tmp_path, name, target):
    frame().rename(columns={"species": target}).to_csv(tmp_path / name, index=False)
    done = call("--yes", "--", str(tmp_path / name), target)
    assert section() == ("table", f"data/tables/{name}", target)
    assert all(letter.isprintable() for letter in done.stdout if letter != "\n")
    if "#" not in name + target:  # which these two cannot tell from a comment's
        assert len(changed_lines()) == 3 + len(DIFFERING)
    done = run(project, "-m", "stages.create")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", [*(text for pair in ODD for text in pair), "NO", "Null", "~", "0x10", "1:30", "a #b"])
def test_each_reader_of_yaml_takes_it_for_the_same_text(text):
    for value in (text, [text, "x", text]):
        for line in (f"key: {written(value)} # comment", f"{{ key: {written(value)}, more: 1 }}"):
            assert YAML(typ="safe").load(line)["key"] == value
            assert yaml.safe_load(line)["key"] == value


@pytest.mark.parametrize(
    "value", [0, -3, 128, 0.0, 50.0, 0.002, 1e-05, 1e22, 1.5e-300, True, False, None, [128, 64], []]
)
def test_each_reader_of_yaml_takes_it_for_the_same_value(value):
    for line in (f"key: {written(value)} # comment", f"{{ key: {written(value)}, more: 1 }}"):
        for load in (YAML(typ="safe").load, yaml.safe_load):
            found = load(line)["key"]
            assert (found, type(found)) == (value, type(value))


# --- asking ---------------------------------------------------------------------------------------------------------


def test_without_anybody_to_ask_it_writes_nothing(project, tmp_path):
    frame().to_csv(tmp_path / "p.csv", index=False)
    before = listing()
    done = call(str(tmp_path / "p.csv"), "species", status=BAD_PARAMS)
    assert done.stderr == "table: nothing was written, since nobody is there to ask; add YES=1 to make, or --yes\n"
    assert "+    target: species" in done.stdout
    assert listing() == before


@pytest.mark.parametrize(
    ("answer", "wrote"), [(b"y\n", True), (b"YES\n", True), (b"n\n", False), (b"\n", False), (b"\x04", False)]
)
def test_the_answer_of_a_person_counts(project, tmp_path, answer, wrote):
    frame().to_csv(tmp_path / "p.csv", index=False)
    before = listing()
    done = answered(answer, str(tmp_path / "p.csv"), "species")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"write this? [y/N] " in done.stdout
    assert (listing() != before) == wrote
    assert Path("data/tables/p.csv").exists() == wrote
    assert (section()[2] == "species") == wrote


def test_a_file_that_changes_while_it_asks_is_left_alone(project, tmp_path):
    frame().to_csv(tmp_path / "p.csv", index=False)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "retrace", "table", str(tmp_path / "p.csv"), "species"]
    with subprocess.Popen(command, stdin=theirs, stdout=-1, stderr=-1, env=environment()) as process:
        said = b""
        while not said.endswith(b"[y/N] "):
            said += process.stdout.read(1)
        turn(project, {"train.epochs": 7})
        before = listing()
        os.write(ours, b"y\n")
        assert (
            process.stderr.read() == b"params.yaml has changed in the meantime; nothing was written; run this again\n"
        )
        assert process.wait() == BAD_PARAMS
    os.close(ours)
    os.close(theirs)
    assert listing() == before


# --- what it refuses ------------------------------------------------------------------------------------------------


def test_another_file_of_that_name_is_never_replaced(project, tmp_path):
    frame().to_csv(tmp_path / "p.csv", index=False)
    Path("data/tables/p.csv").write_text(frame().to_csv(index=False)[:-1] + "e\n")
    assert "data/tables/p.csv is there already and differs from" in refused(str(tmp_path / "p.csv"), "species")
    Path("data/tables/p.csv").unlink()
    Path("data/tables/p.csv").symlink_to("nowhere")
    assert "is there already" in call(str(tmp_path / "p.csv"), "species", "--yes", status=BAD_DATA).stderr
    assert Path("data/tables/p.csv").is_symlink()
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    for folder in (tmp_path / "parts", Path("data/tables/parts")):
        folder.mkdir()
        pq.write_table(table, folder / "a.parquet")
    pq.write_table(table, tmp_path / "parts/b.parquet")
    Path("data/tables/p.csv").unlink()
    assert "data/tables/parts is there already" in refused(str(tmp_path / "parts"), "species")


def test_a_file_that_is_not_there(project, tmp_path):
    frame().to_csv(tmp_path / "penguins.csv", index=False)
    assert "pinguins.csv not found; did you mean penguins.csv?" in refused(str(tmp_path / "pinguins.csv"), "species")
    assert "table.csv not found; did you mean data/tables/table.csv?" in refused("table.csv", "class")
    assert "data/tables/tabel.csv (create.table.path) not found; did you mean table" in refused(
        "data/tables/tabel.csv", "a"
    )
    assert "holds all tables; name one file" in refused("data/tables", "class")
    assert "holds all tables" in refused(".", "class")


def test_a_target_that_is_not_there(project, tmp_path):
    frame().to_csv(tmp_path / "p.csv", index=False)
    line = refused(str(tmp_path / "p.csv"), "spezies")
    assert "there is no column 'spezies'" in line
    assert line.endswith("did you mean species?\n")


def test_a_fault_is_one_line_whatever_the_table_holds(project, tmp_path):
    table = frame(**{"a\nb\x1b[31m": frame()["species"].map({"Gentoo": "x", "Adelie": "y", "Chinstrap": "z"})})
    table.to_csv(tmp_path / "p.csv", index=False)
    assert "column a\\nb\\x1b[31m is the target species in other words" in refused(str(tmp_path / "p.csv"), "species")


def test_a_value_that_create_would_refuse_is_refused_here(project, tmp_path):
    table = frame()
    table.loc[40, "mass"] = np.inf
    table.to_parquet(tmp_path / "p.parquet")
    assert "column mass, row 41: inf is not a finite number" in refused(str(tmp_path / "p.parquet"), "species")


def test_names_that_params_cannot_hold(project, tmp_path):
    for name in (b"back\\slash.csv", b"\xff.csv"):
        path = os.fsencode(tmp_path) + b"/" + name
        Path(os.fsdecode(path)).write_text(frame().to_csv(index=False))
        assert "rename what is not" in refused(os.fsdecode(path), "species")


def test_bad_params_are_the_reader_s_fault(project):
    turn(project, {"create.seed": -1})
    line = refused("data/tables/table.csv", "class", status=BAD_PARAMS)
    assert line.startswith("params.yaml:")
    assert "create.seed must be" in line


def test_a_link_out_of_the_folder_is_refused(project, tmp_path):
    frame().to_csv(tmp_path / "p.csv", index=False)
    Path("data/tables/p.csv").symlink_to(tmp_path / "p.csv")
    for file in ("data/tables/p.csv", str(tmp_path / "p.csv")):
        assert "leads out of data/tables" in refused(file, "species")


def test_any_way_to_a_file_in_the_folder_is_that_file(project, tmp_path):
    (tmp_path / "way").symlink_to(project / "data")
    said = call(str(tmp_path / "way/tables/table.csv"), "class", "--yes").stdout
    assert "copy" not in said
    assert section() == ("table", "data/tables/table.csv", "class")


# --- make -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_passes_names_as_they_are(project, tmp_path):
    name, target = 'it\'s "q" #1.csv', "price `y` 'z'"
    frame().rename(columns={"species": target}).to_csv(tmp_path / name, index=False)
    done = make(f"FILE={tmp_path / name}", f"TARGET={target}")
    assert done.returncode == 2
    assert "add YES=1" in done.stderr
    done = make(f"FILE={tmp_path / name}", f"TARGET={target}", "YES=1")
    assert done.returncode == 0, done.stderr
    assert section() == ("table", f"data/tables/{name}", target)
    turn(project, {"train.epochs": 7})
    for more, epochs in (("YES=1", 7), ("RECIPE=1", RECIPE["train.epochs"])):
        assert make(f"FILE={tmp_path / name}", f"TARGET={target}", "YES=1", more).returncode == 0
        assert settings()["train.epochs"] == epochs


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("given", [[], ["FILE=x.csv"], ["TARGET=class"]])
def test_make_says_what_it_needs(project, given):
    assert "table: FILE and TARGET are needed: make table FILE=" in make(*given).stderr
