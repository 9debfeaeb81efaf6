"""A table's network in packs: one core against all, against others with the same cores; and more cores than there are.

100,000 rows of 30 columns, 16 members of [128, 128], AdamW, what is validated left small: an epoch, in batches of 256,
as the recipe for a table of so many rows has them, and of 64, as params.yaml has them.
The peers get the same threads as Retrace gets processes. What more cores would give is counted from measured times.
"""

import math
import resource
import time
import warnings
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import interleaved
from benchmarks.textbook import binary_cross_entropy, perceptron, train_epoch
from retrace.networks.entrance import Shape
from retrace.networks.mlp import MLP
from retrace.params.reader import read
from retrace.params.train import Train
from retrace.runtime.cores import cores
from retrace.runtime.workers import Workers
from retrace.training import pack_runner
from retrace.training.members import members_of
from retrace.training.rows import Rows
from retrace.training.trainer import Trainer, draw_initial_weights

ROWS, COLUMNS, HIDDEN, MEMBERS = 100_000, 30, [128, 128], 16
BATCHES = (256, 64)
MILLION, MEMBERS_OF_MILLION = 1_000_000, 8
ROUNDS = 3
CPU = torch.device("cpu")
SCALED_CORES = (1, 2, 4, 16, 64, 256)
SCALED_MEMBERS = (16, 64, 256, 1024)
WIDEST, MANY = 16, 64  # of packs that are measured, and of members for what is done after an epoch


class Results(NamedTuple):
    """epoch, by size of batches, and million: seconds of an epoch of all members, by contestant.

    worker: what a worker adds to the memory of the process that trains a million rows alone, as a share of it.
    scale: how many times as fast as one core, by members and cores.
    """

    epoch: dict[int, dict[str, float]]
    million: dict[str, float]
    worker: float
    scale: dict[tuple[int, int], float]


def section_of(replicas: int, batch: int) -> Train:
    section = read(Train)
    adam = section.optimizer.model_copy(update={"name": "adamw", "learning_rate": 0.001})
    changes = {"replicas": replicas, "hidden": HIDDEN, "batch_size": batch, "epochs": 1000, "optimizer": adam}
    return section.model_copy(update=changes)


def rows_of(count: int) -> Rows:
    x = torch.randn(count, COLUMNS, generator=torch.Generator().manual_seed(0))
    return Rows(x, (x[:, 0] * x[:, 1] + x[:, 2] > 0).to(torch.int16))


def trainer_of(rows: Rows, replicas: int, packs: int, batch: int = BATCHES[0]) -> Trainer:
    section = section_of(replicas, batch)
    network = MLP(replicas, Shape([COLUMNS, *HIDDEN, 1], section.activation))
    draw_initial_weights(network, members_of(section))
    chosen, pack_runner.packs_worth_having = pack_runner.packs_worth_having, lambda *arguments: packs
    try:
        return Trainer(network, rows, Rows(rows.x[:1000], rows.y[:1000]), members_of(section), CPU)
    finally:
        pack_runner.packs_worth_having = chosen


def epoch(rows: Rows, replicas: int, packs: int, batch: int = BATCHES[0]) -> Callable[[], float]:
    """Seconds of one, the workers made before."""
    training = trainer_of(rows, replicas, packs, batch)

    def measure() -> float:
        with training.runner as runner:
            runner.train_epoch(1, training.active)  # the copies touch their memory
            started = time.perf_counter()
            runner.train_epoch(2, training.active)
            return time.perf_counter() - started

    return measure


def textbook(rows: Rows, threads: int, batch: int) -> float:
    """An epoch of one network, times the members: a loop has no way to train them side by side."""
    torch.set_num_threads(threads)
    network = perceptron([COLUMNS, *HIDDEN, 1])
    loader = DataLoader(TensorDataset(rows.x, rows.y.float()), batch_size=batch, shuffle=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.001)
    started = time.perf_counter()
    train_epoch(network, loader, optimizer, binary_cross_entropy)
    torch.set_num_threads(1)
    return (time.perf_counter() - started) * MEMBERS


def scikit_learn(rows: Rows, threads: int, batch: int) -> float:
    model = MLPClassifier(tuple(HIDDEN), batch_size=batch, max_iter=1, alpha=0)
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore", ConvergenceWarning)
        started = time.perf_counter()
        model.fit(rows.x.numpy(), rows.y.numpy())
        return (time.perf_counter() - started) * MEMBERS


def worker_share(rows: Rows) -> float:
    """Of two workers: what is a worker's own of its memory, against what the process has that trains alone."""
    alone = trainer_of(rows, MEMBERS_OF_MILLION, 1)
    alone.runner.train_epoch(1, alone.active)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    training = trainer_of(rows, MEMBERS_OF_MILLION, 2)
    with training.runner as runner:
        runner.train_epoch(1, training.active)
        assert isinstance(runner.workers, Workers)
        return median(map(_own_bytes, runner.workers.pids)) / peak


def _own_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Private_"))


def scaled(rows: Rows) -> dict[tuple[int, int], float]:
    """Counted from what was measured here: a pack by its width, and what is done for all members while none trains."""
    few = Rows(rows.x[: ROWS // 10], rows.y[: ROWS // 10])
    contestants = {str(width): epoch(few, width, 1) for width in (1, WIDEST)}
    measured = interleaved({**contestants, "after": after_an_epoch(few)}, ROUNDS)
    # A line: what an epoch takes whatever its width, and what each member adds; of rows, ten times as many.
    member = (measured[str(WIDEST)] - measured["1"]) / (WIDEST - 1) * 10
    fixed = max(measured["1"] * 10 - member, 0.0)

    def seconds(members: int, packs: int) -> float:
        asking = pack_runner.ASKING_SECONDS * packs if packs > 1 else 0.0
        return fixed + member * math.ceil(members / packs) + asking + members * measured["after"]

    return {
        (members, count): seconds(members, 1) / seconds(members, min(count, members))
        for members in SCALED_MEMBERS
        for count in SCALED_CORES
    }


def after_an_epoch(rows: Rows) -> Callable[[], float]:
    """Seconds a member: history, best weights and early stopping, which one process does for all."""
    training = trainer_of(rows, MANY, 1)

    def measure() -> float:
        started = time.perf_counter()
        closed = training._closed(1)
        for callback in training.own:
            callback.on_epoch_end(training, closed)
        return (time.perf_counter() - started) / MANY

    return measure


def main() -> Results:
    """With as many processes, or threads, as there are cores."""
    torch.set_num_threads(1)
    rows, large, many = rows_of(ROWS), rows_of(MILLION), cores()
    result = {}
    for batch in BATCHES:
        contestants: dict[str, Callable[[], float]] = {
            "one core": epoch(rows, MEMBERS, 1, batch),
            "all cores": epoch(rows, MEMBERS, many, batch),
            "DataLoader": partial(textbook, rows, many, batch),
            "scikit-learn": partial(scikit_learn, rows, many, batch),
        }
        result[batch] = interleaved(contestants, ROUNDS)
    million = interleaved(
        {
            "one core": epoch(large, MEMBERS_OF_MILLION, 1),
            "all cores": epoch(large, MEMBERS_OF_MILLION, many),
        },
        1,
    )
    return Results(result, million, worker_share(large), scaled(rows))


if __name__ == "__main__":
    print(main())
