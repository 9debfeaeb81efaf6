"""A plain PyTorch loop over pyarrow's batches, as one writes it for a table that does not fit into memory.

    python -m benchmarks.plain_large_table split     data/tables/large -> data/plain_train.parquet, plain_test.parquet
    python -m benchmarks.plain_large_table train     one epoch over the former

No checks, no validation rows, no order but that within a batch of the reader; mean and deviation of each column are
known beforehand. torch takes all cores.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import nn

HIDDEN, BATCH, TEST_SIZE, READ = (128, 128), 1024, 0.02, 1 << 16
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


def train() -> None:
    torch.manual_seed(26)
    file = pq.ParquetFile(TRAIN)
    features = [name for name in file.schema_arrow.names if name != "class"]
    mean, deviation = torch.zeros(len(features)), torch.ones(len(features))
    layers = [nn.Linear(len(features), HIDDEN[0]), nn.ReLU(), nn.Linear(*HIDDEN), nn.ReLU(), nn.Linear(HIDDEN[1], 2)]
    network, criterion = nn.Sequential(*layers), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    total, steps = 0.0, 0
    for batch in file.iter_batches(READ):
        x = torch.from_numpy(np.column_stack([batch.column(name).to_numpy() for name in features])).float()
        x = (x - mean) / deviation
        label = pc.equal(batch.column("class").cast("string"), "yes").to_numpy(zero_copy_only=False)
        y = torch.from_numpy(label).long()
        order = torch.randperm(len(x))
        for some in torch.split(order, BATCH):
            optimizer.zero_grad()
            loss = criterion(network(x[some]), y[some])
            loss.backward()
            optimizer.step()
            total, steps = total + loss.item(), steps + 1
    print(f"{steps:,} steps, mean loss {total / steps:.4f}")


if __name__ == "__main__":
    {"split": split, "train": train}[sys.argv[1]]()
