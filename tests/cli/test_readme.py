"""README.md and docs/ say what the files say, and lead where they say."""

import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from retrace.artifacts.metrics import METRICS, Metrics
from retrace.artifacts.scores import write_scores
from retrace.artifacts.typed import decode
from retrace.cli.main import COMMANDS, invoke
from retrace.cli.readme import SOURCES, filled
from retrace.params.reader import leaves
from tests.conftest import ROOT
from tests.scores import scores

ELSEWHERE = ("data/tables/README.md", "tests/faults/README.md")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *(ROOT / page for page in ELSEWHERE))
}
# The log names commands, files and parameters as they were called on its days.
TODAY = sorted({*PAGES} - {"docs/LOG.md"})
PARTS = ["bench", "parameters", "quality", "rerun", "results", "scale"]


# --- the generated tables -------------------------------------------------------------------------------------------


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """The last commit's files: what somebody is trying at the moment is not yet the project's result."""
    for path in SOURCES:
        shown = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, check=False)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(shown.stdout if shown.returncode == 0 else (ROOT / path).read_text())
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_its_tables_are_those_of_the_committed_files(committed, page):
    """But for the results, whose file git has not; see below."""
    assert filled(PAGES[page]) == PAGES[page], "run: make readme"


def test_its_results_are_those_of_the_committed_metrics():
    """As far as git has them."""
    shown = subprocess.run(["git", "show", f"HEAD:{METRICS}"], cwd=ROOT, capture_output=True, check=True)
    metrics = decode(Metrics, shown.stdout)
    text = PAGES["README.md"]
    best = re.search(r"(?m)^\| gradient boosting \|.*\| ([-+.\d]+) \(.*\) \|$", text)
    assert best
    assert best[1] == f"{metrics.difference_to_best_baseline:+.4f}"
    for words in (
        f"**{metrics.accuracy:.4f}** | {metrics.accuracy_low:.4f} to {metrics.accuracy_high:.4f} |",
        f" | {metrics.replicas_accuracy_mean:.4f} ± {metrics.replicas_accuracy_deviation:.4f} |",
        f"| its macro-F1 | {metrics.macro_f1:.4f} |",
    ):
        assert words in text, "run: make readme"


def test_where_there_is_a_result_the_results_are_its(committed):
    text = PAGES["README.md"]
    write_scores(scores(rows=4321))
    assert "| accuracy on 4,321 test rows |" in filled(text)
    assert filled(filled(text)) == filled(text)


def test_where_nothing_ran_yet_the_results_stay(committed, capsys):
    """In a fresh clone."""
    Path("README.md").write_text(PAGES["README.md"])
    Path("docs").mkdir()
    invoke(["readme"])
    assert Path("README.md").read_text() == PAGES["README.md"]
    assert "stay as they were, since reports/scores.json is not there" in capsys.readouterr().out


def test_each_table_stands_on_one_page():
    assert sorted(part for text in PAGES.values() for part in re.findall(r"<!-- (\w+): make readme -->", text)) == PARTS
    assert sorted(part for text in PAGES.values() for part in re.findall(r"<!-- /(\w+) -->", text)) == PARTS


def test_a_table_that_was_changed_by_hand_is_seen(committed):
    text = PAGES["README.md"]
    assert filled(text.replace("| validate | create |", "| create | validate |")) == text
    text = PAGES["docs/parameters.md"]
    assert filled(text.replace("`0.33`", "`0.34`")) == text


def test_make_readme_mends_a_marked_part_that_was_written_by_hand(tmp_path, monkeypatch):
    for path in SOURCES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tmp_path / path)
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    write_scores(scores())
    right = {page: filled(PAGES[page]) for page in ("README.md", "docs/speed.md")}
    for page, text in right.items():
        start = text.index("make readme -->") + len("make readme -->\n")
        Path(page).write_text(f"{text[:start]}by hand\n{text[start:]}")
    invoke(["readme"])
    assert {page: Path(page).read_text() for page in right} == right


def test_every_parameter_is_on_its_page_with_its_value_and_its_whole_comment(committed):
    text = Path("params.yaml").read_text()
    rows = dict(re.findall(r"(?m)^\| `([\w.]+)` \| (.*) \|$", PAGES["docs/parameters.md"]))
    content = YAML(typ="safe").load(text)
    space = {f"study.space.{name}": given for name, given in content["study"].pop("space").items()}
    values = dict(leaves(content)) | space
    assert {key: YAML(typ="safe").load(rows[key].split(" | ")[0].strip("`")) for key in values} == values
    words = [re.findall(r"\w+", each) for each in (" ".join(re.findall(r" # (.*)", text)).lower(), comments())]
    assert words[0] == words[1]


def comments() -> str:
    """What the page has of params.yaml's comments: the line below each heading, and the last cell of each row."""
    page = PAGES["docs/parameters.md"]
    found = re.findall(r"(?m)^## \w+\n\n(.*)\.$|^\| `[\w.]+` \| .*? \| (.*) \|$", page)
    return " ".join(about or cell for about, cell in found).lower()


# --- what the pages refer to ----------------------------------------------------------------------------------------


def test_the_readme_has_at_most_150_lines():
    assert len(PAGES["README.md"].splitlines()) <= 150


@pytest.mark.parametrize("page", sorted({*PAGES} - {*ELSEWHERE}))
def test_lines_are_short(page):
    """But for tables, pictures and the lines of a program, which cannot be broken."""
    long = [line for line in PAGES[page].splitlines() if len(line) > 122 and not re.match(r"\||!|    ", line)]
    assert long == []


def anchors(text: str) -> set[str]:
    """Of a page's headings: small letters, hyphens for blanks, no punctuation."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?m)^    .*$", "", text))
    return {re.sub(r"[^\w\- ]", "", unicodedata.normalize("NFC", each).lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        assert not re.match(r"\w+:|/", link), f"{link}: not a relative link"
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_every_page_is_linked_from_the_readme():
    for page in {*PAGES} - {"README.md", *ELSEWHERE}:
        assert f"]({page})" in PAGES["README.md"], page


def code(page: str) -> Iterator[str]:
    """What is set as code: indented blocks, and what stands between backticks."""
    yield from re.findall(r"(?m)^ {4,}(.+)$", PAGES[page])
    yield from re.findall(r"`([^`\n]+)`", PAGES[page])


def makefile_targets() -> dict[str, str]:
    text = (ROOT / "Makefile").read_text()
    return dict(re.findall(r"(?m)^([a-z-]+):(.*\n(?:\t.*\n)*)", text))


@pytest.mark.parametrize("page", TODAY)
def test_commands_that_are_named_exist(page):
    targets = makefile_targets()
    for line in code(page):
        for target, rest in re.findall(r"(?:^|[;&|] ?)make ([\w-]+)(.*)", line):
            assert target in targets, line
            for variable in re.findall(r"\b([A-Z_]+)=", rest.partition("#")[0]):
                assert variable in targets[target], line
        for command in re.findall(r"(?:^|[;&|/] ?|http\S+ )retrace ([a-z][\w-]*)", line):
            assert command in COMMANDS, line
        for module in re.findall(r"python -m ([\w.]+)", line):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists(), line


@pytest.mark.parametrize("page", TODAY)
def test_files_that_are_named_exist(page):
    for name in re.findall(r"`((?:retrace|stages|tests|benchmarks|docs|\.ci)/[\w./]*)`", PAGES[page]):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", TODAY)
def test_parameters_that_are_named_exist(page):
    values = YAML(typ="safe").load((ROOT / "tests" / "params.yaml").read_text())
    keys = {".".join(key.split(".")[:depth]) for key, _ in leaves(values) for depth in range(1, 5)}
    for name in re.findall(rf"`((?:{'|'.join(values)})\.\w[\w.]*)(?:: [^`]+)?`", PAGES[page]):
        assert name in keys, name


def test_what_is_wrong_on_a_page_is_seen(monkeypatch):
    wrong = {
        "[x](docs/gone.md)": test_links_and_pictures_lead_somewhere,
        "[x](docs/tables.md#gone)": test_links_and_pictures_lead_somewhere,
        "[x](/docs/tables.md)": test_links_and_pictures_lead_somewhere,
        "`make gone`": test_commands_that_are_named_exist,
        "`make ui GONE=1`": test_commands_that_are_named_exist,
        "    .venv/bin/retrace gone": test_commands_that_are_named_exist,
        "`python -m stages.gone`": test_commands_that_are_named_exist,
        "`retrace/gone.py`": test_files_that_are_named_exist,
        "`train.gone: 1`": test_parameters_that_are_named_exist,
        "words " * 30: test_lines_are_short,
    }
    for text, test in wrong.items():
        monkeypatch.setitem(PAGES, "README.md", text)
        with pytest.raises(AssertionError):
            test("README.md")
