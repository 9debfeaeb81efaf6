"""A store that was moved or copied: MLflow keeps absolute URIs of artifacts, which then name the place it came from."""

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import unquote

from retrace.tracking.mlflow_internals.sqlite_locks import open_sqlite

# Every column that names artifacts.
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)


def relocate(database: Path, artifacts: Path) -> Path | None:
    """Let the store name `artifacts` where it names a folder of that name elsewhere; the folder it came from, or None.

    Only where that is surely right: what the store names is found here, or the folder it came from is gone. Artifacts
    that a person keeps elsewhere stay there. Raises sqlite3.Error.
    """
    with contextlib.closing(open_sqlite(database)) as connection:
        if _former(connection, artifacts) is None:
            return None
        # Asked again with the right to write: another process may have been faster.
        connection.execute("BEGIN IMMEDIATE")
        former = _former(connection, artifacts)
        if former is None or not _came_here(connection, former, artifacts):
            return None
        for table, column in COLUMNS:
            # Not replace(): it would also change what stands in the middle.
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (artifacts.as_uri(), len(former) + 1, len(former) + 1, f"{former}/"),
            )
        connection.execute("COMMIT")
        return _path(former).parent


def _former(connection: sqlite3.Connection, artifacts: Path) -> str | None:
    """The URI of the folder that the store names instead of this one."""
    # The first experiment is MLflow's own: it makes it with the store, in the folder for all artifacts.
    row = connection.execute("SELECT artifact_location FROM experiments ORDER BY experiment_id LIMIT 1").fetchone()
    former = str(row[0]).rpartition("/")[0] if row else ""
    if former == artifacts.as_uri() or not former.startswith("file:///") or _path(former).name != artifacts.name:
        return None
    # The same folder by another way, such as a link.
    if _there(artifacts) and _there(_path(former)) and artifacts.samefile(_path(former)):
        return None
    return former


def _came_here(connection: sqlite3.Connection, former: str, artifacts: Path) -> bool:
    named = connection.execute(
        "SELECT uri FROM (SELECT artifact_uri AS uri FROM runs UNION ALL SELECT artifact_location FROM logged_models)"
        " WHERE substr(uri, 1, ?) = ?",
        (len(former) + 1, f"{former}/"),
    ).fetchall()
    if not named or not _there(_path(former).parent):
        return True
    return any(_there(_path(artifacts.as_uri() + uri[len(former) :])) for (uri,) in named)


def _path(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("file://")))


def _there(path: Path) -> bool:
    """Also False for a place that this user may not look into."""
    try:
        return path.exists()
    except OSError:
        return False
