"""A store's file that another program keeps to itself is waited for equally long by all that open it."""

import contextlib
import sqlite3
import time

import pytest

from retrace.tracking.location import locate
from retrace.tracking.mlflow_internals import database, relocation
from retrace.tracking.mlflow_internals.sqlite_locks import LOCK_SECONDS, limit_lock_time
from tests.conftest import ROOT

OPENED = {
    "try_out": lambda path: database.try_out(path),
    "experiment_in": lambda path: database.experiment_in(path, "any"),
    "check_schema_version": lambda path: database.check_schema_version(locate("any"), path),
    "relocate": lambda path: relocation.relocate(path, path.with_name("mlartifacts")),
}


@pytest.mark.parametrize("name", OPENED)
def test_a_locked_file_is_given_up_in_time(name, tmp_path, monkeypatch):
    monkeypatch.setattr("retrace.tracking.mlflow_internals.sqlite_locks.LOCK_SECONDS", 0.2)
    path = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("CREATE TABLE alembic_version (version_num TEXT)")
        holder.execute("BEGIN EXCLUSIVE")
        begin = time.monotonic()
        with pytest.raises(Exception, match="database is locked"):
            OPENED[name](path)
        # SQLite's own default is 5 s, MLflow's 20; what is imported on the way takes its time.
        assert 0.2 <= time.monotonic() - begin < 4


def test_mlflow_waits_no_longer(tmp_path):
    """It makes its connections with SQLAlchemy."""
    from sqlalchemy import create_engine

    limit_lock_time()
    engine = create_engine(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with engine.connect() as connection:
        limits = [connection.exec_driver_sql("PRAGMA busy_timeout").scalar()]
        connection.exec_driver_sql("PRAGMA busy_timeout = 20000;")  # as it does in each session
        limits.append(connection.exec_driver_sql("PRAGMA busy_timeout").scalar())
    engine.dispose()
    assert limits == [1000 * LOCK_SECONDS] * 2


def test_it_is_said_in_one_module():
    found = {path.name for path in ROOT.glob("retrace/**/*.py") if "sqlite3.connect" in path.read_text()}
    assert found == {"sqlite_locks.py"}
