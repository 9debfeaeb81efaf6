"""Which stages ran since the last recording, in a side file that DVC does not know.

dvc.lock does not tell: DVC skips a stage whose result stands, and brings another one's back from its run cache.
"""

import contextlib
import sys
from pathlib import Path

PATH = Path(".retrace/ran")
# What no run of the pipeline comes of: the recording itself, and what belongs to the graph of the study.
WITHOUT_RESULT = ("", "record", "study", "study_plot", "study_record")


def running_stage() -> str:
    """The stage that this process is, "" where it is none."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    package, _, stage = (spec.name if spec else "").partition(".")
    return stage if package == "stages" else ""


def note_stage() -> None:
    """To be called by a process that has come to its end; notes the stage that it was, if it was one."""
    stage = running_stage()
    if stage not in WITHOUT_RESULT:
        # No result depends on it.
        with contextlib.suppress(OSError):
            PATH.parent.mkdir(exist_ok=True)
            with open(PATH, "a", encoding="utf-8") as file:
                file.write(f"{stage}\n")


def stages_that_ran() -> list[str]:
    """In the order of their first run; empty where it is not known."""
    try:
        return list(dict.fromkeys(PATH.read_text("utf-8").split()))
    except (OSError, ValueError):
        return []


def forget() -> None:
    with contextlib.suppress(OSError):
        PATH.unlink()
