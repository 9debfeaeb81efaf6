"""The threshold with which a model answers: that of params.yaml, or the one that `evaluate` found for it.

How it is found is in threshold.py. Whoever only serves a model needs nothing of that.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from retrace.artifacts.paths import MODEL
from retrace.artifacts.scores import SCORES, read_scores
from retrace.artifacts.tables import read_bytes
from retrace.evaluation.metrics import Floats
from retrace.params.evaluate import Costs, Evaluate
from retrace.runtime.errors import BAD_DATA, UserError


class Aim(NamedTuple):
    """cost_ratio: None where it is F1."""

    name: str
    cost_ratio: float | None

    @classmethod
    def of(cls, wanted: str | Costs) -> "Aim":
        if isinstance(wanted, Costs):
            return cls(f"cost_ratio {wanted.cost_ratio:g}", wanted.cost_ratio)
        return cls(wanted, None)

    def score(self, found: Floats, alarms: Floats, positives: Floats, rows: float) -> Floats:
        """More is better: F1 of the second class, or minus the cost a row.

        found: right alarms; alarms: all; positives: rows of the second class.
        """
        if self.cost_ratio is None:
            return 2 * found / np.maximum(alarms + positives, 1e-12)
        return -(self.cost_ratio * (positives - found) + alarms - found) / rows


def served_threshold(section: Evaluate) -> float:
    """The number that stands in params.yaml, or the one that `evaluate` has found for this aim and model.

    Raises UserError where it has found none yet.
    """
    if isinstance(section.threshold, float):
        return section.threshold
    wanted, choice = Aim.of(section.threshold).name, read_scores().threshold_choice
    if choice is None or (choice.aim, choice.model) != (wanted, digest()):
        raise UserError(BAD_DATA, f"{SCORES} holds no threshold for {wanted} and this model yet; run: dvc repro")
    return choice.threshold


def digest() -> str:
    """Of the model: models/model.json holds that of its weights."""
    return hashlib.sha256(read_bytes(MODEL)).hexdigest()
