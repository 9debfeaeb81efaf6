"""Checkpoints: a training run that was cut off goes on after the last epoch that was saved, and ends in the same bytes.

They are in `.checkpoints/train/FINGERPRINT/`, a folder that neither git nor DVC knows: DVC deletes the outs of a stage
before it runs, and switches off the run cache where told not to. The fingerprint is over all that shapes a training, so
that no other one is ever gone on with. Nothing random is in them: every draw is derived from its place (see
randomness.py).

A file has three parts: the SHA-256 of what follows, a line of JSON, tensors as safetensors; nothing that is unpickled.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from retrace.runtime.atomic import write_bytes
from retrace.runtime.disk import existing
from retrace.runtime.errors import BAD_DATA, MACHINE_FAULT, UserError
from retrace.runtime.imports import ROOT, closure

FOLDER = Path(".checkpoints/train")
LAST, PREVIOUS = "last.checkpoint", "previous.checkpoint"

# One is written when the time since the one before is this, and so many times what that one took: 2 % of the training.
SECONDS = 1.0
TIMES_ITS_COST = 50
# What the first one is expected to take.
BYTES_A_SECOND = 100e6
# Folders of other trainings that were cut off and may go on one day, when a new one is made.
KEPT = 4


@dataclass(frozen=True)
class Snapshot:
    """A training after an epoch: all that the next one needs and that cannot be derived.

    facts: what JSON holds exactly; tensors: by name, on any device; path: of the file it was read from.
    """

    facts: dict[str, Any]
    tensors: dict[str, Tensor]
    path: Path | None = None

    def unfit(self, error: Exception) -> UserError:
        """Its digest is right, and yet this code has not written it."""
        reason = " ".join(str(error).split())[:100]
        folder = self.path.parent if self.path else None
        return UserError(BAD_DATA, f"{self.path} is not what this code writes ({reason}); delete the folder {folder}")


class Checkpoints:
    """Those of one training, written as it goes on. started: when it began, clock: by time.monotonic().

    Of one that goes on, `started` is when it first began, and `seconds` what all its parts took.
    """

    def __init__(self, fingerprint: str, started: datetime, clock: float):
        # A queued or temporary experiment of DVC runs in a folder that is deleted when it fails.
        self.folder = Path(os.environ.get("DVC_ROOT") or ".") / FOLDER / fingerprint
        self.started, self.clock = started.isoformat(), clock
        self.before = 0.0  # seconds of the earlier parts
        self.epoch = 0  # of the last one written
        self.due: float | None = None
        self.last_is_valid = False  # whether the last one, as it lies there, is known to be
        self.snapshot = self._read()

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.clock

    def _read(self) -> Snapshot | None:
        """The last one that is whole, or None; says which one is not."""
        snapshot, damaged = None, []
        for path in (self.folder / LAST, self.folder / PREVIOUS):
            with suppress(FileNotFoundError):
                digest, _, content = path.read_bytes().partition(b"\n")
                if hashlib.sha256(content).hexdigest().encode() == digest:
                    snapshot = _parse(path, content)
                    self.last_is_valid = path.name == LAST
                    break
                damaged.append(str(path))
        if snapshot:
            self.started, self.before = snapshot.facts["started"], snapshot.facts["seconds"]
            self.epoch = snapshot.facts["epoch"]
            begin = f"goes on after epoch {self.epoch:,}, from {path}"
        else:
            begin = "begins anew"
        if damaged:
            print(f"train: {' and '.join(damaged)}: damaged (SHA-256); the training {begin}", file=sys.stderr)
        elif snapshot:
            print(f"train: {begin}")
        return snapshot

    def maybe_save(self, epoch: int, snapshot: Callable[[], Snapshot], now: bool = False) -> None:
        """To be called after each epoch; writes a checkpoint where one is due, or `now`."""
        if epoch == self.epoch:
            return
        taken = None
        if self.due is None:
            taken = snapshot()
            size = sum(tensor.nbytes for tensor in taken.tensors.values())
            self.due = self.clock + max(SECONDS, TIMES_ITS_COST * size / BYTES_A_SECOND)
        begin = time.monotonic()
        if now or begin >= self.due:
            self._write(taken or snapshot())
            if self.last_is_valid:
                self.epoch = epoch
            end = time.monotonic()
            self.due = end + max(SECONDS, TIMES_ITS_COST * (end - begin))

    def _write(self, snapshot: Snapshot) -> None:
        facts = {**snapshot.facts, "started": self.started, "seconds": self.seconds}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in snapshot.tensors.items()}
        content = json.dumps(facts, allow_nan=False).encode() + b"\n" + save(tensors)
        content = hashlib.sha256(content).hexdigest().encode() + b"\n" + content
        path = self.folder / LAST
        try:
            if not self.folder.exists():
                make_room(self.folder.parent)
            # A damaged one would take the place of the one that this training goes on from.
            if self.last_is_valid:
                with suppress(FileNotFoundError):
                    path.replace(self.folder / PREVIOUS)
            self.last_is_valid = False
            write_bytes(path, content)
            self.last_is_valid = True
        except FileNotFoundError:
            return  # the same training run in another folder (`dvc exp run --temp`) has ended, and removed this one
        except OSError as error:
            raise UserError(MACHINE_FAULT, self._lost(error, len(content))) from None

    def _lost(self, error: OSError, size: int) -> str:
        free = shutil.disk_usage(existing(self.folder)).free
        kept = f"that of epoch {self.epoch:,} is kept" if self.epoch else "there is none yet"
        fix = {errno.EFBIG: "raise ulimit -f", errno.EROFS: "make it writable", errno.EACCES: "make it writable"}
        return (
            f"train: {self.folder / LAST}: {error.strerror or error}; a checkpoint takes {size:,} bytes, and {free:,}"
            f" are free; {kept}; {fix.get(error.errno or 0, 'make room')}, then: dvc repro"
        )

    def remove(self) -> None:
        """To be called when the training's result is safe."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # others are there
            self.folder.parent.rmdir()
            self.folder.parent.parent.rmdir()


def make_room(parent: Path) -> None:
    """For one more folder beside the last KEPT: what was cut off and never went on would fill the disk one day."""
    with suppress(FileNotFoundError):
        others = sorted(parent.iterdir(), key=lambda folder: folder.stat().st_mtime)
        for folder in others[:-KEPT]:
            shutil.rmtree(folder, ignore_errors=True)


def _parse(path: Path, content: bytes) -> Snapshot:
    line, _, tensors = content.partition(b"\n")
    try:
        facts = json.loads(line)
        datetime.fromisoformat(facts["started"])
        return Snapshot({**facts, "seconds": float(facts["seconds"])}, load(tensors), path)
    except (ValueError, TypeError, KeyError, SafetensorError) as error:
        raise Snapshot({}, {}, path).unfit(error) from None


def fingerprint(
    stage: str, parameters: dict[str, Any], description: Any, files: Sequence[Path], device: torch.device
) -> str:
    """Of all that shapes a training: parameters, description with preprocessing, data, stage's code, torch, device."""
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    content = {
        "parameters": parameters,
        "description": description,
        "data": [_digest(path) for path in files],
        "code": [f"{path} {_digest(ROOT / path)}" for path in closure(f"stages/{stage}.py", ROOT)],
        "torch": torch.__version__,
        "device": f"{device} {on}",
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
