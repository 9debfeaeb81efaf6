"""What a study has measured, kept as it is measured: a study that was cut off, or is made longer, measures none twice.

In `.checkpoints/study/FINGERPRINT/`, which neither git nor DVC knows; the fingerprint is over data, code and machine, a
task's key over its settings, seeds and epochs. A line that was cut off, or damaged, counts as not there.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from retrace.artifacts.paths import TRAIN, VALIDATION
from retrace.runtime.atomic import write_bytes
from retrace.runtime.digest import md5_of
from retrace.study.measuring import Judged, Measured, Task
from retrace.training.checkpoint import make_room

FOLDER = Path(".checkpoints/study")
TASKS = "tasks.jsonl"


@dataclass
class Memo:
    """fingerprint: of all that a measure depends on, but for its task."""

    fingerprint: str

    def __post_init__(self) -> None:
        self.folder = FOLDER / self.fingerprint
        self.tasks: dict[str, Measured] = {}
        self.rows: dict[Path, str] = {}
        if not self.folder.exists():
            make_room(FOLDER)
        self.folder.mkdir(parents=True, exist_ok=True)
        path, whole = self.folder / TASKS, 0
        with suppress(FileNotFoundError):
            for line in path.read_bytes().splitlines(keepends=True):
                digest, _, content = line.partition(b" ")
                if not line.endswith(b"\n") or _digest(content) != digest:
                    break
                key, *values = json.loads(content)
                self.tasks[key] = _read(values)
                whole += len(line)
            with open(path, "rb+") as file:  # what follows a line that was cut off would be one with it
                file.truncate(whole)

    def key(self, task: Task) -> str:
        section = task.section.model_dump(exclude={"replicas", "device"})
        content = [section, task.replicas.start, task.replicas.stop, task.budget, self._rows(task.folder)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

    def _rows(self, folder: Path) -> str:
        """Digest of the files in it, which are there by now and stay as they are."""
        if folder not in self.rows:
            with open(folder / TRAIN.name, "rb") as training, open(folder / VALIDATION.name, "rb") as validation:
                self.rows[folder] = f"{md5_of(training)} {md5_of(validation)}"
        return self.rows[folder]

    def find(self, task: Task) -> Measured | None:
        return self.tasks.get(self.key(task))

    def keep(self, task: Task, measured: Measured) -> None:
        """To the disk at once. Raises OSError where there is no room."""
        key = self.key(task)
        self.tasks[key] = measured
        content = json.dumps([key, *measured]).encode() + b"\n"
        path = self.folder / TASKS
        try:
            with open(path, "ab") as file:
                file.write(_digest(content) + b" " + content)
        except OSError as error:
            error.filename = str(path)
            raise

    def find_judged(self, task: Task) -> Judged | None:
        with suppress(FileNotFoundError, SafetensorError, KeyError):
            content = load(self._judged(task).read_bytes())
            return Judged(content["right"], content["probabilities"])
        return None

    def keep_judged(self, task: Task, judged: Judged) -> None:
        arrays = {name: np.ascontiguousarray(each) for name, each in judged._asdict().items()}
        write_bytes(self._judged(task), save(arrays))

    def forget_judged(self) -> None:
        """They are large, and their study is over."""
        for path in self.folder.glob("*.safetensors"):
            path.unlink()

    def _judged(self, task: Task) -> Path:
        return self.folder / f"{self.key(task)}.safetensors"


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest()[:16].encode()


def _read(values: list[list[float] | float | bool]) -> Measured:
    return Measured(*values)  # type: ignore[arg-type]
