"""models/reference.json: what the training rows, and the model's answers, were like when it was trained."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from retrace.artifacts.paths import TRAIN
from retrace.artifacts.tables import count_rows, read_pieces
from retrace.data.values import one_chunk
from retrace.networks.model import ENCODED_AT_ONCE, Model
from retrace.preprocessing.reference import MOST_ROWS, Reference, column_reference
from retrace.training.stored import Inputs


def reference_of(model: Model, validation: Inputs) -> Reference:
    """Of data/train.parquet, and of the answers to the validation rows as the network sees them [rows, inputs]."""
    description = model.description
    columns = [
        column_reference(description.preprocessing, name, description.kind(name), _some(name))
        for name in description.features
    ]
    labels = one_chunk(pa.chunked_array(list(_some(description.target))))
    count = len(description.classes)
    classes = np.bincount(labels.to_numpy(zero_copy_only=False), minlength=count)
    answers = np.zeros(count, dtype=np.int64)
    for start in range(0, len(validation), ENCODED_AT_ONCE):
        chances = model.of_inputs(validation[start : start + ENCODED_AT_ONCE].cpu().numpy())
        answers += np.bincount(chances.argmax(1), minlength=count)
    return Reference(len(labels), columns, classes.tolist(), answers.tolist())


def _some(name: str) -> Iterator[pa.Array]:
    """At most MOST_ROWS values of a column of the training rows, evenly spaced, without all of it in memory."""
    step, start = -(-count_rows(TRAIN) // MOST_ROWS), 0
    for piece in read_pieces(TRAIN, name):
        yield piece.take(pa.array(np.arange(-start % step, len(piece), step)))
        start += len(piece)
