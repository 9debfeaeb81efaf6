"""Contract 8: what small networks give here, natively, is what other processors give, byte for byte.

They are emulated by Debian's qemu-user: an Intel without AVX-512, and an AMD. Importing torch takes a minute there.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project import TINY, copy_project

QEMU = shutil.which("qemu-x86_64")
PROCESSORS = ["Haswell", "EPYC-Rome"]
STAGES = ["validate", "create", "split", "baseline", "train", "evaluate", "plot", "report"]
pytestmark = pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 (Debian's qemu-user)")


def python(folder: Path, *arguments: str, processor: str = "") -> str:
    """Natively, or on another processor."""
    emulated = [str(QEMU), "-cpu", processor] if processor else []
    done = subprocess.run(
        [*emulated, sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def native() -> str:
    return python(ROOT, "-m", "campaigns.digests")


@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_kind_of_training(processor, native):
    assert len(native.splitlines()) > 40
    assert python(ROOT, "-m", "campaigns.digests", processor=processor) == native


@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_out_of_every_stage(processor, tmp_path):
    made = []
    for name in ("", processor):
        folder = copy_project(tmp_path / (name or "native"), {**TINY, "train.epochs": 10})
        for stage in STAGES:
            # Under qemu, scikit-learn's threads end in a segmentation fault.
            python(folder, "-m", f"stages.{stage}", processor="" if stage == "baseline" else name)
        outs = [path for part in ("data", "models", "reports") for path in (folder / part).rglob("*") if path.is_file()]
        made.append({str(path.relative_to(folder)): path.read_bytes() for path in outs})
    assert len(made[0]) > 35
    assert [path for path in made[0] if made[0][path] != made[1].get(path)] == []
