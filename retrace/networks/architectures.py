"""The architectures by the name that `train.architecture` has for them."""

from retrace.networks.mlp import MLP
from retrace.networks.network import Network
from retrace.networks.residual import ResidualMLP

ARCHITECTURES: dict[str, type[Network]] = {"mlp": MLP, "residual": ResidualMLP}
