"""Side by side in one run: contestants take turns, so that a slow minute of the machine hits all of them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median


def interleaved(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median of what each contestant returns over the rounds; a first round that warms up is not counted."""
    results: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            result = contestant()
            if number:
                results[name].append(result)
    return {name: median(values) for name, values in results.items()}


def apart(code: str, folder: Path) -> tuple[list[str], int]:
    """The words that Python code prints in a process of its own, and the most memory that it held, in bytes."""
    code += "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    # Through a shell, since a peak begins with that of the process that forked, and this one is a large one.
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    *words, peak = done.stdout.split()
    return words, int(peak) * (1 if sys.platform == "darwin" else 1024)
