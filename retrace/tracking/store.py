"""A store that can be used: asked before anything is loaded, made where there is none, opened.

Of four processes that first open a new SQLite store together three crash.
"""

import os
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrace.runtime.atomic import write
from retrace.tracking.location import STUDIES, Store, exists, sqlite_uri
from retrace.tracking.mlflow_internals import relocation
from retrace.tracking.mlflow_internals.buckets import limit_bucket_time
from retrace.tracking.mlflow_internals.database import check_schema_version, create, try_out
from retrace.tracking.mlflow_internals.limits import limit_request_time
from retrace.tracking.mlflow_internals.sqlite_locks import limit_lock_time
from retrace.tracking.points import safe_key
from retrace.tracking.store_errors import NO_SERVER, store_error
from retrace.tracking.store_lock import is_recording

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# A server that is down, hangs or answers 500 costs at most the probe before and one such request within: 10 s in all.
PROBE_SECONDS = 3


def probe(store: Store) -> None:
    """Raises UserError when the store surely cannot be used; cheap, so that nobody waits for an import to learn it."""
    if store.uri.startswith(("http://", "https://")):
        _ask(store)
    elif store.database and store.database.is_dir():
        raise store.unusable("is a folder, not a SQLite file")
    elif store.database and exists(store.database) and not is_recording(store.database):
        _inspect(store, store.database)


def connect(store: Store) -> "MlflowClient":
    """A client; makes the store first where there is none. To be called within `locked` and `faults`."""
    import mlflow
    from mlflow.tracking import MlflowClient

    if store.database and store.artifacts:
        if exists(store.database):
            _inspect(store, store.database)
            check_schema_version(store, store.database)
            relocate(store)
        else:
            _create(store.database, store.artifacts)
    # The registry asks by the global one, whatever the client was given.
    mlflow.set_tracking_uri(store.uri)
    if store.database:
        limit_lock_time()
    else:
        limit_request_time()
    return MlflowClient(store.uri)


def relocate(store: Store) -> None:
    """Make a store that was moved or copied with its artifacts name them where they are now."""
    if store.database and store.artifacts:
        try:
            former = relocation.relocate(store.database, store.artifacts)
        except sqlite3.Error as error:
            raise store_error(error, store) from None
        if former:
            print(f"tracking store {store.shown}: came here from {former}, and so did its artifacts")


def open_experiment(client: "MlflowClient", store: Store) -> str:
    """The experiment's id; makes it where there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(store.experiment)
    if found is None:
        # As a URI: of a plain path MLflow would lose what follows a # and decode percents.
        place = (store.artifacts / safe_key(store.experiment)).as_uri() if store.artifacts else None
        try:
            about = {"mlflow.note.content": _ABOUT_STUDIES if store.experiment == STUDIES else _ABOUT}
            found = client.get_experiment(client.create_experiment(store.experiment, place, tags=about))
        except MlflowException as error:
            # Another machine may have made it in the meantime.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(store.experiment)
    if not found.experiment_id:
        raise store.unreachable(NO_SERVER)
    if found.lifecycle_stage == "deleted":
        other = "" if store.experiment == STUDIES else ", or name another one in params.yaml (record.experiment)"
        raise store.unusable(
            f"experiment {store.experiment} is in the trash; bring it back with: mlflow experiments restore"
            f" --experiment-id {found.experiment_id}{other}"
        )
    limit_bucket_time(found.artifact_location)
    return str(found.experiment_id)


_ABOUT = (
    "One run for each state of the pipeline, recorded by its last stage. A run's name says what is special about it;"
    " its page says what changed against the run before."
)
_ABOUT_STUDIES = (
    "One run for each study: its trials are a table of it, and not runs. A run's name says what the study adopts; its"
    " page says how sure that is."
)


def _ask(store: Store) -> None:
    import ssl
    import urllib.error
    import urllib.request

    answer: list[Any] = []

    def ask() -> None:
        try:
            # Without a password: whether it is the right one is for MLflow to find out.
            with urllib.request.urlopen(f"{store.shown.rstrip('/')}/health", timeout=PROBE_SECONDS) as response:
                answer.append(response.status)
        except urllib.error.HTTPError as error:
            answer.append(error.code)
        except urllib.error.URLError as error:
            # A certificate that this probe does not trust may be one that MLflow is set to trust.
            answer.append(200 if isinstance(error.reason, ssl.SSLError) else f"does not answer ({error.reason})")
        except TimeoutError:
            return  # as if it still waited
        except Exception as error:
            answer.append(f"does not answer ({error})")

    # In a thread, because looking up a name, or a server that trickles, heeds no timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    status = answer[0] if answer else f"does not answer within {PROBE_SECONDS} s"
    if isinstance(status, str):
        raise store.unreachable(status)
    if status >= 500 or status == 429:
        raise store.unreachable(f"answers with HTTP status {status}")


def _inspect(store: Store, database: Path) -> None:
    """Raises UserError when the file is not a usable MLflow store; reads only."""
    try:
        try_out(database)
    except sqlite3.Error as error:
        raise store_error(error, store) from None


def _create(database: Path, artifacts: Path) -> None:
    """Make the store in memory and move it into place: on a disk its sixty migrations wait for as many syncs."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        draft = Path(folder) / "draft.db"
        create(sqlite_uri(draft), artifacts.as_uri())
        # What a deleted store left beside it would be taken for unfinished business of the new one.
        for suffix in ("-journal", "-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        with open(draft, "rb") as source:
            write(database, lambda target: shutil.copyfileobj(source, target))
