"""Small networks give the same bytes on every processor (contract 8); what is measured there is in campaigns/."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from retrace.artifacts.tables import read_json
from retrace.networks import arithmetic
from retrace.networks.arithmetic import NATIVE, PORTABLE, is_portable, is_small, set_portable
from retrace.networks.model import Description
from retrace.preprocessing.description import Category, Number, Preprocessing
from retrace.training.roots import root
from stages import create, split, validate
from tests.conftest import PARAMS, ROOT
from tests.project import TINY, turn

FOREIGN = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "AUTO"}
needs_avx2 = pytest.mark.skipif(not arithmetic._has_avx2(), reason="needs an x86-64 processor with AVX2")


def description(hidden: list[int], numbers: int, codes: int = 0, architecture: str = "mlp") -> Description:
    features = [f"x{place}" for place in range(numbers)]
    towns = [Category("town", [f"t{place}" for place in range(codes)], "none", False)] if codes else []
    fitted = Preprocessing([Number(name) for name in features], towns)
    names = [*features, *(each.column for each in towns)]
    return Description(names, {}, "y", ["no", "yes"], hidden, "relu", 0, fitted, architecture=architecture)


@pytest.mark.parametrize(
    ("hidden", "numbers", "more", "small"),
    [
        ([10], 2, {}, True),
        ([16, 32], 2, {}, True),
        ([16, 33], 2, {}, False),
        ([128, 128], 30, {}, False),
        ([], 512, {}, True),
        ([], 513, {}, False),
        ([10], 51, {"codes": 100}, True),
        ([10], 52, {"codes": 100}, False),
        ([16, 32], 2, {"architecture": "residual"}, True),
        ([16, 33], 2, {"architecture": "residual"}, False),
    ],
    ids=str,
)
def test_its_largest_layer_decides(hidden, numbers, more, small):
    assert is_small(description(hidden, numbers, **more)) is small


def settings() -> dict[str, str]:
    return {name: os.environ[name] for name in PORTABLE if name in os.environ}


@needs_avx2
def test_settings_are_made_and_changed(monkeypatch):
    for name in PORTABLE:
        monkeypatch.setenv(name, "something else")
    set_portable(True)
    assert settings() == PORTABLE
    set_portable(False)
    assert settings() == NATIVE
    assert not is_portable()


@needs_avx2
@pytest.mark.parametrize("late", [False, True], ids=["in time", "too late"])
def test_it_says_when_they_came_too_late(late):
    code = "import torch; from retrace.networks import arithmetic as a; "
    code += "torch.ones(9).exp().sum(); " * late + "a.set_portable(True); print(a.is_portable())"
    env = {name: value for name, value in os.environ.items() if name not in PORTABLE} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    # This process may have the settings, by a stage that ran in it. Where nothing but AVX2 is, nothing is to be seen.
    own = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    native = subprocess.run([sys.executable, "-c", own], env=env, capture_output=True, text=True, check=True).stdout
    assert done.stdout.strip() == str(not late or native.strip() == "AVX2")


@needs_avx2
def test_a_processor_without_avx2_is_left_alone(monkeypatch):
    for name in PORTABLE:
        monkeypatch.setenv(name, "something else")
    monkeypatch.setattr(arithmetic, "_has_avx2", lambda: False)
    set_portable(True)
    assert settings() == NATIVE


def stage(name: str, folder: Path, **environment: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-m", f"stages.{name}"], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_avx2
@pytest.mark.parametrize(("hidden", "portable"), [([10], True), ([64, 64], False)], ids=["small", "wide"])
def test_the_stage_decides_and_no_environment_changes_a_byte(hidden, portable, tmp_path, monkeypatch):
    made = []
    for place, environment in enumerate(({}, FOREIGN)):
        folder = tmp_path / str(place)
        folder.mkdir()
        monkeypatch.chdir(folder)
        Path("params.yaml").write_text(PARAMS)
        turn(folder, {**TINY, "train.hidden": hidden})
        for each in (validate, create, split):
            each.main()
        stage("train", folder, **environment)
        assert read_json(Path("models/training.json"))["portable"] is portable
        made.append({path.name: path.read_bytes() for path in Path("models").iterdir()})
    assert made[0] == made[1]


def test_a_root_is_that_of_torch_but_for_a_bit_or_two():
    x = torch.cat([torch.rand(10_000) * 10.0**power for power in (-30, -8, 0, 8, 30)])
    torch.testing.assert_close(root(x), x.sqrt(), rtol=5e-7, atol=0)
    ends = torch.tensor([0.0, 4.0, float("inf"), float("nan")])
    torch.testing.assert_close(root(ends), ends.sqrt(), equal_nan=True)
