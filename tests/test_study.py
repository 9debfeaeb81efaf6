"""Stage `study`: on a tiny project, in real processes where it matters."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from retrace.artifacts.schema import read_schema
from retrace.artifacts.study import STUDY, TRIALS, read_study
from retrace.artifacts.tables import read_table
from retrace.params import reader
from retrace.params.messages import PATH
from retrace.params.reader import read
from retrace.params.space import grid, searched
from retrace.params.split import Split
from retrace.params.study import Study
from retrace.runtime.errors import UserError
from retrace.study.folds import fold_of_each, read_rows, write_fold
from retrace.study.sampling import Told, ask
from retrace.study.study_run import seed_of_networks
from stages.validate import SECTIONS
from tests.conftest import PARAMS
from tests.project import TINY, environment, finished, run, turn

SPACE = {
    "optimizer.learning_rate": {"low": 0.01, "high": 3.0, "log": True},
    "hidden": [[4], [6]],
    "init": ["he_uniform", "normal"],
    "init_scale": {"low": 0.1, "high": 1.0, "when": {"init": "normal"}},
}
SMALL = {
    "train.epochs": 6,
    "study.trials": 18,
    "study.seeds": 2,
    "study.rungs": 2,
    "study.fresh_seeds": 2,
    "study.space": SPACE,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A tiny project whose rows are split, and a study to be made of them."""
    folder = finished(tmp_path_factory.mktemp("study") / "small one")
    turn(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def studied(small) -> tuple[Path, dict[str, bytes]]:
    """The same after its study in one process, and what that wrote."""
    done = run(small, "-m", "stages.study", RETRACE_WORKERS="1")
    assert done.returncode == 0, done.stderr
    return small, written(small)


def written(folder: Path) -> dict[str, bytes]:
    return {str(path): (folder / path).read_bytes() for path in (TRIALS.path, STUDY)}


def forget(folder: Path) -> None:
    subprocess.run(["rm", "-rf", folder / ".checkpoints", folder / "reports/study"], check=True)


def lines_of(space: Any, **others: Any) -> list[str]:
    content = YAML(typ="safe").load(PARAMS)
    content["study"] |= {"space": space, **others}
    PATH.write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        reader.check(SECTIONS)
    return [line.partition(": ")[2] for line in str(caught.value).splitlines()]


# --- the section ----------------------------------------------------------------------------------------------------

FAULTS = {
    "{}": ({}, "study.space must name at least one parameter of section train"),
    "a name": ({"optimizer.lerning_rate": [1.0]}, "did you mean optimizer.learning_rate?"),
    "a last name": ({"momentum": [0.1]}, "did you mean optimizer.momentum?"),
    "what is fixed": ({"seed": [1, 2]}, "no setting to choose"),
    "a value": ({"init": ["he_uniform", "he_unform"]}, "study.space.init[1] must be one of default"),
    "twice": ({"init": ["normal", "normal"]}, "study.space.init[1] must be there once"),
    "none": ({"init": []}, "study.space.init must hold at least one value"),
    "a single one": ({"init": "normal"}, "study.space.init must be a list of values, or a range"),
    "a range of none": ({"hidden": {"low": 1, "high": 2}}, "study.space.hidden must be a list of values, since"),
    "a key": ({"dropout": {"low": 0.1, "high": 0.2, "lg": True}}, "study.space.dropout.lg must be one of high, log"),
    "an end": ({"dropout": {"low": 0.1}}, "study.space.dropout must have high"),
    "beyond": ({"dropout": {"low": 0.1, "high": 1.0}}, "study.space.dropout.high must be a number >= 0 and < 1"),
    "the other way": ({"dropout": {"low": 0.2, "high": 0.1}}, "study.space.dropout.low must be at most high (0.1)"),
    "a logarithm": (
        {"dropout": {"low": 0.0, "high": 0.1, "log": True}},
        "study.space.dropout.low must be > 0 with log",
    ),
    "no truth": ({"dropout": {"low": 0.0, "high": 0.1, "log": 1}}, "study.space.dropout.log must be true or false"),
    "half a unit": ({"bins": {"low": 0.5, "high": 3}}, "study.space.bins.low must be a whole number from 0 to 1,000"),
    "no list": ({"init": {"choices": "normal"}}, "study.space.init.choices must be a list of values"),
    "when what": ({"dropout": {"choices": [0.1], "when": 3}}, "study.space.dropout.when must be like"),
    "when nothing": ({"dropout": {"choices": [0.1], "when": {"init": ["normal"]}}}, "that the space has with a list"),
    "when no such": (
        {"init": ["normal"], "dropout": {"choices": [0.1], "when": {"init": "zeros"}}},
        "study.space.dropout.when.init must be among the values of init (normal)",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_of_a_space_is_a_line(name, project):
    space, said = FAULTS[name]
    (line,) = lines_of(space)
    assert said in line


def test_all_faults_of_a_space_are_said_at_once(project):
    space = {"seed": [1], "init": ["he_unform"], "dropout": {"low": 2.0, "high": 1.5}}
    assert len(lines_of(space)) == 4


def test_a_grid_has_lists_and_as_many_trials_as_it_needs(project):
    (line,) = lines_of({"dropout": {"low": 0.0, "high": 0.1}}, method="grid")
    assert line.startswith("study.space.dropout must be a list of values with study.method: grid")
    (line,) = lines_of({"init": ["normal", "zeros"], "dropout": [0.0, 0.1, 0.2]}, method="grid", trials=6)
    assert line.startswith("study.trials must be at least 7 with method: grid")


def test_settings_that_break_a_rule_between_parameters_end_it_before_anything_runs(small):
    turn(small, {"study.space": {"optimizer.nesterov": [False, True]}})
    done = run(small, "-m", "stages.study")
    turn(small, SMALL)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "params.yaml: study.space: train.optimizer.momentum must be > 0 with nesterov: true;"
        " the space has optimizer.nesterov: true\n"
    )


# --- what it draws --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["random", "quasi_random", "tpe"])
def test_a_round_follows_from_the_seed_and_what_was_told(method):
    space = searched(SPACE)
    told = [
        Told(each, [0.5 + number / 10], number % 2 == 0) for number, each in enumerate(ask(space, method, 1, 0, [], 12))
    ]
    first, again = (ask(space, method, 1, 1, told, 8) for _ in range(2))
    assert first == again != ask(space, method, 2, 1, told, 8)
    assert first != ask(space, method, 1, 2, told, 8)
    for settings in first:
        assert all(each.holds(settings[each.name]) for each in space if each.is_active(settings))
        assert ("init_scale" in settings) == (settings["init"] == "normal")
    if method == "tpe":
        worse = [each._replace(scores=[1 - each.scores[0]]) for each in told]
        assert first != ask(space, method, 1, 1, worse, 8), "it learns from what it is told"


def test_tpe_goes_where_it_was_good():
    space = searched({"optimizer.learning_rate": {"low": 0.001, "high": 10.0, "log": True}})
    told = []
    for place in range(6):
        for settings in ask(space, "tpe", 3, place, told, 8):
            told.append(Told(settings, [abs(math.log10(settings["optimizer.learning_rate"]))], True))
    early, late = (np.mean([each.scores[0] for each in part]) for part in (told[:8], told[-8:]))
    assert late < 0.75 * early


def test_a_grid_is_every_combination_once():
    found = grid(
        searched({"init": ["normal", "zeros"], "init_scale": {"choices": [0.1, 1.0], "when": {"init": "normal"}}})
    )
    assert found == [
        {"init": "normal", "init_scale": 0.1},
        {"init": "normal", "init_scale": 1.0},
        {"init": "zeros"},
    ]


# --- the search -----------------------------------------------------------------------------------------------------


def test_trials_are_halved_and_the_present_setting_goes_all_the_way(studied):
    table = pq.read_table(studied[0] / TRIALS.path).to_pandas()
    assert list(table["trial"].unique()) == list(range(18))
    assert table.groupby("trial")["round"].first().tolist() == [0] * 16 + [1] * 2
    present = table[table["trial"] == 0]
    assert present["state"].unique().tolist() == ["complete"]
    assert present["budget"].unique().tolist() == [2, 6]
    assert present["optimizer.learning_rate"].unique().tolist() == [TINY["train.optimizer.learning_rate"]]
    assert len(present) == 2 * 2, "rungs and networks"
    first = table[(table["round"] == 0) & (table["budget"] == 2)].groupby("trial").first()
    kept = set(table[(table["round"] == 0) & (table["state"] == "complete")]["trial"])
    assert kept == {0} | set(first["score"].sort_values(kind="stable").index[:6])
    assert (table["trained_epochs"] == table["budget"]).all()
    at_best = table.groupby(["trial", "budget"])["validation_loss"].transform("mean")
    assert (table["score"] >= at_best - 1e-9).all()
    assert (table["score"] <= at_best + 0.1).all()


def test_a_trial_is_what_a_training_of_its_setting_gives(studied, tmp_path, monkeypatch):
    """By the trainer itself, in a project of its own: the same validation losses, to the last digit that both have."""
    folder, _ = studied
    table = read_table(folder / TRIALS.path).to_pandas()
    trial = table[(table["state"] == "complete") & (table["budget"] == 6) & (table["trial"] != 0)].iloc[:1]
    settings = {
        "train.optimizer.learning_rate": float(trial["optimizer.learning_rate"].iloc[0]),
        "train.hidden": json.loads(trial["hidden"].iloc[0]),
        "train.init": json.loads(trial["init"].iloc[0]),
    }
    if not math.isnan(trial["init_scale"].iloc[0]):
        settings["train.init_scale"] = float(trial["init_scale"].iloc[0])
    alone = finished(tmp_path / "alone")
    monkeypatch.chdir(alone)
    rows, schema = read_rows(alone / "data"), read_schema()
    first = fold_of_each(rows, schema, read(Split), 5, 26) == 0
    write_fold(rows, first, alone / "data")  # on which the first network of a trial is trained
    turn(alone, {"train.epochs": 6, "train.replicas": 1, "train.seed": seed_of_networks(26), **settings})
    assert run(alone, "-m", "stages.train").returncode == 0
    training = json.loads((alone / "models/training.json").read_text())
    losses = [each["best_validation_loss"] for each in training["replicas"]]
    assert trial["validation_loss"].tolist() == pytest.approx(losses, rel=1e-5)
    assert trial["best_epoch"].tolist() == [each["best_epoch"] for each in training["replicas"]]


@pytest.mark.parametrize("workers", ["2", "3"])
def test_the_same_bytes_whoever_shares_the_work(studied, workers, monkeypatch):
    """In processes, though the work is too little for them; three of them on any machine."""
    folder, before = studied
    forget(folder)
    done = in_processes(folder, workers)
    assert done.wait() == 0
    assert written(folder) == before


FORCED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
from retrace.runtime import run
from retrace.study import study_run
from stages import study
study_run.workers_worth_having = lambda *_: int(sys.argv[1])
run.run(study.main)
"""


def in_processes(folder: Path, workers: str, *largest: str, **options: Any) -> subprocess.Popen[str]:
    """The stage with so many processes, however little there is to do; largest: bytes that a file may have."""
    return subprocess.Popen(
        [sys.executable, "-c", FORCED, workers, *largest],
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(folder)},
        text=True,
        **options,
    )


def measured(folder: Path) -> int:
    """Trainings whose result is on the disk."""
    return sum(path.read_bytes().count(b"\n") for path in (folder / ".checkpoints/study").rglob("tasks.jsonl"))


def test_a_killed_worker_is_replaced_and_changes_no_byte(studied):
    folder, before = studied
    forget(folder)
    study = in_processes(folder, "2", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while measured(folder) < 3 and study.poll() is None:
        time.sleep(0.001)
    children = Path(f"/proc/{study.pid}/task/{study.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, said = study.communicate()
    assert study.returncode == 0, said
    assert written(folder) == before


def test_a_line_that_was_cut_off_or_damaged_is_measured_again(studied):
    folder, before = studied
    forget(folder)
    assert run(folder, "-m", "stages.study").returncode == 0
    (path,) = (folder / ".checkpoints/study").rglob("tasks.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"0.", b"1.", 1)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:20])
    done = run(folder, "-m", "stages.study")
    assert done.stdout.startswith("study: 2 trainings were measured before")
    assert written(folder) == before


def test_where_there_is_no_room_for_what_was_measured_it_ends_with_a_line_and_keeps_it(studied):
    folder, before = studied
    forget(folder)
    study = in_processes(folder, "2", "6000", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _, said = study.communicate()
    assert study.returncode == 4
    assert re.fullmatch(r"\S*study: (\S+/tasks\.jsonl|\S+\.parquet): File too large\n", said), said
    known = measured(folder)
    done = run(folder, "-m", "stages.study")
    assert done.returncode == 0, done.stderr
    assert known == 0 or done.stdout.startswith(f"study: {known} trainings were measured before")
    assert written(folder) == before


def test_with_a_handful_of_rows_it_has_a_result(tmp_path):
    """Three validation rows, and folds of about seven."""
    folder = finished(tmp_path / "few")
    turn(folder, SMALL | {"create.rows": 45, "split.method": "stratified", "study.trials": 4, "train.ship": "mean"})
    for stage in ("create", "split"):
        assert run(folder, "-m", f"stages.{stage}").returncode == 0
    assert pq.read_metadata(folder / "data/validation.parquet").num_rows <= 4
    done = run(folder, "-m", "stages.study")
    assert done.returncode == 0, done.stderr
    assert read_study(folder).states["complete"] >= 1


def test_a_longer_study_begins_with_what_the_shorter_one_measured(studied):
    folder, _ = studied
    forget(folder)
    assert run(folder, "-m", "stages.study").returncode == 0
    shorter = read_table(folder / TRIALS.path).to_pandas()
    turn(folder, {"study.trials": 20})
    done = run(folder, "-m", "stages.study")
    turn(folder, SMALL)
    assert re.match(r"study: \d+ trainings were measured before", done.stdout)
    longer = read_table(folder / TRIALS.path).to_pandas()
    first = longer[longer["round"] == 0].reset_index(drop=True)
    assert first.equals(shorter[shorter["round"] == 0].reset_index(drop=True))


def test_a_trial_that_diverges_is_a_result(studied):
    folder, _ = studied
    turn(folder, {"study.space": {"optimizer.learning_rate": [0.3, 1e6]}, "train.loss": "mean_squared_error"})
    turn(
        folder,
        {"train.scaling": "none", "train.optimizer.weight_decay": 1.0, "study.method": "grid", "study.trials": 3},
    )
    done = run(folder, "-m", "stages.study")
    table = read_table(folder / TRIALS.path).to_pandas()
    turn(folder, {"train.loss": "cross_entropy", "train.optimizer.weight_decay": 0.0, "study.method": "tpe", **SMALL})
    assert done.returncode == 0, done.stderr
    diverged = table[table["state"] == "diverged"]
    assert diverged["optimizer.learning_rate"].unique().tolist() == ["1000000.0"]
    assert diverged["score"].isna().all()
    assert table[table["trial"] == 0]["score"].notna().all()


def test_where_all_diverge(studied):
    folder, _ = studied
    turn(folder, {"study.space": {"optimizer.learning_rate": [1e6, 1e5]}, "train.optimizer.learning_rate": 1e6})
    turn(folder, {"train.optimizer.weight_decay": 1.0, "study.trials": 4})
    done = run(folder, "-m", "stages.study")
    assert done.returncode == 4
    assert done.stderr.startswith(
        "study: all 4 trials diverged, the present setting with them; lower the learning rates"
    )
    assert measured(folder) > 0
    turn(folder, {"study.space": {"optimizer.learning_rate": [0.1, 0.3]}})
    done = run(folder, "-m", "stages.study")
    turn(folder, {"train.optimizer.weight_decay": 0.0, "train.optimizer.learning_rate": 0.3, **SMALL})
    assert done.returncode == 0, done.stderr
    assert "the present setting diverges" in done.stdout


# --- the verdict ----------------------------------------------------------------------------------------------------


def test_the_verdict_is_on_fresh_seeds_and_rows_that_nobody_was_trained_on(studied):
    folder, _ = studied
    assert run(folder, "-m", "stages.study").returncode == 0
    result = read_study(folder)
    assert result.candidates[0].trial == 0
    assert result.rows == sum(
        pq.read_metadata(folder / f"data/{name}.parquet").num_rows for name in ("train", "validation")
    )
    assert result.candidates[0].improvement is None
    for each in result.candidates[1:]:
        assert each.improvement.low < each.improvement.value < each.improvement.high
        assert each.improvement.value == pytest.approx(result.candidates[0].fresh_score - each.fresh_score, abs=2e-6)
    sure = [each for each in result.candidates[1:] if each.improvement.low > 0]
    best = max(sure, key=lambda each: each.improvement.value, default=None)
    assert result.adopted == (best.trial if best else None)


def test_a_bad_present_setting_is_left_behind_and_nothing_beats_itself(studied):
    folder, _ = studied
    turn(folder, {"train.optimizer.learning_rate": 0.001, "train.epochs": 20})
    assert run(folder, "-m", "stages.study").returncode == 0
    result = read_study(folder)
    assert result.winner.improvement.low > 0
    assert result.winner.settings["optimizer.learning_rate"] > 0.001
    turn(folder, {"study.space": {"init": ["he_uniform"]}, **{key: SMALL[key] for key in ("train.epochs",)}})
    done = run(folder, "-m", "stages.study")
    turn(folder, {"train.optimizer.learning_rate": 0.3, **SMALL})
    assert done.returncode == 0, done.stderr
    assert read_study(folder).adopted is None, "a space with one point, which is the present setting"


def test_the_test_rows_are_never_read(studied):
    folder, before = studied
    forget(folder)
    test = folder / "data/test.parquet"
    content = test.read_bytes()
    test.unlink()
    done = run(folder, "-m", "stages.study")
    test.write_bytes(content)
    assert done.returncode == 0, done.stderr
    assert written(folder) == before


# --- the graph ------------------------------------------------------------------------------------------------------


ALL = [f"study/dvc.yaml:{stage}" for stage in ("study", "study_plot", "study_record")]


def test_a_change_of_its_section_reruns_it_alone_and_the_pipeline_does_not_know_it(tmp_path):
    folder = finished(tmp_path / "graph")
    turn(folder, SMALL | {"train.epochs": TINY["train.epochs"], "study.trials": 4})

    def stages(*target: str) -> list[str]:
        done = run(folder, "-m", "dvc", "repro", *target)
        assert done.returncode == 0, done.stdout + done.stderr
        return re.findall(r"^Running stage '([\w/.:]+)'", done.stdout, re.MULTILINE)

    assert stages() == ["validate"]
    assert stages("study/dvc.yaml") == ALL
    assert stages("study/dvc.yaml") == []
    assert run(folder, "-m", "retrace", "check-cache").returncode == 0
    # A damaged file is named, and its command brings it back.
    (folder / TRIALS.path).write_bytes(b"damaged")
    done = run(folder, "-m", "retrace", "check-cache")
    assert re.search(r"repair: rm -f reports/study/trials.parquet && dvc (checkout|repro)", done.stderr), done.stderr
    subprocess.run(done.stderr.strip().rpartition("repair: ")[2], shell=True, cwd=folder, env=environment(), check=True)
    assert run(folder, "-m", "retrace", "check-cache").returncode == 0
    turn(folder, {"study.trials": 5})
    assert stages() == ["validate"]
    assert stages("study/dvc.yaml") == ALL
    # What was changed by hand, or since, is found before anything is adopted, and the line's command mends it.
    for change in (lambda: (folder / STUDY).write_text("{}"), lambda: turn(folder, {"train.epochs": 4})):
        change()
        done = run(folder, "-m", "retrace", "adopt", "--yes")
        assert done.returncode == 3
        assert done.stderr.endswith("dvc repro study/dvc.yaml\n")
        (folder / STUDY).unlink()
        stages("study/dvc.yaml")
        assert (folder / STUDY).exists()
        assert run(folder, "-m", "retrace", "adopt", "--yes").returncode == 0
        subprocess.run(["git", "checkout", "-q", "params.yaml"], cwd=folder, check=True)
        turn(folder, SMALL | {"train.epochs": TINY["train.epochs"], "study.trials": 5})


FEW = {"study.trials": 3, "train.epochs": 3}
# Each parameter, and what turns it into another study.
KNOBS: dict[str, tuple[Any, dict[str, Any]]] = {
    "method": ("random", {}),
    "trials": (4, {}),
    "seeds": (1, {}),
    "seed": (27, {}),
    "epochs": (2, {}),
    "rungs": (1, {}),
    "fresh_seeds": (3, {}),
    "confidence": (0.8, {}),
    "folds": (2, {}),
    "space": ({"init": ["he_uniform", "normal"]}, {}),
}


@pytest.fixture(scope="module")
def with_no_knob_turned(studied) -> dict[str, bytes]:
    folder, _ = studied
    turn(folder, FEW)
    assert run(folder, "-m", "stages.study").returncode == 0
    return written(folder)


@pytest.mark.parametrize("key", KNOBS)
def test_turning_a_knob_changes_the_study(key, studied, with_no_knob_turned):
    folder, _ = studied
    shipped = YAML(typ="safe").load(PARAMS)["study"]
    turn(folder, FEW | {f"study.{key}": KNOBS[key][0]})
    done = run(folder, "-m", "stages.study")
    turn(
        folder, {f"study.{name}": shipped[name] for name in ("method", "seed", "epochs", "confidence", "folds")} | SMALL
    )
    assert done.returncode == 0, done.stderr
    assert written(folder) != with_no_knob_turned


def test_every_knob_of_the_section_is_turned():
    assert set(KNOBS) == set(Study.model_fields)


def test_by_time_the_validation_rows_judge_and_it_must_be_surer(tmp_path):
    folder = finished(tmp_path / "by time")
    turn(folder, SMALL | {"split.method": "time", "split.column": "x1", "study.trials": 4, "train.epochs": 3})
    assert run(folder, "-m", "stages.split").returncode == 0
    done = run(folder, "-m", "stages.study")
    assert done.returncode == 0, done.stderr
    assert not (folder / ".retrace/study").exists(), "no later row judges an earlier one"
    assert read_study(folder).rows == pq.read_metadata(folder / "data/validation.parquet").num_rows
    assert "for 3 compared" in done.stdout, "all trials but the present one"


def test_a_trial_that_does_not_fit_into_memory_is_a_line(studied):
    folder, _ = studied
    forget(folder)
    turn(folder, {"study.space": {"hidden": [[4], [60000, 60000]]}, "study.method": "grid", "study.trials": 3})
    done = run(folder, "-m", "stages.study")
    turn(folder, {"study.method": "tpe"} | SMALL)
    assert done.returncode == 4
    assert done.stderr.startswith(
        "study: training 1 network with hidden: [60000, 60000], batch_size: 64 takes at least"
    )
    assert done.stderr.count("\n") == 1
    assert "leave such networks out of study.space" in done.stderr
