"""Stage `record` against real MLflow and a real SQLite store, and the browser's view of it (retrace/cli/ui.py).

One store serves most tests, each with an experiment of its own.
"""

import contextlib
import gc
import io
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML
from scipy.stats import binomtest

from retrace.artifacts.dvc_lock import compare, parse
from retrace.artifacts.result_page import COMMIT_SPOT
from retrace.artifacts.scores import HEADLINES, Metric, ShippedTraining
from retrace.artifacts.tables import write_table
from retrace.artifacts.training import Trained, TrainingReport
from retrace.cli.main import invoke
from retrace.evaluation.comparisons import mcnemar
from retrace.params.gate import Gate
from retrace.params.reader import read
from retrace.runtime.errors import BAD_DATA, MACHINE_FAULT, UserError
from retrace.runtime.stage_log import PATH as RAN
from retrace.runtime.text import escape
from retrace.tracking import entry, location, points, run_page, store
from retrace.tracking.model import ENTRY
from retrace.tracking.registry import Registered
from retrace.tracking.state import read_state
from stages import record
from tests.conftest import PARAMS, ROOT
from tests.scores import scores as result_of
from tests.served import served
from tests.state import (
    EPOCHS,
    FORKS,
    ODD_CLASS,
    PNG,
    STEPS_PER_EPOCH,
    TABLES,
    environment,
    fetch,
    logged,
    make_state,
    md5,
    rows,
    runs,
    start,
    tags,
    write_lock,
    write_scores,
)
from tests.tracker import HANG_SECONDS

SECRET = "canary-5f1c"
SETTINGS = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME")
STAGES_THAT_RAN = ("split", "baseline", "train", "evaluate", "plot")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """One state, in a path with what a shell, a URL or a printf would take for its own."""
    root = tmp_path_factory.mktemp("record") / "my project #1 100%20 ü"
    make_state(root)
    return root


@pytest.fixture(autouse=True)
def own_settings(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    yield
    gc.enable()


@pytest.fixture
def here(project, monkeypatch, request) -> Path:
    """The project as working directory, its first state on disk, and an experiment named after the test."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    write_lock(project)
    return project


# --- a run ----------------------------------------------------------------------------------------------------------


# Of the training by .retrace/train.json, in ms.
STARTED = 1_767_323_045_000


class Recorded(NamedTuple):
    """A state in its run. said: what the stage printed; folder: of the run's files; content: of the dvc.lock."""

    root: Path
    run_id: str
    said: str
    folder: Path
    content: str

    @property
    def curves(self) -> dict[str, list[tuple]]:
        """By key: step, value, time of each point."""
        found: dict[str, list[tuple]] = {}
        for key, step, value, timestamp in logged(self.root, self.run_id):
            found.setdefault(key, []).append((step, value, timestamp))
        return found

    def curve(self, key: str) -> list[float]:
        return [value for _, value, _ in self.curves[key]]

    @property
    def page(self) -> str:
        return tags(self.root, self.run_id)["mlflow.note.content"]


@pytest.fixture(scope="module")
def recorded(project) -> Recorded:
    """The first state as it comes from the pipeline, in an experiment of its own."""
    name, said = "the first state", io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(project)
        for variable in SETTINGS:
            patch.delenv(variable, raising=False)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", name)
        write_lock(project)
        RAN.write_text("".join(f"{stage}\n" for stage in STAGES_THAT_RAN))
        record.main()
    (run_id,) = runs(project, name)
    folder = project / "mlartifacts" / store.safe_key(name) / run_id / "artifacts"
    return Recorded(project, run_id, said.getvalue(), folder, (project / "dvc.lock").read_text())


def test_the_stage_names_the_run(recorded):
    assert "recorded run 'my *table*, accuracy 0.7500'" in recorded.said


def test_a_run_has_the_params_that_make_the_result(recorded):
    params = dict(rows(recorded.root, "SELECT key, value FROM params WHERE run_uuid = ?", recorded.run_id))
    assert params["train.optimizer.learning_rate"] == "0.1"
    assert params["train.hidden"] == "[10]"
    assert params["train.gradient_clip"] == "null"
    assert params["split.method"] == "auto"
    assert not [key for key in params if key.startswith(("record", "gate"))]


def test_a_run_has_the_curves_of_the_replica_in_use_and_the_band_of_all(recorded):
    curves = recorded.curves
    assert recorded.curve("train/loss") == pytest.approx([2 + 1 / epoch for epoch in range(1, 7)])
    assert recorded.curve("train/loss_low") == pytest.approx([1 / epoch for epoch in range(1, 7)])
    assert recorded.curve("train/loss_high") == recorded.curve("train/loss")
    # Over three replicas, and over the other two, with the same mean, once replica 1 has stopped.
    assert recorded.curve("train/loss_mean") == pytest.approx([1 + 1 / epoch for epoch in range(1, 7)])
    assert {"validation/loss", "validation/loss_mean", "validation/accuracy", "validation/accuracy_high"} <= set(curves)
    assert len(curves["gradient_norm/layer_1"]) == EPOCHS


def test_points_that_are_not_numbers_are_left_out_of_the_curves(recorded):
    assert [step for step, _, _ in recorded.curves["learning_rate"]] == [1, 2, 4, 5, 6]
    assert [step for step, _, _ in recorded.curves["train/step_loss"]] == list(range(1, EPOCHS * STEPS_PER_EPOCH))


def test_the_times_follow_from_the_start_of_the_training_and_its_length(recorded):
    loss = recorded.curves["train/loss"]
    assert (loss[0][2], loss[-1][2]) == (STARTED + 5_000, STARTED + 30_000)
    query = "SELECT status, start_time, end_time FROM runs WHERE run_uuid = ?"
    assert rows(recorded.root, query, recorded.run_id) == [("FINISHED", STARTED, STARTED + 30_000)]
    assert tags(recorded.root, recorded.run_id)["retrace.times"] == "of the training"


def test_a_run_has_the_scores_of_the_network_and_of_what_it_is_compared_with(recorded):
    once = {key: found[0][1] for key, found in recorded.curves.items() if len(found) == 1}
    assert once["test/accuracy"] == 0.75
    assert (once["test/accuracy_low"], once["test/accuracy_high"]) == (0.5, 0.9)
    assert once["test/log_loss"] == 0.75
    assert once["baseline/bayes"] == 0.8
    assert once["baseline/majority"] == 0.5
    assert (once["best/epoch"], once["best/validation_loss"]) == (5, 0.25)
    assert once["test/f1/a_b_c___x_"] == 0.6


def test_a_run_has_the_files_of_the_state_and_no_other(recorded):
    folder = recorded.folder
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    pictures = {path for path in files if path.startswith("images/confusion_matrix+step+0+timestamp+")}
    assert {Path(path).suffix for path in pictures} == {".png", ".webp"}
    assert files - pictures == {
        *("params.yaml", "dvc.lock", "report.html", "tables/predictions.parquet"),
        *("figures/confusion_matrix.png", "figures/loss.png", "tables/classification_report.txt"),
        *("tables/history.csv", "tables/confusion_matrix.csv", "tables/scores.json", "tables/baseline.json"),
        *("tables/data.json", "tables/data.md"),
        *("environment/packages.txt", "environment/machine.json", *(f"tables/{name}.csv" for name in TABLES)),
    }


def test_a_run_has_the_packages_and_the_machine_that_made_it(recorded):
    folder = recorded.folder / "environment"
    assert re.search(r"^torch==\S+$", (folder / "packages.txt").read_text(), re.MULTILINE)
    machine = json.loads((folder / "machine.json").read_text())
    assert machine["device"] == "cpu"
    assert machine["python"]
    assert machine["torch"]
    assert machine["cpu"]
    assert tags(recorded.root, recorded.run_id)["retrace.device"] == "cpu (auto: no CUDA here)"


def test_a_run_names_the_rows_that_it_is_of(recorded):
    query = (
        "SELECT datasets.name, digest, dataset_source, dataset_schema, dataset_profile, input_tags.value FROM datasets"
        " JOIN inputs ON source_id = dataset_uuid JOIN input_tags USING (input_uuid) WHERE destination_id = ?"
    )
    inputs = {row[0].rsplit(" ", 1)[1]: row[1:] for row in rows(recorded.root, query, recorded.run_id)}
    counts = {side: json.loads(row[3])["num_rows"] for side, row in inputs.items()}
    assert counts == {"train": 6, "validation": 2, "test": 4}
    digest, source, schema, _, context = inputs["train"]
    assert digest == md5(recorded.root / "data/train.parquet")
    assert json.loads(source) == {"uri": "data/train.parquet"}
    assert [column["name"] for column in json.loads(schema)["mlflow_colspec"]] == ["x 1", "größe", "class"]
    assert context == "training"


def test_a_run_is_tagged_with_its_state(recorded):
    found, lock = tags(recorded.root, recorded.run_id), parse(recorded.content)
    assert found["retrace.fingerprint"] == lock.fingerprint
    assert found["retrace.stages"] == "split, baseline, train, evaluate, plot"
    assert found["retrace.complete"] == "true"
    assert found["retrace.class.a_b_c___x_"] == ODD_CLASS


def test_what_was_recorded_is_noted_in_the_project(here):
    record.main()
    assert (here / ".retrace/recorded").read_text() == f"{parse((here / 'dvc.lock').read_text()).content}\n"


def test_a_run_is_tagged_with_what_is_suspicious_about_the_data(recorded):
    found = tags(recorded.root, recorded.run_id)
    assert found["data.findings"] == "3"
    both = "column x 1 is the same in every row; column größe is the same in every row"
    assert found["data.finding.constant"] == both
    assert found["data.finding.identifier"].startswith("column n  rises xxx")
    assert len(found["data.finding.identifier"]) == 500
    assert "3 things to know about the data, in tables/data.md." in recorded.page


def test_the_page_of_a_run_says_how_good_it_is_and_how_sure_that_is(recorded):
    text = recorded.page
    assert "**Test accuracy 0.7500** (95 % interval 0.5000 to 0.9000): 3 of 4 test rows" in text
    assert "one of its 3 replicas, on average&emsp; | 0.7000, standard deviation 0.0500" in text
    majority = (
        "| majority&emsp; | 0.5000&emsp; | 0.2500 (95 % interval 0.1000 to 0.4000)&emsp; | 0.7000&emsp; | -0.3000 ("
    )
    assert majority in text
    assert "Bayes limit" in text


def test_the_page_of_a_run_says_what_it_is_of_and_shows_its_figures(recorded):
    assert "my \\*table\\*" in recorded.page
    assert "The first run of this experiment." in recorded.page
    picture = f"](get-artifact?path=figures%2Fconfusion_matrix.png&run_uuid={recorded.run_id})"
    assert picture in recorded.page


def test_the_page_of_a_run_leads_to_that_of_its_result(recorded):
    """Where there is no git, that is the file as it is."""
    assert f"/runs/{recorded.run_id}/artifacts/report.html) has all of it." in recorded.page.split("\n")[0]
    assert (recorded.folder / "report.html").read_bytes() == (recorded.root / "reports/report.html").read_bytes()


def test_the_same_state_is_recorded_once(here, capsys, request):
    record.main()
    (run_id,) = runs(here, request.node.name)
    before = logged(here, run_id), tags(here, run_id)
    (here / ".retrace/recorded").unlink()
    capsys.readouterr()
    record.main()
    assert "recorded already" in capsys.readouterr().out
    assert runs(here, request.node.name) == [run_id]
    assert (logged(here, run_id), tags(here, run_id)) == before
    assert (here / ".retrace/recorded").exists()


def test_another_experiment_that_comes_to_the_same_state_is_named_in_its_run(here, request, monkeypatch):
    record.main()
    for name in ("noted-sorb", "mown-abbe", "noted-sorb"):
        monkeypatch.setenv("DVC_EXP_NAME", name)
        record.main()
    (run_id,) = runs(here, request.node.name)
    assert tags(here, run_id)["retrace.dvc_experiment"] == "noted-sorb, mown-abbe"


def test_a_change_is_a_run_that_says_so_and_the_way_back_is_none(here, request):
    record.main()
    assert not RAN.exists()
    write_lock(here, learning_rate=1e-05)
    RAN.write_text("train\nplot\ntrain\n")
    record.main()
    write_lock(here, learning_rate=1e-05, code="2" * 32)
    record.main()
    write_lock(here)
    record.main()
    first, second, third = runs(here, request.node.name)
    found = tags(here, second)
    assert found["mlflow.runName"] == "learning_rate=1e-05, accuracy 0.7500"
    changed = f"/runs/{first}): train.optimizer.learning\\_rate 0.1 → **1e-05**.\n"
    assert changed in found["mlflow.note.content"]
    # Those that ran, and not all whose results are others than in the run before.
    assert found["retrace.stages"] == "train, plot"
    assert "- For it ran: train, plot.\n" in found["mlflow.note.content"]
    found = tags(here, third)
    assert found["mlflow.runName"] == "6 code files changed, accuracy 0.7500"
    assert found["retrace.stages"] == "not known"
    assert "For it ran" not in found["mlflow.note.content"]
    assert "learning" not in found["mlflow.note.content"].split("code:")[1]
    assert "stages/train.py" in found["mlflow.note.content"]


def test_nothing_that_is_secret_or_personal_is_recorded(here, request):
    record.main()
    (run_id,) = runs(here, request.node.name)
    found = {**tags(here, run_id)}
    folder = here / "mlartifacts" / store.safe_key(request.node.name) / run_id
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    content += json.dumps(found).encode()
    for word in (SECRET, str(here), str(ROOT), socket.gethostname()):
        assert word.encode() not in content


def test_git_tells_commit_and_uncommitted_changes_and_the_committed_state_names_the_run(tmp_path, monkeypatch):
    make_state(tmp_path)
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y"]
    (tmp_path / ".gitignore").write_text("/data/\n/models/\n/.retrace/\n/mlflow.db\n/mlartifacts/\n")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "reports/scores.json").write_text((tmp_path / "reports/scores.json").read_text() + "\n")
    write_lock(tmp_path)
    record.main()
    (run_id,) = runs(tmp_path, "retrace")
    assert tags(tmp_path, run_id)["mlflow.source.git.commit"] == head
    # What the pipeline writes, dvc.lock and its outs, is not a change.
    assert tags(tmp_path, run_id)["retrace.uncommitted_changes"] == "false"
    # The copies of the page say so, the page itself does not: it is the same whatever the commit.
    page = "<p>my *table*</p><p>This copy was made at commit <code>%s</code>%s.</p><p>größe</p>"
    copies = [path.read_text("utf-8") for path in Path("mlartifacts").rglob("report.html")]
    assert copies == [page % (head, "")] * 2  # of the run, and of its model
    assert COMMIT_SPOT in Path("reports/report.html").read_text("utf-8")
    with open("params.yaml", "a") as file:
        file.write("\n")
    write_lock(tmp_path, learning_rate=0.5)
    record.main()
    write_lock(tmp_path, learning_rate=0.25)
    record.main()
    _, second, third = runs(tmp_path, "retrace")
    assert tags(tmp_path, second)["retrace.uncommitted_changes"] == "true"
    copies = {path.read_text("utf-8") for path in Path("mlartifacts").rglob("report.html")}
    assert page % (head, ", beside changes that were not committed") in copies
    # Against the committed state, not against the run before.
    assert tags(tmp_path, third)["mlflow.runName"] == "learning_rate=0.25, accuracy 0.7500"
    assert "0.5 → **0.25**" in tags(tmp_path, third)["mlflow.note.content"]


def test_a_state_from_before_there_were_two_files_is_recorded(tmp_path, monkeypatch):
    """All numbers stood in reports/metrics.json then; `retrace backfill` meets such states."""
    make_state(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("reports/scores.json").rename("reports/metrics.json")
    lock = Path("dvc.lock")
    lock.write_text(lock.read_text().replace("reports/scores.json", "reports/metrics.json"))
    found = entry.record(read_state(0), read(Gate), "", 0)
    assert (Path("reports/metrics.json"), "tables") in found.files
    assert {point.key: point.value for point in found.points}["test/accuracy"] == 0.75
    assert found.candidate.confidence == 0.95


def test_a_state_from_before_there_was_a_page_is_recorded(tmp_path, monkeypatch):
    make_state(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("reports/report.html").unlink()
    yaml = YAML()
    lock = yaml.load(Path("dvc.lock"))
    del lock["stages"]["report"]
    yaml.dump(lock, Path("dvc.lock"))
    record.main()
    (run_id,) = runs(tmp_path, "retrace")
    assert not [*Path("mlartifacts").rglob("report.html")]
    assert "report.html" not in tags(tmp_path, run_id)["mlflow.note.content"]
    monkeypatch.setattr("retrace.tracking.sync.log_files", None)  # nothing is missed, so nothing is brought back
    record.main()


def test_where_the_mean_ships_the_curves_are_of_the_mean(tmp_path, monkeypatch):
    make_state(tmp_path, ship="mean")
    monkeypatch.chdir(tmp_path)
    found = {
        (point.key, point.step): point.value
        for point in entry.record(read_state(0), read(Gate), "", 0).points
        if point.step
    }
    steps = range(1, EPOCHS * STEPS_PER_EPOCH)
    expected = {("train/step_loss", step): pytest.approx(1 + (step - 1) / 10) for step in steps}  # the last is infinite
    for epoch in range(1, EPOCHS + 1):
        curves = {"validation/loss": 1 / epoch, "train/loss": 1 + 1 / epoch, "validation/accuracy": 0.5}
        curves |= {"learning_rate": 0.1, "gradient_norm/layer_1": 0.5}
        for key, first, last in (
            ("train/loss", 1 / epoch, 2 + 1 / epoch),
            ("validation/loss", 2 / epoch, 2 + 2 / epoch),
            ("validation/accuracy", 0.5, 0.5),
        ):
            curves |= {f"{key}_low": first, f"{key}_mean": (first + last) / 2, f"{key}_high": last}
        expected |= {(key, epoch): pytest.approx(value) for key, value in curves.items()}
    assert found == expected


def test_a_model_of_another_training_gets_the_times_of_the_replay(here, request):
    clock = here / ".retrace/train.json"
    text = clock.read_text()
    try:
        clock.write_text(text.replace('"model": "', '"model": "0'))
        before = time.time_ns() // 1_000_000
        record.main()
    finally:
        clock.write_text(text)
    (run_id,) = runs(here, request.node.name)
    assert tags(here, run_id)["retrace.times"] == "of the recording"
    assert "those of the training are not known" in tags(here, run_id)["mlflow.note.content"]
    ((begin, end),) = rows(here, "SELECT start_time, end_time FROM runs WHERE run_uuid = ?", run_id)
    assert before <= begin <= end


def test_a_file_that_dvc_lock_does_not_describe_is_not_recorded(tmp_path, monkeypatch):
    make_state(tmp_path)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "reports/scores.json"
    path.write_text(path.read_text().replace("0.75", "0.99"))
    with pytest.raises(UserError, match=r"reports/scores\.json is not the file that dvc\.lock describes") as caught:
        record.main()
    assert caught.value.status == BAD_DATA
    assert not (tmp_path / "mlflow.db").exists()
    path.write_text(path.read_text().replace("0.99", "0.75"))
    (tmp_path / ENTRY).unlink()
    with pytest.raises(UserError, match=rf"{ENTRY} not found; bring it back with: git checkout HEAD {ENTRY}$"):
        record.main()
    assert not (tmp_path / "mlflow.db").exists()
    (tmp_path / "dvc.lock").write_text("stages:\n<<<<<<< HEAD\n  a: 1\n")
    with pytest.raises(UserError, match=r"dvc\.lock cannot be read .* git checkout HEAD dvc\.lock"):
        record.main()


# --- the model and the registry --------------------------------------------------------------------------------------


def linked(root: Path, run_id: str) -> list[tuple]:
    """Metrics of the run's model, with the data set that each is about."""
    query = (
        "SELECT metric_name, metric_value, metric_timestamp_ms, dataset_name, dataset_digest FROM logged_model_metrics"
    )
    return sorted(rows(root, f"{query} WHERE run_id = ?", run_id))


def test_the_model_is_logged_with_what_it_scored_on_which_rows(here, request):
    record.main()
    (run_id,) = runs(here, request.node.name)
    ((model_id, name, status),) = rows(
        here, "SELECT model_id, name, status FROM logged_models WHERE source_run_id = ?", run_id
    )
    assert (name, status) == ("classifier", 2)  # ready
    found = {key: (value, dataset, digest) for key, value, _, dataset, digest in linked(here, run_id)}
    assert found["test/accuracy"] == (0.75, "my *table* test", md5(here / "data/test.parquet"))
    assert found["best/validation_loss"][1:] == ("my *table* validation", md5(here / "data/validation.parquet"))
    assert not [key for key in found if key.startswith(("train", "baseline", "bayes"))]
    assert rows(here, "SELECT destination_id FROM inputs WHERE source_id = ?", run_id) == [(model_id,)]
    query = "SELECT tag_value FROM logged_model_tags WHERE model_id = ? AND tag_key = 'mlflow.modelVersions'"
    ((versions,),) = rows(here, query, model_id)
    assert json.loads(versions) == [{"name": request.node.name, "version": 1}]
    folder = here / "mlartifacts" / store.safe_key(request.node.name) / "models" / model_id / "artifacts"
    assert (folder / "artifacts/model/model.safetensors").read_bytes() == (
        here / "models/model.safetensors"
    ).read_bytes()
    # Nothing says where it was made, so that it can be anywhere else.
    text = (folder / "MLmodel").read_text()
    assert str(here) not in text
    assert "file:" not in text
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".pt", ".pth")]


def aliases(root: Path, name: str) -> dict[str, int]:
    return dict(rows(root, "SELECT alias, version FROM registered_model_aliases WHERE name = ?", name))


def described(root: Path, name: str) -> list[str]:
    query = "SELECT description FROM model_versions WHERE name = ? ORDER BY version"
    return [text for (text,) in rows(root, query, name)]


@pytest.fixture
def scores(here):
    """Sets which test rows are right, and records; afterwards all is as it was."""
    bar = here / "params.yaml"
    kept = {path: path.read_bytes() for path in (bar, here / "data/test.parquet")}

    def act(right: list[bool], min_accuracy: float = 0.5, **boosting: float) -> None:
        bar.write_text(PARAMS.replace("min_accuracy: 0.95", f"min_accuracy: {min_accuracy}"))
        write_scores(here, right, **boosting)
        record.main()

    yield act
    for path, content in kept.items():
        path.write_bytes(content)
    write_scores(here, [True, True, True, False])


def test_the_champion_is_the_one_that_passes_and_is_surely_better_on_the_same_rows(here, request, scores, capsys):
    name = request.node.name
    ok, no = [True], [False]
    scores(ok * 60 + no * 40, min_accuracy=0.95)
    assert aliases(here, name) == {}
    scores(ok * 70 + no * 30)
    assert aliases(here, name) == {"champion": 2}
    # Another state, the same answers.
    write_lock(here, learning_rate=0.2)
    record.main()
    assert aliases(here, name) == {"champion": 2, "challenger": 3}
    # 5 gained, none lost: p = 0.0625
    scores(ok * 75 + no * 25)
    assert aliases(here, name) == {"champion": 2, "challenger": 4}
    # 10 gained, none lost: p = 0.002
    scores(ok * 80 + no * 20)
    assert aliases(here, name) == {"champion": 5, "challenger": 4}
    # Worse, by as much.
    scores(ok * 70 + no * 20 + ok * 2 + no * 8)
    assert aliases(here, name) == {"champion": 5, "challenger": 6}
    # The newest that did not pass is nobody's challenger.
    scores(ok * 99 + no, min_accuracy=0.999)
    assert aliases(here, name) == {"champion": 5, "challenger": 6}
    capsys.readouterr()
    first, second, same, third, fourth, fifth, sixth = described(here, name)
    assert same == "Passed the gate; right on the same 100 test rows as champion 2, which stays."
    assert first.startswith("Not champion, the gate failed: 60 of 100 test rows right")
    assert second == "Champion: the first version that passed the gate."
    assert third == (
        "Passed the gate, but not surely better than champion 2: of the same 100 test rows it alone is right on 5,"
        " version 2 alone on 0 (McNemar's exact test: p = 0.062)."
    )
    assert fourth.startswith("Champion: better than version 2, the champion before: of the same 100 test rows it alone")
    assert "but worse than champion 5: of the same 100 test rows it alone is right on 2, version 5 alone on 10" in fifth
    assert "gate.min_accuracy 0.999" in sixth
    # The same states again decide nothing, whatever the bar is now.
    before = rows(here, "SELECT * FROM model_versions"), aliases(here, name)
    scores(ok * 99 + no, min_accuracy=0.1)
    scores(ok * 70 + no * 30)
    assert (rows(here, "SELECT * FROM model_versions"), aliases(here, name)) == before
    last = runs(here, name)[-1]
    assert "[Version 7](#/models/" in tags(here, last)["mlflow.note.content"]


def test_a_better_baseline_is_told_with_the_version_and_on_the_page(here, request, scores):
    name = request.node.name
    right = [True] * 70 + [False] * 30
    gap = {"log_loss_difference": 0.02, "log_loss_difference_low": -0.01, "log_loss_difference_high": 0.05}
    scores(right, **gap)
    scores(right, **{**gap, "log_loss_difference_low": 0.01})
    numbers = "better in log loss: 0.7000, network minus it +0.0200"
    perhaps, surely = described(here, name)
    assert perhaps == (
        "Champion: the first version that passed the gate. On the same test rows gradient boosting is perhaps"
        f" {numbers} (-0.0100 to +0.0500)."
    )
    assert surely.startswith(f"Not champion, the gate failed: gradient boosting is surely {numbers} (+0.0100 to")
    assert surely.count("surely better") == 1
    assert aliases(here, name) == {"champion": 1}
    for run_id, sure in zip(runs(here, name), ("perhaps", "surely"), strict=True):
        first, second, *rest = tags(here, run_id)["mlflow.note.content"].split("\n\n")
        assert first.startswith("**Test accuracy")
        assert second.startswith(f"**gradient boosting is {sure} better in log loss: 0.7000, network minus it")
        assert not [line for line in rest if "perhaps better" in line]


def test_a_mean_is_told_on_the_page_and_with_the_version():
    trained = Trained(best_epoch=5, best_validation_loss=0.25, epochs=9)
    training = TrainingReport("cpu", "auto", "float32", None, steps_per_epoch=4, replicas=[trained] * 8, mean=trained)
    headline = Metric(0.7, 0.6, 0.8, mean=0.65, deviation=0.01, jackknife=0.002)
    of_training = ShippedTraining(replicas=8, shipped=None, best_epoch=5, best_validation_loss=0.25)
    result = result_of(**dict.fromkeys(HEADLINES, headline), training=of_training)
    registered = Registered("name", "1", "Champion.")
    place = run_page.RunPlace("run", "1")
    page = run_page.description(place, "table", result, training, None, registered, [], [], None)
    assert "- The mean of 8 replicas ships: best epoch 5 of 9, validation loss 0.2500. The luck of" in page
    assert "a standard error of 0.0020 in accuracy (jackknife)." in page
    assert "| one of its 8 replicas, on average&emsp; | 0.6500, standard deviation 0.0100&emsp; | 0.0500" in page
    state = SimpleNamespace(scores=result, training=training)
    assert entry._remarks(state, "") == ["The model is the mean of 8 replicas."]


@pytest.mark.parametrize("call", ["update_model_version", "set_registered_model_alias", "set_terminated"])
def test_a_recording_that_is_cut_off_at_the_decision_decides_the_same(here, request, scores, monkeypatch, call):
    name = store.safe_key(request.node.name)
    scores([True] * 70 + [False] * 30)
    original = getattr(MlflowClient, call)

    def cut_off(*arguments, **keywords):
        original(*arguments, **keywords)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, cut_off)
        with pytest.raises(KeyboardInterrupt):
            scores([True] * 100, log_loss_difference=0.1)
    scores([True] * 100, log_loss_difference=0.1)
    assert aliases(here, name) == {"champion": 2, "challenger": 1}
    text = described(here, name)[1]
    assert text.startswith("Champion: better than version 1, the champion before")
    assert text.count("On the same test rows gradient boosting is perhaps better in log loss") == 1
    page = tags(here, runs(here, request.node.name)[1])["mlflow.note.content"]
    assert page.count("perhaps better") == 1


def test_other_test_rows_cannot_be_compared_and_that_is_said(here, request, scores):
    name = request.node.name
    scores([True] * 70 + [False] * 30)
    table = pq.read_table(here / "data/test.parquet")
    pq.write_table(table.slice(1), here / "data/test.parquet")
    scores([True] * 100)
    assert aliases(here, name) == {"champion": 1, "challenger": 2}
    assert described(here, name)[1] == (
        "Passed the gate, but cannot be compared: champion 1 was tested on other rows; version 1 stays, unless a person"
        " moves the alias."
    )


def test_a_champion_whose_predictions_are_gone_stays(here, request, scores):
    name = request.node.name
    scores([True] * 70 + [False] * 30)
    champions_predictions(here, name).unlink()
    scores([True] * 100)
    assert aliases(here, name) == {"champion": 1, "challenger": 2}
    assert "champion 1's predictions are gone" in described(here, name)[1]


def test_a_champion_whose_predictions_are_damaged_stays(here, request, scores):
    name = request.node.name
    scores([True] * 70 + [False] * 30)
    path = champions_predictions(here, name)
    write_table(path, pq.read_table(path))
    page = pq.read_metadata(path).row_group(0).column(0)
    content = bytearray(path.read_bytes())
    content[page.dictionary_page_offset + page.total_compressed_size - 1] ^= 1
    path.write_bytes(content)
    scores([True] * 100)
    assert aliases(here, name) == {"champion": 1, "challenger": 2}
    assert "champion 1's predictions are gone" in described(here, name)[1]


def champions_predictions(root: Path, experiment: str) -> Path:
    (run_id,) = runs(root, experiment)
    return root / "mlartifacts" / store.safe_key(experiment) / run_id / "artifacts/tables/predictions.parquet"


def test_mcnemar_is_the_binomial_test():
    for gained, lost in ((0, 0), (5, 0), (10, 2), (3, 3), (400, 350), (0, 1)):
        expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert mcnemar(gained, lost) == pytest.approx(expected)
        assert mcnemar(lost, gained) == mcnemar(gained, lost)


# --- interrupted, together, elsewhere -------------------------------------------------------------------------------

# A child for each moment is killed there; a second one then records the same state again.
KILLER = """
run_parts.METRICS_AT_ONCE = 40
def killed(name, count):
    original, calls = getattr(MlflowClient, name), [0]
    def hooked(*arguments, **keywords):
        calls[0] += 1
        result = original(*arguments, **keywords)
        if calls[0] == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(MlflowClient, name, hooked)
    record.main()
for moment in sys.argv[1:]:
    name, count = moment.split(":")
    os.environ["MLFLOW_EXPERIMENT_NAME"] = moment
    assert ended(child(lambda: killed(name, int(count)))) == signal.SIGKILL, moment
    assert ended(child(record.main)) == 0, moment
"""

TOGETHER = """
pids = [child(record.main) for _ in range(4)]
assert [ended(pid) for pid in pids] == [0] * 4
os.remove("mlflow.db")
os.remove(".retrace/recorded")
# What a deleted store left beside it must not spoil the new one.
open("mlflow.db-journal", "wb").write(b"left over")
assert ended(child(record.main)) == 0
"""

MOMENTS = (
    *("create_run:1", "create_logged_model:1", "log_model_artifacts:1", "log_outputs:1", "log_batch:2", "log_batch:3"),
    *("log_artifact:3", "create_model_version:1", "update_model_version:1", "set_terminated:1"),
)


def test_a_run_that_was_killed_is_completed_and_not_doubled(here, request):
    record.main()
    (whole,) = runs(here, request.node.name)
    process = start(here, FORKS + KILLER, *MOMENTS)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    for moment in MOMENTS:
        (run_id,) = runs(here, moment)
        assert logged(here, run_id) == logged(here, whole), moment
        assert tags(here, run_id)["retrace.complete"] == "true"
        assert rows(here, "SELECT COUNT(*) FROM inputs WHERE destination_id = ?", run_id) == [(3,)]
        assert rows(here, "SELECT COUNT(*) FROM inputs WHERE source_id = ?", run_id) == [(1,)]
        assert linked(here, run_id) == linked(here, whole), moment
        ((version,),) = rows(here, "SELECT version FROM model_versions WHERE run_id = ?", run_id)
        assert version == 1
        folder, other = (here / "mlartifacts" / store.safe_key(name) for name in (moment, request.node.name))
        assert len(list(folder.rglob("*"))) == len(list(other.rglob("*")))


def test_four_processes_that_first_open_the_store_together_make_one_run_and_a_deleted_store_is_filled_again(tmp_path):
    make_state(tmp_path)
    process = start(tmp_path, FORKS + TOGETHER)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    lines = [line for line in out.splitlines() if " version " not in line]
    assert [("already" in line) for line in lines] == [False, True, True, True, False]
    (run_id,) = runs(tmp_path, "retrace")
    assert tags(tmp_path, run_id)["retrace.complete"] == "true"
    assert (tmp_path / ".retrace/recorded").exists()
    assert not (tmp_path / "mlruns").exists()


def test_files_that_were_deleted_from_the_store_come_back_and_the_registry_stays(here, request, capsys):
    record.main()
    (run_id,) = runs(here, request.node.name)
    folder = here / "mlartifacts" / store.safe_key(request.node.name)
    before = {path.relative_to(folder): md5(path) for path in folder.rglob("*") if path.is_file()}
    decided = rows(here, "SELECT * FROM model_versions WHERE run_id = ?", run_id)
    (model,) = (folder / "models").iterdir()
    parts = (folder / run_id / "artifacts/figures", folder / run_id / "artifacts/images", model / "artifacts/artifacts")
    pages = (folder / run_id / "artifacts/report.html", model / "artifacts/report.html")
    for gone in (folder, folder / "models", folder / run_id, *parts, *pages):
        gone.unlink() if gone in pages else shutil.rmtree(gone)
        capsys.readouterr()
        record.main()
        assert capsys.readouterr().out.startswith("record: this state is recorded already")
        after = {path.relative_to(folder): md5(path) for path in folder.rglob("*") if path.is_file()}
        # The model's own description says when it was written.
        assert {path for path in before if before[path] != after.get(path)} <= {
            path for path in before if path.name == "MLmodel"
        }
        assert set(after) == set(before)
    assert runs(here, request.node.name) == [run_id]
    assert rows(here, "SELECT * FROM model_versions WHERE run_id = ?", run_id) == decided


def test_projects_that_share_a_sqlite_file_record_one_after_the_other(tmp_path):
    """Each holds the file's lock, not its own: of those that make a new store together, one would spoil the others'."""
    shared = tmp_path / "shared.db"
    folders = [tmp_path / name for name in ("one", "two", "three", "four")]
    for index, folder in enumerate(folders):
        make_state(folder)
        write_lock(folder, 0.1 + index)
    processes = [start(folder, MLFLOW_TRACKING_URI=f"sqlite:///{shared}") for folder in folders]
    for process in processes:
        out, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, ""), out
    with contextlib.closing(sqlite3.connect(shared)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM runs").fetchone() == (4,)


def test_an_experiment_of_dvc_lands_in_the_projects_store(here, tmp_path, monkeypatch, request):
    make_state(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("DVC_ROOT", str(here))
    monkeypatch.setenv("DVC_EXP_NAME", "lofty-newt")
    record.main()
    (run_id,) = runs(here, request.node.name)
    assert tags(here, run_id)["retrace.dvc_experiment"] == "lofty-newt"
    assert tags(here, run_id)["mlflow.runName"] == "lofty-newt: my *table*, accuracy 0.7500"
    left = {path.name for path in (tmp_path / "elsewhere").iterdir()}
    assert left == {"data", "models", "reports", "params.yaml", "dvc.lock", ".retrace", "retrace"}


# --- stores that cannot be used -------------------------------------------------------------------------------------


TRICKLE = 1  # no status: a byte now and then


class Server(HTTPServer):
    """Answers /health with one status and all else with another, or, where that is None, not at all."""

    def __init__(self, health: int | None, other: int | None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.health, self.other = health, other
        self.closing = threading.Event()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self):
        status = self.server.health if self.path.startswith("/health") else self.server.other
        if status is None:
            self.server.closing.wait(30)
            return
        if status == TRICKLE:
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n")
            with contextlib.suppress(OSError):
                while not self.server.closing.wait(0.3):
                    self.wfile.write(b" ")
            return
        self.send_response(status)
        self.send_header("Retry-After", "30")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *_):
        pass


# All but the first two are up at first and fail once the recording is under way.
@pytest.mark.parametrize(
    ("health", "other", "words"),
    [
        (500, 500, "answers with HTTP status 500"),
        (None, None, "does not answer within 3 s"),
        (200, 500, "HTTP status 500;"),
        (200, 503, "HTTP status 503;"),
        (200, 429, "HTTP status 429;"),
        (200, None, "timed out"),
        (200, TRICKLE, "timed out"),
        (404, 401, "401"),
    ],
)
def test_a_server_that_fails_costs_seconds_and_one_line(here, monkeypatch, capfd, health, other, words):
    with Server(health, other) as server:
        uri = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("//", f"//me:{SECRET}@"))
        (here / ".retrace/recorded").unlink(missing_ok=True)
        begin = time.monotonic()
        with pytest.raises(UserError) as caught:
            record.main()
        assert time.monotonic() - begin < HANG_SECONDS
    line = str(caught.value)
    assert caught.value.status == MACHINE_FAULT
    assert "\n" not in line
    assert line.startswith(f"tracking store {uri}: ")
    assert line.endswith("all results are safe, and the next `dvc repro` (or make record) records them in their run")
    assert words in line
    assert SECRET not in line
    assert capfd.readouterr() == ("", "")
    assert not (here / ".retrace/recorded").exists()


def test_the_stage_ends_with_status_4_when_the_server_is_down(here):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    process = start(here, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
    out, errors = process.communicate(timeout=HANG_SECONDS)
    assert (process.returncode, out) == (MACHINE_FAULT, "")
    assert errors.count("\n") == 1
    assert f"http://127.0.0.1:{port}: does not answer" in errors


def corrupt(database: Path) -> None:
    database.write_bytes(os.urandom(20_000))


def truncate(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:5000])


def make_read_only(database: Path) -> None:
    # SQLite takes a file whose format says "written by a later version" for read-only, even when root asks.
    content = bytearray(database.read_bytes())
    content[18] = 3
    database.write_bytes(content)


def make_newer(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        connection.execute("DROP TABLE latest_metrics")


def make_older(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'df50e92ffc5e'")
        connection.execute("DROP TABLE datasets")


def make_foreign(database: Path) -> None:
    database.unlink()
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE shopping (item TEXT)")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (corrupt, "file is not a database"),
        (truncate, "malformed"),
        (make_read_only, "readonly"),
        (make_newer, "a newer MLflow than"),
        (make_older, "an older MLflow made it.*mlflow db upgrade"),
        (make_foreign, "no such table: alembic_version"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_and_stays_as_it_is(
    here, tmp_path, monkeypatch, capfd, request, spoil, words
):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "any")
    if not (here / "mlflow.db").exists():
        record.main()
    database = tmp_path / "mlflow.db"
    database.write_bytes((here / "mlflow.db").read_bytes())
    spoil(database)
    before = md5(database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    capfd.readouterr()
    with pytest.raises(UserError, match=words) as caught:
        record.main()
    assert caught.value.status == MACHINE_FAULT
    assert "\n" not in str(caught.value)
    assert str(database) in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert md5(database) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.db.lock"}


@pytest.mark.parametrize(
    "uri",
    [
        f"foo://me:pass@{SECRET}@host",
        f"postgresql://me:{SECRET}@localhost/mlflow",
        *("file:./mlruns", "./mlruns", "localhost:5000", "http:/localhost:5000"),
        *("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:mlflow.db?uri=true"),
    ],
)
def test_a_store_that_record_does_not_know_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, uri):
    make_state(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI takes the address of a server") as caught:
        record.main()
    assert caught.value.status == MACHINE_FAULT
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sqlite_file_is_named_from_the_projects_root_and_by_one_name(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "link"))
    for uri in ("sqlite:///../link/my%2520store.db?timeout=5", f"sqlite:///{tmp_path}/link/./my%2520store.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert location.locate("any").database == tmp_path / "real/my%20store.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///../real")
    with pytest.raises(UserError, match="is a folder, not a SQLite file"):
        store.probe(location.locate("any"))


def test_an_experiment_in_the_trash_is_one_line(here, monkeypatch, request):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "  ")
    assert location.locate("from params.yaml").experiment == "from params.yaml"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    record.main()
    with contextlib.closing(sqlite3.connect(here / "mlflow.db")) as connection, connection:
        change = "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = ? RETURNING experiment_id"
        ((experiment,),) = connection.execute(change, (request.node.name,)).fetchall()
    command = f"mlflow experiments restore --experiment-id {experiment}"
    with pytest.raises(UserError, match=rf"is in the trash; .* {command},"):
        record.main()
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, cwd=here, env={**os.environ, "PATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    record.main()


# --- words and numbers ----------------------------------------------------------------------------------------------


def test_keys_from_names_are_safe_and_each_its_own():
    names = ["plain", "Plain", "a/b", "a_b", "..", "", "ein größerer Name", "a\nb", "x" * 300, "x" * 299, "1<2>"]
    keys = points.safe_keys(names)
    assert len({key.casefold() for key in keys.values()}) == len(names)
    from mlflow.utils.validation import _validate_metric_name

    for key in keys.values():
        _validate_metric_name(f"test/class/{key}/precision")
        assert len(key) < 90
    assert keys["plain"] == "plain"
    assert keys["ein größerer Name"] == "ein größerer Name"


def test_a_long_curve_is_thinned_evenly_and_keeps_its_end(monkeypatch):
    monkeypatch.setattr(points, "MOST_POINTS", 10)
    assert points.thin(10).tolist() == list(range(10))
    assert points.thin(25).tolist() == [0, 3, 6, 9, 12, 15, 18, 21, 24]
    assert points.thin(0).tolist() == []


def test_a_name_is_short_but_not_ambiguous():
    names = ["train.seed", "split.seed", "train.optimizer.name", "train.schedule.name", "train.init"]
    short = ["train.seed", "split.seed", "optimizer.name", "schedule.name", "init"]
    assert run_page.short_names(names) == dict(zip(names, short, strict=True))


def test_names_cannot_write_markdown():
    text = escape("x](http://evil) <script>|`a`\n# big **b** $y$ ~z~ &lt;")
    assert "\n" not in text
    assert "<" not in text
    assert not re.search(r"(?<!\\)[\[\]()|`*#$~]", text)


def test_the_fingerprint_is_of_what_makes_the_result_and_of_nothing_else(here):
    text = (here / "dvc.lock").read_text()
    lock = parse(text)
    for old, new in (("size: 1\n", "size: 2\n"), ("path: params.yaml\n", "path: other\n")):
        assert old in text
        assert parse(text.replace(old, new)).fingerprint == lock.fingerprint
    for old, new in (("11111111", "11111112"), ("epochs: 100", "epochs: 101"), ("-m stages.plot", "-m stages.plo")):
        assert old in text
        assert parse(text.replace(old, new)).fingerprint != lock.fingerprint
    changes = compare(lock, parse(text.replace("dropout: 0.0", "dropout: 0")))
    assert changes.params == {"train.dropout": ("0.0", "0")}


# --- in a browser ---------------------------------------------------------------------------------------------------


def test_ui_serves_the_runs_to_its_owner_only_and_ends_with_its_processes(here, request):
    record.main()
    (run_id,) = runs(here, request.node.name)
    with served(here, environment(), sys.executable) as server:
        experiment = f"{server.base}/ajax-api/2.0/mlflow/experiments/get?experiment_id={server.experiment}"
        picture = f"{server.base}/get-artifact?path=figures%2Fconfusion_matrix.png&run_uuid={run_id}"
        status, page = fetch(server.base, **server.own)
        assert status == 200
        assert b"<title>MLflow</title>" in page
        status, answer = fetch(experiment, **server.own)
        assert json.loads(answer)["experiment"]["name"] == request.node.name
        assert fetch(picture, **server.own) == (200, PNG)
        for url in (server.base, experiment, picture):
            assert fetch(url)[0] == 403
            assert fetch(url, **server.own, Host="10.evil.com")[0] == 403
        (group,) = {pid for pid, parent in processes().items() if parent == server.process.pid}
        members = family(group)
        assert len(members) <= 3
        server.process.send_signal(signal.SIGINT)
        _, errors = server.process.communicate(timeout=20)
        assert (server.process.returncode, errors) == (0, "")
    assert not members & set(processes())


def processes() -> dict[int, int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}


def family(pid: int) -> set[int]:
    parents = processes()
    members = {pid}
    while more := {child for child, parent in parents.items() if parent in members} - members:
        members |= more
    return members


def test_ui_says_what_to_run_first(tmp_path, monkeypatch, here):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"has no runs of experiment .* yet; run: make run") as caught:
        invoke(["ui"])
    assert caught.value.status == MACHINE_FAULT
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("spoil", "words"), [(make_newer, "a newer MLflow than"), (make_older, "mlflow db upgrade")])
def test_ui_says_that_another_mlflow_made_the_store(here, tmp_path, monkeypatch, request, spoil, words):
    record.main()
    database = tmp_path / "mlflow.db"
    database.write_bytes((here / "mlflow.db").read_bytes())
    spoil(database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    with pytest.raises(UserError, match=words):
        invoke(["ui"])
