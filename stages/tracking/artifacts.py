"""Reading what another run holds."""

import posixpath
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def read_artifact(client: "MlflowClient", run_id: str, path: str) -> bytes | None:
    """Content of one file, or None where the file or the whole run is gone.

    Asks first: MLflow's download says "does not exist" as well of a server that does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        listed = client.list_artifacts(run_id, posixpath.dirname(path) or None)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    if path not in {each.path for each in listed}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, path, folder)).read_bytes()
