"""Whole studies: on made data where it is known whether a setting can be better, and killed at any moment."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from retrace.artifacts.study import STUDY, StudyResult, read_study
from tests.project import copy_project, run
from tests.test_study import forget, in_processes, measured, small, studied, written  # noqa: F401 - fixtures

ROWS = 1_500
SPACE = {
    "optimizer.learning_rate": {"low": 0.003, "high": 3.0, "log": True},
    "init": ["he_uniform", "xavier_uniform", "normal"],
    "init_scale": {"low": 0.01, "high": 3.0, "log": True, "when": {"init": "normal"}},
    "activation": ["relu", "tanh", "sigmoid"],
}
DATA: dict[str, dict[str, Any]] = {
    "guessing": {"create.dataset": "gaussians", "create.gaussians.distance": 0.0},
    "bad": {"train.optimizer.learning_rate": 0.001},
}


def study(kind: str, seed: int, folder: Path, **changes: Any) -> StudyResult:
    """seed: of the data, of the split and of the study."""
    seeds = {"create.seed": seed, "split.seed": seed, "study.seed": seed}
    project = copy_project(folder, {"create.rows": ROWS, "study.space": SPACE, **seeds, **DATA[kind], **changes})
    for stage in ("validate", "create", "split", "study"):
        done = run(project, "-m", f"stages.{stage}")
        assert done.returncode == 0, done.stdout + done.stderr
    return read_study(project)


def test_where_nobody_can_do_better_than_guess_nothing_is_adopted(cases, tmp_path):
    count, trials = cases(1, 20), cases(16, 64)
    found = [study("guessing", seed, tmp_path / str(seed), **{"study.trials": trials}) for seed in range(1, count + 1)]
    assert sum(result.adopted is not None for result in found) <= count // 20, [result.reason for result in found]


def test_a_setting_that_is_bad_on_purpose_is_left_behind(cases, tmp_path):
    """A learning rate a hundred times too small."""
    count, trials = cases(1, 20), cases(16, 64)
    for seed in range(1, count + 1):
        result = study("bad", seed, tmp_path / str(seed), **{"study.trials": trials})
        assert result.winner, result.reason
        assert result.winner.settings["optimizer.learning_rate"] > 0.01


def test_killed_at_any_moment_it_goes_on_with_the_same_bytes(studied, cases):  # noqa: F811 - the fixture
    """And on another number of processes."""
    folder, before = studied
    random, cut_off = np.random.default_rng(cases(0, None)), 0
    for _ in range(cases(3, 20)):
        after, workers, others = random.integers(0, 60), random.integers(1, 4), random.integers(1, 4)
        forget(folder)
        started = in_processes(folder, str(workers), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while measured(folder) < after and started.poll() is None:
            time.sleep(0.001)
        time.sleep(random.exponential(0.1))
        started.kill()
        started.communicate()
        # It may have written all, and not have ended yet.
        assert started.returncode in (0, -signal.SIGKILL)
        cut_off += not (folder / STUDY).exists()
        known = measured(folder)
        on = in_processes(folder, str(others), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said, wrong = on.communicate()
        assert on.returncode == 0, wrong
        assert not known or said.startswith(f"study: {known} trainings were measured before"), said
        assert written(folder) == before
    assert cut_off, "some of them before the end"
