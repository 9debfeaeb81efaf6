"""A SQLite file as a store: whether it can be used, by this version of MLflow, and making one."""

import contextlib
from functools import partial
from pathlib import Path

from retrace.tracking.location import Store
from retrace.tracking.mlflow_internals.sqlite_locks import open_sqlite


def try_out(database: Path) -> None:
    """Raises sqlite3.Error when the file is not a usable store of MLflow's; reads only, and needs no library for it."""
    with contextlib.closing(open_sqlite(database)) as connection:
        connection.execute("SELECT version_num FROM alembic_version").fetchone()
        # Asks for the right to write, and writes nothing; BEGIN IMMEDIATE is granted on a read-only file too.
        connection.execute("DELETE FROM alembic_version WHERE 0")


def experiment_in(database: Path, name: str) -> str | None:
    """The experiment's id, None where none has the name and is not deleted. Raises sqlite3.Error."""
    with contextlib.closing(open_sqlite(database)) as connection:
        query = "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
        row = connection.execute(query, (name,)).fetchone()
    return str(row[0]) if row else None


def check_schema_version(store: Store, database: Path) -> None:
    """Raises UserError when another version of MLflow made the store: MLflow would migrate an older one unasked."""
    import mlflow.store
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import NullPool, create_engine

    script = ScriptDirectory(str(Path(mlflow.store.__file__).parent / "db_migrations"))
    engine = create_engine("sqlite://", creator=partial(open_sqlite, database), poolclass=NullPool)
    with engine.connect() as connection:
        versions = set(MigrationContext.configure(connection).get_current_heads())
    if versions == set(script.get_heads()):
        return
    if versions and versions <= {each.revision for each in script.walk_revisions()}:
        raise store.unusable(
            f"an older MLflow made it; copy {database.name} as a backup, then run: mlflow db upgrade '{store.uri}'"
        )
    raise store.unusable(
        f"a newer MLflow than {mlflow.__version__} made it (schema {', '.join(sorted(versions)) or 'unknown'});"
        f" use that version, or move {database.name} away and run: make record"
    )


def create(uri: str, artifacts: str) -> None:
    """Make an empty store of this version of MLflow; artifacts: the URI of their folder."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, artifacts).engine.dispose()
