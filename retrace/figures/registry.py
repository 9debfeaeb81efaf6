"""All figures by name: reports/figures/NAME.png."""

from collections.abc import Callable

from matplotlib.figure import Figure

from retrace.figures.curves import gradients, loss, steps
from retrace.figures.inputs import Tables
from retrace.figures.scatter import data, decision_boundary
from retrace.figures.scores import accuracy, calibration, confusion_matrix, importance, roc_precision_recall
from retrace.params.plot import Plot

FIGURES: dict[str, Callable[[Tables, Plot], Figure]] = {
    "data": data,
    "steps": steps,
    "loss": loss,
    "gradients": gradients,
    "accuracy": accuracy,
    "confusion_matrix": confusion_matrix,
    "decision_boundary": decision_boundary,
    "roc_precision_recall": roc_precision_recall,
    "calibration": calibration,
    "importance": importance,
}
