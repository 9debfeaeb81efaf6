"""A stage or a command as a process of its own (tests/warm.py) that says what it read, limited in time and memory."""

from pathlib import Path
from typing import NamedTuple

from tests import warm
from tests.project import environment

# Of processor time, which a busy machine does not stretch; bytes.
SECONDS, MEMORY = 30, 8 << 30
WATCH = f"""
import os, resource, runpy, sys
resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))
_, log, module, *arguments = sys.argv
here, log = os.getcwd() + os.sep, open(log, "w")
def watch(event, given):
    if event == "open" and isinstance(given[0], str) and not (given[2] or 0) & 3:
        path = os.path.join(here, given[0])
        if path.startswith(here):
            print(path.removeprefix(here), file=log, flush=True)
sys.addaudithook(watch)
sys.argv = [module, *arguments]
sys.modules.pop("retrace.__main__" if module == "retrace" else module, None)  # of which runpy makes its own
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class Done(NamedTuple):
    """read: the files that it opened for reading, or Arrow for it, relative to its folder."""

    status: int
    out: str
    err: str
    read: list[str]


def run(folder: Path, module: str, *arguments: str) -> Done:
    """`python -m module arguments` in the folder, beside which the list of what it read is kept."""
    log = Path(f"{folder}.read")
    done = warm.run(folder, ["-c", WATCH, str(log), module, *arguments], environment())
    return Done(done.returncode, done.stdout, done.stderr, log.read_text(errors="replace").splitlines())
