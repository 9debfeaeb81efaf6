"""What a small study leaves behind, with the types of the repository: eight trials, the present setting first."""

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa

from retrace.artifacts.study import (
    TRIALS,
    Candidate,
    Importance,
    Interval,
    Parameter,
    StudyResult,
    parameter_columns,
    write_study,
)
from retrace.params.reader import leaves
from retrace.params.space import searched
from tests.shipped import VALUES

SPACE = {
    "optimizer.learning_rate": {"low": 0.01, "high": 1.0, "log": True},
    "hidden": [[10], [10, 10], []],
    "activation": ["relu", "tanh"],
}
SEEDS, BUDGETS = 2, [4, 12]
WINNER = {"optimizer.learning_rate": 0.25, "hidden": [10, 10], "activation": "relu"}
SETTINGS: list[dict[str, Any]] = [
    {"optimizer.learning_rate": 0.1, "hidden": [10], "activation": "relu"},
    {"optimizer.learning_rate": 0.02, "hidden": [], "activation": "tanh"},
    {"optimizer.learning_rate": 0.98, "hidden": [10], "activation": "tanh"},
    WINNER,
    {"optimizer.learning_rate": 0.5, "hidden": [10], "activation": "relu"},
    {"optimizer.learning_rate": 0.3, "hidden": [10, 10], "activation": "tanh"},
    {"optimizer.learning_rate": 0.05, "hidden": [10], "activation": "relu"},
    {"optimizer.learning_rate": 0.07, "hidden": [], "activation": "relu"},
]
STATES = ["complete", "stopped", "diverged", "complete", "complete", "stopped", "complete", "stopped"]
# By trial, after the first and the second rung; lower ones with fewer epochs count for nothing.
SCORES = [(0.5, 0.4), (0.1,), (), (0.3, 0.2), (0.4, 0.3), (0.45,), (0.3, 0.35), (0.6,)]


def trials(scores: list[tuple[float, ...]] = SCORES) -> pa.Table:
    rows, settings = [], []
    for trial, reached in enumerate(scores):
        rungs = list(zip(BUDGETS, reached, strict=False)) or [(BUDGETS[0], float("nan"))]
        for budget, score in rungs:
            for replica in range(SEEDS):
                settings.append(SETTINGS[trial])
                rows.append(
                    {"trial": trial, "round": trial // 4, "state": STATES[trial], "budget": budget, "replica": replica}
                    | {"trained_epochs": budget, "best_epoch": budget, "validation_loss": score + replica / 100}
                    | {"validation_accuracy": 0.9, "score": score}
                )
    table = pa.Table.from_pylist(rows)
    for name, column in parameter_columns(searched(SPACE), settings).items():
        table = table.append_column(name, column)
    return table


def present(**changes: Any) -> dict[str, Any]:
    """Section `train` of the tests' params.yaml, by dotted name."""
    return dict(leaves({"train": VALUES["train"]})) | changes


def candidate(trial: int, settings: dict[str, Any], improvement: Interval | None, **changes: Any) -> Candidate:
    plain = Candidate(
        trial=trial,
        settings=settings,
        search_score=0.4,
        fresh_score=0.41,
        optimism=0.01 if improvement else None,
        deviation=0.02,
        improvement=improvement,
        accuracy=0.9,
        calibration_error=0.03,
        epochs=12.0,
        work=1.0,
        over_guess=Interval(0.3, 0.2, 0.4),
    )
    return replace(plain, **changes)


def study_result(adopted: int | None = 3, **changes: Any) -> StudyResult:
    gained = Interval(0.18, 0.1, 0.26) if adopted else Interval(0.02, -0.01, 0.05)
    best = {"search_score": 0.2, "fresh_score": 0.23, "optimism": 0.03, "accuracy": 0.95, "calibration_error": 0.02}
    result = StudyResult(
        dataset="my *table*",
        method="tpe",
        trials=len(SETTINGS),
        seeds=SEEDS,
        fresh_seeds=16,
        confidence=0.95,
        rows=200,
        present=present(),
        parameters=[
            Parameter("optimizer.learning_rate", None, 0.01, 1.0, True, 0.1),
            Parameter("hidden", SPACE["hidden"], None, None, False, [10]),
            Parameter("activation", SPACE["activation"], None, None, False, "relu"),
        ],
        budgets=BUDGETS,
        states={"complete": 4, "stopped": 3, "diverged": 1},
        best=3,
        candidates=[
            candidate(0, SETTINGS[0], None),
            candidate(3, WINNER, gained, **best, work=1.5),
            candidate(4, SETTINGS[4], Interval(0.01, -0.03, 0.05)),
        ],
        adopted=adopted,
        reason="trial 3 is surely better" if adopted else "no trial is surely better: 0.02 (-0.01 to 0.05)",
        importance=[
            Importance("hidden", Interval(0.2, 0.1, 0.3)),
            Importance("optimizer.learning_rate", Interval(0.7, 0.6, 0.8)),
        ],
        procedure=None,
    )
    return replace(result, **changes)


def write_example(adopted: int | None = 3, scores: list[tuple[float, ...]] = SCORES, **changes: Any) -> StudyResult:
    """Both files, in the working directory."""
    result = study_result(adopted, **changes)
    TRIALS.path.parent.mkdir(parents=True, exist_ok=True)
    TRIALS.write(trials(scores))
    write_study(result)
    return result


def feed_header(started: str = "2026-11-30T12:00:00+00:00", **changes: Any) -> str:
    parameters = [
        {"name": each.name, "choices": each.choices, "low": each.low, "high": each.high}
        | {"log": each.log, "whole": each.whole}
        for each in searched(SPACE)
    ]
    return json.dumps({"dataset": "my *table*", "started": started, "parameters": parameters} | changes) + "\n"


def feed_line(trial: int, **changes: Any) -> str:
    scores = {str(budget): score for budget, score in zip(BUDGETS, SCORES[trial], strict=False)}
    line = {"trial": trial, "round": trial // 4, "state": STATES[trial], "settings": SETTINGS[trial], "scores": scores}
    return json.dumps(line | changes) + "\n"
