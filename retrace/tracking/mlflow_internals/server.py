"""MLflow's own server as an application, without the command that starts it."""

import os
from pathlib import Path
from typing import Any

from retrace.tracking.mlflow_internals.loading import escape_percents


def application(uri: str, artifacts: str | None) -> tuple[Any, Path]:
    """The ASGI application over the store, and the folder of its page; artifacts: the URI of their folder."""
    from mlflow.server import constants

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = uri
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = uri
    root = artifacts or "mlflow-artifacts:/"
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = root
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = "./mlartifacts"
    from mlflow.server import app
    from mlflow.server.fastapi_app import app as fastapi
    from mlflow.server.handlers import initialize_backend_stores

    escape_percents()
    initialize_backend_stores(uri, uri, root)
    return fastapi, Path(str(app.static_folder))
