"""Whether two machines compute the same: libraries, code, and the bytes of a short training are compared."""

import hashlib
import platform
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from retrace.networks.arithmetic import is_portable, set_portable
from retrace.networks.model import Description
from retrace.params.train import Train
from retrace.runtime.imports import closure, digest_as_imported
from retrace.training.device import make_deterministic
from retrace.training.members import members_of
from retrace.training.pack import Data, Pack, allocate
from retrace.training.rows import Rows
from retrace.training.trainer import draw_initial_weights
from retrace.training.validation import zeros_on

# Rows and members of the short training, at most: as many as are multiplied at once in the real one, or nearly.
ROWS, MEMBERS = 2048, 8


@dataclass(frozen=True)
class NodeCheck:
    """Called, the facts that two machines must share; the process is then ready to train so.

    entry: the file of the code that works on a node; x [rows, inputs], y [rows]: some training rows, as in Rows;
    portable: whether the settings for small networks are wanted; device: cpu or cuda.
    """

    entry: str
    section: Train
    description: Description
    x: NDArray[np.float32]
    y: NDArray[np.int16]
    portable: bool
    device: str

    @classmethod
    def of(cls, entry: str, section: Train, description: Description, rows: Rows, device: torch.device) -> "NodeCheck":
        """Of this process and its training, whose settings have been made; rows: of the training."""
        x, y = (part[:ROWS].cpu().numpy().copy() for part in rows)
        return cls(entry, section, description, x, y, is_portable(), device.type)

    def __call__(self) -> dict[str, str]:
        set_portable(self.portable)
        device = torch.device(self.device)
        make_deterministic(device, self.section.tf32)
        digest = self._trained(device)
        return {
            "Python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "the code of retrace": digest_as_imported(closure(self.entry))[:12],
            "the processor": _kind(self.portable and is_portable(), device),
            "the digest of a short training": digest[:12],
        }

    def _trained(self, device: torch.device) -> str:
        """SHA-256 of what the first networks have learned after an epoch of these few rows."""
        rows = Rows(torch.from_numpy(self.x.copy()), torch.from_numpy(self.y.copy())).to(device)
        counts = torch.bincount(rows.y.long(), minlength=max(2, len(self.description.classes))).cpu()
        data, members = Data(rows, rows, counts), members_of(self.section)[:MEMBERS]
        network = self.description.network(len(members), scaled=self.section.input_scale_rate > 0)
        draw_initial_weights(network, members)
        network = network.to(device)
        state = allocate(network, data, members, zeros_on(device), right=True)
        Pack(network, data, members, state, device).train_epoch(1, [False] * len(members))
        digest = hashlib.sha256()
        for tensor in state.tensors():
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()


def _kind(portable: bool, device: torch.device) -> str:
    """Which processors get the same bytes (contract 8 in docs/testing.md)."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if portable:
        return "an x86-64 with AVX2"
    return f"{_model() or platform.machine()} with {torch.backends.cpu.get_cpu_capability()}"


def _model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return ""
