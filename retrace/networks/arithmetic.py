"""Sums that do not depend on a replica's neighbours, and for small networks not on the processor: torch's settings.

torch and the MKL within it have code of their own for each kind of processor, which adds in another order. With the
portable settings all x86-64 processors with AVX2 give the same bytes, Intel's and AMD's (docs/testing.md). Where layers
are small they cost nothing, and where they are wide several times the time: those have MKL's fastest code, but not its
habit of adding in another order where a matrix begins elsewhere in memory, as a replica's does among other neighbours.
That costs nothing. Settings must be made before the first operation.
"""

import os
import platform
from pathlib import Path

import torch

from retrace.networks.model import Description

PORTABLE = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"}
# The processor's best code, wherever the numbers lie.
NATIVE = {"MKL_CBWR": "AUTO"}
# Weights of a replica's layer. A product of 8 replicas, 64 rows and 16 x 16 weights takes 15 us in place of 7, of a
# step of 200; one of 64 x 64 takes 270 in place of 52.
LARGEST_LAYER = 512


def is_small(description: Description) -> bool:
    """By its largest layer; what is looked up and not multiplied, one-hot categories, does not count."""
    (inputs, units), *others = description.layers
    multiplied = [(inputs - sum(description.preprocessing.one_hot), units), *others]
    return all(wide * high <= LARGEST_LAYER for wide, high in multiplied)


def set_portable(wanted: bool) -> None:
    """Make the settings, whatever somebody's environment says: it must not change a result."""
    for name in PORTABLE:
        os.environ.pop(name, None)
    os.environ.update(PORTABLE if wanted and _has_avx2() else NATIVE)


def compute_as_in_training(portable: bool) -> None:
    """With the training's settings, and on one thread.

    Many small products are faster so, and the sums do not depend on the machine's number of cores.
    """
    torch.set_num_threads(1)
    set_portable(portable)


def use_one_thread() -> None:
    """For a thread that begins: whatever is set in others, MKL takes all cores in it, and adds in another order."""
    torch.set_num_threads(1)


def is_portable() -> bool:
    """Whether the settings are in force; they are not where torch had computed something before they were made."""
    made = all(os.environ.get(name) == value for name, value in PORTABLE.items())
    return made and torch.backends.cpu.get_cpu_capability() == "AVX2"


def _has_avx2() -> bool:
    """Without it, a processor could not run what the first setting asks for."""
    facts = Path("/proc/cpuinfo")
    return platform.machine() == "x86_64" and facts.exists() and " avx2 " in facts.read_text()
