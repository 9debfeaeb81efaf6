"""Contestants take turns in one run, so that a slow minute of the machine hits all of them; a stage in a process."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple


def interleaved(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median of what each contestant returns over the rounds; a first round that warms up is not counted."""
    results: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            result = contestant()
            if number:
                results[name].append(result)
    return {name: median(values) for name, values in results.items()}


class Result(NamedTuple):
    """seconds: of the whole process, imports included; inside: of its `main` alone; peak: bytes.

    cpu: seconds of the processor, user and system, of the whole process; inside_cpu: of its `main` alone.
    """

    seconds: float
    inside: float
    peak: int
    cpu: float
    inside_cpu: float


def stage(root: Path, folder: Path, module: str, *arguments: str) -> Result:
    """A stage or command in a process of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); sys.argv = {[module, *arguments]!r}\n"
        f"import resource, importlib, time; module = importlib.import_module({module!r})\n"
        "command = getattr(module, 'command', None)\n"
        "main = module.main if command is None else lambda: command.main(sys.argv[1:], standalone_mode=False)\n"
        "started, before = time.perf_counter(), time.process_time(); main()\n"
        "inside, inside_cpu = time.perf_counter() - started, time.process_time() - before\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(); print(inside, used.ru_maxrss, used.ru_utime + used.ru_stime, inside_cpu)"
    )
    # Through a shell, since a peak begins with that of the process that forked, and this one is a large one.
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", code]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    inside, peak, cpu, inside_cpu = done.stdout.split()[-4:]
    return Result(seconds, float(inside), int(peak) * unit, float(cpu), float(inside_cpu))
