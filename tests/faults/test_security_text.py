"""What a table says, and what the environment knows, on its way through everything: text stays text, secrets stay out.

One table of a stranger's, run by real DVC in an environment full of canaries, looked at in all that it left behind.
"""

import csv
import json
import re
import socket
import sqlite3
import subprocess
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from retrace.runtime.atomic import FORMULA
from tests.browser.browser import NAMES, installed, opened
from tests.faults.hostile import TARGET, TEXTS, write_table
from tests.project import TINY, copy_project, environment, git, run
from tests.served import served
from tests.tracker import Tracker

# Put together, because a copy of this file is among those that are searched.
SECRET, FOLDER = ("-".join((word, "7be2")) for word in ("canary", "folder"))  # FOLDER is a part of every absolute path
KNOWING = {
    **{
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "API_TOKEN": SECRET,
        "GIT_ASKPASS": SECRET,
        "DATABASE_URL": f"x://u:{SECRET}@h",
    },
    **{"MLFLOW_TRACKING_USERNAME": SECRET, "MLFLOW_TRACKING_PASSWORD": SECRET, "MLFLOW_TRACKING_TOKEN": SECRET},
    **{"USER": f"user-{SECRET}", "LOGNAME": f"user-{SECRET}", "HOSTNAME": SECRET},
}


class Done(NamedTuple):
    root: Path
    printed: str


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Done:
    """After `dvc repro`, and each command that reads what it made."""
    root = tmp_path_factory.mktemp(FOLDER) / "project"
    table = {"create.dataset": "table", "create.table.target": TARGET, "evaluate.slices": [TEXTS[0], TEXTS[14]]}
    table |= {"train.scaling": "standard", "train.hidden": [8], "train.epochs": 20}
    copy_project(root, {**TINY, **table, "train.optimizer.name": "adamw", "train.optimizer.learning_rate": 0.003})
    write_table(root / "data/tables/table.csv")
    git(root, "remote", "add", "origin", f"https://me:{SECRET}@example.com/x.git")
    commands = [
        ("dvc", "repro"),
        ("retrace", "summary"),
        ("retrace", "gate"),
        ("retrace", "predict", "data/tables/table.csv", "predicted.csv", "--keep"),
        ("retrace", "predict", "data/tables/table.csv", "predicted.parquet"),
        ("dvc", "plots", "show"),
    ]
    printed = ""
    for command in commands:
        ran = execute(root, *command)
        assert ran.returncode == (5 if "gate" in command else 0), ran.stdout + ran.stderr
        printed += ran.stdout + ran.stderr
    return Done(root, printed)


def execute(root: Path, *command: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return run(root, "-m", *command, **KNOWING, **more)


def test_no_order_reaches_the_terminal(done):
    """No escape sequence, no letter that turns the line, and each label on the line of its stage."""
    assert {letter for letter in done.printed if not letter.isprintable()} <= {"\n", "\t"}
    for stage in ("create", "split"):
        (line,) = re.findall(rf"^{stage}: .*$", done.printed.replace(f"{stage}: warning", ""), re.MULTILINE)[-1:]
        assert r"a\nb" in line
        assert r"\x1b[31mred" in line
    for text in done.printed.splitlines():
        assert not text.startswith("owned")


def test_s11_no_cell_of_a_csv_file_is_a_formula(done):
    files = [*(done.root / "reports").glob("*.csv"), done.root / "predicted.csv"]
    assert len(files) > 8
    marked = set()
    for path in files:
        with open(path, newline="", encoding="utf-8") as file:
            for cell in {cell for row in csv.reader(file) for cell in row}:
                # A number in a column of the input that is kept may have its sign.
                number = path.name == "predicted.csv" and re.fullmatch(r"[-+]\d+", cell)
                assert number or cell.startswith("'") or not FORMULA.match(cell), (path.name, cell)
                marked |= {cell} if cell.startswith("'") else set()
    assert {f"'{text}" for text in TEXTS if FORMULA.match(text)} - {"'\tta\tb"} <= marked
    # Read back, or in Parquet, they are the labels that the table has.
    labels = pq.read_table(done.root / "predicted.parquet")
    assert labels.column_names == ["label", *(f"probability_{name}" for name in classes(done.root))]
    assert set(labels["label"].to_pylist()) <= set(classes(done.root))
    assert sorted(classes(done.root)) == sorted(text.strip() for text in TEXTS)


def classes(root: Path) -> list[str]:
    return [each["name"] for each in json.loads((root / "data/schema.json").read_text())["classes"]]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def tags_of(markdown: str) -> list[tuple[str, dict[str, str | None]]]:
    """The tags of a page that a reader makes of it who lets HTML through, and links, and tables."""
    tags = Tags()
    tags.feed(MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough").render(markdown))
    return tags.found


def test_markdown_holds_no_markup_of_a_table(done):
    report = (done.root / "reports/data.md").read_text()
    allowed = {"h1", "h2", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
    assert {tag for tag, _ in tags_of(report)} <= allowed
    table = report.partition("## Rows")[2].partition("## Features")[0].strip().splitlines()
    assert len(table) == 2 + len(TEXTS) + 1, "each class one row"
    for name in ("reports/data.md", "reports/classification_report.txt"):
        assert {letter for letter in (done.root / name).read_text() if not letter.isprintable()} == {"\n"}


def test_the_store_holds_text_as_text(done):
    with closing(sqlite3.connect(done.root / "mlflow.db")) as connection:
        notes = [row[0] for row in connection.execute("SELECT value FROM tags WHERE key = 'mlflow.note.content'")]
        notes += [row[0] for row in connection.execute("SELECT description FROM model_versions")]
        notes += [
            row[0] for row in connection.execute("SELECT tag_value FROM logged_model_tags WHERE tag_key LIKE '%note%'")
        ]
        names = {row[0] for row in connection.execute("SELECT DISTINCT key FROM metrics")}
        (run_name,) = [row[0] for row in connection.execute("SELECT name FROM runs")]
    assert len(notes) == 3
    for tag, attributes in (found for note in notes for found in tags_of(note)):
        assert tag in {"p", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "a", "img", "em"}
        if tag in ("a", "img"):
            assert re.match(r"#/|get-artifact\?path=figures%2F\w+\.png&", attributes.get("href") or attributes["src"])
    assert len([name for name in names if name.startswith("test/f1/")]) == len(TEXTS)
    assert all(re.fullmatch(r"[\w.\- :/]+", name) for name in names)
    assert run_name.isprintable()


def test_pictures_hold_pixels_and_no_words(done):
    pictures = [*(done.root / "reports/figures").glob("*.png"), *(done.root / "mlartifacts").rglob("*.png")]
    assert len(pictures) > 12
    for path in pictures:
        with Image.open(path) as picture:
            assert set(picture.info) <= {"dpi", "Software"}, path
            picture.load()


def test_the_page_of_dvc_holds_no_script_of_a_table(done):
    page = (done.root / "dvc_plots/index.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert "alert(1)" in page, "else the labels are not in it, and this test shows nothing"
    # Those of DVC, which come from elsewhere or draw a plot, and the pictures.
    assert {tag for tag, _ in tags.found} <= {"html", "head", "title", "script", "style", "body", "div", "img", "p"}
    assert all((given["src"] or "").startswith("static") for tag, given in tags.found if tag == "img")
    assert "<script>alert" not in page
    assert "<img src=http" not in page


# --- secrets --------------------------------------------------------------------------------------------------------


def holding(root: Path, word: str) -> set[str]:
    """Files that hold a word, anywhere in the project but in git's own settings, which name the remote."""
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root) != Path(".git/config") and word.encode() in path.read_bytes()
    }


def test_s18_s19_no_secret_of_the_environment_is_written_anywhere(done):
    assert SECRET not in done.printed
    assert SECRET in (done.root / ".git/config").read_text()
    assert holding(done.root, SECRET) == set()


def test_s20_no_host_no_user_and_no_path_of_this_machine_is_in_a_result(done):
    # Python's own caches are no result, and are on nobody's list.
    others = (".git/", ".dvc/tmp/", "__pycache__/")
    found = {name for name in holding(done.root, FOLDER) if not any(other in name for other in others)}
    # Where a run's files lie, only its store must know.
    assert found <= {"mlflow.db"}
    words = re.compile(rf"\b{re.escape(socket.gethostname())}\b")
    for folder in ("data", "models", "reports", "mlartifacts"):
        for path in (done.root / folder).rglob("*"):
            if path.suffix in (".json", ".csv", ".md", ".txt", ".yaml", ".lock") or path.name == "MLmodel":
                assert not words.search(path.read_text()), path
    with closing(sqlite3.connect(done.root / "mlflow.db")) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        places = {
            (table, connection.execute(f"SELECT * FROM {table}").description[index][0])
            for table in tables
            for row in connection.execute(f"SELECT * FROM {table}")
            for index, cell in enumerate(row)
            if FOLDER in str(cell)
        }
        users = {row[0] for row in connection.execute("SELECT user_id FROM runs")}
    assert {column for _, column in places} <= {"artifact_location", "artifact_uri", "storage_location"}, places
    assert users <= {None, "", "unknown"}, users


def test_a_password_in_the_address_of_a_server_is_not_shown(done):
    asked = f"http://me:{SECRET}@127.0.0.1:9"
    ran = execute(done.root, "stages.record", MLFLOW_TRACKING_URI=asked)
    assert ran.returncode == 4
    assert "http://127.0.0.1:9" in ran.stderr
    assert SECRET not in ran.stdout + ran.stderr
    assert holding(done.root, SECRET) == set()


def test_a_password_in_the_address_of_a_server_that_answers_is_not_shown_either(done, tmp_path):
    tracker = Tracker(tmp_path)
    tracker.start()
    try:
        address = tracker.uri.replace("//", f"//me:{SECRET}@")
        ran = execute(done.root, "stages.record", MLFLOW_TRACKING_URI=address, MLFLOW_EXPERIMENT_NAME="other")
    finally:
        tracker.kill()
    assert ran.returncode == 0, ran.stderr
    assert SECRET not in ran.stdout + ran.stderr
    assert holding(done.root, SECRET) | holding(tmp_path, SECRET) == set()


# --- in a browser ---------------------------------------------------------------------------------------------------


def test_s10_no_script_of_a_table_runs_on_a_page(done, cases):
    if not cases(0, 1):
        pytest.skip("a case of `make campaigns`")
    if installed() is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)} is installed")
    with closing(sqlite3.connect(done.root / "mlflow.db")) as connection:
        ((run,),) = connection.execute("SELECT run_uuid FROM runs").fetchall()
        ((model,),) = connection.execute("SELECT model_id FROM logged_models").fetchall()
    with served(done.root, environment()) as ui, opened() as browser:
        base = f"{ui.base}/"
        page = browser.new_page(viewport={"width": 1800, "height": 1000})
        said: list[str] = []
        asked: list[str] = []
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(ui.link)
        here = f"{base}#/experiments/{ui.experiment}"
        places = [f"{here}/runs/{run}", f"{here}/runs/{run}/model-metrics", f"{here}/models/{model}"]
        places += [f"{base}#/models/retrace/versions/1", f"{base}#/models/retrace"]
        files = ("data.md", "scores.json", "confusion_matrix.csv", "classification_report.txt")
        places += [f"{here}/runs/{run}/artifacts/tables/{name}" for name in files]
        seen = ""
        for place in places:
            page.goto(place)
            page.wait_for_timeout(3000)
            for button in page.get_by_role("button", name="Expand description").all():
                button.click()
            page.wait_for_timeout(500)
            seen += page.locator("body").inner_text()
        assert "<script>alert(1)</script>" in seen, "else no label was on a page"
        # The page that DVC makes, opened as a file.
        page.goto((done.root / "dvc_plots/index.html").as_uri())
        page.wait_for_timeout(2000)
        assert said == []
        ours = (base, f"blob:{base}", "data:", "file:", "https://cdn.jsdelivr.net/")
        assert {url for url in asked if not url.startswith(ours)} == set()
