"""What the run of a study holds, and how it comes into the store: one for each state of reports/study/.

The trials are a table of that run, and not runs: with hundreds of them a store is slow, and hides what matters.
"""

import hashlib
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrace.artifacts.dvc_lock import show
from retrace.artifacts.study import STUDY as RESULT
from retrace.artifacts.study import TRIALS, Candidate, Parameter, StudyResult, read_study
from retrace.artifacts.tables import read_bytes
from retrace.runtime.text import one_line
from retrace.tracking import study_page
from retrace.tracking.environment import commit
from retrace.tracking.location import Store
from retrace.tracking.points import Point
from retrace.tracking.run_parts import (
    COMPLETE,
    FINGERPRINT,
    NOTE,
    Outcome,
    RunParts,
    find_runs,
    finish,
    lacks_files,
    log_files,
    log_metrics,
    log_params,
    logged_points,
)
from retrace.tracking.study_link import ADOPTED, TRAIN, train_digest

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PAGE = RESULT.parent / "study.html"
FIGURES = RESULT.parent / "figures"
LONGEST_NAME = 200


@dataclass(frozen=True)
class StudyRun(RunParts):
    """All of it but its id. fingerprint: of what the study wrote; now: milliseconds since 1970."""

    fingerprint: str
    result: StudyResult
    now: int


def read_study_run(now: int) -> StudyRun:
    """From the files; raises UserError (status 3) where one is missing or not what a study writes."""
    result = read_study()
    figures = sorted(FIGURES.glob("*.png"))
    return StudyRun(
        params=_params(result),
        points=[*_headlines(result), *_best_so_far()],
        tags=_tags(result),
        files=[
            (TRIALS.path, ""),
            (RESULT, ""),
            *([(PAGE, "")] if PAGE.exists() else []),
            *((path, "figures") for path in figures),
        ],
        texts={},
        pictures=[],
        fingerprint=fingerprint(),
        result=result,
        now=now,
    )


def fingerprint() -> str:
    """SHA-256 of what the study wrote: the same study, whenever and wherever it ran."""
    digests = [hashlib.sha256(read_bytes(path)).hexdigest() for path in (TRIALS.path, RESULT)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def sync_study(client: "MlflowClient", experiment: str, entry: StudyRun) -> Outcome:
    """Find the run of this study, complete it, or make it."""
    from mlflow.entities import Metric

    runs = find_runs(client, experiment, entry.fingerprint)
    for found in runs:
        if found.data.tags.get(COMPLETE) == "true":
            run_id = found.info.run_id
            if not lacks_files(client, run_id, entry):
                return Outcome(run_id, found.info.run_name, "found")
            # Deleted beside the database, or made since.
            log_files(client, found, entry)
            return Outcome(run_id, found.info.run_name, "refilled")
    run = (
        runs[0]
        if runs
        else client.create_run(
            experiment,
            start_time=entry.now,
            tags={FINGERPRINT: entry.fingerprint, **entry.tags},
            run_name=one_line(study_page.name(entry.result), LONGEST_NAME),
        )
    )
    run_id, logged = run.info.run_id, logged_points(client, run)
    log_params(client, run_id, entry.short_params)
    metrics = [
        Metric(point.key, point.value, run.info.start_time, point.step)
        for point in entry.points
        if (point.key, point.step) not in logged
    ]
    log_metrics(client, run_id, metrics)
    log_files(client, run, entry)
    pictures = [path.name for path, folder in entry.files if folder]
    note = study_page.description(run_id, entry.result, pictures)
    finish(client, run_id, {NOTE: note}, time.time_ns() // 1_000_000)
    return Outcome(run_id, run.info.run_name, "completed" if runs else "recorded")


def summary(outcome: Outcome, entry: StudyRun, store: Store) -> str:
    """A line: what happened to the run of this study."""
    run_name = f"run '{outcome.name}' ({outcome.run_id[:8]}) of experiment {store.experiment}"
    if outcome.happened == "found":
        return f"this study is recorded already: {run_name}"
    if outcome.happened == "refilled":
        return f"this study is recorded already; files that its run lacked are there now: {run_name}"
    counts = f"{len(entry.params)} params, {len(entry.points):,} points, {len(entry.files)} files"
    return f"{outcome.happened} {run_name}: {counts}; {store.shown}"


def _params(result: StudyResult) -> dict[str, str]:
    winner = result.winner.settings if result.winner else {}
    return {
        "method": result.method,
        "trials": str(result.trials),
        "seeds": str(result.seeds),
        "fresh_seeds": str(result.fresh_seeds),
        "budgets": show(result.budgets),
        **{f"space.{each.name}": searched(each) for each in result.parameters},
        **{f"winner.{name}": show(value) for name, value in winner.items()},
    }


def searched(each: Parameter) -> str:
    if each.choices is not None:
        return ", ".join(show(value) for value in each.choices)
    return f"{show(each.low)} to {show(each.high)}{', log' if each.log else ''}"


def _tags(result: StudyResult) -> dict[str, str]:
    tags = {
        "retrace.dataset": result.dataset,
        "mlflow.source.name": "dvc repro study/dvc.yaml",
        "mlflow.source.type": "LOCAL",
    }
    if revision := commit():
        tags["mlflow.source.git.commit"] = revision
    if result.winner:
        section = result.present | {f"train.{name}": value for name, value in result.winner.settings.items()}
        tags |= {ADOPTED: str(result.winner.trial), TRAIN: train_digest(section)}
    return tags


def _headlines(result: StudyResult) -> list[Point]:
    points: dict[str, float] = {}
    for each in result.candidates:
        if each.trial == 0:
            points |= _of_candidate("present", each)
        elif each is result.winner:
            points |= _of_candidate("winner", each)
    points |= {f"trials/{state}": count for state, count in result.states.items()}
    return [Point(key, 0, float(value), 1.0) for key, value in points.items()]


def _of_candidate(group: str, each: Candidate) -> dict[str, float]:
    """Without what the present setting, or one that diverged in the search, does not have."""
    names = ("search_score", "fresh_score", "optimism", "accuracy", "calibration_error")
    values = {name: getattr(each, name) for name in names}
    points = {f"{group}/{name}": value for name, value in values.items() if value is not None}
    if found := each.improvement:
        points |= {f"{group}/improvement": found.value}
        points |= {f"{group}/improvement_low": found.low, f"{group}/improvement_high": found.high}
    return points


def _best_so_far() -> list[Point]:
    """After each trial the lowest score of those that trained to the end: with fewer epochs it is another score."""
    table = TRIALS.read().select(["trial", "state", "budget", "score"])
    scores: dict[int, float] = {}
    last = max(table["budget"].to_pylist(), default=0)
    for row in table.to_pylist():
        whole = row["state"] == "complete" and row["budget"] == last and math.isfinite(row["score"])
        scores[row["trial"]] = min(scores.get(row["trial"], math.inf), row["score"] if whole else math.inf)
    points, best = [], math.inf
    for trial in sorted(scores):
        best = min(best, scores[trial])
        if math.isfinite(best):
            points.append(Point("best_so_far", trial, best, 1.0))
    return points
