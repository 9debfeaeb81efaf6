"""Randomness derived from its place (seed, replica, epoch), so that nothing of it needs to be stored to resume."""

import numpy as np
import torch
from torch import Generator

INITIAL = 0  # the "epoch" of the generator that draws the initial weights
ORDER, DROPOUT, GROUPS_ORDER = 0, 1, 2  # what a generator draws


def generator(
    seed: int, replica: int, epoch: int, stream: int = ORDER, device: torch.device | str = "cpu", window: int = 0
) -> Generator:
    """The only source of randomness in training; stream: what it draws; window: of the epoch, from 0."""
    place = [seed, replica, epoch, stream]
    if window:  # the first one draws what an epoch draws that has no other
        place.append(window)
    state = np.random.SeedSequence(place).generate_state(1, np.uint64)[0]
    return Generator(device).manual_seed(int(state))
