"""A new SQLite store of MLflow without its sixty migrations, which take three seconds: a copy of one that had them."""

import contextlib
import os
import sqlite3
import sys
import tempfile
from pathlib import Path

FOLDER = "RETRACE_TESTS"  # the variable that names a folder which all processes of a run of the tests share


def template(folder: Path) -> Path:
    """A store with all its tables and nothing in them; made once, by the first that asks."""
    import mlflow
    from mlflow.store.db import utils
    from sqlalchemy import create_engine

    place = folder / f"mlflow-{mlflow.__version__}.db"
    if not place.exists():
        draft = Path(tempfile.mkdtemp(dir=place.parent)) / place.name
        engine = create_engine(f"sqlite:///{draft}")
        getattr(utils._initialize_tables, "__wrapped__", utils._initialize_tables)(engine)
        engine.dispose()
        draft.rename(place)
    return place


def copy_instead_of_migrating() -> None:
    """For this process, once MLflow is loaded."""
    utils = sys.modules.get("mlflow.store.db.utils")
    if utils is None or hasattr(utils._initialize_tables, "__wrapped__"):
        return
    original, folder = utils._initialize_tables, Path(os.environ[FOLDER])

    def copied(engine) -> None:
        database = engine.url.database
        if engine.dialect.name != "sqlite" or not database or Path(database).stat().st_size:
            original(engine)
            return
        with (
            contextlib.closing(sqlite3.connect(template(folder))) as source,
            contextlib.closing(engine.raw_connection()) as made,
        ):
            source.backup(made.driver_connection)

    copied.__wrapped__ = original
    utils._initialize_tables = copied
