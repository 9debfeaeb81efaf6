"""The contracts that keep the graph honest (docs/testing.md): asked of the code, of DVC and of real runs.

Each check is a function of a folder, so that the negative controls at the end can break a copy and see it go red.
"""

import ast
import hashlib
import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import networkx
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from retrace.cli.graph import GRAPHS, generated, with_code
from retrace.params import reader
from retrace.params.create import Create
from retrace.runtime.imports import closure
from retrace.tracking import model
from tests import project
from tests.conftest import ROOT
from tests.project import TINY, copy_project, repro, run, turn, without_notes

STAGES = ["validate", "create", "split", "baseline", "train", "evaluate", "plot", "report", "record"]
STUDY = ["study", "study_plot", "study_record"]  # study/dvc.yaml; tests/test_study.py
LESSONS = ["lessons", "lessons_code", "lessons_plot", "lessons_index"]  # lessons/dvc.yaml; tests/test_lessons.py

# What the stages may read beside their deps: their own section, and for `record` the graph's own ledger.
LEDGER = {"params.yaml", "dvc.lock"}
TABLES = "data/tables"  # read where the data set is one of them
# What they may write beside their outs: notes of that, what a training says of its time and course, the tracking store
# and its lock.
SIDE_FILES = re.compile(
    r"\.retrace/(ran|train\.json|live\.json|live\.csv|written/.*|.*lock)|mlflow\.db.*|mlartifacts/.*|mlruns/.*"
)


def graph(folder: Path) -> dict[str, Any]:
    return YAML(typ="safe").load((folder / "dvc.yaml").read_text())["stages"]


def paths(entries: list[Any]) -> list[str]:
    """deps or outs of dvc.yaml, whose entries are paths or {path: options}."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def outs(stage: dict[str, Any]) -> set[str]:
    return {path for kind in ("outs", "metrics", "plots") for path in paths(stage.get(kind, []))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A tiny project in a path with a space, after its first `dvc repro`."""
    return project.finished(tmp_path_factory.mktemp("a project") / "tiny one")


@pytest.fixture
def restored(finished) -> Iterator[Path]:
    """The finished project, its params.yaml put back afterwards."""
    text = (finished / "params.yaml").read_text()
    yield finished
    (finished / "params.yaml").write_text(text)


# --- 1: imports = deps ----------------------------------------------------------------------------------------------


def test_the_code_in_the_deps_is_what_the_stages_import():
    for path in GRAPHS:
        assert generated(path) == (ROOT / path).read_text(), "run: retrace graph"


def test_a_served_model_names_the_libraries_that_its_code_imports():
    libraries = set()
    for path in (model.ENTRY, *model.CODE):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            libraries |= {name.partition(".")[0] for name in names}
    assert libraries - set(sys.stdlib_module_names) - {"retrace"} == set(model.LIBRARIES)


def test_stages_do_not_import_each_other_and_packages_import_no_stage():
    for stage in STAGES + STUDY + LESSONS:
        others = set(closure(f"stages/{stage}.py")) & {f"stages/{name}.py" for name in STAGES + STUDY + LESSONS}
        assert others == {f"stages/{stage}.py"}


LINES = 60


def beyond_thin(path: Path) -> list[str]:
    """What a stage's script has that belongs into the library: lines beyond LINES, and what is not `main`.

    Beside it may stand a docstring, imports, constants, and what runs as a program.
    """
    text = path.read_text()
    found = [f"{len(text.splitlines())} lines"] if len(text.splitlines()) > LINES else []
    docstring, *body = ast.parse(text).body
    if not isinstance(docstring, ast.Expr) or not isinstance(docstring.value, ast.Constant):
        found.append("no docstring")
    for node in body:
        constant = isinstance(node, ast.Assign) and all(isinstance(name, ast.Name) for name in node.targets)
        main = isinstance(node, ast.FunctionDef) and node.name == "main"
        program = isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
        if not (constant or main or program or isinstance(node, ast.Import | ast.ImportFrom)):
            found.append(ast.unparse(node).split("\n")[0])
    return found


@pytest.mark.parametrize("stage", STAGES + STUDY + LESSONS)
def test_a_stage_is_a_thin_script(stage):
    assert beyond_thin(ROOT / f"stages/{stage}.py") == []


def test_no_file_of_the_library_is_several_things_at_once():
    lines = {path.relative_to(ROOT): path.read_text().count("\n") for path in (ROOT / "retrace").rglob("*.py")}
    assert {path: count for path, count in lines.items() if count > 300} == {}


@pytest.mark.parametrize(
    ("library", "allowed"),
    [("torch", {"train", "evaluate"}), ("mlflow", {"record"}), ("matplotlib", {"plot"})],
)
def test_heavy_libraries_are_imported_where_they_are_needed_and_nowhere_else(library, allowed):
    importing = set()
    for stage in STAGES:
        for path in closure(f"stages/{stage}.py"):
            if re.search(rf"^\s*(import|from) {library}\b", (ROOT / path).read_text(), re.MULTILINE):
                importing.add(stage)
    assert importing == allowed


# Modules that MLflow documents.
DOCUMENTED = {"mlflow", "mlflow.entities", "mlflow.entities.model_registry", "mlflow.exceptions", "mlflow.models"}
DOCUMENTED |= {"mlflow.pyfunc", "mlflow.tracking", "mlflow.types", "mlflow.types.schema"}
INTERNALS = "retrace/tracking/mlflow_internals"


def inside_mlflow(root: Path) -> set[str]:
    """Folders of the files that import what MLflow does not document, or open its database."""
    found = set()
    for path in root.glob("retrace/**/*.py"):
        text = path.read_text()
        modules = set(re.findall(r"^\s*(?:from|import) (mlflow[\w.]*|alembic)\b", text, re.MULTILINE))
        if modules - DOCUMENTED or "sqlite3.connect" in text:
            found.add(path.parent.relative_to(root).as_posix())
    return found


def test_the_inside_of_mlflow_is_touched_in_one_place():
    assert inside_mlflow(ROOT) == {INTERNALS}


# Without the editable install, whose folders the linter would mix with those of the folder that it stands in.
LINT = """
import sys
sys.path[:] = [path for path in sys.path if "editable" not in path]
sys.meta_path[:] = [finder for finder in sys.meta_path if "Editable" not in repr(finder)]
from importlinter.cli import lint_imports_command
lint_imports_command()
"""


def floors(folder: Path) -> str:
    """What import-linter says of the packages there, whose floors stand in pyproject.toml."""
    linter = [sys.executable, "-c", LINT, "--no-cache"]
    done = subprocess.run(linter, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_packages_import_only_what_stands_below_them():
    assert "Contracts: 1 kept, 0 broken" in floors(ROOT)


def test_graph_and_files_name_the_same_stages():
    mains = {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert list(graph(ROOT)) == STAGES
    assert mains == set(STAGES + STUDY + LESSONS)
    assert set(STAGES) - {"validate"} | {"gate", "study"} == set(YAML(typ="safe").load(ROOT / "params.yaml"))
    assert {f"tests/test_{stage}.py" for stage in STAGES + STUDY[:1] + LESSONS[:1]} <= {
        f"tests/{path.name}" for path in (ROOT / "tests").iterdir()
    }
    assert all(stage["desc"] for stage in graph(ROOT).values())


# --- 2: params = own section ----------------------------------------------------------------------------------------


def test_each_stage_declares_its_own_section_and_no_other():
    for name, stage in graph(ROOT).items():
        assert stage.get("params", []) == ([] if name == "validate" else [name])
        assert name == "validate" or "data/params.ok" in stage["deps"], "every stage waits for the receipt"


# --- 5, and 2 and 6 in a run of its own: a stage alone with what it declares ----------------------------------------

WATCH = """
import runpy, sys
from pathlib import Path
here, log = str(Path.cwd()), open(sys.argv[1], "w")
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        name = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode()
        path = str(Path(here, name))
        if path.startswith(here) and not (arguments[2] or 0) & 3:  # opened for reading only
            print(path[len(here) + 1:], file=log, flush=True)
sys.addaudithook(watch)
sys.argv = [sys.argv[2]]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run_alone(finished: Path, stage: str, folder: Path) -> tuple[set[str], set[str]]:
    """Run the stage in a folder that has its deps and its section and nothing else; data it read, files it wrote."""
    declared = graph(finished)[stage]
    given = set(paths(declared["deps"])) | ({"dvc.lock"} if stage == "record" else set())
    for name in given:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (finished / name).is_dir() else shutil.copyfile
        copy(finished / name, folder / name)
    if stage != "validate":
        yaml = YAML()
        values = yaml.load(finished / "params.yaml")
        # The bar by which `record` decides on a champion, once: a new bar reruns nothing and moves nothing.
        sections = (stage, "gate") if stage == "record" else (stage,)
        yaml.dump({name: values[name] for name in sections}, folder / "params.yaml")
    before = {path for path in folder.rglob("*") if path.is_file()}
    log = folder.with_suffix(".log")
    done = run(folder, "-B", "-c", WATCH, str(log), f"stages.{stage}")
    assert done.returncode == 0, done.stdout + done.stderr
    data = {name for name in given if not name.endswith(".py")}
    read = set(log.read_text().splitlines()) & data
    after = {path for path in folder.rglob("*") if path.is_file()}
    written = {path.relative_to(folder).as_posix() for path in after - before}
    return read, {name for name in written if not SIDE_FILES.fullmatch(name) and "__pycache__" not in name}


# What a stage reads only with settings that are not the shipped ones.
ONLY_IF_ASKED = {"evaluate": {"data/validation.parquet"}}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_its_deps_and_writes_its_outs_and_nothing_else(stage, finished, tmp_path):
    """It has nothing else to read, so that a missing dep would stop it; the same state gives the same bytes."""
    folder = tmp_path / "alone"
    folder.mkdir()
    read, written = run_alone(finished, stage, folder)
    declared = graph(finished)[stage]
    data = {path for path in paths(declared["deps"]) if not path.endswith(".py")} - {"data/params.ok", TABLES}
    assert data - read == ONLY_IF_ASKED.get(stage, set()), "declared, but never read"
    assert written == outs(declared)
    for name in written:
        assert (folder / name).read_bytes() == (finished / name).read_bytes(), name


def test_s08_commands_are_plain_and_nothing_is_interpolated():
    text = (ROOT / "dvc.yaml").read_text()
    assert "${" not in text
    for name, stage in graph(ROOT).items():
        assert stage["cmd"] == f"python -m stages.{name}"
        for path in (*paths(stage["deps"]), *outs(stage)):
            assert not Path(path).is_absolute()
            assert ".." not in Path(path).parts


def test_every_out_is_ignored_by_git_or_meant_for_it():
    """DVC writes .gitignore entries after a first success only: a clone would show outputs as untracked until then."""
    for name, stage in graph(ROOT).items():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):
                path, cached = (entry, True) if isinstance(entry, str) else (next(iter(entry)), False)
                ignored = (
                    subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False).returncode == 0
                )
                assert ignored == (cached or name == "record"), path


# --- 3: the rerun table ---------------------------------------------------------------------------------------------


def rerun_table() -> dict[str, set[str]]:
    """The README's table: section -> stages that rerun."""
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    header = re.search(r"^\| change in section \|(.*)\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert header, "the README has no rerun table"
    names = [name.strip() for name in header[1].split("|")]
    return {
        section: {name for name, mark in zip(names, marks.split("|"), strict=True) if mark.strip()}
        for section, marks in rows
        if marks.count("|") == len(names) - 1
    }


class Graph:
    """DVC's own account of a project: its stages, and which of them it would run."""

    def __init__(self, repo: Repo):
        self.repo = repo
        self.stages = [stage for stage in repo.index.stages if stage.path_in_repo == "dvc.yaml"]
        edges = [(upstream.name, stage.name) for stage, upstream in repo.index.graph.edges]
        self.followers = {name: networkx.descendants(networkx.DiGraph(edges), name) for name in STAGES}

    def stale(self, of_params: bool = False) -> set[str]:
        """The stages that changed, and what depends on them, as `dvc status` sees the files at this moment.

        `validate` depends on params.yaml and its receipt never changes, so that what follows it stays as it is.
        of_params: where nothing else can have changed since the last time, a third of the work.
        """
        with self.repo.lock:
            if of_params:
                deps = [(stage.name, dep) for stage in self.stages for dep in stage.deps]
                directly = {name for name, dep in deps if dep.def_path == "params.yaml" and dep.status()}
            else:
                directly = {stage.name for stage in self.stages if stage.status()}
        return directly.union(*(self.followers[name] & set(STAGES) for name in directly - {"validate"}))


@pytest.fixture
def dvc_graph(restored) -> Iterator[Graph]:
    with Repo(str(restored)) as repo:
        yield Graph(repo)


def other(value: Any) -> Any:
    """Another value of the same kind; DVC compares values and knows nothing of rules."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return [*value, 1] if isinstance(value, list) else f"{value}x"


def test_each_parameter_reruns_exactly_the_stages_that_the_readme_says(restored, dvc_graph):
    table = rerun_table()
    text = (restored / "params.yaml").read_text()
    values = YAML(typ="safe").load(text)
    assert dvc_graph.stale() == set()
    assert set(table) == set(values)
    values["study"]["space"] = [1]  # a mapping whose keys hold dots, turned as a whole
    for key, value in reader.leaves(values):
        turn(restored, {key: other(value)})
        assert dvc_graph.stale(of_params=True) == table[key.split(".")[0]], key
        # Not turned back: a list that was written anew stands in other lines.
        (restored / "params.yaml").write_text(text)
    assert dvc_graph.stale() == set()
    (restored / "params.yaml").write_text(f"# a comment\n{text}")
    assert dvc_graph.stale() == {"validate"}


# --- 4: no dead knob ------------------------------------------------------------------------------------------------

# Another value for each parameter, and, after it, the setting in which it acts.
KNOBS: dict[str, tuple[Any, dict[str, Any]]] = {
    "create.dataset": ("moons", {}),
    "create.rows": (300, {}),
    "create.seed": (27, {}),
    "create.circles.noise": (0.06, {}),
    "create.circles.factor": (0.7, {}),
    "create.moons.noise": (0.3, {"create.dataset": "moons"}),
    "create.blobs.classes": (4, {"create.dataset": "blobs"}),
    "create.blobs.features": (3, {"create.dataset": "blobs"}),
    "create.blobs.spread": (2.0, {"create.dataset": "blobs"}),
    "create.spirals.classes": (3, {"create.dataset": "spirals"}),
    "create.spirals.turns": (2.0, {"create.dataset": "spirals"}),
    "create.spirals.noise": (0.1, {"create.dataset": "spirals"}),
    "create.xor.noise": (0.3, {"create.dataset": "xor"}),
    "create.gaussians.features": (3, {"create.dataset": "gaussians"}),
    "create.gaussians.distance": (3.0, {"create.dataset": "gaussians"}),
    "create.classification.classes": (4, {"create.dataset": "classification"}),
    "create.classification.features": (9, {"create.dataset": "classification"}),
    "create.classification.informative": (5, {"create.dataset": "classification"}),
    "create.classification.separation": (2.0, {"create.dataset": "classification"}),
    "create.classification.flipped": (0.2, {"create.dataset": "classification"}),
    "create.table.path": ("data/tables/other.csv", {"create.dataset": "table"}),
    "create.table.target": ("more", {"create.dataset": "table"}),
    "create.reading.delimiter": ("semicolon", {"create.dataset": "table", "create.table.path": "data/tables/odd.csv"}),
    "create.reading.encoding": ("cp1252", {"create.dataset": "table"}),
    "create.reading.decimal": (
        "point",
        {
            **{"create.dataset": "table", "create.table.path": "data/tables/sums.csv"},
            "create.reading.decimal": "comma",
        },
    ),
    "create.reading.missing": (["red"], {"create.dataset": "table"}),
    **{f"create.columns.{kind}": (["number"], {"create.dataset": "table"}) for kind in ("categorical", "identifier")},
    **{f"create.columns.{kind}": (["flag"], {"create.dataset": "table"}) for kind in ("boolean", "ignored")},
    "create.columns.numeric": (["id"], {"create.dataset": "table"}),
    "create.columns.datetime": (["day"], {"create.dataset": "table"}),
    "split.test_size": (0.3, {}),
    "split.validation_size": (0.2, {}),
    "split.seed": (27, {}),
    "split.method": ("stratified", {}),
    "split.column": ("x2", {"split.method": "time", "split.column": "x1"}),
    "baseline.regularization": (0.01, {}),
    "baseline.boosting_iterations": (1, {}),
    "baseline.rows": (40, {}),
    "train.replicas": (3, {}),
    "train.ship": ("mean", {}),
    "train.seed": (27, {}),
    "train.device": ("cpu", {}),
    "train.tf32": (True, {}),
    "train.scaling": ("standard", {}),
    "train.bins": (4, {}),
    "train.residuals_above": (0.0, {}),
    "train.input_scale_rate": (1.0, {}),
    "train.rare_below": (40, {"create.dataset": "table"}),
    "train.embed_above": (2, {"create.dataset": "table"}),
    "train.embedding_width": (3, {"create.dataset": "table", "train.embed_above": 2}),
    "train.architecture": ("residual", {}),
    "train.hidden": ([5, 5], {}),
    "train.activation": ("tanh", {}),
    "train.dropout": (0.5, {}),
    "train.init": ("normal", {}),
    "train.init_scale": (0.5, {"train.init": "normal"}),
    "train.loss": ("mean_squared_error", {}),
    "train.label_smoothing": (0.1, {}),
    "train.class_weights": ([1.0, 3.0], {}),
    "train.optimizer.name": ("adam", {}),
    "train.optimizer.learning_rate": (0.2, {}),
    "train.optimizer.momentum": (0.5, {}),
    "train.optimizer.nesterov": (True, {"train.optimizer.momentum": 0.5}),
    "train.optimizer.beta1": (0.5, {"train.optimizer.name": "adam"}),
    "train.optimizer.beta2": (0.9, {"train.optimizer.name": "adam"}),
    "train.optimizer.weight_decay": (0.1, {}),
    "train.schedule.name": ("cosine", {}),
    "train.schedule.step_epochs": (1, {"train.schedule.name": "step"}),
    "train.schedule.gamma": (0.5, {"train.schedule.name": "exponential"}),
    "train.schedule.warmup_epochs": (2, {}),
    "train.gradient_clip": (0.01, {}),
    "train.batch_size": (32, {}),
    "train.window": (100, {}),
    "train.epochs": (4, {}),
    "train.patience": (1, {"train.epochs": 30, "train.optimizer.learning_rate": 1.0}),
    "train.temperature": ("validation", {}),
    "evaluate.threshold": (0.6, {}),
    "evaluate.confidence": (0.9, {}),
    "evaluate.resamples": (150, {}),
    "evaluate.seed": (27, {}),
    "evaluate.calibration_bins": (5, {}),
    "evaluate.grid": (12, {}),
    "evaluate.slices": (["x1"], {}),
    "evaluate.permutations": (11, {}),
    "plot.dpi": (60, {}),
    "plot.points": (20, {}),
    "plot.smoothing": (5, {}),
    "report.purpose": ("to learn from", {}),
    "report.contact": ("whoever made it", {}),
    "report.private": (["x1"], {}),
    "report.worst_rows": (3, {}),
    "record.experiment": ("another", {}),
    "gate.min_accuracy": (0.01, {}),
    "gate.min_macro_f1": (0.01, {}),
    "gate.margin": (0.0, {}),
    "gate.beat_baselines": (False, {}),
}


def bytes_of(folder: Path, stage: str, changes: dict[str, Any]) -> dict[str, bytes]:
    """All that the stage writes under these changes, run in this process on the finished project's data."""
    turn(folder, changes)
    importlib.import_module(f"stages.{stage}").main()
    return written(folder, stage)


def written(folder: Path, stage: str) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in outs(graph(folder)[stage])}


@pytest.fixture(scope="module")
def workbench(finished, tmp_path_factory) -> Path:
    return without_notes(Path(shutil.copytree(finished, tmp_path_factory.mktemp("bench") / "copy")))


@pytest.fixture(scope="module")
def tabled(finished, tmp_path_factory) -> Path:
    """As the workbench, on a table of one's own."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("bench") / "table"))
    turn(folder, {"create.dataset": "table"})
    for stage in ("create", "split"):
        done = run(folder, "-m", f"stages.{stage}")
        assert done.returncode == 0, done.stderr
    return without_notes(folder)


def test_every_parameter_has_its_knob_tested():
    for path in ("params.yaml", "tests/params.yaml"):
        values = YAML(typ="safe").load(ROOT / path)
        del values["study"]  # tests/test_study.py
        assert set(KNOBS) == {key for key, _ in reader.leaves(values)}, path


@pytest.mark.parametrize("key", [key for key in KNOBS if not key.startswith(("record.", "gate."))])
def test_turning_a_knob_changes_an_output_of_its_stage(key, finished, workbench, tabled, monkeypatch):
    value, setting = KNOBS[key]
    own = "create.dataset" in setting and not key.startswith("create.")
    assert_alive(key, value, setting, finished, tabled if own else workbench, monkeypatch)


@pytest.mark.parametrize("stage", STAGES[1:-1])
def test_with_no_knob_turned_a_stage_writes_the_same(stage, finished, workbench, monkeypatch):
    """So that what a turned one changes is its doing."""
    monkeypatch.chdir(workbench)
    shutil.copyfile(finished / "params.yaml", workbench / "params.yaml")
    for name in ("data", "models", "reports"):
        shutil.copytree(finished / name, workbench / name, dirs_exist_ok=True)
    assert bytes_of(workbench, stage, {}) == written(finished, stage)


def assert_alive(key, value, setting, finished, workbench, monkeypatch):
    monkeypatch.chdir(workbench)
    stage = key.split(".")[0]
    shutil.copyfile(finished / "params.yaml", workbench / "params.yaml")
    if "create.dataset" not in setting:
        # Another knob may have left its own data and model there.
        for name in ("data", "models", "reports"):
            shutil.copytree(finished / name, workbench / name, dirs_exist_ok=True)
    before = bytes_of(workbench, stage, setting) if setting else written(finished, stage)
    assert before != bytes_of(workbench, stage, {key: value}), f"{key} changes nothing"


@pytest.mark.parametrize("dataset", get_args(Create.model_fields["dataset"].annotation))
def test_every_data_set_runs_through_all_stages(dataset, finished, workbench, monkeypatch):
    """Two classes and many, two features and 64."""
    monkeypatch.chdir(workbench)
    shutil.copyfile(finished / "params.yaml", workbench / "params.yaml")
    turn(workbench, {"create.dataset": dataset, "train.scaling": "standard", "split.method": "stratified"})
    for stage in STAGES[:-1]:
        importlib.import_module(f"stages.{stage}").main()
    metrics = json.loads((workbench / "reports/scores.json").read_text())
    assert metrics["rows"] == sum(scores["rows"] for scores in metrics["classes"].values())
    assert (metrics["bayes"] is not None) == (dataset in {"circles", "moons", "blobs", "spirals", "xor", "gaussians"})


def test_turning_the_gate_changes_its_verdict(finished, workbench):
    shutil.copyfile(finished / "params.yaml", workbench / "params.yaml")
    shutil.copytree(finished / "reports", workbench / "reports", dirs_exist_ok=True)
    metrics = json.loads((workbench / "reports/scores.json").read_text())
    # Three epochs may lose to the majority class; it is the turning that is tested.
    metrics["correct"], metrics["macro_f1"]["low"] = metrics["rows"], 0.9
    metrics["baseline"]["majority"]["difference_low"] = 0.4
    metrics["baseline"]["gradient_boosting"] |= {"log_loss_difference_low": 0.1, "log_loss_difference_high": 0.2}
    (workbench / "reports/scores.json").write_text(json.dumps(metrics))
    open_gate = {"gate.min_accuracy": 0.01, "gate.min_macro_f1": 0.01, "gate.margin": 0.0, "gate.beat_baselines": False}
    turn(workbench, open_gate)
    assert run(workbench, "-m", "retrace", "gate").returncode == 0
    for key, value in open_gate.items():
        turn(workbench, {**open_gate, key: True if value is False else 1.0})
        shut = run(workbench, "-m", "retrace", "gate")
        assert (shut.returncode, key in shut.stderr) == (5, True)


# --- 6: same state, same bytes; and the whole, end to end -----------------------------------------------------------


def test_a_second_repro_runs_nothing(finished):
    assert repro(finished) == []


def test_git_stays_clean_but_for_the_lock_and_the_reports(finished):
    shown = subprocess.run(["git", "status", "--porcelain"], cwd=finished, capture_output=True, text=True, check=True)
    touched = {line[3:] for line in shown.stdout.splitlines()}
    kept = {path for stage in graph(ROOT).values() for path in outs(stage)}
    assert touched <= {"dvc.lock"} | kept


def test_what_was_damaged_in_the_workspace_is_brought_back_before_a_stage_reads_it(finished):
    """So that a reader meets a damaged file only where nobody asked DVC (campaigns/test_fuzz_bytes.py)."""
    made = [path for stage in STAGES[:-1] for path in outs(graph(finished)[stage])]
    before, lock = {path: (finished / path).read_bytes() for path in made}, (finished / "dvc.lock").read_bytes()
    for path, content in before.items():
        (finished / path).write_bytes(content[: len(content) // 2])
    assert repro(finished) == []
    assert before == {path: (finished / path).read_bytes() for path in made}
    assert (finished / "dvc.lock").read_bytes() == lock


def test_a_change_and_back_reruns_what_it_should_and_then_only_record(restored):
    lock = (restored / "dvc.lock").read_bytes()
    text = (restored / "params.yaml").read_text()
    turn(restored, {"train.epochs": 4})
    ran = repro(restored)
    assert ran[:3] + sorted(ran[3:]) == ["validate", "train", "evaluate", "plot", "record", "report"]
    assert ran[-1] == "record"
    (restored / "params.yaml").write_text(text)
    assert repro(restored) == ["record"]
    assert (restored / "dvc.lock").read_bytes() == lock


def test_a_bad_parameter_stops_the_run_and_deletes_nothing(restored):
    before = {path: (restored / path).read_bytes() for stage in STAGES[1:] for path in outs(graph(restored)[stage])}
    lock = (restored / "dvc.lock").read_bytes()
    turn(restored, {"train.optimizer.learning_rate": -1})
    done = run(restored, "-m", "dvc", "repro")
    assert done.returncode != 0
    assert "train.optimizer.learning_rate must be" in done.stderr
    assert before == {path: (restored / path).read_bytes() for path in before}
    assert (restored / "dvc.lock").read_bytes() == lock
    turn(restored, {"train.optimizer.learning_rate": TINY["train.optimizer.learning_rate"]})
    assert repro(restored) == [], "fixed, nothing is left to do"


def test_another_clone_gives_the_same_bytes_and_verify_names_a_file_that_does_not(finished, tmp_path):
    """A lock that says of one output what no run can give: that one differs, all others are identical."""
    folder = Path(shutil.copytree(finished, tmp_path / "committed"))
    lock = (folder / "dvc.lock").read_text()
    made = YAML(typ="safe").load(lock)["stages"]["train"]["outs"]
    (digest,) = (each["md5"] for each in made if each["path"] == "reports/history.csv")
    (folder / "dvc.lock").write_text(lock.replace(digest, digest[::-1]))
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "done"], cwd=folder, check=True
    )
    done = run(folder, "-m", "retrace", "verify")
    assert done.returncode == 1, done.stdout + done.stderr
    count = sum(len(outs(stage)) for stage in graph(folder).values())
    assert done.stdout.count(" identical\n") == count - 1
    assert re.search(r"^reports/history.csv +DIFFERS", done.stdout, re.MULTILINE)
    assert done.stderr.strip().endswith("verify: failed: reports/history.csv")


def test_a_dvc_experiment_runs(restored):
    done = run(restored, "-m", "dvc", "exp", "run", "-S", "plot.dpi=60", "--temp", "--name", "shorter")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = run(restored, "-m", "dvc", "exp", "show", "--json")
    assert "shorter" in shown.stdout


# --- negative controls: each check sees what it is there to see -----------------------------------------------------


@pytest.fixture
def broken(tmp_path) -> Path:
    """A copy to break."""
    return copy_project(tmp_path / "broken", TINY)


@pytest.mark.parametrize("stage", STAGES)
def test_a_dropped_dep_is_seen_and_written_again(stage):
    text = (ROOT / "dvc.yaml").read_text()
    dropped = text.replace(f"      - stages/{stage}.py\n", "")
    assert dropped != text == with_code(dropped)


def test_what_belongs_into_the_library_is_seen(tmp_path):
    stage = tmp_path / "stage.py"
    text = (ROOT / "stages/split.py").read_text()
    stage.write_text(f"{text}\n\ndef helper() -> None:\n    pass\n\n\nclass Rows:\n    pass\n" + "\n" * LINES)
    lines = len(text.splitlines()) + 8 + LINES
    assert beyond_thin(stage) == [f"{lines} lines", "def helper() -> None:", "class Rows:"]
    stage.write_text("import time\n")
    assert beyond_thin(stage) == ["no docstring"]


@pytest.mark.parametrize("line", ["from mlflow.store.db import utils", "sqlite3.connect(database)"])
def test_a_touch_of_mlflows_inside_is_seen(tmp_path, line):
    (tmp_path / "retrace").mkdir()
    (tmp_path / "retrace/any.py").write_text(f"def any():\n    {line}\n")
    assert inside_mlflow(tmp_path) == {"retrace"}


def test_an_import_from_a_floor_above_is_seen(broken):
    errors = broken / "retrace/runtime/errors.py"
    errors.write_text(f"{errors.read_text()}\nfrom retrace.params import reader  # noqa\n")
    assert "0 kept, 1 broken" in floors(broken)


def test_a_new_import_is_seen(broken):
    (broken / "retrace/evaluation/extra.py").write_text("VALUE = 1\n")
    metrics = broken / "retrace/evaluation/metrics.py"
    late = "def late() -> int:\n    from retrace.evaluation import extra\n    return extra.VALUE\n"
    metrics.write_text(f"{metrics.read_text()}\n\n{late}")
    text = with_code((broken / "dvc.yaml").read_text(), broken)
    stages = YAML(typ="safe").load(text)["stages"]
    reached = {name for name, stage in stages.items() if "retrace/evaluation/extra.py" in stage["deps"]}
    assert reached == {"baseline", "evaluate"}


def test_an_undeclared_read_is_seen(finished, broken, tmp_path):
    """A stage that reads a file that is not in its deps stops when it is run alone."""
    split = broken / "stages/split.py"
    split.write_text(
        split.read_text().replace("def main() -> None:", "def main() -> None:\n    open('params.local')", 1)
    )
    shutil.copytree(finished / "data", broken / "data", dirs_exist_ok=True)
    (broken / "params.local").write_text("")  # there, as it would be on the machine of whoever wrote this
    (tmp_path / "alone").mkdir()
    with pytest.raises(AssertionError, match=r"split: params\.local"):
        run_alone(broken, "split", tmp_path / "alone")


def test_a_dead_knob_is_seen(finished, workbench, monkeypatch):
    """`create.moons.noise` is dead while the data set is circles: the check must say so."""
    with pytest.raises(AssertionError, match="changes nothing"):
        assert_alive("create.moons.noise", 0.3, {}, finished, workbench, monkeypatch)


def test_an_undeclared_section_is_seen(restored):
    """Were `evaluate` to declare `plot` too, a change of plot.dpi would make it stale."""
    text = (restored / "dvc.yaml").read_text()
    (restored / "dvc.yaml").write_text(text.replace("      - evaluate\n", "      - evaluate\n      - plot\n", 1))
    try:
        turn(restored, {"plot.dpi": 60})
        with Repo(str(restored)) as repo:
            assert Graph(repo).stale() == rerun_table()["plot"] | {"evaluate", "report"}
    finally:
        (restored / "dvc.yaml").write_text(text)


def test_the_tables_of_dvc_have_at_most_ten_columns_of_metrics(finished):
    """Those of `dvc exp show`, `dvc metrics diff` and VS Code, as DVC itself counts them; all numbers are elsewhere."""
    shown = run(finished, "-m", "dvc", "metrics", "show", "--json")
    columns = dict(reader.leaves(json.loads(shown.stdout)[""]["data"]))
    assert {"reports/metrics.json.data.accuracy", "reports/metrics.json.data.accuracy_low"} <= columns.keys()
    assert len(columns) <= 10, sorted(columns)


def test_the_metrics_in_git_are_those_of_the_lock():
    """What people read in the repository is what the committed dvc.lock says was made."""
    lock = YAML(typ="safe").load(ROOT / "dvc.lock")["stages"]
    for stage in lock.values():
        for out in stage.get("outs", []):
            listed = subprocess.run(
                ["git", "ls-files", out["path"]], cwd=ROOT, capture_output=True, text=True, check=True
            )
            if listed.stdout.strip():
                assert hashlib.md5((ROOT / out["path"]).read_bytes()).hexdigest() == out["md5"], out["path"]
    json.loads((ROOT / "reports/metrics.json").read_text())
