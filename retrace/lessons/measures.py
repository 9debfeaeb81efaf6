"""What a lesson's expectations are made of: an expression over what the networks did, such as

    mean(accuracy("ten units")) - mean(accuracy("a line"))

A measure takes the name of a variant and gives a number for each of its replicas; mean, sd, median, lowest, highest and
share_above make one number of them. Arithmetic and log10 do the rest. A replica that diverged has the accuracy of
nothing right, an infinite loss, and reaches nothing.
"""

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpleeval import InvalidExpression, SimpleEval

from retrace.lessons.training import ACCURACY, FIXED, LOSS, Observed
from retrace.params.messages import suggest

Floats = NDArray[np.float64]


class Measures:
    """Of the variants of a lesson, by name."""

    def __init__(self, observed: Mapping[str, Observed]):
        self.observed = observed

    def functions(self) -> dict[str, Callable[..., Any]]:
        own = {name: getattr(self, name) for name in MEASURES}
        return own | REDUCERS

    def value(self, expression: str) -> float:
        """Raises ValueError where it is no number."""
        try:
            with np.errstate(all="ignore"):
                return float(SimpleEval(functions=self.functions()).eval(expression))
        except ZeroDivisionError:
            return math.nan
        except (InvalidExpression, TypeError, ValueError, KeyError, IndexError, SyntaxError) as error:
            raise ValueError(str(error)) from None

    # --- a number for each replica [replicas] -----------------------------------------------------------------------

    def accuracy(self, variant: str, epoch: int = 0) -> Floats:
        """On the validation rows, after an epoch; 0: the last one."""
        return np.nan_to_num(self._column(variant, ACCURACY, epoch), nan=0.0) * self._whole(variant, epoch)

    def loss(self, variant: str, epoch: int = 0) -> Floats:
        """On the validation rows."""
        return np.nan_to_num(self._column(variant, LOSS, epoch), nan=math.inf)

    def train_loss(self, variant: str, epoch: int = 0) -> Floats:
        """The mean over the steps of an epoch."""
        return np.nan_to_num(self._column(variant, 0, epoch), nan=math.inf)

    def best_loss(self, variant: str) -> Floats:
        """The lowest of all epochs."""
        found: Floats = np.nan_to_num(self.observed[variant].values[..., LOSS], nan=math.inf).min(1)
        return found

    def start_loss(self, variant: str) -> Floats:
        """On rows of training, before the first step."""
        return self.observed[variant].start_loss

    def start_gradient(self, variant: str, layer: int) -> Floats:
        """Euclidean norm of the gradient of a layer's weights before the first step; layers from 1, -1 the last."""
        found: Floats = self.observed[variant].start_gradient[:, _place(layer)]
        return found

    def start_spread(self, variant: str, layer: int) -> Floats:
        """How far rows are apart in what a layer's units give before the first step: the root mean square of the
        units' standard deviations over the rows.
        """
        found: Floats = self.observed[variant].start_activation[:, _place(layer)]
        return found

    def epochs_to_loss(self, variant: str, bound: float) -> Floats:
        """The first epoch with a validation loss below the bound; one more than there are where there is none."""
        return self._first(self.observed[variant].values[..., LOSS] < bound)

    def epochs_to_accuracy(self, variant: str, bound: float) -> Floats:
        """The first epoch with a validation accuracy above the bound; likewise."""
        return self._first(self.observed[variant].values[..., ACCURACY] > bound)

    def wobble(self, variant: str, last: int = 10) -> Floats:
        """Standard deviation of the last epochs' validation losses: how far the network still goes up and down."""
        found: Floats = self.observed[variant].values[:, -last:, LOSS].std(1)
        return found

    def unhealthy(self, variant: str, epoch: int = 0) -> Floats:
        """Share of hidden units that are dead (ReLU) or saturated (sigmoid, tanh), after an epoch."""
        seen = self.observed[variant]
        place = epoch - 1 if epoch else -1
        found: Floats = np.nan_to_num(seen.values[:, place, FIXED + seen.layers :], nan=1.0).mean(1)
        return found

    def diverged(self, variant: str) -> Floats:
        """1 where a loss was no longer finite."""
        return 1.0 - self._whole(variant, 0)

    def _column(self, variant: str, column: int, epoch: int) -> Floats:
        found: Floats = self.observed[variant].values[:, epoch - 1 if epoch else -1, column]
        return found

    def _whole(self, variant: str, epoch: int) -> Floats:
        values = self.observed[variant].values[:, : epoch or None, :FIXED]
        return np.asarray(np.isfinite(values).all((1, 2)), np.float64)

    @staticmethod
    def _first(reached: NDArray[np.bool_]) -> Floats:
        found: Floats = np.where(reached.any(1), reached.argmax(1) + 1.0, reached.shape[1] + 1.0)
        return found


def _place(layer: int) -> int:
    return layer - 1 if layer > 0 else layer


MEASURES = (
    *("accuracy", "loss", "train_loss", "best_loss", "start_loss", "start_gradient", "start_spread"),
    *("epochs_to_loss", "epochs_to_accuracy", "wobble", "unhealthy", "diverged"),
)
REDUCERS: dict[str, Callable[..., Any]] = {
    "mean": lambda values: float(np.mean(values)),
    "sd": lambda values: float(np.std(values, ddof=1)),
    "median": lambda values: float(np.median(values)),
    "lowest": lambda values: float(np.min(values)),
    "highest": lambda values: float(np.max(values)),
    "share_above": lambda values, bound: float(np.mean(np.asarray(values) > bound)),
    "log10": lambda value: math.log10(value) if value > 0 else math.nan,
}


# Of what an expression is made: no attribute of anything can be reached, whatever a variant is called.
NODES = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd),
)


def faults_of_expression(expression: str, variants: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with it, as a rule, before anything is trained."""
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError as error:
        yield f"must be an expression ({error.msg})"
        return
    known = [*MEASURES, *REDUCERS]
    for node in ast.walk(tree):
        if not isinstance(node, NODES) or (isinstance(node, ast.Call) and not isinstance(node.func, ast.Name)):
            yield f"must hold calls of measures, numbers and arithmetic only; got {ast.unparse(node)}"
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in known:
            hint = suggest(node.func.id, known)
            yield f"must use {', '.join(known)} only{hint}; got {node.func.id}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in variants:
            yield f"must name variants of the lesson ({', '.join(variants)}); got {node.value!r}"
