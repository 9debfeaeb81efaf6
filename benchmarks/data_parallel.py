"""What a step of one network takes in shards, on one core or more. `python -m benchmarks.data_parallel`.

On one core, by two threads of a process, and in two processes, held against the same rows at once on one core. Each way
in processes of its own, one way after the other, several times over; in shards all must give the same bytes. Results:
benchmarks/data_parallel.md.
"""

from retrace.runtime.run import run

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, distributed

from retrace.networks.arithmetic import compute_as_in_training
from retrace.networks.entrance import Shape
from retrace.networks.mlp import MLP
from retrace.params.reader import read
from retrace.params.train import Train
from retrace.runtime.atomic import write_text
from retrace.runtime.markdown import table
from retrace.training.gradients import SHARDS, Gradients, shards_of
from retrace.training.losses import Smoothing
from retrace.training.members import Member
from retrace.training.team import Meeting, Team, store_for_meetings

RESULTS = Path("benchmarks/data_parallel.md")
COLUMNS, STEPS, TIMES = 30, 12, 3
# Units of the two hidden layers, and rows of a step.
SIZES = [(128, 256), (128, 1024), (128, 2048), (128, 4096), (256, 2048), (512, 2048), (1024, 2048), (1024, 8192)]
HOST = "127.0.0.1"
# Between two machines, of each second: a link of 10 Gbit.
LINK_BYTES = 1.25e9
# Name -> threads, processes; 0 threads: not in shards.
WAYS = {"whole": (0, 1), "one core": (1, 1), "two cores": (2, 1), "two processes": (1, 2)}


def data(units: int, rows: int) -> tuple[MLP, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    network = MLP(1, Shape([COLUMNS, units, units, 1], "relu"))
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random) * 0.05
    x = torch.randn(1, rows, COLUMNS, generator=random)
    return network, x, (x[..., 0] * x[..., 1] > 0).float()


@torch.no_grad()
def measure(way: str, units: int, rows: int, rank: int, port: int) -> None:
    """Print the median seconds of a step's gradients, and their digest."""
    compute_as_in_training(portable=False)
    threads, processes = WAYS[way]
    network, x, y = data(units, rows)
    members = [Member(read(Train), 0)]
    gradients = Gradients(network, members, Smoothing([0.0], 2), None, rows, torch.device("cpu"))
    gradients.shards, gradients.threads = SHARDS if threads else 1, threads
    if processes > 1:
        gradients.team = Team(Meeting(HOST, port, way, rank, processes))
    took = []
    with gradients.of_epoch(1) as loss_and_gradients:
        for _ in range(STEPS):
            started = time.perf_counter()
            _, found = loss_and_gradients(x, y)
            took.append(time.perf_counter() - started)
    if gradients.team:
        distributed.destroy_process_group()
    digest = hashlib.sha256(b"".join(each.numpy().tobytes() for each in found))
    print(median(took[2:]), digest.hexdigest()[:12])


def launched(units: int, rows: int, way: str) -> tuple[float, str]:
    store = store_for_meetings(HOST)
    ranks = range(WAYS[way][1])
    command = [sys.executable, "-m", "benchmarks.data_parallel", way, str(units), str(rows)]
    arguments = [[*command, str(rank), str(store.port)] for rank in ranks]
    started = [subprocess.Popen(each, stdout=subprocess.PIPE, text=True) for each in arguments]
    found = [each.communicate()[0].split() for each in started]
    return float(found[0][0]), found[0][1]


def main() -> None:
    if sys.argv[1:]:
        way, *numbers = sys.argv[1:]
        measure(way, *map(int, numbers))
        return
    lines = []
    for units, rows in SIZES:
        found = [{way: launched(units, rows, way) for way in WAYS} for _ in range(TIMES)]
        seconds = {way: median(each[way][0] for each in found) for way in WAYS}
        whole, *others = seconds.values()
        bytes_of_shards = {each[way][1] for each in found for way in WAYS if way != "whole"}
        network, *_ = data(units, 1)
        link = 4 * network.weights * SHARDS / LINK_BYTES
        lines.append(
            [
                f"{units} - {units}",
                f"{rows:,}",
                "yes" if shards_of(network.weights, rows, torch.device("cpu")) > 1 else "no",
                *(f"{1e3 * each:.1f}" for each in seconds.values()),
                *(f"{whole / each:.2f} x" for each in others),
                f"{1e3 * link:.1f}",
                "yes" if len(bytes_of_shards) == 1 else "**no**",
            ]
        )
    header = ["hidden", "rows of a step", "cut by `train`", "whole, ms", *(f"shards, {way}, ms" for way in [*WAYS][1:])]
    header += [*(f"{way} against whole" for way in [*WAYS][1:]), "gradients over 10 Gbit, ms", "same bytes"]
    text = (
        "# Steps in shards\n\nWritten by `python -m benchmarks.data_parallel`: loss and gradients of one network, on a"
    )
    text += f" machine of two cores;\nmedians of {TIMES} runs of {STEPS - 2} steps each.\n\n"
    text += table(header, lines)
    write_text(RESULTS, text)
    print(text)


if __name__ == "__main__":
    run(main)
