"""A study of the circles against Optuna around other trainings on the same cores: `python -m benchmarks.study_speed`.

64 trials x 3 networks of 100 epochs, as params.yaml has them, the shipped space. Retrace's time is that of the whole
stage, with loading, the verdict and its 80 trainings with fresh seeds; and of its search, with halving and without.
Of the others, whose trials all take the same time, some are measured and the rest is counted; none of them is halved.
"""

from retrace.runtime.run import run

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import torch

from benchmarks.measure import interleaved
from benchmarks.textbook import binary_cross_entropy, perceptron, train_epoch
from retrace.artifacts.schema import read_schema
from retrace.params.reader import read, read_verbatim
from retrace.params.space import searched, with_settings
from retrace.params.study import Study
from retrace.params.train import Train
from retrace.runtime.atomic import write_text
from retrace.runtime.cores import cores
from retrace.runtime.markdown import table
from retrace.study import study_run
from retrace.study.crew import Crew, Done
from retrace.study.live import Live
from retrace.study.measuring import Course
from retrace.study.memo import Memo
from retrace.study.prepared import Preparation
from retrace.study.sampling import suggested
from retrace.study.search import Search
from retrace.training.device import make_deterministic
from retrace.training.members import Member
from retrace.training.trainer import fit

RESULTS = Path("benchmarks/study.md")
TRIALS, NETWORKS, SAMPLED, ROUNDS = 64, 3, 4, 1
CPU = torch.device("cpu")


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - started)


def stage() -> float:
    """The whole stage in a process of its own, nothing measured before."""
    shutil.rmtree(".checkpoints/study", ignore_errors=True)
    seconds: list[float] = []
    with timed(seconds):
        subprocess.run([sys.executable, "-m", "stages.study"], check=True, capture_output=True)
    return seconds[0]


def search(rungs: int, spent: list[float] | None = None) -> float:
    """The search alone, nothing measured before; spent: seconds in which networks trained, by one process then."""
    section, schema = read(Train), read_schema()
    study = read(Study).model_copy(update={"rungs": rungs})
    space, count = searched(study.space), 1 if spent is not None else cores()
    memo = Memo("benchmark")
    shutil.rmtree(memo.folder)
    memo = Memo("benchmark")
    seconds: list[float] = []
    parts = [(study_run.DATA, range(NETWORKS))]
    with (
        timed(seconds),
        Live(schema.dataset, space, TRIALS, 1) as live,
        TimedCrew(Preparation(schema, section, CPU), CPU, count) as crew,
    ):
        Search(study, section, space, crew, memo, live, parts).run()
        if spent is not None:
            spent += crew.spent
    return seconds[0]


class TimedCrew(Crew):
    """spent: seconds in which it was at work, and whoever asked waited."""

    def __init__(self, preparation: Preparation, device: torch.device, count: int):
        super().__init__(preparation, device, count)
        self.spent: list[float] = []

    def run(self, courses: Iterable[Course]) -> Iterator[Done]:
        done = super().run(courses)
        while True:
            with timed(self.spent):
                each = next(done, None)
            if each is None:
                return
            yield each


def optimized(objective: Callable[[optuna.Trial], float]) -> float:
    """Seconds of all trials by Optuna with two jobs, counted from SAMPLED of them."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seconds: list[float] = []
    with timed(seconds):
        optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0)).optimize(objective, SAMPLED, n_jobs=2)
    return seconds[0] / SAMPLED * TRIALS


def main() -> None:
    make_deterministic(CPU, tf32=False)
    study, (section, _) = read(Study), read_verbatim(Train)
    space = searched(study.space)
    data = Preparation(read_schema(), section, CPU)(section, study_run.DATA).data
    x, y = data.training.x[:], data.training.y.float()

    def settings(trial: optuna.Trial) -> Train:
        return with_settings(section, {each.name: suggested(trial, each) for each in space if not each.when})

    def textbook(trial: optuna.Trial) -> float:
        rate, losses = settings(trial).optimizer.learning_rate, []
        for _ in range(NETWORKS):
            network = perceptron([2, *section.hidden, 1])
            optimizer = torch.optim.SGD(network.parameters(), lr=rate)
            for _ in range(section.epochs):
                order = torch.randperm(len(x))
                batches = ((x[some], y[some]) for some in torch.split(order, section.batch_size))
                train_epoch(network, batches, optimizer, binary_cross_entropy)
                with torch.no_grad():
                    loss = binary_cross_entropy(network(data.validation.x[:]), data.validation.y.float())
            losses.append(float(loss))
        return sum(losses) / NETWORKS

    def own(trial: optuna.Trial) -> float:
        tried, losses = settings(trial), []
        for replica in range(NETWORKS):
            network = Preparation(read_schema(), section, CPU)(section, study_run.DATA).describe(tried).network(1)
            losses += fit(network, data.training, data.validation, [Member(tried, replica)], CPU).best_loss
        return sum(losses) / NETWORKS

    contestants: dict[str, Callable[[], float]] = {
        "whole": stage,
        "halved": lambda: search(study.rungs),
        "not halved": lambda: search(1),
        "textbook": lambda: optimized(textbook),
        "own": lambda: optimized(own),
    }
    found = interleaved(contestants, ROUNDS)
    spent: list[float] = []
    whole = search(study.rungs, spent)
    beside = 1 - sum(spent) / whole

    def row(name: str, ours: str, other: str, bar: float) -> list[str]:
        ratio = found[other] / found[ours]
        good = "yes" if ratio >= bar else "**no**"
        return [name, f"{found[ours]:.1f} s", f"{found[other]:.0f} s", f"{ratio:.1f} x", f"at least {bar:g} x: {good}"]

    few = "yes" if beside <= 0.05 else "**no**"
    rows = [
        row("the whole stage, verdict and all, against Optuna around the textbook's loop", "whole", "textbook", 15),
        row("the search, against the same", "halved", "textbook", 15),
        row("the search without halving, against the same", "not halved", "textbook", 15),
        row("the whole stage, against Optuna around Retrace's own single training", "whole", "own", 5),
        row("the search, against the same", "halved", "own", 5),
        row("the search without halving, against the same", "not halved", "own", 5),
        ["what a search takes beside its trainings, in one process", "", "", f"{beside:.1%}", f"at most 5 %: {few}"],
    ]
    title = f"# A study's speed\n\nWritten by `python -m benchmarks.study_speed` on {cores()} cores: 64 trials x 3"
    write_text(
        RESULTS,
        f"{title} networks on the circles.\nAll take turns, after a round that warms up; rounds: {ROUNDS}.\n\n"
        + table(["what", "Retrace", "other", "ratio", "bar"], rows)
        + "\n",
    )
    print(RESULTS.read_text())


if __name__ == "__main__":
    run(main)
