"""The model's files in the project: written by `train`, read by `evaluate`, `predict` and `export`.

They are plain data: models/model.json (names, widths, preprocessing, SHA-256 of all that and of the weights) and the
weights as safetensors, laid out as torch.nn.Linear has them, so that any safetensors reader can use them. Nothing is
pickled.
"""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from retrace.artifacts.tables import read_bytes, read_json
from retrace.networks.layout import to_torch_layout
from retrace.networks.model import Damaged, Description, Model, digest, read
from retrace.runtime.atomic import write_bytes, write_json
from retrace.runtime.errors import BAD_DATA, MACHINE_FAULT, UserError
from retrace.runtime.integrity import restore


def save(folder: Path, description: Description, replicas: dict[str, Tensor], shipped: int | None) -> None:
    """Write model.json, model.safetensors (the shipped replica) and replicas.safetensors (all), weights as in Network.

    shipped: None where all of them ship; then both files hold the same.
    Raises UserError, before anything is written, when a weight is not finite.
    """
    stacked = to_torch_layout(replicas)
    if not all(torch.isfinite(tensor).all() for tensor in stacked.values()):
        raise UserError(
            MACHINE_FAULT,
            "train: a weight is not finite; lower train.optimizer.learning_rate, or set train.gradient_clip or"
            " train.scaling: standard",
        )
    one = stacked if shipped is None else {name: tensor[shipped].contiguous() for name, tensor in stacked.items()}
    content = description.content()
    digests = {"model.json": digest(content)}
    for name, tensors in (("model", one), ("replicas", stacked)):
        weights = save_tensors(tensors)
        digests[f"{name}.safetensors"] = hashlib.sha256(weights).hexdigest()
        write_bytes(folder / f"{name}.safetensors", weights)
    write_json(folder / "model.json", {**content, "sha256": digests})


def shipped_model(description: Description, replicas: dict[str, Tensor], shipped: int | None) -> Model:
    """What `save` would write as the model, without a file between."""
    stacked = to_torch_layout(replicas)
    return Model(
        description, stacked if shipped is None else {name: each[shipped, None] for name, each in stacked.items()}
    )


def load(folder: Path, name: str = "model") -> Model:
    """As `model.read`, which reads it where it is served; raises UserError with the command that brings a file back."""
    try:
        return read(folder, name, read_json, read_bytes)
    except Damaged as damaged:
        raise UserError(BAD_DATA, f"{damaged}; {restore(damaged.path)}") from None
