"""Randomness derived from its place (seed, replica, epoch), so that nothing of it needs to be stored to resume."""

import numpy as np
import torch
from torch import Generator

INITIAL = 0  # the "epoch" of the generator that draws the initial weights
ORDER, DROPOUT = 0, 1  # what a generator draws


def generator(
    seed: int, replica: int, epoch: int, stream: int = ORDER, device: torch.device | str = "cpu"
) -> Generator:
    """The only source of randomness in training; stream: what it draws."""
    state = np.random.SeedSequence([seed, replica, epoch, stream]).generate_state(1, np.uint64)[0]
    return Generator(device).manual_seed(int(state))
