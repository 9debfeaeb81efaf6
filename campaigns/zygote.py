"""A process that has imported everything, and forks a child for each run of a stage or a command: a run in 50 ms.

The child is a process of its own, with its own folder, arguments, output and exit status; what it leaves behind in
memory ends with it. Run as `python -m campaigns.zygote`, it takes a run a line from stdin, as JSON.
"""

import gc
import importlib
import json
import os
import resource
import runpy
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT
from tests.project import environment

MODULES = (
    *sorted((ROOT / "stages").glob("*.py")),
    *sorted((ROOT / "retrace").rglob("*.py")),
)
# What a function imports when it runs.
LATE = (
    "mlflow.tracking",
    "mlflow.pyfunc",
    "ruamel.yaml",
    "scipy.special",
    "sklearn.model_selection",
    "matplotlib.pyplot",
)
# Of processor time, which a busy machine does not stretch; bytes.
SECONDS, MEMORY = 30, 8 << 30


class Done(NamedTuple):
    """read: the files that it opened for reading, or Arrow for it, relative to its folder."""

    status: int
    out: str
    err: str
    read: list[str]


class Zygote:
    def __enter__(self) -> "Zygote":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "campaigns.zygote"],
            cwd=ROOT,
            # Threads do not survive a fork.
            env={**environment(), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def run(self, folder: Path, module: str, *arguments: str) -> Done:
        """`python -m module arguments` in the folder, beside which its output is kept."""
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps([str(folder), module, *arguments]), file=self.process.stdin, flush=True)
        return Done(*json.loads(self.process.stdout.readline()))


def serve() -> None:
    for path in MODULES:
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for name in LATE:
        importlib.import_module(name)
    gc.disable()
    gc.freeze()
    for line in sys.stdin:
        folder, module, *arguments = json.loads(line)
        written = [Path(f"{folder}.{name}") for name in ("out", "err", "read")]
        if not (pid := os.fork()):
            run(folder, module, arguments, written)
        _, status = os.waitpid(pid, 0)
        out, err, read = (path.read_text(errors="replace") for path in written)
        print(json.dumps([os.waitstatus_to_exitcode(status), out, err, read.splitlines()]), flush=True)


def run(folder: str, module: str, arguments: list[str], written: list[Path]) -> None:
    for target, path in zip((1, 2), written, strict=False):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), target)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.chdir(folder)
    log = open(written[2], "w")  # noqa: SIM115 - until the process ends

    def watch(event: str, given: tuple) -> None:
        if event == "open" and isinstance(given[0], str) and not (given[2] or 0) & 3:
            path = Path(folder, given[0])
            if path.is_relative_to(folder):
                print(path.relative_to(folder), file=log, flush=True)

    sys.addaudithook(watch)
    sys.argv = [module, *arguments]
    sys.modules.pop("retrace.__main__" if module == "retrace" else module)  # of which runpy makes its own
    status: int | str | None = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    # Without walking through all that was imported, half a second.
    os._exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    serve()
