"""Importing MLflow, set up for a process that records: quiet and impatient.

This package is all that touches the inside of MLflow and of the libraries under it: modules and tables that it does not
document, and what it does without being asked. A test keeps it so, and pyproject.toml names the versions that it knows.
"""

import functools
import inspect
import logging
import os

from retrace.tracking.mlflow_internals.limits import REQUEST_SECONDS

# Of a model from code: the module that reads it.
CODE_LOADER = "mlflow.pyfunc.loaders.code_model"

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_SECONDS),
    # The next `dvc repro` is the retry, and looks first for what arrived; MLflow's own could make a second run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def load(files: bool) -> None:
    """Import MLflow; files: and what opens a store in a file."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow.tracking

    escape_percents()
    # Its own handlers print tracebacks of errors that are reported in one line here.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL + 1)
    logging.getLogger("alembic").setLevel(logging.CRITICAL + 1)
    if files:
        # Here, and not by the client, which has seconds to open the store: this alone takes so long on a busy machine.
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def escape_percents() -> None:
    """Let MLflow open a SQLite store also where the folder that it lies in has a % in its name.

    It hands that folder to Alembic as it is, whose settings take a % for a sign of their own.
    """
    import mlflow

    if "%" not in mlflow.__file__:
        return
    from alembic.config import Config

    set_main_option = inspect.unwrap(Config.set_main_option)

    @functools.wraps(set_main_option)
    def escaped(self: Config, name: str, value: str) -> None:
        set_main_option(self, name, value.replace("%", "%%") if name == "script_location" else value)

    Config.set_main_option = escaped  # type: ignore[method-assign]
