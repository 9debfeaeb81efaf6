"""Where runs go: a SQLite file in the project, or what the environment names."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from retrace.runtime.errors import MACHINE_FAULT, UserError

# The experiment of the studies: not a parameter, since runs of the pipeline look there for what they follow from.
STUDIES = "retrace-studies"


@dataclass(frozen=True)
class Store:
    """uri: what MLflow gets. database: the file, where it is SQLite. root: the project's folder."""

    uri: str
    experiment: str
    root: Path
    database: Path | None

    @property
    def artifacts(self) -> Path | None:
        """Beside the database; a server knows its own place."""
        return self.database.with_name("mlartifacts") if self.database else None

    @property
    def shown(self) -> str:
        """The file, or the URI without the name and password that it may carry."""
        return str(self.database) if self.database else without_password(self.uri)

    @property
    def again(self) -> str:
        """The command that records once more."""
        return "retrace study" if self.experiment == STUDIES else "make record"

    def unreachable(self, reason: str) -> UserError:
        retry = _RETRY_STUDY if self.experiment == STUDIES else _RETRY[in_experiment()]
        return UserError(MACHINE_FAULT, f"tracking store {self.shown}: {reason}; all results are safe, and {retry}")

    def unusable(self, reason: str) -> UserError:
        return UserError(MACHINE_FAULT, f"tracking store {self.shown}: {reason}; all results are safe in their files")


# DVC removes the folder of a queued or temporary experiment that failed; its run cache keeps what the stages made.
_RETRY = {
    False: "the next `dvc repro` (or make record) records them in their run",
    True: "the same `dvc exp run` again takes them from DVC's run cache and records them",
}
_RETRY_STUDY = "the next `retrace study` records the study in its run"


def in_experiment() -> bool:
    return bool(os.environ.get("DVC_EXP_NAME"))


def locate(experiment: str) -> Store:
    """The store that the environment names, else mlflow.db in the project. Raises UserError for one of another kind.

    DVC runs queued and temporary experiments in another folder; DVC_ROOT then names the project's own.
    """
    root = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    uri, database = os.environ.get("MLFLOW_TRACKING_URI", "").strip(), root / "mlflow.db"
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or experiment
    if re.match("https?://", uri):
        return Store(uri, experiment, root, None)
    if uri:
        name = unquote(uri.removeprefix("sqlite:///").partition("?")[0])
        # SQLAlchemy takes the last two for a store that ends with the process, and for a URI of SQLite's own.
        if not uri.startswith("sqlite:///") or not name or name == ":memory:" or name.startswith("file:"):
            raise Store(uri, experiment, root, None).unusable(
                "MLFLOW_TRACKING_URI takes the address of a server (http://HOST:PORT), a SQLite file (sqlite:///FILE),"
                " or nothing for mlflow.db in the project"
            )
        # Without links and dots, so that a store has one name, whichever way leads to it.
        database = (root / name).parent.resolve() / Path(name).name
    return Store(sqlite_uri(database), experiment, root, database)


def locate_studies() -> Store:
    """The same store, and in it the experiment of the studies, whatever the environment names for other runs."""
    return replace(locate(STUDIES), experiment=STUDIES)


def sqlite_uri(database: Path) -> str:
    # SQLAlchemy decodes percents and takes what follows a question mark for options; all else may stand as it is.
    return "sqlite:///" + str(database).replace("%", "%25").replace("?", "%3F")


def exists(database: Path) -> bool:
    """An empty file is what a killed process leaves, and what SQLite takes for a new store."""
    return database.is_file() and database.stat().st_size > 0


def without_password(text: str) -> str:
    return re.sub(r"(?<=://)[^/\s]*@", "", text)
