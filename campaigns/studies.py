"""Whole studies on made data, where it is known whether a setting can be better: `python -m campaigns.studies`.

guessing: gaussians of distance 0, where nobody can do better than guess: a study must adopt nothing.
bad:      circles with a learning rate a hundred times too small: a study must adopt something.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from retrace.artifacts.study import StudyResult, read_study
from tests.project import copy_project, run

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


def main(kind: str, count: int) -> None:
    adopted = 0
    for seed in range(1, count + 1):
        with tempfile.TemporaryDirectory() as folder:
            result = study(kind, seed, Path(folder) / "project")
        adopted += result.adopted is not None
        print(f"{kind}, seed {seed}: {result.reason}", flush=True)
    print(f"{kind}: {adopted} of {count} studies adopted a setting")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
