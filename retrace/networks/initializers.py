"""How the weights of a layer start, registered by name.

To add one: a function that fills weight [out, in] and bias [out] in place, registered in INITIALIZERS, its name in
`retrace/params/train.py` and in params.yaml. A test finds what is missing.

Biases start at zero, but for `default`. The gain is torch's for the activation that follows the layer (1 where none
does); torch defines none for elu, gelu and silu, which get relu's, since they are smoothed relus.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn import init

from retrace.networks.network import Network

# weight [out, in], bias [out], gain, scale, generator
Initializer = Callable[[Tensor, Tensor, float, float, Generator], None]


def gain_of(activation: str) -> float:
    match activation:
        case "identity":
            return init.calculate_gain("linear")
        case "leaky_relu":
            return init.calculate_gain("leaky_relu", 0.01)
        case "sigmoid" | "tanh" | "relu":
            return init.calculate_gain(activation)
    return init.calculate_gain("relu")


def default(weight: Tensor, bias: Tensor, gain: float, scale: float, generator: Generator) -> None:
    """What torch.nn.Linear does: weight and bias uniform within 1 / sqrt(inputs)."""
    bound = 1 / math.sqrt(weight.shape[1])
    init.uniform_(weight, -bound, bound, generator=generator)
    init.uniform_(bias, -bound, bound, generator=generator)


def normal(weight: Tensor, bias: Tensor, gain: float, scale: float, generator: Generator) -> None:
    """Gaussian with standard deviation `init_scale`, blind to the width of the layer."""
    init.normal_(weight, std=scale, generator=generator)


def uniform(weight: Tensor, bias: Tensor, gain: float, scale: float, generator: Generator) -> None:
    """Uniform within +-`init_scale`, blind to the width of the layer."""
    init.uniform_(weight, -scale, scale, generator=generator)


def xavier_uniform(weight: Tensor, bias: Tensor, gain: float, scale: float, generator: Generator) -> None:
    """Glorot and Bengio 2010: variance gain^2 * 2 / (inputs + outputs)."""
    init.xavier_uniform_(weight, gain, generator=generator)


def xavier_normal(weight: Tensor, bias: Tensor, gain: float, scale: float, generator: Generator) -> None:
    """Glorot and Bengio 2010: variance gain^2 * 2 / (inputs + outputs)."""
    init.xavier_normal_(weight, gain, generator=generator)


def he_uniform(weight: Tensor, bias: Tensor, gain: float, scale: float, generator: Generator) -> None:
    """He et al. 2015: variance gain^2 / inputs."""
    bound = gain * math.sqrt(3 / weight.shape[1])
    init.uniform_(weight, -bound, bound, generator=generator)


def he_normal(weight: Tensor, bias: Tensor, gain: float, scale: float, generator: Generator) -> None:
    """He et al. 2015: variance gain^2 / inputs."""
    init.normal_(weight, std=gain / math.sqrt(weight.shape[1]), generator=generator)


def orthogonal(weight: Tensor, bias: Tensor, gain: float, scale: float, generator: Generator) -> None:
    """Saxe et al. 2014: rows or columns orthogonal, of length gain."""
    init.orthogonal_(weight, gain, generator=generator)


def zeros(weight: Tensor, bias: Tensor, gain: float, scale: float, generator: Generator) -> None:
    """All zero: the units of a layer stay each other's twins, so that the network learns almost nothing."""
    init.zeros_(weight)


INITIALIZERS: dict[str, Initializer] = {
    "default": default,
    "normal": normal,
    "uniform": uniform,
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "orthogonal": orthogonal,
    "zeros": zeros,
}


@torch.no_grad()
def initialize(network: Network, method: str, scale: float, activation: str, generators: Sequence[Generator]) -> None:
    """Draw each replica's weights from its own generator, layer by layer, as torch would for plain ones [out, in]."""
    for place, layer in enumerate(network.layers):
        gain = gain_of(activation) if place in network.watched else 1.0
        _, inputs, outputs = layer.weight.shape
        for replica, generator in enumerate(generators):
            weight, bias = torch.zeros(outputs, inputs), torch.zeros(outputs)
            INITIALIZERS[method](weight, bias, gain, scale, generator)
            layer.weight[replica] = weight.T
            layer.bias[replica, 0] = bias
    for table in network.embeddings:
        for replica, generator in enumerate(generators):
            # A vector is as long as a standardized number is large; that of what no row has stays zero.
            init.normal_(table.weight[replica, :-1], std=1 / math.sqrt(table.weight.shape[2]), generator=generator)
