"""Lines on stderr, when a network is trained, for what is wrong but not fatal."""

import math
import sys

from retrace.params.train import Train
from retrace.training.result import TrainingResult

# So much more accurate on training rows than on validation rows is reported, beyond what chance may do.
OVERFITTED = 0.1
# A gradient this long is reported: still finite, but the next ones may not be.
EXPLODING = 1e4


def warn(result: TrainingResult, section: Train, training: float, validation: float, rows: int) -> None:
    """training, validation: accuracy of what ships on rows of either kind; rows: for validation."""
    shipped = result.shipped
    best = result.mean_epoch if shipped is None else result.best_epoch[shipped]
    if best == section.epochs:
        _print(f"the best epoch is the last one, {best:,}: it still improves; raise train.epochs")
    luck = 2 * math.sqrt(validation * (1 - validation) / rows)
    if training - validation > OVERFITTED + luck:
        _print(
            f"accuracy {training:.3f} on training rows and {validation:.3f} on validation rows: it learns the rows by"
            " heart; raise train.dropout or train.optimizer.weight_decay, lower train.hidden or train.bins, or bring"
            " more rows"
        )
    for column, name in enumerate(result.header):
        values = {(int(row[0]), int(row[1])): row[column] for row in result.history}
        layer = name.rsplit("_", 1)[-1]
        if name.startswith("dead_"):
            replicas = [replica for replica, last in enumerate(result.epochs) if values[(last, replica)] == 1]
            if replicas:
                _print(f"every unit of hidden layer {layer} is dead in replicas {_join(replicas)}")
        if name.startswith("gradient_norm_"):
            replicas = sorted({replica for (_, replica), norm in values.items() if norm > EXPLODING})
            if replicas:
                _print(f"gradient norms over {EXPLODING:g} in layer {layer}, replicas {_join(replicas)}")


def _join(replicas: list[int]) -> str:
    return ", ".join(map(str, replicas))


def _print(line: str) -> None:
    print(f"train: warning: {line}", file=sys.stderr)
