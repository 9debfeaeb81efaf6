"""Losses on logits, registered by name: each replica's mean over its batch, and the gradient of that mean.

A loss takes logits [replicas, rows, outputs], targets (see `targets`), label smoothing, and each row's share of the
mean [replicas, rows], or None where all count alike. It returns ([replicas], gradient of the shape of the logits). Each
replica's gradient is that of its own mean loss and nothing of the others': what autograd gives for the sum over
replicas. The gradients are written out, since for networks this small autograd's own overhead is most of a step; tests
hold them against autograd.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from retrace.networks.activations import sigmoid
from retrace.training.members import Setting, setting

Loss = Callable[[Tensor, Tensor, "Smoothing", Tensor | None], tuple[Tensor, Tensor]]


class Smoothing:
    """Label smoothing (Szegedy et al. 2016) of each member: of K classes each is given share / K, the right one more.

    other, own: what a class, and the right one, is given; lost: the entropy of such a label in nats. One number, or a
    column of members each.
    """

    def __init__(self, shares: Sequence[float], classes: int, device: torch.device | str = "cpu"):
        self.any = any(shares)
        others = [share / classes for share in shares]
        self.kept = setting([1 - share for share in shares], device)
        self.other = setting(others, device)
        self.own = setting([1 - share + other for share, other in zip(shares, others, strict=True)], device)
        self.lost = setting([_entropy(share, classes) for share in shares], device)

    def binary(self, target: Tensor) -> Tensor:
        """0 or 1 [members, rows] -> what is wanted of the single logit."""
        return target * self.kept + self.other if self.any else target

    def one_hot(self, target: Tensor, classes: int) -> Tensor:
        """Class indices [members, rows] -> distributions [members, rows, classes] float32."""
        wanted = torch.zeros(*target.shape, classes, device=target.device)
        wanted += _third(self.other)
        own = _third(self.own)
        own = own.expand(*target.shape, 1) if isinstance(own, Tensor) else own
        return wanted.scatter_(2, target.unsqueeze(2), own)


def _third(value: Setting) -> Setting:
    return value[..., None] if isinstance(value, Tensor) else value


def targets(classes: Tensor, outputs: int) -> Tensor:
    """Class indices of any shape as the losses want them: float32 0 or 1 for a single logit, else int64."""
    return classes.float() if outputs == 1 else classes.long()


def class_weights(given: str | Sequence[float], rows: Tensor) -> Tensor | None:
    """What a row of each class counts, float32 [classes], from the training rows of each [classes]; None: all alike.

    balanced: rows / (classes * rows of the class), as in scikit-learn (King and Zeng 2001).
    """
    if given == "none":
        return None
    if given == "balanced":
        # A class that no row has counts nothing: a fold of a study may lack one.
        return torch.where(rows > 0, rows.sum() / (len(rows) * rows), 0).float()
    return torch.tensor(given, dtype=torch.float32)


def row_weights(weights: Tensor | None, classes: Tensor) -> Tensor | None:
    """Each row's share of the mean, so that the last axis sums to 1: a weighted mean as torch's losses have it.

    weights: what a row of each class counts, by member [members, classes]; classes, and the shares: [members, rows].
    """
    if weights is None:
        return None
    counts = weights.gather(1, classes.long())
    return counts / counts.sum(-1, keepdim=True)


def cross_entropy(
    logits: Tensor, target: Tensor, smoothing: Smoothing, share: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy for one logit, else cross-entropy over softmax.

    Less the entropy of a smoothed label, which no network can go below: 0 is as good as can be, as without smoothing,
    and beside a validation loss, whose labels are not smoothed, it tells how much was learned by heart.

    Its gradient at the logits is the error itself: probability minus target, over the rows of the batch.
    """
    if logits.shape[2] == 1:
        z = logits.squeeze(2)
        wanted = smoothing.binary(target)
        losses = F.binary_cross_entropy_with_logits(z, wanted, reduction="none")
        if smoothing.any:
            losses -= smoothing.lost
        return _mean(losses, sigmoid(z).sub_(wanted).unsqueeze(2), share)
    logs = torch.log_softmax(logits, 2)
    wanted = smoothing.one_hot(target, logits.shape[2])
    losses = -(wanted * logs).sum(2)
    if smoothing.any:
        losses -= smoothing.lost
    return _mean(losses, logs.exp().sub_(wanted), share)


def mean_squared_error(
    logits: Tensor, target: Tensor, smoothing: Smoothing, share: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Squared distance of the probabilities to the (smoothed) one-hot class, summed over classes (Brier 1950).

    Its gradient carries the derivative of sigmoid or softmax, which vanishes where a prediction is surely wrong: what
    one wants to see next to cross-entropy.
    """
    if logits.shape[2] == 1:
        p = sigmoid(logits.squeeze(2))
        error = p - smoothing.binary(target)
        return _mean(2 * error.square(), (4 * error * p * (1 - p)).unsqueeze(2), share)
    p = torch.softmax(logits, 2)
    error = p - smoothing.one_hot(target, logits.shape[2])
    inner = (error * p).sum(2, keepdim=True)
    return _mean(error.square().sum(2), 2 * p * (error - inner), share)


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mean_squared_error": mean_squared_error}


def _mean(losses: Tensor, gradient: Tensor, share: Tensor | None) -> tuple[Tensor, Tensor]:
    """From each row's loss [replicas, rows] and its gradient [replicas, rows, outputs] to those of the mean."""
    if share is None:
        return losses.mean(1), gradient.div_(losses.shape[1])
    return (losses * share).sum(1), gradient.mul_(share.unsqueeze(2))


def _entropy(smoothing: float, classes: int) -> float:
    """Of a smoothed label, in nats."""
    if not smoothing:
        return 0.0
    other = smoothing / classes
    own = 1 - smoothing + other
    return -own * math.log(own) - (classes - 1) * other * math.log(other)
