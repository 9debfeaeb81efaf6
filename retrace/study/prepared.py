"""The rows of a study as the networks of each setting see them: preprocessing is among what can be searched."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrace.artifacts.paths import TRAIN, VALIDATION
from retrace.artifacts.schema import Schema
from retrace.networks.model import Description
from retrace.params.train import Train
from retrace.preprocessing.description import Preprocessing
from retrace.training.losses import class_weights, row_weights
from retrace.training.pack import Data
from retrace.training.rows import fit_preprocessing, read_rows
from retrace.training.training_run import describe

Floats = NDArray[np.float64]
# What of section `train` preprocessing depends on.
PREPROCESSING = ("scaling", "bins", "residuals_above", "rare_below", "embed_above")
# Ways of preparing rows that are kept in memory.
MOST = 8


class Prepared(NamedTuple):
    """weights: what each validation row counts in the log loss [rows], 1 in all: as the present setting weighs classes,
    whatever a setting that is tried weighs them in its training.
    """

    schema: Schema
    preprocessing: Preprocessing
    data: Data
    weights: Floats

    def describe(self, section: Train) -> Description:
        return describe(self.schema, section, self.preprocessing)


def way(section: Train) -> tuple[Any, ...]:
    """How a setting prepares the rows."""
    return tuple(getattr(section, name) for name in PREPROCESSING)


class Preparation:
    """Prepares the rows of a folder as a setting wants them, and keeps the last ones in memory.

    present: the setting whose class weights are those of the log loss.
    """

    def __init__(self, schema: Schema, present: Train, device: torch.device):
        self.schema, self.present, self.device = schema, present, device
        self.kept: dict[tuple[Any, ...], Prepared] = {}

    def __call__(self, section: Train, folder: Path) -> Prepared:
        """folder: of train.parquet and validation.parquet."""
        own = (folder, *way(section))
        found = self.kept.pop(own, None) or self._prepare(section, folder)
        while len(self.kept) >= MOST:
            del self.kept[next(iter(self.kept))]
        self.kept[own] = found
        return found

    def _prepare(self, section: Train, folder: Path) -> Prepared:
        schema = self.schema
        preprocessing = fit_preprocessing(folder / TRAIN.name, schema, section)
        training, validation = (
            read_rows(folder / path.name, schema, preprocessing).to(self.device) for path in (TRAIN, VALIDATION)
        )
        counts = torch.bincount(training.y.long(), minlength=max(2, len(schema.classes)))
        weights = shares(self.present, counts, validation.y.cpu())
        return Prepared(schema, preprocessing, Data(training, validation, counts), weights)


def shares(section: Train, counts: Tensor, classes: Tensor) -> Floats:
    """Of rows of these classes [rows] in the log loss, as the section weighs them; counts: training rows of each."""
    weights = class_weights(section.class_weights, counts)
    each = row_weights(None if weights is None else weights[None], classes[None])
    return np.full(len(classes), 1 / len(classes)) if each is None else each[0].double().numpy()
