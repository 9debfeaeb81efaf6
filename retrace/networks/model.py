"""The model as it is read and used: raw rows in, class probabilities out.

A recorded model brings this file along, and with it all that it imports, to wherever it is served: so nothing here
writes, knows the project's folder, or asks for more than Python and the libraries offer on every system. What the
project does with the files beyond that is in model_files.py, which also says what they hold.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from retrace.networks.architectures import ARCHITECTURES
from retrace.networks.entrance import Shape
from retrace.networks.layout import from_torch_layout
from retrace.networks.network import Network
from retrace.networks.probabilities import class_probabilities
from retrace.preprocessing.apply import encode
from retrace.preprocessing.description import Preprocessing, Unusable

# Rows are encoded, and go through the network, in pieces, so that memory stays bounded however many there are; through
# the network in smaller ones, whose sums stay in the processor's cache: twice as fast. Replicas have more sums.
ENCODED_AT_ONCE, ROWS_AT_ONCE, ROWS_OF_REPLICAS_AT_ONCE = 65_536, 8_192, 2_048


@dataclass(frozen=True)
class Description:
    """All of a model but its weights. kinds: of the features that are not numeric (see retrace/artifacts/schema.py).

    label_smoothing: of its training, which the probabilities are without; temperature: by which the logits are divided
    (for both see probabilities.py).
    """

    features: list[str]
    kinds: dict[str, str]
    target: str
    classes: list[str]
    hidden: list[int]
    activation: str
    embedding_width: int
    preprocessing: Preprocessing
    label_smoothing: float = 0.0
    architecture: str = "mlp"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        texts = [self.target, *self.features, *self.classes, *self.kinds, *self.kinds.values()]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("names must be texts")
        if not 0 <= self.label_smoothing < 1:
            raise TypeError("label_smoothing must be at least 0 and below 1")
        if not 0 < self.temperature <= 1e6:
            raise TypeError("temperature must be above 0 and at most 1e6")

    @property
    def widths(self) -> list[int]:
        encoded = self.preprocessing
        numbers = encoded.width - len(encoded.categories)
        bins = sum(max(0, len(edges) - 1) for edges in encoded.edges)
        vectors = self.embedding_width * len(encoded.embedded)
        inputs = numbers + len(encoded.residuals) + bins + sum(encoded.one_hot) + vectors
        return [inputs, *self.hidden, 1 if len(self.classes) == 2 else len(self.classes)]

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each linear layer."""
        return ARCHITECTURES[self.architecture].linear(self.widths)

    @property
    def weights(self) -> int:
        """How many numbers a replica learns."""
        size = ARCHITECTURES[self.architecture].size(self.widths)
        return size + self.embedding_width * sum(self.preprocessing.embedded)

    def network(self, replicas: int, scaled: bool = False) -> Network:
        """Not yet initialized; scaled: with a factor for each input, to be learned."""
        encoded = self.preprocessing
        embedded = [(codes, self.embedding_width) for codes in encoded.embedded]
        shape = Shape(
            self.widths,
            self.activation,
            encoded.one_hot,
            embedded,
            encoded.edges,
            encoded.residuals,
            encoded.indicators,
        )
        return ARCHITECTURES[self.architecture](replicas, shape, scaled)

    def content(self) -> dict[str, Any]:
        """For JSON."""
        content = {**asdict(self), "preprocessing": self.preprocessing.content()}
        # As files have been before there was any other.
        for name, first in (("label_smoothing", 0.0), ("architecture", "mlp"), ("temperature", 1.0)):
            if content[name] == first:
                del content[name]
        return content

    def kind(self, feature: str) -> str:
        return self.kinds.get(feature, "numeric")


class Model:
    """A description and one or more replicas of its network, on one device: the mean of their probabilities counts."""

    def __init__(self, description: Description, state: dict[str, Tensor]):
        """state: weights as in the files, [replicas, out, in] and [replicas, out]."""
        self.description = description
        replicas = next(iter(state.values())).shape[0]
        self.network = description.network(replicas)
        self.network.load_state_dict(from_torch_layout(state))
        self.network.requires_grad_(False)
        self.quick = self.network.quick()

    def probabilities(self, rows: pa.Table) -> NDArray[np.float64]:
        """Raw rows, a column a feature in any order -> [rows, classes]. Raises Unusable for a bad value."""
        pieces = []
        for start in range(0, max(rows.num_rows, 1), ENCODED_AT_ONCE):  # of no rows none, but in the right shape
            try:
                x = encode(self.description.preprocessing, rows.slice(start, ENCODED_AT_ONCE))
            except Unusable as error:
                raise Unusable(error.column, start + error.row, error.value, error.rule) from None
            pieces.append(self.of_inputs(x))
        return np.concatenate(pieces)

    def of_inputs(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """As `probabilities`, from what the network sees [rows, columns]."""
        return np.concatenate([self._each(x).mean(0).numpy() for x in self._pieces(inputs)])

    def of_replicas(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """As `of_inputs`, of each replica by itself [replicas, rows, classes]."""
        return np.concatenate([self._each(x).numpy() for x in self._pieces(inputs)], 1)

    def expanded(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network sees [rows, columns] as points of a space without codes (see Network.expand)."""
        return np.concatenate([self.network.expand(x).numpy() for x in self._pieces(inputs)])

    def of_expanded(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """As `of_inputs`, from what `expanded` gives."""
        return np.concatenate(
            [self._probabilities(self.network.classify(x)).mean(0).numpy() for x in self._pieces(inputs)]
        )

    def logits(self, inputs: NDArray[np.float32]) -> Tensor:
        """Of each replica [replicas, rows, outputs], from what the network sees."""
        return torch.cat([self._logits(x) for x in self._pieces(inputs)], 1)

    def _each(self, inputs: Tensor) -> Tensor:
        return self._probabilities(self._logits(inputs))

    def _logits(self, inputs: Tensor) -> Tensor:
        if self.quick is not None:
            return self.quick(inputs)
        found: Tensor = self.network(inputs.expand(self.network.replicas, -1, -1))
        return found

    def _probabilities(self, logits: Tensor) -> Tensor:
        return class_probabilities(logits, self.description.label_smoothing, self.description.temperature)

    def _pieces(self, inputs: NDArray[np.float32]) -> Iterator[Tensor]:
        size = ROWS_AT_ONCE if self.network.replicas == 1 else ROWS_OF_REPLICAS_AT_ONCE
        for start in range(0, max(len(inputs), 1), size):
            yield torch.from_numpy(inputs[start : start + size])


class Damaged(Exception):  # noqa: N818 - not an error of the program
    """A file of a stored model that is not what was written. What to do about it depends on where it came from."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path} {reason}")
        self.path = path


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Damaged(path, f"cannot be read ({error.strerror})") from None


def _json_of(path: Path) -> Any:
    try:
        return json.loads(_bytes_of(path))
    except (ValueError, RecursionError) as error:
        raise Damaged(path, f"is not valid JSON ({error})") from None


def decide(probabilities: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """probabilities [rows, classes] -> class indices [rows]; of two classes the second one from `threshold` on."""
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(np.int64)
    likeliest: NDArray[np.int64] = probabilities.argmax(1)
    return likeliest


def read(
    folder: Path,
    name: str = "model",
    json_of: Callable[[Path], Any] = _json_of,
    bytes_of: Callable[[Path], bytes] = _bytes_of,
) -> Model:
    """The shipped model, or with name="replicas" all of them; checked against its SHA-256 before it is parsed.

    json_of, bytes_of: how a file is read. Raises Damaged, and what these raise.
    """
    described, path = folder / "model.json", folder / f"{name}.safetensors"
    content, weights = json_of(described), bytes_of(path)
    digests = content.pop("sha256", None) if isinstance(content, dict) else None
    if not isinstance(digests, dict) or digests.get(described.name) != digest(content):
        raise Damaged(described, "is not what this code writes (SHA-256)")
    if digests.get(path.name) != hashlib.sha256(weights).hexdigest():
        raise Damaged(path, f"is not the file that {described} describes (SHA-256)")
    try:
        state = load_tensors(weights)
    except SafetensorError as error:
        raise Damaged(path, f"holds no weights as safetensors ({error})") from None
    try:
        # One replica is laid out as torch has it, without a first axis.
        if state["layers.0.weight"].dim() == 2:
            state = {key: tensor.unsqueeze(0) for key, tensor in state.items()}
        content["preprocessing"] = Preprocessing.of(content["preprocessing"])
        model = Model(Description(**content), state)
    except Exception as error:  # of whatever another program may have written
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise Damaged(described, f"is not what this code writes ({reason})") from None
    if not all(torch.isfinite(tensor).all() for tensor in state.values()):
        raise Damaged(path, "holds a weight that is not finite")
    return model


def digest(content: Any) -> str:
    """SHA-256 of what model.json says beside its digests, however it is laid out."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
