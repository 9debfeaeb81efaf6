"""Files of a run: reading what another one holds, and pictures laid out so that MLflow compares them."""

import posixpath
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retrace.tracking.mlflow_internals.limits import download_limit

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# Figures that two runs are compared by, beside the curves that MLflow draws itself.
PICTURES = ("confusion_matrix", "decision_boundary", "calibration")
PREVIEW = 420  # pixels of a picture's longer side: numbers can be read, and two or three stand side by side


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
    sizes = {each.path: each.file_size or 0 for each in listed}
    if path not in sizes:
        return None
    # A thread of MLflow's may still write there when the time is over.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        download_limit(client.tracking_uri, sizes[path]),
    ):
        return Path(client.download_artifacts(run_id, path, folder)).read_bytes()


def log_pictures(client: "MlflowClient", run_id: str, pictures: Sequence[Path], now: int) -> None:
    """Log PNG files so that MLflow shows those of several runs side by side.

    now: milliseconds, the same when they are logged again.
    The layout is that of MlflowClient.log_image, whose own previews are 256 pixels wide: too small to read a number.
    """
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        for path in pictures:
            # Not a random one: the same picture again takes the same name.
            identity = uuid.uuid5(uuid.NAMESPACE_OID, run_id + path.stem)
            name = f"{path.stem}+step+0+timestamp+{now}+{identity}"
            shutil.copyfile(path, Path(folder) / f"{name}.png")
            with Image.open(path) as image:
                image.thumbnail((PREVIEW, PREVIEW))
                image.save(Path(folder) / f"{name}+compressed.webp")
        client.log_artifacts(run_id, folder, "images")
    client.set_tag(run_id, "mlflow.loggedImages", "True")
