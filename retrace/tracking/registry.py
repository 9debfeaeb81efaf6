"""The registry: each recorded state is a version of one registered model; aliases say which one to use.

`champion` moves to a version that passes the gate and is better, by a paired test on the same test rows, than the
champion before; `challenger` is the newest other one that passed. Each version's description says what was decided.
"""

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from retrace.evaluation.comparisons import mcnemar
from retrace.evaluation.gate_rule import FAILED
from retrace.tracking.points import safe_key
from retrace.tracking.run_files import read_artifact

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
GATE, TEST = "retrace.gate", "retrace.test"
PREDICTIONS = "tables/predictions.parquet"

_ABOUT = (
    "A version for each recorded state. champion: passed the gate, and beat the champion before it on the same test"
    " rows. challenger: the newest other version that passed."
)


@dataclass(frozen=True)
class Candidate:
    """What is decided on. hits: which test rows it gets right [rows]; gate: its line; test: digest of the test rows.

    remarks: sentences to say of the version, whatever is decided.
    """

    passed: bool
    gate: str
    test: str
    hits: NDArray[np.bool_]
    confidence: float
    remarks: list[str]
    tags: dict[str, str]


class Registered(NamedTuple):
    """Where the model stands; reason: one line, why."""

    name: str
    version: str
    reason: str


def register(client: "MlflowClient", experiment: str, model: "LoggedModel", candidate: Candidate) -> Registered:
    """Make the model a version, unless it is one, and move the aliases."""
    # MLflow refuses / and : in the name of a model, and a quotation mark would end the filters below.
    name = safe_key(experiment).replace(":", "_")
    run_id = model.source_run_id
    versions = client.search_model_versions(f"run_id = '{run_id}'")
    if versions:
        version = versions[0]
    else:
        _make(client, name)
        tags = {**candidate.tags, GATE: "passed" if candidate.passed else "failed", TEST: candidate.test}
        version = client.create_model_version(
            name, f"models:/{model.model_id}", run_id, tags, await_creation_for=0, model_id=model.model_id
        )
    # As mlflow.register_model does: the model's page says by it where it is registered.
    registered = json.dumps([{"name": name, "version": int(version.version)}])
    client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": registered})
    champion, remarks = _champion(client, name), "".join(f" {text}" for text in candidate.remarks)
    if champion and champion.version == version.version:
        # A recording that was cut off after the decision.
        reason, wins = version.description.removesuffix(remarks), True
    else:
        wins, reason = decide(client, champion, candidate)
        client.update_model_version(name, version.version, reason + remarks)
    note = f"Version {version.version}. {reason}{remarks}"
    client.set_logged_model_tags(model.model_id, {"mlflow.note.content": note})
    if wins:
        client.set_registered_model_alias(name, CHAMPION, version.version)
        champion = version
    passed = client.search_model_versions(
        f"name = '{name}' AND tags.`{GATE}` = 'passed'", max_results=2, order_by=["version_number DESC"]
    )
    others = [each.version for each in passed if not champion or each.version != champion.version]
    if others:
        client.set_registered_model_alias(name, CHALLENGER, others[0])
    return Registered(name, version.version, reason)


def decide(client: "MlflowClient", champion: "ModelVersion | None", candidate: Candidate) -> tuple[bool, str]:
    """Whether the candidate becomes champion, and why."""
    if not candidate.passed:
        return False, f"Not champion, the gate failed: {candidate.gate.removeprefix(FAILED)}."
    if champion is None:
        return True, "Champion: the first version that passed the gate."
    number = champion.version
    by_hand = f"version {number} stays, unless a person moves the alias"
    if champion.tags.get(TEST) != candidate.test:
        return False, f"Passed the gate, but cannot be compared: champion {number} was tested on other rows; {by_hand}."
    before = _hits(client, champion)
    if before is None or len(before) != len(candidate.hits):
        return False, f"Passed the gate, but cannot be compared: champion {number}'s predictions are gone; {by_hand}."
    gained, lost = int((candidate.hits & ~before).sum()), int((~candidate.hits & before).sum())
    if not gained and not lost:
        return False, f"Passed the gate; right on the same {len(before):,} test rows as champion {number}, which stays."
    p = mcnemar(gained, lost)
    compared = (
        f"of the same {len(before):,} test rows it alone is right on {gained:,}, version {number} alone on {lost:,}"
        f" (McNemar's exact test: p = {p:.2g})"
    )
    if gained > lost and p < 1 - candidate.confidence:
        return True, f"Champion: better than version {number}, the champion before: {compared}."
    sure = "worse" if lost > gained and p < 1 - candidate.confidence else "not surely better"
    return False, f"Passed the gate, but {sure} than champion {number}: {compared}."


def hits(predictions: bytes) -> NDArray[np.bool_]:
    """Which rows of reports/predictions.parquet are right [rows]; an error of Arrow where it is damaged."""
    table = pq.ParquetFile(io.BytesIO(predictions), page_checksum_verification=True).read(["actual", "predicted"])
    right: NDArray[np.bool_] = table["actual"].to_numpy() == table["predicted"].to_numpy()
    return right


def _make(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=_ABOUT)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _champion(client: "MlflowClient", name: str) -> "ModelVersion | None":
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return client.get_model_version(name, version) if version else None


def _hits(client: "MlflowClient", version: "ModelVersion") -> NDArray[np.bool_] | None:
    content = read_artifact(client, version.run_id, PREDICTIONS)
    try:
        return hits(content) if content else None
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return None
