"""The parts of a run, each of which may be logged again and changes nothing by that.

So a run that was cut off is completed, whichever it is: of a state of the pipeline (sync.py) or of a study.
"""

import posixpath
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from retrace.tracking.points import Point
from retrace.tracking.registry import Registered
from retrace.tracking.run_files import log_pictures

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run
    from mlflow.tracking import MlflowClient

FINGERPRINT = "retrace.fingerprint"
COMPLETE = "retrace.complete"
NOTE = "mlflow.note.content"

# MLflow's limits: entities a call, characters of a value.
METRICS_AT_ONCE = 1000
PARAMS_AT_ONCE = 100
LONGEST_PARAM = 6000

T = TypeVar("T")


@dataclass(frozen=True)
class RunParts:
    """files: (local path, artifact folder); texts: artifact path -> content; pictures: that are compared by eye."""

    params: dict[str, str]
    points: list[Point]
    tags: dict[str, str]
    files: list[tuple[Path, str]]
    texts: dict[str, str]
    pictures: list[Path]

    @property
    def short_params(self) -> dict[str, str]:
        """As MLflow takes them."""
        return {key: value[:LONGEST_PARAM] for key, value in self.params.items()}


@dataclass(frozen=True)
class Outcome:
    run_id: str
    name: str
    happened: Literal["found", "refilled", "completed", "recorded"]
    registered: Registered | None = None


def find_runs(client: "MlflowClient", experiment: str, fingerprint: str) -> "list[Run]":
    return list(client.search_runs([experiment], f"tags.`{FINGERPRINT}` = '{fingerprint}'", max_results=100))


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    for some in batches([Param(*item) for item in params.items()], PARAMS_AT_ONCE):
        client.log_batch(run_id, params=some, synchronous=True)


def logged_points(client: "MlflowClient", run: "Run") -> set[tuple[str, int]]:
    """(key, step) of what a run that was cut off already holds: asking is ten times faster than logging it again."""
    run_id = run.info.run_id
    return {(key, metric.step) for key in run.data.metrics for metric in client.get_metric_history(run_id, key)}


def log_metrics(client: "MlflowClient", run_id: str, metrics: "Sequence[Metric]") -> None:
    for some in batches(metrics, METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=some, synchronous=True)


def log_files(client: "MlflowClient", run: "Run", entry: RunParts) -> None:
    run_id = run.info.run_id
    for path, folder in entry.files:
        client.log_artifact(run_id, str(path), folder or None)
    folders: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for artifact, text in entry.texts.items():
        parent, _, name = artifact.rpartition("/")
        folders[parent].append((name, text))
    for folder, files in folders.items():
        with tempfile.TemporaryDirectory() as local:
            for name, text in files:
                (Path(local) / name).write_text(text, "utf-8")
            client.log_artifacts(run_id, local, folder or None)
    if entry.pictures:
        log_pictures(client, run_id, entry.pictures, run.info.start_time)


def lacks_files(client: "MlflowClient", run_id: str, entry: RunParts) -> bool:
    wanted = {posixpath.join(folder, path.name) for path, folder in entry.files} | set(entry.texts)
    folders = {posixpath.dirname(path) for path in wanted}
    there = {each.path for folder in folders for each in client.list_artifacts(run_id, folder or None)}
    pictures = client.list_artifacts(run_id, "images") if entry.pictures else []
    return not wanted <= there or len(pictures) < 2 * len(entry.pictures)


def set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    """All of them or none."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(*item) for item in tags.items()], synchronous=True)


def finish(client: "MlflowClient", run_id: str, tags: Mapping[str, str], end: int) -> None:
    """tags: those that are true of a whole run only; end: milliseconds since 1970."""
    set_tags(client, run_id, tags)
    client.set_terminated(run_id, "FINISHED", end)
    # Last: a run without this tag was cut off, and the next recording completes it.
    client.set_tag(run_id, COMPLETE, "true")


def batches(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
