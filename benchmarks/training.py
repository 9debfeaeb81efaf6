"""Seconds of one training step: Retrace's, the textbook loop's, scikit-learn's; one thread, the default recipe."""

import time
import warnings
from collections.abc import Callable

import torch
from sklearn.datasets import make_circles
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
from retrace.training.device import make_deterministic
from retrace.training.members import members_of
from retrace.training.rows import Rows
from retrace.training.trainer import Trainer, draw_initial_weights

ROWS, EPOCHS, ROUNDS = 6030, 3, 9


def main() -> dict[str, float]:
    """Median seconds a step, by contestant; the replicas' are those of one step of all of them."""
    section = read(Train)
    make_deterministic(torch.device("cpu"), tf32=False)
    features, target = make_circles(ROWS, noise=0.05, factor=0.8, random_state=26)
    rows = Rows(torch.tensor(features, dtype=torch.float32), torch.tensor(target))
    steps = -(-ROWS // section.batch_size) * EPOCHS

    def retrace(replicas: int) -> Callable[[], float]:
        changed = section.model_copy(update={"replicas": replicas})
        network = MLP(replicas, Shape([2, *section.hidden, 1], section.activation))
        draw_initial_weights(network, members_of(changed))
        training = Trainer(network, rows, rows, members_of(changed), torch.device("cpu")).runner.packs[0]

        def measure() -> float:
            started = time.perf_counter()
            for epoch in range(1, EPOCHS + 1):
                training.run_steps(epoch, [True] * replicas)
            return (time.perf_counter() - started) / steps

        return measure

    def textbook() -> float:
        network = perceptron([2, 10, 1])
        loader = DataLoader(TensorDataset(rows.x, rows.y.float()), batch_size=section.batch_size, shuffle=True)
        optimizer = torch.optim.SGD(network.parameters(), lr=section.optimizer.learning_rate)
        started = time.perf_counter()
        for _ in range(EPOCHS):
            train_epoch(network, loader, optimizer, binary_cross_entropy)
        return (time.perf_counter() - started) / steps

    def scikit_learn() -> float:
        model = MLPClassifier(
            tuple(section.hidden),
            solver="sgd",
            momentum=0,
            alpha=0,
            learning_rate_init=section.optimizer.learning_rate,
            batch_size=section.batch_size,
            max_iter=EPOCHS,
            tol=0,
            n_iter_no_change=EPOCHS + 1,
        )
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            started = time.perf_counter()
            model.fit(features, target)
            return (time.perf_counter() - started) / steps

    return interleaved(
        {
            "textbook": textbook,
            "scikit-learn": scikit_learn,
            **{f"{replicas} replicas": retrace(replicas) for replicas in (1, 8, 32)},
        },
        ROUNDS,
    )
