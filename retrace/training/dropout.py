"""Which units are left out in a step."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from retrace.networks.network import Dropout
from retrace.training.members import Member
from retrace.training.randomness import DROPOUT, generator


def dropout(members: Sequence[Member], epoch: int, device: torch.device, shard: int = 0) -> Dropout | None:
    """Inverted dropout (Srivastava et al. 2014) with a mask and a share of each member's own.

    shard: of each step, of which there are several on a CPU only.
    """
    shares = [member.section.dropout for member in members]
    if not any(shares):
        return None
    keep = torch.tensor([1 - share for share in shares], device=device)[:, None, None]
    places = [(member.section.seed, member.replica, epoch, DROPOUT) for member in members]
    if device.type == "cuda":
        generators = [generator(*place, device) for place in places]

        def draw(x: Tensor) -> Tensor:
            mask = torch.empty_like(x)
            for one, share, source in zip(mask, shares, generators, strict=True):
                one.bernoulli_(1 - share, generator=source)
            return mask.div_(keep)

        return draw
    # 16 random bits a unit: a tenth of the time of torch's Bernoulli draws, which took a third of a step.
    # The first shard draws what a step draws that is not cut.
    seeds = [np.random.SeedSequence((*place, shard) if shard else place) for place in places]
    streams = [np.random.SFC64(seed) for seed in seeds]
    highest = torch.tensor([_highest(share) for share in shares], dtype=torch.int16)[:, None, None]

    def draw_bits(x: Tensor) -> Tensor:
        units = x[0].numel()
        bits = np.stack([stream.random_raw(-(-units // 4)) for stream in streams])
        numbers = torch.from_numpy(bits).view(torch.int16)[:, :units].view(x.shape)
        return torch.le(numbers, highest, out=torch.empty_like(x)).div_(keep)

    return draw_bits


def _highest(share: float) -> int:
    """Of all numbers of 16 bits, the last of those that keep a unit: all without dropout, else neither all nor none."""
    kept = min(max(round((1 - share) * 2**16), 1), 2**16 - 1) if share else 2**16
    return kept - 2**15 - 1
