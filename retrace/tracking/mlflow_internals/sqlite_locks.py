"""How long a SQLite file is waited for that another program keeps to itself: by us, and by MLflow.

All that opens a store's file opens it with `open_sqlite`, or in MLflow after `limit_lock_time`.
"""

import re
import sqlite3
from pathlib import Path
from typing import Any

LOCK_SECONDS = 3
# The same for a connection that is open already: SQLite's own setting, in milliseconds.
SET_LIMIT = f"PRAGMA busy_timeout = {1000 * LOCK_SECONDS}"


def open_sqlite(database: Path) -> sqlite3.Connection:
    """Each statement is a transaction of its own, but for what a BEGIN opens. To be closed with contextlib.closing.

    Raises sqlite3.Error, here and at each statement.
    """
    return sqlite3.connect(database, timeout=LOCK_SECONDS, isolation_level=None)


def limit_lock_time() -> None:
    """Let MLflow wait no longer, too; it asks for 20 s in each session.

    And open the file once: it would try for 100 s. (An alarm after some seconds would also go off on a busy machine.)
    """
    from mlflow.store.db import utils
    from sqlalchemy import Engine, event

    utils.MAX_RETRY_COUNT = 1
    for name, listener, options in (
        ("connect", _limit, {}),
        ("before_cursor_execute", _keep_limit, {"retval": True}),
    ):
        if not event.contains(Engine, name, listener):
            event.listen(Engine, name, listener, **options)


def _limit(connection: sqlite3.Connection, _: object) -> None:
    connection.execute(SET_LIMIT).close()


def _keep_limit(_: object, __: object, statement: str, parameters: Any, ___: object, ____: bool) -> tuple[str, Any]:
    return re.sub(r"^PRAGMA busy_timeout = \d+", SET_LIMIT, statement), parameters
