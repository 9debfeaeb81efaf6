"""The recipe of `make table`: valid and affordable for any size of table."""

import copy
import subprocess
import sys

import pytest

from retrace.params.gate import Gate
from retrace.params.train import Train
from retrace.training.table_recipe import recipe
from tests.conftest import VALUES

SHARE = 0.67 * 0.9  # of all rows that are for training


@pytest.mark.parametrize("rows", [0, 40, 100, 1_000, 100_000, 1_000_000, 50_000_000])
@pytest.mark.parametrize("numbers", [0, 1, 30, 500, 501, 2_000, 100_000])
@pytest.mark.parametrize("classes", [2, 1_000])
def test_each_size_of_table_has_a_valid_recipe(rows, numbers, classes):
    values = copy.deepcopy(VALUES)
    for (*parents, last), value in recipe(int(rows * SHARE), numbers, classes).items():
        place = values
        for parent in parents:
            place = place[parent]
        assert last in place
        place[last] = value
    Train.model_validate(values["train"])
    Gate.model_validate(values["gate"])


@pytest.mark.parametrize(
    ("rows", "numbers", "bins", "batch"),
    [
        *(
            (12, 5, 2, 8),
            (36, 5, 2, 8),
            (100, 5, 2, 16),
            (511, 5, 3, 64),
            (512, 5, 4, 128),
            (2_000, 5, 15, 128),
            (50_000, 5, 16, 128),
        ),
        *((60_300, 5, 16, 256), (200_000, 5, 16, 512), (603_000, 30, 16, 1024), (30_000_000, 30, 16, 1024)),
        *((10_000, 200, 5, 128), (10_000, 500, 2, 128), (10_000, 501, 0, 128), (10_000, 0, 16, 128)),
    ],
)
def test_bins_and_batch_follow_the_size(rows, numbers, bins, batch):
    found = recipe(rows, numbers, 2)
    assert (found["train", "bins"], found["train", "batch_size"]) == (bins, batch)


@pytest.mark.parametrize(
    ("classes", "hidden", "activation", "smoothing"),
    [*((few, [128, 128], "relu", 0.03) for few in (2, 10)), *((many, [256] * 3, "silu", 0.01) for many in (11, 26))],
)
def test_many_classes_get_a_wider_network_that_is_held_back_less(classes, hidden, activation, smoothing):
    found = recipe(1_000, 5, classes)
    assert (found["train", "hidden"], found["train", "activation"]) == (hidden, activation)
    assert (found["train", "label_smoothing"], found["train", "dropout"]) == (
        smoothing,
        0.15 if classes <= 10 else 0.05,
    )


def test_it_costs_no_start_of_torch():
    code = "import sys, retrace.cli.table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
