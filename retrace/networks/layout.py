"""Weights as they lie in files: as torch's own layers have them, so that any reader of safetensors can use them."""

from collections.abc import Callable

from torch import Tensor


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network's state dict without the factors of the inputs: the first layer's weights already include them."""
    state = dict(state)
    scale = state.pop("scale.weight", None)
    if scale is not None:
        state["layers.0.weight"] = state["layers.0.weight"] * scale
    return state


def to_torch_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network's state dict as torch's own layers have it, with a first axis for the replica.

    Linear: weight [replicas, out, in], bias [replicas, out]. Embeddings are laid out as torch.nn.Embedding has them
    anyway. The way torch.func.stack_module_state lays out stacked modules.
    """
    return {name: _turned(name, tensor, lambda row: row.squeeze(1)) for name, tensor in state.items()}


def from_torch_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: _turned(name, tensor, lambda row: row.unsqueeze(1)) for name, tensor in state.items()}


def _turned(name: str, tensor: Tensor, of_row: Callable[[Tensor], Tensor]) -> Tensor:
    """of_row: for what is a row for each replica."""
    part, _, rest = name.partition(".")
    if part == "embeddings":
        return tensor.contiguous()
    return (tensor.mT if part == "layers" and rest.endswith("weight") else of_row(tensor)).contiguous()
