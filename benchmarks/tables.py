"""Seconds and memory over a table of 20 numbers and 10 categories, 5 % of their values missing."""

import contextlib
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import torch
from ruamel.yaml import YAML
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import Result, interleaved, stage
from benchmarks.textbook import perceptron, train_epoch
from retrace.artifacts.schema import read_schema
from retrace.artifacts.tables import read_table
from retrace.networks.model_files import load
from retrace.params.reader import read
from retrace.params.train import Train
from retrace.preprocessing.apply import encode
from retrace.runtime.cores import cores
from retrace.training.device import make_deterministic
from retrace.training.members import members_of
from retrace.training.rows import fit_preprocessing, read_rows
from retrace.training.table_recipe import recipe
from retrace.training.trainer import Trainer, draw_initial_weights
from retrace.training.training_run import describe

ROUNDS = 3
ROWS, MANY_ROWS = 1_000_000, 10_000_000
NUMBERS, CATEGORIES, MISSING = 20, 10, 0.05
PIECE = 500_000


class Results(NamedTuple):
    """stages: create and split by the format and rows of the table; the others: rows a second, by contestant."""

    stages: dict[tuple[str, int], dict[str, Result]]
    epoch: dict[str, float]
    predict: dict[str, float]


def main(root: Path, folder: Path) -> Results:
    stages = {}
    for name, rows in (("csv", ROWS), ("parquet", ROWS), ("parquet", MANY_ROWS)):
        here = project(root, folder / f"{name} {rows}", f"table.{name}")
        write(here / "data" / "tables" / f"table.{name}", rows)
        stages[name, rows] = {each: stage(root, here, f"stages.{each}") for each in ("create", "split")}
        if rows == MANY_ROWS:
            shutil.rmtree(here)
    here = folder / f"parquet {ROWS}"
    with contextlib.chdir(here):
        epoch = epochs()
    stage(root, here, "stages.train")
    with contextlib.chdir(here):
        bare = forward(here / "data" / "tables" / "table.parquet")
    seconds = interleaved(
        {
            "predict": lambda: (
                stage(root, here, "retrace.cli.predict", "data/tables/table.parquet", "out.parquet").inside
            ),
            "bare": bare,
        },
        ROUNDS,
    )
    return Results(stages, epoch, {name: ROWS / each for name, each in seconds.items()})


def epochs() -> dict[str, float]:
    """Training rows a second in one epoch over the same encoded rows, one thread: of a network that all can train."""
    plain = {
        "hidden": [128, 64],
        "bins": 0,
        "residuals_above": 1.0,
        "input_scale_rate": 0.0,
        "dropout": 0.0,
        "ship": "best",
    }
    section, schema, path = read(Train).model_copy(update=plain), read_schema(), Path("data/train.parquet")
    preprocessing = fit_preprocessing(path, schema, section)
    device = torch.device("cpu")
    make_deterministic(device, tf32=False)
    rows = read_rows(path, schema, preprocessing)
    description = describe(schema, section, preprocessing)
    widths = description.widths

    encoded = description.network(1).expand(rows.x)  # as everybody else takes it

    def retrace(replicas: int) -> Callable[[], float]:
        changed = section.model_copy(update={"replicas": replicas})

        def measure() -> float:
            network = description.network(replicas)
            draw_initial_weights(network, members_of(changed))
            training = Trainer(network, rows, rows, members_of(changed), device).runner.packs[0]
            started = time.perf_counter()
            training.run_steps(1, [True] * replicas)
            return (time.perf_counter() - started) / replicas

        return measure

    def textbook() -> float:
        network = perceptron(widths)
        loader = DataLoader(TensorDataset(encoded, rows.y.long()), batch_size=section.batch_size, shuffle=True)
        optimizer = torch.optim.AdamW(network.parameters(), lr=section.optimizer.learning_rate)
        criterion = nn.CrossEntropyLoss()
        started = time.perf_counter()
        train_epoch(network, loader, optimizer, criterion)
        return time.perf_counter() - started

    def scikit_learn() -> float:
        model = MLPClassifier(tuple(section.hidden), batch_size=section.batch_size, max_iter=1)
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            started = time.perf_counter()
            model.fit(encoded.numpy(), rows.y.numpy())
            return time.perf_counter() - started

    contestants = {
        "1 replica": retrace(1),
        "8 replicas": retrace(8),
        "DataLoader": textbook,
        "scikit-learn": scikit_learn,
    }
    return {name: len(rows.x) / seconds for name, seconds in interleaved(contestants, ROUNDS).items()}


def forward(path: Path) -> Callable[[], float]:
    """Reading the file, and the network's forward pass over ready tensors, by all cores: what is needed at least."""
    model = load(Path("models"))
    inputs = encode(model.description.preprocessing, read_table(Path("data/test.parquet")))

    def measure() -> float:
        torch.set_num_threads(cores())
        started = time.perf_counter()
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group)
        done = 0
        while done < ROWS:
            some = inputs[: ROWS - done]
            model.of_inputs(some)
            done += len(some)
        return time.perf_counter() - started

    return measure


def pieces(rows: int) -> Iterator[pa.Table]:
    """The table, reproducible; its class follows from some of the columns, with noise."""
    words = [pa.array([f"c{index}_{value}" for value in range(4 * (index + 1))]) for index in range(CATEGORIES)]
    for start in range(0, rows, PIECE):
        random = np.random.default_rng(start)
        count = min(PIECE, rows - start)
        numbers = random.normal(size=(NUMBERS, count)).round(4)
        codes = [random.integers(len(each), size=count) for each in words]
        score = numbers[:4].sum(0) + codes[0] + codes[3] / 4 + random.normal(size=count)
        columns: dict[str, pa.Array] = {}
        for index, values in enumerate(numbers):
            columns[f"n{index}"] = pa.array(values, mask=random.random(count) < MISSING)
        for index, each in enumerate(codes):
            indices = pa.array(each.astype(np.int32), mask=random.random(count) < MISSING)
            columns[f"c{index}"] = words[index].take(indices)
        columns["class"] = pa.array(["low", "middle", "high"]).take(pa.array(np.digitize(score, [2, 5])))
        yield pa.table(columns)


def write(path: Path, rows: int) -> None:
    writer = None
    with open(path, "wb") as file:
        for piece in pieces(rows):
            if writer is None:
                kind = pq.ParquetWriter if path.suffix == ".parquet" else pc.CSVWriter
                writer = kind(file, piece.schema)
            writer.write_table(piece)
        assert writer
        writer.close()


def project(root: Path, folder: Path, name: str) -> Path:
    """A folder in which stages run on data/tables/NAME, with the recipe for ROWS rows, in one epoch."""
    (folder / "data" / "tables").mkdir(parents=True, exist_ok=True)
    yaml = YAML()
    params = yaml.load(root / "params.yaml")
    params["create"]["dataset"] = "table"
    params["create"]["table"].update(path=f"data/tables/{name}", target="class")
    training = int(ROWS * (1 - params["split"]["test_size"]) * (1 - params["split"]["validation_size"]))
    for (*parents, last), value in {**recipe(training, NUMBERS, 3), ("train", "epochs"): 1}.items():
        place = params
        for parent in parents:
            place = place[parent]
        place[last] = value
    yaml.dump(params, folder / "params.yaml")
    return folder
