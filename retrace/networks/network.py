"""What every network is to those who train, store, use and export it; an architecture is one file beside mlp.py.

A network owns its shape: all have the same way in (entrance.py), and an architecture says what stands between the first
layer's sums and the logits. Those around it ask for what they need to know: a pass with gradients, which layers can be
watched, the graph for ONNX.

To add one: a subclass of Network in a file of its own, registered in ARCHITECTURES (architectures.py), its name in
`retrace/params/train.py` and in params.yaml. A test finds what is missing.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from retrace.networks.activations import ACTIVATIONS, GraphBuilder
from retrace.networks.entrance import Entrance, Shape
from retrace.networks.layers import Embedding, InputScale, Linear, Role

# activations [replicas, rows, units] -> mask of the same shape: 0 for a silenced unit, else 1 / (share that is kept)
Dropout = Callable[[Tensor], Tensor]
# x [rows, columns] -> logits [replicas, rows, outputs], as `Network.forward`, but for rounding
Quick = Callable[[Tensor], Tensor]


class Outputs(NamedTuple):
    """logits [replicas, rows, outputs]; watched: what the activation gave after each of `Network.watched`."""

    logits: Tensor
    watched: list[Tensor]


class ForwardPass(NamedTuple):
    """A forward pass: logits [replicas, rows, outputs], and from the gradient there those of all parameters.

    `backward` is to be called once, and gives them in the order of `parameters()`.
    """

    logits: Tensor
    backward: Callable[[Tensor], list[Tensor]]


class RestForwardPass(NamedTuple):
    """As ForwardPass, of what follows the first layer's sums: `backward` gives their gradient, then the parameters'."""

    logits: Tensor
    backward: Callable[[Tensor], tuple[Tensor, list[Tensor]]]


class Network(Entrance):
    """All replicas of a network side by side. layers: the linear ones, from the inputs to the logits."""

    def __init__(self, replicas: int, shape: Shape, scaled: bool = False):
        """scaled: whether each input has a factor that is learned."""
        super().__init__()
        self.activation = ACTIVATIONS[shape.activation]
        layers = [Linear(replicas, *sizes) for sizes in self.linear(shape.widths)]
        self.layers: Sequence[Linear] = nn.ModuleList(layers)  # type: ignore[assignment]
        # The order of parameters, and of their gradients: layers, what `build` makes, embeddings, factors.
        self.build(replicas, shape.widths)
        self.add_inputs(replicas, shape, scaled)

    @property
    def outputs(self) -> int:
        """How many logits there are."""
        return self.layers[-1].weight.shape[2]

    @property
    def weights(self) -> int:
        """How many numbers a replica learns."""
        return sum(parameter[0].numel() for parameter in self.parameters())

    # --- what an architecture says of itself ------------------------------------------------------------------------

    @staticmethod
    @abstractmethod
    def linear(widths: Sequence[int]) -> list[tuple[int, int]]:
        """(inputs, outputs) of each linear layer, for the widths of a Shape."""

    @classmethod
    def size(cls, widths: Sequence[int]) -> int:
        """How many numbers a replica learns, but for embeddings."""
        return sum((inputs + 1) * outputs for inputs, outputs in cls.linear(widths))

    @property
    @abstractmethod
    def watched(self) -> list[int]:
        """Places in `layers` of those whose sums go through the activation: its units can be dead or saturated."""

    def build(self, replicas: int, widths: Sequence[int]) -> None:
        """Make what it has beside `layers`; each parameter has three axes, [replicas, 1, units]."""

    @abstractmethod
    def rest(self, z: Tensor, dropout: Dropout | None = None) -> Outputs:
        """From the sums of the first layer [replicas, rows, units] to the logits."""

    def rest_pass(self, z: Tensor, dropout: Dropout | None = None) -> RestForwardPass:
        """`rest`, with gradients: by autograd, unless an architecture brings its own, quicker ones."""
        entrance = {id(parameter) for parameter in self.entrance_parameters()}
        own = [parameter for parameter in self.parameters() if id(parameter) not in entrance]
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            logits = self.rest(z, dropout).logits

        def backward(gradient: Tensor) -> tuple[Tensor, list[Tensor]]:
            of_sums, *gradients = torch.autograd.grad(logits, [z, *own], gradient)
            return of_sums, gradients

        return RestForwardPass(logits.detach(), backward)

    @abstractmethod
    def onnx_rest(self, graph: GraphBuilder, z: str) -> str:
        """`rest` in ONNX: name of the first layer's sums [replicas, rows, units] -> name of the logits."""

    def quick(self) -> Quick | None:
        """Once it is trained: a quicker way for rows that all replicas are asked about, where there is one."""
        return None

    def roles(self) -> list[Role]:
        """Of the parameters, in their order: weights decay; biases, norms and factors of inputs do not."""
        found = {}
        for module in self.modules():
            if isinstance(module, Linear | Embedding):
                found[module.weight] = Role()
            elif isinstance(module, InputScale):
                found[module.weight] = Role(decays=False, scales_input=True)
        return [found.get(parameter, Role(decays=False)) for parameter in self.parameters()]

    # --- what all have in common ------------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """x [replicas, rows, columns], numbers and codes -> logits [replicas, rows, outputs]."""
        return self.observe(x).logits

    def observe(self, x: Tensor) -> Outputs:
        """As `forward`, with what the watched layers' activations gave."""
        return self.rest(self.first(self.enter(x)))

    def forward_pass(self, x: Tensor, dropout: Dropout | None = None) -> ForwardPass:
        """As `forward`, with gradients of all parameters."""
        entered = self.enter(x)
        rest = self.rest_pass(self.first(entered), dropout)

        def backward(gradient: Tensor) -> list[Tensor]:
            of_sums, gradients = rest.backward(gradient)
            first, *others = self.first_gradients(entered, of_sums)
            return [first, of_sums.sum(1, keepdim=True), *gradients, *others]

        return ForwardPass(rest.logits, backward)

    def of(self, replicas: slice) -> Self:
        """Some of the replicas as a network of their own, in the same memory: what one learns the other knows."""
        memo: dict[int, object] = {id(each): each for each in self.buffers()}
        for parameter in self.parameters():
            memo[id(parameter)] = nn.Parameter(parameter.detach()[replicas], parameter.requires_grad)
        part = deepcopy(self, memo)
        part.replicas = len(range(self.replicas)[replicas])
        return part

    def classify(self, points: Tensor) -> Tensor:
        """As `forward`, from what `expand` gives."""
        return self.rest(self.first_of_points(points)).logits

    def onnx(self, graph: GraphBuilder, dense: Sequence[str], embedded: Sequence[str]) -> str:
        """The network in ONNX: the name of its logits, float32 [replicas, rows, outputs]; see `onnx_first`."""
        return self.onnx_rest(graph, self.onnx_first(graph, dense, embedded))
