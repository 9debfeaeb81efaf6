"""Training and validation rows as tensors, read in pieces: memory stays near one copy of the tensors."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from retrace.artifacts.schema import Schema
from retrace.artifacts.tables import count_rows, read_pieces, read_table
from retrace.params.train import Train
from retrace.preprocessing.apply import bridge, parts
from retrace.preprocessing.description import Number, Preprocessing, Unusable
from retrace.runtime.errors import BAD_DATA, UserError


class Rows(NamedTuple):
    """x [rows, inputs] float32, as the network sees them; y [rows] int16 class indices, of which there are few."""

    x: Tensor
    y: Tensor

    def to(self, device: torch.device) -> "Rows":
        return Rows(self.x.to(device), self.y.to(device))


def fit_preprocessing(path: Path, schema: Schema, section: Train) -> Preprocessing:
    """Of the training rows only, so that nothing of the others leaks into the model."""
    # A person's own table may lack a value in any row, also where no training row does.
    plain = section.scaling == "none" and not section.bins and section.residuals_above == 1
    if plain and not schema.own and not schema.kinds:
        return Preprocessing([Number(name) for name in schema.features])
    # Not above: where there is nothing to fit, as in the classic circles, scikit-learn's second can be saved.
    from retrace.preprocessing.fit import fit

    table = read_table(path, schema.features)
    return fit(
        table,
        schema,
        section.scaling,
        section.bins,
        section.residuals_above,
        section.rare_below,
        section.embed_above,
    )


def read_rows(path: Path, schema: Schema, preprocessing: Preprocessing) -> Rows:
    """The table as tensors. Raises UserError for a value that the network cannot take, or an unknown class."""
    count = count_rows(path)
    x, y = torch.empty(count, preprocessing.width), torch.empty(count, dtype=torch.int16)
    paired, gaps = preprocessing.paired, {}
    for column, inputs, encoder in parts(preprocessing):
        start = 0
        if inputs[0] in paired:
            gaps[inputs[0]] = np.empty(count, dtype=np.bool_)
        for piece in read_pieces(path, column):
            try:
                encoded = encoder(piece).astype(np.float32)
            except Unusable as error:
                row = f"row {start + error.row + 1}"
                raise UserError(BAD_DATA, f"{path}: column {column}, {row}: {error.value} {error.rule}") from None
            x[start : start + len(piece), inputs] = torch.from_numpy(encoded[:, : len(inputs)])
            if inputs[0] in paired:
                gaps[inputs[0]][start : start + len(piece)] = encoded[:, 1] != 0
            start += len(piece)
    bridge(preprocessing, x.numpy(), gaps)
    start = 0
    for piece in read_pieces(path, schema.target):
        classes = piece.to_numpy(zero_copy_only=False)
        if len(classes) and not 0 <= classes.min() <= classes.max() < len(schema.classes):
            rule = f"must hold class indices 0 to {len(schema.classes) - 1}"
            raise UserError(BAD_DATA, f"{path}: column {schema.target} {rule}")
        y[start : start + len(piece)] = torch.from_numpy(classes.astype(np.int16))
        start += len(piece)
    # Arrow keeps the memory of what it read for the next time; there is none, and the training needs it.
    pa.default_memory_pool().release_unused()
    return Rows(x, y)
