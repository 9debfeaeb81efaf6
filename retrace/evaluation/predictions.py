"""What the model, each of its replicas and other classifiers say of the test rows."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retrace.artifacts.baseline import Other
from retrace.artifacts.paths import TEST
from retrace.artifacts.schema import Schema
from retrace.artifacts.scores import SCORES
from retrace.artifacts.tables import count_rows
from retrace.data.densities import bayes_probabilities
from retrace.evaluation.all_cores import PRODUCTS_A_SECOND, on_all_cores
from retrace.evaluation.metrics import Floats, Predictions, log_losses
from retrace.evaluation.resampling import ARRAYS, PIECE
from retrace.networks.model import ENCODED_AT_ONCE, Model, decide
from retrace.params.evaluate import Decided, Evaluate
from retrace.preprocessing.apply import encode, sure
from retrace.preprocessing.description import Unusable
from retrace.runtime.disk import require_disk
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.memory import require_memory


class AllPredictions(NamedTuple):
    """inputs [rows, inputs] float32: the test rows as the networks see them; model: what ships; replicas: each."""

    inputs: NDArray[np.float32]
    model: Predictions
    replicas: list[Predictions]


def require_room(model: Model, replicas: int, schema: Schema, section: Evaluate) -> None:
    """Raise UserError (status 4) where disk or memory have no room for the evaluation."""
    few = "use fewer test rows (split.test_size)"
    count, width, classes = count_rows(TEST), model.description.preprocessing.width, len(schema.classes)
    require_disk([SCORES], output_bytes(schema, section, count), few)
    # Raw rows, what networks see of them, and that as points of the plane and moved there; the probabilities of the
    # model and all replicas; and of a piece of the resamples some arrays at once (1 million rows of 30 columns took
    # 1.2 GiB beside the libraries, 1.0 by this).
    numbers = 8 * len(schema.features) + 4 * width + 16 * model.description.layers[0][0]
    size = count * (numbers + 8 * classes * (2 + replicas)) + ARRAYS * 8 * max(count, PIECE)
    require_memory(size, f"evaluate: {count:,} test rows of {width:,} columns", few)


def output_bytes(schema: Schema, section: Evaluate, rows: int) -> int:
    """Bytes of what this stage writes, about: predictions, curves in text, the surface of the picture."""
    classes, longest = len(schema.classes), max(map(len, schema.classes))
    # A curve has a point where the class changes: over all classes, of both curves, hardly more than two a row.
    points = 2 * (longest + 26)
    return rows * (32 + 4 * classes + 2 * (longest + 1) + points) + 28 * section.grid**2


def predict(model: Model, replicas: Model, test: pa.Table, schema: Schema, section: Decided) -> AllPredictions:
    """Of raw rows; raises UserError for a row that the network cannot take."""
    actual = test.column(schema.target).to_numpy()
    preprocessing = model.description.preprocessing
    try:
        # Once for all that look at the test rows.
        inputs = encode(preprocessing, test)
        probabilities, *of_replicas = (sure(preprocessing, test, each) for each in _answers(model, replicas, inputs))
    except Unusable as error:
        raise UserError(
            BAD_DATA,
            f"{TEST}: column {error.column}, row {error.row + 1:,}: {error.value} {error.rule}; fix it in the"
            " table, or leave the row out",
        ) from None
    verdict, *each = (
        Predictions(actual, decide(found, section.threshold), found) for found in (probabilities, *of_replicas)
    )
    return AllPredictions(inputs, verdict, each)


def _answers(model: Model, replicas: Model, inputs: NDArray[np.float32]) -> list[Floats]:
    """Probabilities [rows, classes] of what ships, and of each replica."""
    networks = [model.network, replicas.network]
    numbers = (1 + replicas.network.replicas) * len(model.description.classes)

    def of_piece(start: int) -> Floats:
        piece = inputs[start : start + ENCODED_AT_ONCE]
        return np.concatenate([model.of_inputs(piece)[None], replicas.of_replicas(piece)])

    pieces = on_all_cores(
        of_piece,
        range(0, len(inputs), ENCODED_AT_ONCE),
        "evaluate: test rows",
        len(inputs) * sum(each.replicas * each.weights for each in networks) / PRODUCTS_A_SECOND,
        3 * 8 * ENCODED_AT_ONCE * numbers,
    )
    return list(np.concatenate(pieces, 1))


def others(baseline: dict[str, Other], test: pa.Table, schema: Schema) -> dict[str, Other]:
    """The baselines, and the Bayes classifier where the density is known, by name."""
    if schema.density is None:
        return baseline
    rows = np.column_stack([test.column(name).to_numpy() for name in schema.features])
    chances = bayes_probabilities(schema.density, rows)
    losses = log_losses(chances, test.column(schema.target).to_numpy())
    return {**baseline, "bayes": Other(chances.argmax(1), losses)}
