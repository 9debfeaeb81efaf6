"""From the run of a state to the run of the study whose winner it trains, by what both say of section `train`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retrace.runtime.text import escape
from retrace.tracking.location import STUDIES
from retrace.tracking.run_page import LONGEST
from retrace.tracking.run_parts import COMPLETE, NOTE, set_tags

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

# Of a run of the pipeline: the section that it trained with; of a study: that with the settings that it adopts.
TRAIN = "retrace.train"
# Of a study that adopts something: the number of that trial.
ADOPTED = "retrace.adopted"
# Of a run of the pipeline: the run of that study.
STUDY = "retrace.study"

_SECTION = "train."


@dataclass(frozen=True)
class StudyLink:
    """digest: of section `train` with what the study adopts."""

    run_id: str
    name: str
    experiment_id: str
    digest: str

    @property
    def line(self) -> str:
        """Markdown."""
        link = f"[{escape(self.name)}](#/experiments/{self.experiment_id}/runs/{self.run_id})"
        return f"Its settings are those that the study {link} adopted."


def train_digest(params: Mapping[str, Any]) -> str:
    """SHA-256 of section `train`, whoever read it. params: by dotted name, of this section and perhaps of others."""
    section = {key: _plain(value) for key, value in params.items() if key.startswith(_SECTION)}
    text = json.dumps(section, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """0 and 0.0 are the same setting: dvc.lock has what a person wrote, the section what it means."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def find_study(client: "MlflowClient", digest: str) -> StudyLink | None:
    """The study, the last one if there are several, that adopts this section `train`; None where there is none."""
    experiment = client.get_experiment_by_name(STUDIES)
    if experiment is None:
        return None
    runs = client.search_runs(
        [experiment.experiment_id],
        # A run of the pipeline, should somebody record it there, has the first of them, too.
        f"tags.`{TRAIN}` = '{digest}' AND tags.`{ADOPTED}` != '' AND tags.`{COMPLETE}` = 'true'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    if not runs:
        return None
    info = runs[0].info
    return StudyLink(info.run_id, info.run_name, info.experiment_id, digest)


def link(client: "MlflowClient", run: "Run", study: StudyLink) -> None:
    """Of a run that was complete already: its settings were tried before the study came to adopt them."""
    if STUDY in run.data.tags:
        return
    note = run.data.tags.get(NOTE, "")
    longer = f"{note}\n- {study.line}"
    tags = {TRAIN: study.digest, STUDY: study.run_id, NOTE: longer if len(longer) <= LONGEST else note}
    set_tags(client, run.info.run_id, tags)
