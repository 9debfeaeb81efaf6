"""`python -m benchmarks.cuda`, where there is a GPU: training there against one thread of the CPU; benchmarks/cuda.md.

The table of `make bench` (20 numbers, 10 categories, some of them embedded), and what `make table` writes for its size.
"""

from retrace.runtime.run import run

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from ruamel.yaml import YAML

from benchmarks import tables
from benchmarks.measure import interleaved, stage
from retrace.artifacts.schema import read_schema
from retrace.artifacts.training import read_training_report
from retrace.params.reader import read
from retrace.params.train import Train
from retrace.runtime.atomic import write_text
from retrace.runtime.markdown import table
from retrace.training.device import make_deterministic
from retrace.training.members import members_of
from retrace.training.rows import fit_preprocessing, read_rows
from retrace.training.table_recipe import batch_size
from retrace.training.trainer import Trainer
from retrace.training.training_run import describe

REPORT = Path("benchmarks/cuda.md")
DEVICES = ("cpu", "cuda")
SIZES = (10_000, 100_000)
REPLICAS = (8, 64)
STEPS, ROUNDS, EPOCHS = 20, 3, 2


def steps(section: Train, replicas: int) -> dict[str, float]:
    """Median seconds of a training step, by device."""
    schema, path = read_schema(), Path("data/train.parquet")
    preprocessing = fit_preprocessing(path, schema, section)
    rows = read_rows(path, schema, preprocessing)
    rows = type(rows)(rows.x[: STEPS * section.batch_size], rows.y[: STEPS * section.batch_size])
    changed = section.model_copy(update={"replicas": replicas})

    def epoch(name: str) -> Callable[[], float]:
        device = torch.device(name)
        make_deterministic(device, tf32=False)
        network = describe(schema, changed, preprocessing).network(replicas, scaled=True)
        training = Trainer(network.to(device), rows, rows, members_of(changed), device).runner.packs[0]

        def measure() -> float:
            started = time.perf_counter()
            training.run_steps(1, [True] * replicas)
            if name == "cuda":
                torch.cuda.synchronize()
            return (time.perf_counter() - started) / training.steps

        return measure

    return interleaved({name: epoch(name) for name in DEVICES}, ROUNDS)


def whole(root: Path, here: Path, device: str) -> tuple[float, float, str]:
    """The stage, a few epochs of it: seconds, validation loss, digest of the model."""
    yaml = YAML()
    params = yaml.load(here / "params.yaml")
    params["train"].update(device=device, epochs=EPOCHS)
    yaml.dump(params, here / "params.yaml")
    seconds = stage(root, here, "stages.train").seconds
    loss = read_training_report(here).of_shipped.best_validation_loss
    return seconds, loss, hashlib.sha256((here / "models" / "model.safetensors").read_bytes()).hexdigest()


def main() -> None:
    root, lines = Path.cwd(), []
    with tempfile.TemporaryDirectory(prefix="retrace cuda ") as folder:
        for rows in SIZES:
            here = tables.project(root, Path(folder) / str(rows), "table.parquet")
            yaml = YAML()
            params = yaml.load(here / "params.yaml")
            params["train"]["batch_size"] = batch_size(rows)
            yaml.dump(params, here / "params.yaml")
            tables.write(here / "data" / "tables" / "table.parquet", rows)
            for name in ("create", "split"):
                stage(root, here, f"stages.{name}")
            size = f"{rows:,} rows, batch {batch_size(rows)}"
            with contextlib.chdir(here):
                for replicas in REPLICAS:
                    found = steps(read(Train), replicas)
                    times = [f"{found[device] * 1e6:,.0f} us" for device in DEVICES]
                    lines.append([f"a step of {replicas} replicas, {size}", *times, ratio(found)])
            runs = {device: whole(root, here, device) for device in DEVICES}
            again = whole(root, here, "cuda")
            seconds = {device: result[0] for device, result in runs.items()}
            times = [f"{seconds[device]:.1f} s" for device in DEVICES]
            lines.append([f"the stage, {EPOCHS} epochs, {size}", *times, ratio(seconds)])
            losses = [f"{runs[device][1]:.5f}" for device in DEVICES]
            lines.append([f"validation loss, {size}", *losses, ""])
            lines.append(
                [f"trained twice, the same bytes, {size}", "", "yes" if again[2] == runs["cuda"][2] else "**no**", ""]
            )
    write_text(
        REPORT,
        f"# On a GPU\n\nWritten by `python -m benchmarks.cuda` on {torch.cuda.get_device_name()}, torch"
        f" {torch.__version__}. 20 numbers, 10 categories; the recipe of `make table`; medians of interleaved runs.\n\n"
        f"{table(['what', 'CPU, one thread', 'CUDA', 'ratio'], lines)}\n",
    )


def ratio(seconds: dict[str, float]) -> str:
    return f"{seconds['cpu'] / seconds['cuda']:.2f} x"


if __name__ == "__main__":
    run(main)
