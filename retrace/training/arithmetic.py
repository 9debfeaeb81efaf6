"""Whether a training run gives the same bytes on every processor, to be decided before torch is loaded."""

from contextlib import suppress
from itertools import pairwise

from retrace.artifacts.paths import TRAINING
from retrace.artifacts.schema import Schema, read_schema
from retrace.artifacts.tables import read_json
from retrace.data.values import PARTS
from retrace.params.reader import read
from retrace.params.train import Train
from retrace.runtime.arithmetic import set_portable
from retrace.runtime.errors import UserError

# Weights of a layer, up to which the settings cost a step nothing that one could measure beside its calls: a product
# of 8 replicas, 64 rows and 16 x 16 weights takes 15 us in place of 7, one of 64 x 64 takes 270 in place of 52.
LARGEST_LAYER = 512


def choose_arithmetic() -> None:
    """By what params.yaml and the schema say. What is wrong with them the stage itself will say."""
    with suppress(UserError):
        set_portable(largest_layer(read(Train), read_schema()) <= LARGEST_LAYER)


def choose_arithmetic_of_training() -> None:
    """As the training had it that is in models/."""
    with suppress(UserError):
        set_portable(read_json(TRAINING).get("portable", False))


def largest_layer(section: Train, schema: Schema) -> int:
    """Weights of the largest layer, about: of categories, what is looked up and not multiplied does not count."""
    kinds = [schema.kind(feature) for feature in schema.features]
    numbers = sum({"categorical": 0, "datetime": len(PARTS)}.get(kind, 1) for kind in kinds)
    widths = [numbers * (1 + section.bins), *section.hidden, 1]
    return max(inputs * outputs for inputs, outputs in pairwise(widths))
