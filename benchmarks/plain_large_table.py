"""A plain PyTorch loop over pyarrow's batches, as one writes it for a table that does not fit into memory.

    python -m benchmarks.plain_large_table split     data/tables/large -> data/plain_train.parquet, plain_test.parquet
    python -m benchmarks.plain_large_table train 128,128 1024 1      one epoch over the former

The latter of one network with two hidden layers of 128 units, in batches of 1,024 rows; of several, each batch is read
once and trains one after the other.

No checks, no validation rows, no order but that within a batch of the reader; mean and deviation of each column are
known beforehand. torch takes all cores.
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import nn

TEST_SIZE, READ = 0.02, 1 << 16
TRAIN, TEST = Path("data/plain_train.parquet"), Path("data/plain_test.parquet")


def split() -> None:
    random, writers = np.random.default_rng(26), {}
    for part in sorted(Path("data/tables/large").glob("*.parquet")):
        for batch in pq.ParquetFile(part).iter_batches(READ):
            test = random.random(batch.num_rows) < TEST_SIZE
            for path, chosen in ((TEST, test), (TRAIN, ~test)):
                rows = batch.filter(chosen)
                if path not in writers:
                    writers[path] = pq.ParquetWriter(path, rows.schema)
                writers[path].write_batch(rows)
    for writer in writers.values():
        writer.close()


def train(hidden: list[int], batch_size: int, count: int) -> None:
    torch.manual_seed(26)
    file = pq.ParquetFile(TRAIN)
    features = [name for name in file.schema_arrow.names if name != "class"]
    mean, deviation = torch.zeros(len(features)), torch.ones(len(features))
    networks = [network_of([len(features), *hidden]) for _ in range(count)]
    optimizers = [torch.optim.Adam(network.parameters(), lr=0.001) for network in networks]
    criterion = nn.CrossEntropyLoss()
    total, steps = 0.0, 0
    for batch in file.iter_batches(READ):
        x = torch.from_numpy(np.column_stack([batch.column(name).to_numpy() for name in features])).float()
        x = (x - mean) / deviation
        label = pc.equal(batch.column("class").cast("string"), "yes").to_numpy(zero_copy_only=False)
        y = torch.from_numpy(label).long()
        for network, optimizer in zip(networks, optimizers, strict=True):
            for some in torch.split(torch.randperm(len(x)), batch_size):
                optimizer.zero_grad()
                loss = criterion(network(x[some]), y[some])
                loss.backward()
                optimizer.step()
                total, steps = total + loss.item(), steps + 1
    print(f"{steps:,} steps, mean loss {total / steps:.4f}")


def network_of(widths: list[int]) -> nn.Module:
    layers = [layer for wide, high in pairwise(widths) for layer in (nn.Linear(wide, high), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 2))


if __name__ == "__main__":
    if sys.argv[1] == "split":
        split()
    else:
        train([int(units) for units in sys.argv[2].split(",")], int(sys.argv[3]), int(sys.argv[4]))
