"""Losses on logits, registered by name: each replica's mean over its batch, and the gradient of that mean.

A loss takes logits [replicas, rows, outputs] and targets (see `targets`) and returns ([replicas], gradient of the shape
of the logits). Each replica's gradient is that of its own mean loss and nothing of the others': what autograd gives
for the sum over replicas. The gradients are written out, since for networks this small autograd's own overhead is most
of a step; tests hold them against autograd.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# logits [replicas, rows, outputs], targets [replicas, rows], smoothing
Loss = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def targets(classes: Tensor, outputs: int) -> Tensor:
    """Class indices of any shape as the losses want them: float32 0 or 1 for a single logit, else int64."""
    return classes.float() if outputs == 1 else classes.long()


def cross_entropy(logits: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy for one logit, else cross-entropy over softmax; with label smoothing (Szegedy et al. 2016).

    Its gradient at the logits is the error itself: probability minus target, over the rows of the batch.
    """
    rows = logits.shape[1]
    if logits.shape[2] == 1:
        z = logits.squeeze(2)
        wanted = target * (1 - smoothing) + smoothing / 2 if smoothing else target
        losses = F.binary_cross_entropy_with_logits(z, wanted, reduction="none")
        return losses.mean(1), torch.sigmoid(z).sub_(wanted).div_(rows).unsqueeze(2)
    logs = torch.log_softmax(logits, 2)
    wanted = _one_hot(target, logits, smoothing)
    return -(wanted * logs).sum(2).mean(1), (logs.exp() - wanted).div_(rows)


def mean_squared_error(logits: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Squared distance of the probabilities to the (smoothed) one-hot class, summed over classes (Brier 1950).

    Its gradient carries the derivative of sigmoid or softmax, which vanishes where a prediction is surely wrong: what
    one wants to see next to cross-entropy.
    """
    rows = logits.shape[1]
    if logits.shape[2] == 1:
        p = torch.sigmoid(logits.squeeze(2))
        error = p - (target * (1 - smoothing) + smoothing / 2)
        return 2 * error.square().mean(1), (4 / rows * error * p * (1 - p)).unsqueeze(2)
    p = torch.softmax(logits, 2)
    error = p - _one_hot(target, logits, smoothing)
    inner = (error * p).sum(2, keepdim=True)
    return error.square().sum(2).mean(1), 2 / rows * p * (error - inner)


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mean_squared_error": mean_squared_error}


def _one_hot(target: Tensor, logits: Tensor, smoothing: float) -> Tensor:
    """Target distributions [replicas, rows, classes] float32."""
    classes = logits.shape[2]
    wanted = torch.full_like(logits, smoothing / classes)
    return wanted.scatter_(2, target.unsqueeze(2), 1 - smoothing + smoothing / classes)
