"""From logits to the answer."""

import torch
from torch import Tensor

# Lower bound of a probability, as a share of what label smoothing gave each class.
POSSIBLE = 0.1


def class_probabilities(logits: Tensor, smoothing: float = 0.0) -> Tensor:
    """Logits [replicas, rows, outputs] -> probabilities [replicas, rows, classes] float64.

    smoothing: of the labels in training, which is taken out: where the chances of K classes are p, labels smoothed by e
    make a network answer q = (1 - e) p + e / K. Smoothing keeps it from being too sure of single rows, and is no part
    of the answer: p = max((q - e / K) / (1 - e), POSSIBLE e / K), over the sum of all classes.
    """
    if logits.shape[2] == 1:
        second = torch.sigmoid(logits.double())
        probabilities = torch.cat([1 - second, second], 2)
    else:
        # Classes first, so that a few of them are as quick as many: five times as quick with three.
        probabilities = torch.softmax(logits.movedim(2, 0).contiguous().double(), 0).movedim(0, 2)
    if not smoothing:
        return probabilities
    share = smoothing / probabilities.shape[2]
    probabilities = ((probabilities - share) / (1 - smoothing)).clamp_min(POSSIBLE * share)
    return probabilities / probabilities.sum(2, keepdim=True)


def unsmoothed(logits: Tensor, smoothing: float) -> Tensor:
    """Logits of any network [replicas, rows, outputs] -> those of its answer, as `class_probabilities` has it.

    float64; as they are where there was no smoothing.
    """
    if not smoothing:
        return logits
    logs = class_probabilities(logits, smoothing).log()
    return logs[..., 1:] - logs[..., :1] if logits.shape[2] == 1 else logs
