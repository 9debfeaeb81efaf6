"""From logits to the answer."""

import torch
from torch import Tensor

from retrace.networks.activations import sigmoid

# Lower bound of a probability, as a share of what label smoothing gave each class.
POSSIBLE = 0.1


def class_probabilities(logits: Tensor, smoothing: float = 0.0, temperature: float = 1.0) -> Tensor:
    """Logits [replicas, rows, outputs] -> probabilities [replicas, rows, classes] float64.

    smoothing: of the labels in training, which is taken out: where the chances of K classes are p, labels smoothed by e
    make a network answer q = (1 - e) p + e / K. Smoothing keeps it from being too sure of single rows, and is no part
    of the answer: p = max((q - e / K) / (1 - e), POSSIBLE e / K), over the sum of all classes.
    temperature: by which the logits are divided first; above 1 the answers are less sure (see training/temperature.py).
    """
    if temperature != 1:
        logits = logits.double() / temperature
    if logits.shape[2] == 1:
        probabilities = _of_two(logits.double())
    else:
        # Classes first, so that a few of them are as quick as many: five times as quick with three.
        probabilities = torch.softmax(logits.movedim(2, 0).contiguous().double(), 0).movedim(0, 2)
    return _without(probabilities, smoothing) if smoothing else probabilities


def _of_two(logits: Tensor) -> Tensor:
    second = sigmoid(logits)
    return torch.cat([1 - second, second], 2)


def _without(probabilities: Tensor, smoothing: float) -> Tensor:
    share = smoothing / probabilities.shape[2]
    probabilities = ((probabilities - share) / (1 - smoothing)).clamp_min(POSSIBLE * share)
    return probabilities / probabilities.sum(2, keepdim=True)


def unsmoothed(logits: Tensor, smoothing: float) -> Tensor:
    """Logits of any network [replicas, rows, outputs] -> those of its answer, as `class_probabilities` has it.

    float64; as they are where there was no smoothing. A member's do not depend on who else there is, as those of a
    softmax over the first axis would.
    """
    if not smoothing:
        return logits
    exact = logits.double()
    logs = _without(_of_two(exact) if logits.shape[2] == 1 else torch.softmax(exact, 2), smoothing).log()
    return logs[..., 1:] - logs[..., :1] if logits.shape[2] == 1 else logs
