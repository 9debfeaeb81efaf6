"""Square roots that every processor gives alike."""

import torch
from torch import Tensor

SMALLEST = torch.finfo(torch.float32).tiny


def root(x: Tensor) -> Tensor:
    """Of x >= 0, any shape, to a bit or two.

    torch.sqrt goes through MKL, which refines a first guess that is the processor's own; torch.rsqrt does not.
    """
    return torch.where(torch.isinf(x), x, x * x.clamp_min(SMALLEST).rsqrt())
