"""models/reference.json: what the training rows, and the model's answers, were like when it was trained."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retrace.artifacts.paths import TRAIN
from retrace.artifacts.tables import read_pieces
from retrace.data.values import one_chunk
from retrace.networks.model import Model
from retrace.preprocessing.reference import MOST_ROWS, Reference, column_reference, evenly


def reference_of(model: Model, validation: NDArray[np.float32]) -> Reference:
    """Of data/train.parquet, and of the answers to the validation rows as the network sees them [rows, inputs]."""
    description = model.description
    columns = [
        column_reference(description.preprocessing, name, description.kind(name), read_pieces(TRAIN, name))
        for name in description.features
    ]
    labels = evenly(one_chunk(pa.chunked_array(list(read_pieces(TRAIN, description.target)))), MOST_ROWS)
    count = len(description.classes)
    classes = np.bincount(labels.to_numpy(zero_copy_only=False), minlength=count)
    answers = np.bincount(model.of_inputs(validation).argmax(1), minlength=count)
    return Reference(len(labels), columns, classes.tolist(), answers.tolist())
