"""What a Ray cluster costs, and what more cores than there are would give: `python -m benchmarks.farm [SECONDS]`.

64 packs of 10 s (or SECONDS) each are trained by processes of this machine, and by a cluster on the same cores.
Then what Ray takes for a request is measured, and what a pack takes by its width; from these it is counted how much
faster 16, 64 and 256 cores are than one. Results: benchmarks/farm.md.
"""

from retrace.runtime.run import run

import heapq
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from benchmarks.packs import ROWS, rows_of, trainer_of
from retrace.networks.arithmetic import compute_as_in_training
from retrace.runtime.atomic import write_text
from retrace.runtime.cluster import Cluster
from retrace.runtime.cluster_address import ADDRESS
from retrace.runtime.cluster_work import Request, Tasks
from retrace.runtime.cores import cores
from retrace.runtime.markdown import table
from retrace.runtime.workers import Workers
from retrace.study.crew import Kind, parts_of
from retrace.study.sampling import rounds
from retrace.study.search import FACTOR
from retrace.training.pack_runner import evenly

RESULTS = Path("benchmarks/farm.md")
PACKS, SECONDS = 64, 10.0
REQUESTS, REQUEST_BYTES = 300, 100_000
WIDTHS = (1, 2, 4, 8, 16, 32)
CORES = (1, 16, 64, 256)
TRIALS, SEEDS, RUNGS, EPOCHS = 512, 3, 3, 90
# What asking a sampler and keeping books costs a trial, of which all is done in one process: benchmarks/study.md.
TRIAL_SECONDS = 0.01


class Costs(NamedTuple):
    """Seconds: of an epoch of a pack, by its width; of a request to the cluster."""

    epoch: dict[int, float]
    request: float


def facts() -> dict[str, str]:
    """What nodes must share, where it is all one machine."""
    compute_as_in_training(portable=False)
    return {"torch": torch.__version__}


def work(epochs: int) -> float:
    """A pack of four networks of 128 - 128 units, so many epochs of 10,000 rows."""
    training = trainer_of(rows_of(ROWS // 10), 4, 1)
    with training.runner as runner:
        for epoch in range(1, epochs + 1):
            runner.train_epoch(epoch, training.active)
    return float(training.state.values[0, 0])


def nothing(content: bytes) -> bytes:
    return content


def local(epochs: int) -> float:
    started = time.perf_counter()
    count = cores()
    with Workers([work] * count, ["a pack"] * count) as workers:
        answers = [answer for _, answer in workers.each([epochs] * PACKS, ["a pack"] * PACKS)]
    assert len(set(answers)) == 1
    return time.perf_counter() - started


def on_cluster(cluster: Cluster, epochs: int) -> float:
    started = time.perf_counter()
    tasks = Tasks(cluster, work, repr).each([(epochs,)] * PACKS, ["a pack"] * PACKS, Request)
    assert len({answer for _, answer in tasks}) == 1
    return time.perf_counter() - started


def a_request(cluster: Cluster) -> float:
    """Mean over many, with content both ways."""
    content = (bytes(REQUEST_BYTES),)
    list(Tasks(cluster, nothing, repr).each([content] * 4 * cores(), [""] * 4 * cores(), Request))  # loads torch
    started = time.perf_counter()
    list(Tasks(cluster, nothing, repr).each([content] * REQUESTS, [""] * REQUESTS, Request))
    return (time.perf_counter() - started) / REQUESTS


def an_epoch(width: int) -> float:
    """Of the same network and rows as `work`, three of it, the median."""
    training = trainer_of(rows_of(ROWS // 10), width, 1)
    seconds = []
    with training.runner as runner:
        for epoch in range(1, 5):
            started = time.perf_counter()
            runner.train_epoch(epoch, training.active)
            seconds.append(time.perf_counter() - started)
    return median(seconds[1:])


def makespan(durations: Iterable[float], count: int) -> float:
    """When the last core is done, where whoever is free takes the next one, the longest first."""
    free = [0.0] * count
    for duration in sorted(durations, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + duration)
    return max(free)


def packs_of(courses: int, networks: int, parts: int, costs: Costs) -> list[float]:
    """Durations of an epoch of courses of so many networks each, cut into so many packs."""
    widths = [networks * (part.stop - part.start) for part in evenly(courses, parts)]
    return [costs.epoch[_known(each)] * each / _known(each) for each in widths]


def _known(width: int) -> int:
    return max(each for each in WIDTHS if each <= width)


def study_seconds(method: str, count: int, costs: Costs) -> float:
    """A search of TRIALS on so many cores: rounds and rungs wait for their last pack."""
    total = 0.0
    for alive in rounds(method, TRIALS):
        total += alive * TRIAL_SECONDS
        before = 0.0
        for rung in range(RUNGS):
            end = EPOCHS / FACTOR ** (RUNGS - 1 - rung)
            parts = parts_of([Kind(alive, SEEDS, 1.0)], count)[0]
            durations = [(end - before) * each for each in packs_of(alive, SEEDS, parts, costs)]
            asking = costs.request * len(durations) if count > 1 else 0.0
            total += makespan(durations, count) + asking
            alive, before = math.ceil(alive / FACTOR), end
    return total


def training_seconds(members: int, count: int, costs: Costs) -> float:
    """An epoch of so many replicas: all packs wait for the last one, and come back."""
    durations = packs_of(members, 1, min(count, members), costs)
    return makespan(durations, count) + (costs.request * len(durations) if count > 1 else 0.0)


def in_a_process(code: str, **variables: str) -> float:
    """What the code prints last."""
    environment = {**os.environ, **variables}
    command = [sys.executable, "-c", f"from benchmarks import farm; {code}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def report(seconds: float, measured: dict[str, float], costs: Costs) -> str:
    ratio = measured["cluster"] / measured["local"]
    rows: list[Sequence[object]] = [
        ("processes of this machine", f"{measured['local']:.1f}", ""),
        (
            "a cluster on the same cores",
            f"{measured['cluster']:.1f}",
            f"{ratio:.3f} x",
        ),
    ]
    text = "# A cluster\n\nWritten by `python -m benchmarks.farm`: "
    text += f"{PACKS} packs of about {seconds:g} s, {cores()} cores.\n"
    text += "\n" + table(["trained by", "seconds", "against this machine"], [list(map(str, row)) for row in rows])
    text += f"\n\nA request to the cluster, with {REQUEST_BYTES:,} bytes each way: {1e3 * costs.request:.1f} ms.\n"
    text += "\nCounted from that and from what a pack takes by its width, against one core:\n\n"
    kinds: dict[str, Callable[[int], float]] = {
        "an epoch of 1,024 replicas": lambda count: training_seconds(1024, count, costs),
        "a study of 512 trials, random or grid": lambda count: study_seconds("random", count, costs),
        "the same, tpe": lambda count: study_seconds("tpe", count, costs),
    }
    found = []
    for name, cost in kinds.items():
        faster = [cost(1) / cost(count) for count in CORES]
        told = [f"{each:.1f} x ({each / count:.0%})" for each, count in zip(faster, CORES, strict=True)]
        found.append([name, *told])
    return text + table(["work", *(f"{count} core{'s' * (count > 1)}" for count in CORES)], found)


def main() -> None:
    seconds = float(sys.argv[1]) if sys.argv[1:] else SECONDS
    # In processes of their own: Ray leaves threads behind, and processes are copied from one that has none.
    alone = in_a_process("farm.facts(); print(min(farm.an_epoch(4) for _ in range(3)))")
    epochs = max(1, round(seconds / alone))
    node = {"num_cpus": cores(), "include_dashboard": False}
    code = f"from ray.cluster_utils import Cluster; made = Cluster(True, head_node_args={node}); print(made.address)"
    command = [sys.executable, "-u", "-c", f"{code}; input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as made:
        assert made.stdin
        assert made.stdout
        there = {ADDRESS: made.stdout.readline().strip()}
        joined = (
            "1\nfrom retrace.runtime.cluster import Cluster\nwith Cluster('farm', farm.facts) as cluster: print({})"
        )
        measured = {
            "local": in_a_process(f"farm.facts(); print(farm.local({epochs}))"),
            "cluster": in_a_process(joined.format(f"farm.on_cluster(cluster, {epochs})"), **there),
        }
        request = in_a_process(joined.format("farm.a_request(cluster)"), **there)
        made.stdin.close()
    widths = {width: in_a_process(f"farm.facts(); print(farm.an_epoch({width}))") for width in WIDTHS}
    text = report(seconds, measured, Costs(widths, request))
    write_text(RESULTS, text)
    print(text)


if __name__ == "__main__":
    run(main)
