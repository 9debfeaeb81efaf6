"""Where the training runs: CUDA where there is one, else the CPU, unless params.yaml names a device."""

import os

import torch

from retrace.params.reader import fault
from retrace.params.train import Train


def choose(section: Train) -> tuple[torch.device, str]:
    """The device and the reason for it; raises UserError when the named one is not there."""
    count = torch.cuda.device_count()
    wanted = section.device
    if wanted == "auto":
        return (torch.device("cuda:0"), "auto: CUDA is there") if count else (torch.device("cpu"), "auto: no CUDA here")
    name = "cuda:0" if wanted == "cuda" else wanted
    if name != "cpu" and int(name.removeprefix("cuda:")) >= count:
        here = ", ".join(["cpu", *(f"cuda:{index}" for index in range(count))])
        raise fault(Train, "device", f"must be a device of this machine ({here}) or auto")
    return torch.device(name), "named in params.yaml"


def make_deterministic(device: torch.device, tf32: bool) -> None:
    """The same state gives the same bytes: one thread on the CPU, deterministic kernels, no TF32 unless asked for."""
    # cuBLAS reads this when it starts; without it torch refuses its products in deterministic mode.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    # With more, the sums would depend on the machine; cores share the work otherwise (pack_runner.py, gradients.py).
    torch.set_num_threads(1)
    # use_deterministic_algorithms(True) sets the same flag, but imports torch._dynamo, for 2 seconds.
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
