"""Seconds of whole runs: `dvc repro` in its states, against a plain script and against a graph that does nothing."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import interleaved
from retrace.cli.repository import bring_sources, clone

ROUNDS = 3
STAGES = ("validate", "create", "split", "baseline", "train", "evaluate", "plot", "report", "record")


def main(root: Path, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of each kind of run, and of the import of each stage."""
    project, empty, plain = clone(root, folder / "clone"), folder / "empty", folder / "plain"
    bring_sources(root, project)
    for name in (empty, plain):
        name.mkdir()
    (empty / "input").write_text("")
    stages = "".join(f"  stage_{index}:\n    cmd: 'true'\n    deps: [input]\n" for index in range(len(STAGES)))
    (empty / "dvc.yaml").write_text(f"stages:\n{stages}")
    _run([sys.executable, "-m", "dvc", "init", "--quiet", "--no-scm"], empty)
    _run([sys.executable, "-m", "dvc", "repro", "--quiet"], empty)
    _repro(project)()
    params = project / "params.yaml"
    dpi = [90]

    def change() -> None:
        dpi[0] += 1
        params.write_text(re.sub(r"dpi: \d+", f"dpi: {dpi[0]}", params.read_text()))

    def plot_key() -> float:
        change()
        return _repro(project)()

    record = _timed([sys.executable, "-m", "stages.record"], project)

    def new_state() -> float:
        change()
        _repro(project, "plot")()
        return record()

    runs = interleaved(
        {
            "plain script": _timed([sys.executable, str(root / "benchmarks" / "plain_script.py"), str(plain)], plain),
            "everything": _repro(project, "--force", "--no-run-cache"),
            "nothing": _repro(project),
            "true stages": _repro(empty),
            "plot key": plot_key,
            "record, new": new_state,
            "record, found": record,  # after the one above, whose state it is
        },
        ROUNDS,
    )
    code = "import time; t = time.perf_counter(); import stages.{}; print(time.perf_counter() - t)"

    def importing(stage: str) -> Callable[[], float]:
        return lambda: float(_run([sys.executable, "-c", code.format(stage)], project))

    return runs, interleaved({stage: importing(stage) for stage in STAGES}, ROUNDS)


def _repro(folder: Path, *options: str) -> Callable[[], float]:
    return _timed([sys.executable, "-m", "dvc", "repro", "--quiet", *options], folder)


def _timed(command: list[str], folder: Path) -> Callable[[], float]:
    def measure() -> float:
        started = time.perf_counter()
        _run(command, folder)
        return time.perf_counter() - started

    return measure


def _run(command: list[str], folder: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
