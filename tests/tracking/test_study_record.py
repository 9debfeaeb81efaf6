"""One run for each study, in a real SQLite store; and the runs of the pipeline that follow from it."""

import gc
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from retrace.artifacts.dvc_lock import parse
from retrace.artifacts.study import STUDY, TRIALS
from retrace.runtime import stage_log
from retrace.runtime.errors import BAD_DATA, MACHINE_FAULT, UserError
from retrace.tracking.location import STUDIES
from retrace.tracking.study_link import train_digest
from retrace.tracking.study_page import description, name
from retrace.tracking.study_run import FIGURES, PAGE, fingerprint
from stages import record, study_record
from tests.small_study import SCORES, present, study_result, write_example
from tests.state import FORKS, PNG, environment, logged, make_state, md5, rows, runs, tags, write_lock

SETTINGS = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME")


@pytest.fixture(autouse=True)
def own_settings(monkeypatch):
    for variable in SETTINGS:
        monkeypatch.delenv(variable, raising=False)
    yield
    gc.enable()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("study") / "my project #1 100%20 ü"


@pytest.fixture(scope="module")
def first(place) -> str:
    """The id of the run of a study that adopts trial 3, with a page and figures."""
    place.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for variable in SETTINGS:
            patch.delenv(variable, raising=False)
        write_example()
        FIGURES.mkdir()
        (FIGURES / "history.png").write_bytes(PNG)
        (FIGURES / "slice.png").write_bytes(PNG)
        PAGE.write_text("<p>the study</p>")
        study_record.main()
    (run_id,) = runs(place, STUDIES)
    return run_id


@pytest.fixture
def here(place, first, monkeypatch) -> Path:
    monkeypatch.chdir(place)
    write_example()
    return place


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A pipeline with a state of its own, and no study yet."""
    make_state(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(root: Path, run_id: str) -> dict[str, str]:
    folder = root / "mlartifacts" / STUDIES / run_id / "artifacts"
    return {path.relative_to(folder).as_posix(): md5(path) for path in folder.rglob("*") if path.is_file()}


# --- a run ----------------------------------------------------------------------------------------------------------


def test_a_study_is_a_run_with_what_was_searched_and_what_won(place, first):
    params = dict(rows(place, "SELECT key, value FROM params WHERE run_uuid = ?", first))
    assert params == {
        "method": "tpe",
        "trials": "8",
        "seeds": "2",
        "fresh_seeds": "16",
        "budgets": "[4, 12]",
        "space.optimizer.learning_rate": "0.01 to 1.0, log",
        "space.hidden": "[10], [10, 10], []",
        "space.activation": "relu, tanh",
        "winner.optimizer.learning_rate": "0.25",
        "winner.hidden": "[10, 10]",
        "winner.activation": "relu",
    }


def test_its_metrics_are_those_of_the_winner_and_of_the_present_setting(place, first):
    once = {key: value for key, step, value, _ in logged(place, first) if key != "best_so_far"}
    assert once == {
        **{"winner/search_score": 0.2, "winner/fresh_score": 0.23, "winner/optimism": 0.03},
        **{"winner/improvement": 0.18, "winner/improvement_low": 0.1, "winner/improvement_high": 0.26},
        **{"winner/accuracy": 0.95, "winner/calibration_error": 0.02},
        **{"present/search_score": 0.4, "present/fresh_score": 0.41},
        **{"present/accuracy": 0.9, "present/calibration_error": 0.03},
        **{"trials/complete": 4, "trials/stopped": 3, "trials/diverged": 1},
    }


def test_best_so_far_is_a_curve_over_the_trials_that_trained_to_the_end(place, first):
    """Of trial 1, which was stopped, the score is lower than all, after a third of the epochs."""
    curve = [(step, value) for key, step, value, _ in logged(place, first) if key == "best_so_far"]
    assert curve == list(enumerate([0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.2, 0.2]))


def test_its_files_are_those_of_the_study(place, first):
    wanted = {"trials.parquet": TRIALS.path, "study.json": STUDY, "study.html": PAGE}
    wanted |= {f"figures/{each}.png": FIGURES / f"{each}.png" for each in ("history", "slice")}
    assert files(place, first) == {artifact: md5(place / path) for artifact, path in wanted.items()}


def test_its_name_and_its_page_say_what_wins_and_how_sure_that_is(place, first):
    found = tags(place, first)
    assert found["mlflow.runName"] == "learning_rate=0.25, hidden=[10, 10], log loss better by 0.1800"
    page = found["mlflow.note.content"]
    head, gain, seen, *_ = page.split("\n\n")
    assert head == "**optimizer.learning\\_rate 0.25 (now 0.1), hidden [10, 10] (now [10]), activation relu**".replace(
        "[", "\\["
    ).replace("]", "\\]").replace("(", "\\(").replace(")", "\\)")
    assert "0.1800 \\(95 % interval 0.1000 to 0.2600\\) in log loss, with 16 fresh seeds on 200" in gain
    assert seen == f"![history](get-artifact?path=figures%2Fhistory.png&run_uuid={first})"
    assert "Of trial 3 the search promised 0.0300 more of a gain" in page
    assert "What mattered: optimizer.learning\\_rate 70%" in page
    assert "4 complete, 3 stopped, 1 diverged" in page
    assert found["retrace.complete"] == "true"
    assert rows(place, "SELECT status FROM runs WHERE run_uuid = ?", first) == [("FINISHED",)]


def test_a_setting_that_diverged_in_the_search_is_told_and_has_no_score_of_it(here):
    result = study_result()
    present, winner, *others = result.candidates
    diverged = {"search_score": None, "optimism": None}
    write_example(candidates=[replace(present, **diverged), replace(winner, **diverged), *others])
    study_record.main()
    run_id = runs(here, STUDIES)[-1]
    keys = {key for key, *_ in logged(here, run_id)}
    assert {"winner/fresh_score", "present/fresh_score"} <= keys
    assert not [key for key in keys if key.endswith(("search_score", "optimism"))]
    page = tags(here, run_id)["mlflow.note.content"]
    assert "Of trial 3 it diverged in the search" in page
    assert page.count("| diverged&emsp;") == 2


def test_a_study_that_adopts_nothing_says_so_and_leads_nowhere(here):
    write_example(adopted=None)
    study_record.main()
    run_id = runs(here, STUDIES)[-1]
    found = tags(here, run_id)
    assert found["mlflow.runName"] == "my *table*: the present setting stays, 8 trials"
    assert found["mlflow.note.content"].startswith("**The present setting stays.**\n\nno trial is surely better")
    assert not {"retrace.train", "retrace.adopted"} & set(found)
    assert not [key for key, *_ in logged(here, run_id) if key.startswith("winner")]


def test_a_page_is_cut_at_what_mlflow_keeps_and_takes_no_orders_from_a_name():
    result = study_result(reason="<script>|" * 2000, adopted=None, dataset="x")
    assert "<script>" not in description("run", result, [])
    # With much to say of each of many.
    candidates = [replace(result.candidates[1], settings={"hidden": [10] * 200})] * 30
    page = description("run", replace(result, candidates=candidates), [])
    assert len(page) == 8000
    assert name(study_result(adopted=None, dataset="x")) == "x: the present setting stays, 8 trials"


# --- found again, completed, filled anew ----------------------------------------------------------------------------


def test_the_same_study_is_recorded_once(here, first, capsys):
    before, marker = (tags(here, first), logged(here, first), runs(here, STUDIES)), here / ".retrace/study_recorded"
    marker.unlink()
    study_record.main()
    assert "study_record: this study is recorded already" in capsys.readouterr().out
    assert (tags(here, first), logged(here, first), runs(here, STUDIES)) == before
    assert marker.read_text() == f"{fingerprint()}\n"


@pytest.mark.parametrize("changes", [{"scores": [*SCORES[:-1], (0.61,)]}, {"reason": "another"}])
def test_another_study_is_another_run(here, changes):
    before = runs(here, STUDIES)
    write_example(**changes)
    study_record.main()
    after = runs(here, STUDIES)
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1


KILLER = """
from stages import study_record
def killed(name, count):
    original, calls = getattr(MlflowClient, name), [0]
    def hooked(*arguments, **keywords):
        calls[0] += 1
        result = original(*arguments, **keywords)
        if calls[0] == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(MlflowClient, name, hooked)
    study_record.main()
for moment in sys.argv[1:]:
    name, count = moment.split(":")
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists("mlflow.db" + suffix):
            os.remove("mlflow.db" + suffix)
    assert ended(child(lambda: killed(name, int(count)))) == signal.SIGKILL, moment
    assert ended(child(study_record.main)) == 0, moment
    os.rename("mlflow.db", moment.replace(":", "_") + ".db")
"""
MOMENTS = ("create_run:1", "log_batch:1", "log_batch:2", "log_artifact:2", "log_batch:3", "set_terminated:1")


def test_a_run_that_was_killed_is_completed_and_not_doubled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_example()
    command = [sys.executable, "-c", FORKS + KILLER, *MOMENTS]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    whole = None
    for moment in MOMENTS:
        Path(f"{moment.replace(':', '_')}.db").rename("mlflow.db")
        (run_id,) = runs(tmp_path, STUDIES)
        assert tags(tmp_path, run_id)["retrace.complete"] == "true"
        points = [point[:3] for point in logged(tmp_path, run_id)]
        assert points == (whole or points), moment
        assert set(files(tmp_path, run_id)) == {"trials.parquet", "study.json"}
        whole = points
        Path("mlflow.db").unlink()


def test_a_store_that_was_deleted_is_filled_anew_and_so_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_example()
    study_record.main()
    (run_id,) = runs(tmp_path, STUDIES)
    shutil.rmtree(tmp_path / "mlartifacts")
    study_record.main()
    assert set(files(tmp_path, run_id)) == {"trials.parquet", "study.json"}
    # What was drawn since is brought to the same run.
    FIGURES.mkdir()
    (FIGURES / "history.png").write_bytes(PNG)
    study_record.main()
    assert "figures/history.png" in files(tmp_path, run_id)
    assert runs(tmp_path, STUDIES) == [run_id]
    Path("mlflow.db").unlink()
    # In a process of its own, which knows no other file.
    command = [sys.executable, "-m", "stages.study_record"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("study_record: recorded run")
    assert len(runs(tmp_path, STUDIES)) == 1


def test_it_goes_into_its_own_experiment_whatever_the_environment_names(here, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    study_record.main()
    assert runs(here, "another") == []


def test_it_is_no_stage_that_a_run_of_the_pipeline_comes_of(project, monkeypatch):
    ran = project / ".retrace/ran"
    for stage in ("study", "study_plot", "study_record", "train"):
        monkeypatch.setattr(stage_log, "running_stage", lambda stage=stage: stage)
        stage_log.note_stage()
    assert ran.read_text().splitlines()[-1] == "train"
    assert "study" not in ran.read_text()


@pytest.mark.parametrize("path", [STUDY, TRIALS.path])
def test_a_file_that_is_missing_or_damaged_is_a_line(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    write_example()
    for content in (b"{}", None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=str(path)) as caught:
            study_record.main()
        assert caught.value.status == BAD_DATA
    assert not Path(".retrace/study_recorded").exists()
    assert not Path("mlflow.db").exists()


def test_a_store_that_cannot_be_used_says_how_the_study_is_recorded_later(tmp_path, monkeypatch):
    """And that way does it."""
    monkeypatch.chdir(tmp_path)
    write_example()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError) as caught:
        study_record.main()
    assert caught.value.status == MACHINE_FAULT
    assert str(caught.value).endswith("and the next `retrace study` records the study in its run")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    Path("mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match="then run: retrace study"):
        study_record.main()
    Path("mlflow.db").unlink()
    study_record.main()
    assert len(runs(tmp_path, STUDIES)) == 1


def test_an_experiment_in_the_trash_is_a_line_that_names_no_parameter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_example()
    study_record.main()
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    client.delete_experiment(client.get_experiment_by_name(STUDIES).experiment_id)
    with pytest.raises(UserError, match="is in the trash") as caught:
        study_record.main()
    assert "record.experiment" not in str(caught.value)


# --- the run of the pipeline that adopts a setting ------------------------------------------------------------------


def adopt(root: Path, **train) -> None:
    """dvc.lock of a state whose section train has these settings, nested as params.yaml has them."""
    from ruamel.yaml import YAML

    content = YAML(typ="safe").load(root / "dvc.lock")
    section = content["stages"]["train"]["params"]["params.yaml"]["train"]
    for key, value in train.items():
        section[key] = {**section[key], **value} if isinstance(value, dict) else value
    YAML().dump(content, root / "dvc.lock")


WON = {"optimizer": {"learning_rate": 0.25}, "hidden": [10, 10]}


def test_a_run_says_which_section_train_it_trained(project):
    record.main()
    (run_id,) = runs(project, "retrace")
    assert tags(project, run_id)["retrace.train"] == train_digest(present())


def test_the_digest_is_of_section_train_alone_and_of_what_its_values_mean():
    section = {"train.a": 1, "train.b": [1.0, 2], "train.c": True}
    assert train_digest(section | {"split.a": 3}) == train_digest(dict(reversed(section.items())))
    assert train_digest(section | {"train.a": 1.0}) == train_digest(section)
    for change in ({"train.a": 2}, {"train.a": 1.5}, {"train.c": False}, {"train.c": 1}, {"train.b": [2, 1]}):
        assert train_digest(section | change) != train_digest(section), change


def test_the_run_that_adopts_a_setting_links_to_its_study(project):
    record.main()
    write_example()
    study_record.main()
    (study,) = runs(project, STUDIES)
    write_lock(project)
    adopt(project, **WON)
    record.main()
    before, adopting = runs(project, "retrace")
    found = tags(project, adopting)
    assert found["retrace.train"] == tags(project, study)["retrace.train"]
    assert found["retrace.study"] == study
    (experiment,) = rows(project, "SELECT experiment_id FROM experiments WHERE name = ?", STUDIES)[0]
    assert f"](#/experiments/{experiment}/runs/{study}) adopted." in found["mlflow.note.content"]
    assert "retrace.study" not in tags(project, before)


def test_neither_another_setting_nor_a_study_that_adopts_nothing_links(project):
    write_example(adopted=None)
    study_record.main()
    adopt(project, **WON)
    record.main()
    write_example()
    study_record.main()
    write_lock(project, learning_rate=0.2)
    record.main()
    for run_id in runs(project, "retrace"):
        assert "retrace.study" not in tags(project, run_id)
        assert "the study" not in tags(project, run_id)["mlflow.note.content"]


def test_a_state_that_was_recorded_before_the_study_is_linked_when_it_is_recorded_again(project):
    adopt(project, **WON)
    record.main()
    (run_id,) = runs(project, "retrace")
    plain = tags(project, run_id)
    write_example()
    study_record.main()
    (study,) = runs(project, STUDIES)
    record.main()
    linked = tags(project, run_id)
    assert linked["retrace.study"] == study
    assert linked["mlflow.note.content"].startswith(plain["mlflow.note.content"])
    assert study in linked["mlflow.note.content"]
    record.main()
    assert tags(project, run_id) == linked
    assert runs(project, "retrace") == [run_id]


def test_of_two_studies_that_adopt_the_same_the_last_one_is_linked(project):
    write_example()
    study_record.main()
    write_example(reason="again")
    study_record.main()
    adopt(project, **WON)
    record.main()
    (run_id,) = runs(project, "retrace")
    assert tags(project, run_id)["retrace.study"] == runs(project, STUDIES)[1]


def test_a_study_that_was_cut_off_or_is_in_the_trash_is_not_linked(project, monkeypatch):
    write_example()
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            study_record.main()
    adopt(project, **WON)
    record.main()
    (run_id,) = runs(project, "retrace")
    assert "retrace.study" not in tags(project, run_id)
    study_record.main()
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    client.delete_experiment(client.get_experiment_by_name(STUDIES).experiment_id)
    record.main()
    assert "retrace.study" not in tags(project, run_id)


def test_a_run_of_the_pipeline_in_the_experiment_of_the_studies_is_taken_for_none(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", STUDIES)
    record.main()
    write_lock(project, code="2" * 32)
    record.main()
    one, other = runs(project, STUDIES)
    assert tags(project, one)["retrace.train"] == tags(project, other)["retrace.train"]
    assert "retrace.study" not in tags(project, other)


def test_a_study_changes_no_fingerprint_of_a_state(project):
    before = parse((project / "dvc.lock").read_text()).fingerprint
    write_example()
    study_record.main()
    record.main()
    (run_id,) = runs(project, "retrace")
    assert tags(project, run_id)["retrace.fingerprint"] == before
