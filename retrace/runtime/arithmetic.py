"""Sums that do not depend on the processor: torch's settings for them, to be made before it is loaded.

torch and the MKL within it have code of their own for each kind of processor, which adds in another order. With these
settings, all that have AVX2 give the same bytes, Intel's and AMD's alike (measured, see docs/limits.md). They cost
nothing where layers are small, and several times the time where they are wide.
"""

import os
import platform
from pathlib import Path

SETTINGS = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"}


def set_portable(wanted: bool) -> None:
    """Make the settings, or take them back: what somebody's environment says must not change a result."""
    for name, value in SETTINGS.items():
        if wanted and _has_avx2():
            os.environ[name] = value
        else:
            os.environ.pop(name, None)


def is_portable() -> bool:
    """Whether this process has the settings."""
    return all(os.environ.get(name) == value for name, value in SETTINGS.items())


def _has_avx2() -> bool:
    """Without it, a processor could not run what the first setting asks for."""
    facts = Path("/proc/cpuinfo")
    return platform.machine() == "x86_64" and facts.exists() and " avx2 " in facts.read_text()
