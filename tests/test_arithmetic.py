"""Small networks give the same bytes on every processor (contract 8); what is measured there is in campaigns/."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from retrace.artifacts.schema import Schema
from retrace.artifacts.tables import read_json
from retrace.runtime import arithmetic
from retrace.runtime.arithmetic import SETTINGS, is_portable, set_portable
from retrace.training.arithmetic import LARGEST_LAYER, largest_layer
from retrace.training.roots import root
from stages import create, split, validate
from tests.conftest import PARAMS, ROOT, train_section
from tests.project import TINY, turn

FOREIGN = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "AUTO"}
needs_avx2 = pytest.mark.skipif(not arithmetic._has_avx2(), reason="needs an x86-64 processor with AVX2")


def schema(features: int, **kinds: str) -> Schema:
    names = [*(f"x{place}" for place in range(features)), *kinds]
    return Schema("made", names, "y", ["no", "yes"], [5, 5], None, kinds=kinds)


@pytest.mark.parametrize(
    ("changes", "features", "kinds", "expected"),
    [
        ({"hidden": [10]}, 2, {}, 20),
        ({"hidden": [16, 32]}, 2, {}, 512),
        ({"hidden": []}, 7, {}, 7),
        ({"hidden": [10], "bins": 4}, 2, {}, 100),
        ({"hidden": [3]}, 1, {"when": "datetime"}, 15),
        ({"hidden": [3]}, 1, {"town": "categorical", "member": "boolean"}, 6),
    ],
    ids=str,
)
def test_the_largest_layer_is_that_of_numbers_and_widths(changes, features, kinds, expected):
    assert largest_layer(train_section(**changes), schema(features, **kinds)) == expected


def test_the_classic_circles_are_small_and_the_recipe_for_tables_is_not():
    assert largest_layer(train_section(), schema(2)) <= LARGEST_LAYER
    assert largest_layer(train_section(hidden=[128, 128]), schema(2)) > LARGEST_LAYER


@needs_avx2
def test_settings_are_made_and_taken_back(monkeypatch):
    for name in SETTINGS:
        monkeypatch.setenv(name, "something else")
    set_portable(True)
    assert is_portable()
    set_portable(False)
    assert not set(SETTINGS) & set(os.environ)
    assert not is_portable()


@needs_avx2
def test_a_processor_without_avx2_is_left_alone(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(arithmetic, "_has_avx2", lambda: False)
    set_portable(True)
    assert not set(SETTINGS) & set(os.environ)


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
