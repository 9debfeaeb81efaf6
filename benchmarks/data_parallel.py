"""Would the gradients of one network be worth sharing out to processes? `python -m benchmarks.data_parallel`.

A step's rows are cut into 8 shards, whatever the number of processes; each process computes the gradients of its own
shards, all gradients are gathered, and each adds them up in the order of the shards: so 1, 2 and 4 processes give the
same bytes. Held against one process that takes the rows at once, as `train` does. Results: benchmarks/data_parallel.md.
"""

from retrace.runtime.run import run

import hashlib
import os
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
from retrace.runtime.atomic import write_text
from retrace.runtime.markdown import table
from retrace.training.losses import LOSSES, Smoothing

RESULTS = Path("benchmarks/data_parallel.md")
SHARDS, COLUMNS, STEPS = 8, 30, 12
# Units of the two hidden layers, and rows of a step.
SIZES = [(128, 256), (128, 4096), (512, 2048), (1024, 8192)]
WORLDS = (1, 2)
LOSS, SMOOTHING = LOSSES["cross_entropy"], Smoothing([0.0], 2)
# Between two machines, of each second: a link of 10 Gbit.
LINK_BYTES = 1.25e9


def gradients_of(network: MLP, x: Tensor, y: Tensor) -> Tensor:
    """Of the sum over the rows, all parameters in one row."""
    passed = network.forward_pass(x)
    _, gradient = LOSS(passed.logits, y, SMOOTHING, None)
    return torch.cat([each.flatten() for each in passed.backward(gradient)]) * x.shape[1]


def steps(units: int, batch: int, shards: int) -> tuple[float, str]:
    """Median seconds of a step, and the digest of the weights after all of them."""
    compute_as_in_training(portable=False)
    rank, world = distributed.get_rank(), distributed.get_world_size()
    random = torch.Generator().manual_seed(0)
    network = MLP(1, Shape([COLUMNS, units, units, 1], "relu"))
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random) * 0.05
    count = sum(parameter.numel() for parameter in network.parameters())
    own = range(rank * shards // world, (rank + 1) * shards // world)
    seconds = []
    for _ in range(STEPS):
        x = torch.randn(1, batch, COLUMNS, generator=random)
        y = (x[..., 0] * x[..., 1] > 0).float()
        started = time.perf_counter()
        found = torch.stack([gradients_of(network, x[:, part::shards], y[:, part::shards]) for part in own])
        every = [torch.empty_like(found) for _ in range(world)]
        if world > 1:
            distributed.all_gather(every, found)
        else:
            every[0] = found
        total = torch.zeros(count)
        for gradient in torch.cat(every):  # in the order of the shards: sums depend on it
            total += gradient
        start = 0
        for parameter in network.parameters():
            part = total[start : start + parameter.numel()].view(parameter.shape)
            parameter.data.sub_(part, alpha=0.01 / batch)
            start += parameter.numel()
        seconds.append(time.perf_counter() - started)
    digest = hashlib.sha256(b"".join(each.detach().numpy().tobytes() for each in network.parameters()))
    return median(seconds[2:]), digest.hexdigest()[:12]


def main() -> None:
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")
        measured, digest = steps(*map(int, sys.argv[1:]))
        if distributed.get_rank() == 0:
            print(measured, digest)
        distributed.destroy_process_group()
        return
    rows = []
    for units, batch in SIZES:
        found = [launched(units, batch, 1, 1), *(launched(units, batch, SHARDS, world) for world in WORLDS)]
        (whole, _), *shared = found
        same = "yes" if len({digest for _, digest in shared}) == 1 else "**no**"
        count = (COLUMNS + 1) * units + (units + 1) * units + units + 1
        link = 4 * count * SHARDS / LINK_BYTES
        told = [f"{1e3 * seconds:.1f}" for seconds, _ in found]
        faster = f"{whole / shared[-1][0]:.2f} x"
        rows.append([f"{units} - {units}", f"{batch:,}", *told, faster, f"{1e3 * link:.1f}", same])
    header = [
        "hidden",
        "rows of a step",
        "whole, ms",
        *(f"8 shards, {world} process{'es' * (world > 1)}" for world in WORLDS),
    ]
    header += ["2 processes against whole", "gradients over 10 Gbit, ms", "same bytes"]
    text = "# One network in several processes\n\nWritten by `python -m benchmarks.data_parallel`.\n\n"
    text += table(header, rows)
    write_text(RESULTS, text)
    print(text)


def launched(units: int, batch: int, shards: int, world: int) -> tuple[float, str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}", "-m"]
    arguments = ["benchmarks.data_parallel", str(units), str(batch), str(shards)]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    seconds, digest = done.stdout.split()[-2:]
    return float(seconds), digest


if __name__ == "__main__":
    run(main)
