"""The training loop: all replicas side by side, each as if it trained alone."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from retrace.artifacts.live import LOSS_OF_MEAN
from retrace.networks.activations import UNIT_HEALTH
from retrace.networks.initializers import initialize
from retrace.networks.network import Embedding, InputScale, Linear, Network, class_probabilities, folded, unsmoothed
from retrace.params.train import Train
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.training.backpropagation import backward, forward
from retrace.training.batches import Batches
from retrace.training.checkpoint import Snapshot
from retrace.training.dropout import dropout as draw_dropout
from retrace.training.losses import LOSSES, class_weights, shares, targets
from retrace.training.optimizers import Role, grouped
from retrace.training.randomness import INITIAL, generator
from retrace.training.rows import Rows
from retrace.training.schedules import learning_rates

# Validation rows that go through the network at once, and those on which the health of the units is judged.
ROWS_AT_ONCE = 8192
# Steps of an epoch whose gradient norms are averaged into the history; all of them would cost a fifth of the time.
GRADIENT_SAMPLES = 8
# Asking whether a loss is finite makes a GPU wait for its queue; there it is asked once in this many steps.
CUDA_CHECK_INTERVAL = 64
# So much more accurate on training rows than on validation rows is reported, beyond what chance may do.
OVERFITTED = 0.1
# A gradient this long is reported: still finite, but the next ones may not be.
EXPLODING = 1e4

# What looks on: called after each epoch with the header and all rows of the history so far.
Watch = Callable[[list[str], list[list[float | int]]], None]
# What keeps the training: called after each epoch with its number and what can take a snapshot.
Keep = Callable[[int, Callable[[], Snapshot]], None]


@dataclass
class TrainingResult:
    """What a training gives.

    state:       best weights of each replica, as in Network.state_dict() of a network without factors, on the CPU.
    best_epoch:  by replica, from 1; best_loss: its validation loss; epochs: how many it trained.
    history:     a row for each epoch and replica, in the columns of `header`.
    step_losses: [steps, replicas] float32, the training loss of every step; NaN after a replica has stopped.
    mean_losses: where the mean of the replicas ships: the validation log loss of that mean after each epoch.
    mean_loss:   that of the best weights together.
    """

    state: dict[str, Tensor]
    header: list[str]
    best_epoch: list[int]
    best_loss: list[float]
    epochs: list[int]
    steps_per_epoch: int
    history: list[list[float | int]] = field(default_factory=list)
    step_losses: list[Tensor] = field(default_factory=list)
    mean_losses: list[float] = field(default_factory=list)
    mean_loss: float = math.nan

    @property
    def shipped(self) -> int | None:
        """The replica with the best validation loss at its best epoch; None: the mean of all ships."""
        if self.mean_losses:
            return None
        return min(range(len(self.best_loss)), key=self.best_loss.__getitem__)

    @property
    def mean_epoch(self) -> int:
        """In which the mean of the replicas was best."""
        return 1 + min(range(len(self.mean_losses)), key=self.mean_losses.__getitem__)


def fit(
    network: Network,
    train: Rows,
    validation: Rows,
    section: Train,
    device: torch.device,
    watch: Watch | None = None,
    keep: Keep | None = None,
    begun: Snapshot | None = None,
) -> TrainingResult:
    """Initialize and train the network; raises UserError (status 4) in the step in which a loss is no longer finite.

    begun: of the same training, which goes on from there.
    """
    generators = [generator(section.seed, replica, INITIAL) for replica in range(section.replicas)]
    initialize(network, section.init, section.init_scale, section.activation, generators)
    network.to(device)
    return Trainer(network, train, validation, section, device).run(watch, keep, begun)


def roles(network: Network, section: Train) -> list[Role]:
    """Of the network's parameters, in their order: weights decay, biases and factors of inputs do not."""
    found = []
    for module in network.modules():
        if isinstance(module, Linear):
            found += [Role(), Role(decays=False)]
        elif isinstance(module, Embedding):
            found.append(Role())
        elif isinstance(module, InputScale):
            found.append(Role(decays=False, rate=section.input_scale_rate))
    return found


def log_mean(logits: Tensor, target: Tensor) -> Tensor:
    """Logits [replicas, rows, outputs], targets [rows] as the losses want them -> [rows] float64.

    The logarithm of the mean of the probabilities that the replicas give to the right class.
    """
    logits = logits.double()
    if logits.shape[2] == 1:
        logs = F.logsigmoid(torch.where(target.bool(), logits[..., 0], -logits[..., 0]))
    else:
        logs = torch.log_softmax(logits, 2).gather(2, target.expand(len(logits), -1)[..., None])[..., 0]
    return logs.logsumexp(0) - math.log(len(logits))


class Trainer:
    """One call of `fit`: what its parts share."""

    def __init__(self, network: Network, train: Rows, validation: Rows, section: Train, device: torch.device):
        outputs = network.layers[-1].weight.shape[2]
        self.network, self.section, self.device = network, section, device
        self.parameters: list[Tensor] = list(network.parameters())
        self.x, self.y, self.outputs = train.x.to(device), train.y.to(device), outputs
        self.validation_x, self.validation_y = validation.x.to(device), validation.y.to(device)
        self.loss = LOSSES[section.loss]
        classes = max(2, outputs)
        weights = class_weights(section.class_weights, torch.bincount(train.y.long(), minlength=classes))
        self.weights = None if weights is None else weights.to(device)
        every = torch.ones(classes, device=device) if self.weights is None else self.weights
        self.validation_shares = shares(every, self.validation_y)
        self.optimize, self.memory = grouped(self.parameters, section.optimizer, roles(network, section))
        self.steps = math.ceil(len(train.x) / section.batch_size)
        self.rate = learning_rates(section, self.steps)
        self.active = [True] * section.replicas
        self.check_interval = 1 if device.type == "cpu" else CUDA_CHECK_INTERVAL
        self.sampled = {self.steps - 1 - round(i * self.steps / GRADIENT_SAMPLES) for i in range(GRADIENT_SAMPLES)}
        self.batches = Batches(self.x, self.y, outputs, section)

    def run(
        self, watch: Watch | None = None, keep: Keep | None = None, begun: Snapshot | None = None
    ) -> TrainingResult:
        section, replicas = self.section, range(self.section.replicas)
        health, _ = UNIT_HEALTH.get(section.activation, ("", None))
        layers = range(1, len(self.network.layers) + 1)
        fit = TrainingResult(
            state={name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()},
            header=[
                *("epoch", "replica", "train_loss", "validation_loss", "validation_accuracy", "learning_rate"),
                *(f"gradient_norm_layer_{layer}" for layer in layers),
                *(f"{health}_layer_{layer}" for layer in layers[:-1] if health),
                *([LOSS_OF_MEAN] if section.ship == "mean" else []),
            ],
            best_epoch=[0 for _ in replicas],
            best_loss=[math.inf for _ in replicas],
            epochs=[0 for _ in replicas],
            steps_per_epoch=self.steps,
        )
        initial = [parameter.detach().clone() for parameter in self.parameters]
        done = 0
        if begun:
            try:
                done = self._resume(fit, begun)
            except (KeyError, TypeError, ValueError) as error:
                raise begun.unfit(error) from None
        with tqdm(total=section.epochs, initial=done, desc="train", unit="epoch", disable=None, file=sys.stderr) as bar:
            for epoch in range(done + 1, section.epochs + 1):
                if not any(self.active):
                    break
                losses, norms = self.train_epoch(epoch)
                self._close_epoch(fit, epoch, losses, norms)
                if watch:
                    watch(fit.header, fit.history)
                bar.set_postfix_str(_postfix(fit.history[-1], section), refresh=False)
                bar.update()
                if keep:
                    keep(epoch, lambda: self._snapshot(fit))
        if all(torch.equal(old, new) for old, new in zip(initial, self.parameters, strict=True)):
            raise UserError(
                MACHINE_FAULT,
                "train: no weight changed in the whole training: every gradient was zero;"
                " choose another train.init or train.activation, or a larger train.optimizer.learning_rate",
            )
        self.network.load_state_dict(fit.state)
        self._judge(fit)
        self._warn(fit)
        fit.state = folded({name: tensor.cpu() for name, tensor in fit.state.items()})
        return fit

    def _snapshot(self, fit: TrainingResult) -> Snapshot:
        facts = {
            "epoch": int(fit.history[-1][0]),
            "active": self.active,
            "best_epoch": fit.best_epoch,
            "best_loss": fit.best_loss,
            "epochs": fit.epochs,
            "mean_losses": fit.mean_losses,
        }
        grown = {
            "history": torch.tensor(fit.history, dtype=torch.float64),
            "step_losses": torch.cat(fit.step_losses),
        }
        return Snapshot(facts, {**self._tensors(fit), **grown})

    def _tensors(self, fit: TrainingResult) -> dict[str, Tensor]:
        """What changes in place from epoch to epoch."""
        return {
            **{f"network.{name}": tensor for name, tensor in self.network.state_dict().items()},
            **{f"best.{name}": tensor for name, tensor in fit.state.items()},
            **{f"optimizer.{name}.{i}": each for name, some in self.memory.items() for i, each in enumerate(some)},
        }

    def _resume(self, fit: TrainingResult, begun: Snapshot) -> int:
        """Make `fit` and this what they were when the snapshot was taken, after the epoch that is returned."""
        facts, tensors = begun.facts, begun.tensors
        for name, tensor in self._tensors(fit).items():
            if tensors[name].shape != tensor.shape:
                raise ValueError(f"{name} has another shape")
            tensor.copy_(tensors[name])
        # Epoch and replica are whole numbers, and written as such.
        fit.history = [[int(row[0]), int(row[1]), *row[2:]] for row in tensors["history"].tolist()]
        fit.step_losses = [tensors["step_losses"]]
        self.active = list(facts["active"])
        fit.best_epoch, fit.best_loss, fit.epochs, fit.mean_losses = (
            list(facts[name]) for name in ("best_epoch", "best_loss", "epochs", "mean_losses")
        )
        return int(facts["epoch"])

    @torch.no_grad()
    def train_epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """One pass over the training rows: step losses [steps, replicas], mean gradient norms [layers, replicas]."""
        section, network = self.section, self.network
        dropout = draw_dropout(self.section, epoch, self.device)
        losses = torch.empty(self.steps, section.replicas, device=self.device)
        norms = []
        for step, (x, y) in enumerate(self.batches.of(epoch)):
            passed = forward(network, x, dropout)
            loss, gradient = self.loss(passed.logits, y, section.label_smoothing, shares(self.weights, y))
            losses[step] = loss
            if (step + 1) % self.check_interval == 0 or step == self.steps - 1:
                self._check_finite(losses, epoch, step)
            gradients = backward(network, passed, gradient)
            if section.gradient_clip is not None:
                self._clip(gradients, epoch, step)
            if step in self.sampled:
                norms.append(self._layer_norms(gradients))
            self.optimize(gradients, self.rate(epoch, step))
        return losses, torch.stack(norms).mean(0)

    def _check_finite(self, losses: Tensor, epoch: int, last: int) -> None:
        """Look at the losses since the last check, up to step `last`; one that is not finite ends the training."""
        if self.check_interval == 1 and math.isfinite(losses[last].sum().item()):
            return
        first = last // self.check_interval * self.check_interval
        for step, row in enumerate(losses[first : last + 1].tolist(), start=first):
            for replica, value in enumerate(row):
                if self.active[replica] and not math.isfinite(value):
                    self._diverged("loss", value, replica, epoch, step)

    def _clip(self, gradients: list[Tensor], epoch: int, step: int) -> None:
        """Shorten each replica's whole gradient to `gradient_clip`, as torch.nn.utils.clip_grad_norm_ does for one."""
        assert self.section.gradient_clip is not None
        norms = torch.stack([gradient.square().sum((1, 2)) for gradient in gradients]).sum(0).sqrt()
        if not math.isfinite(norms.sum().item()):
            for replica, norm in enumerate(norms.tolist()):
                if not math.isfinite(norm) and self.active[replica]:
                    self._diverged("gradient norm", norm, replica, epoch, step)
        factors = (self.section.gradient_clip / (norms + 1e-6)).clamp(max=1.0)[:, None, None]
        torch._foreach_mul_(gradients, [factors] * len(gradients))

    def _diverged(self, what: str, value: float, replica: int, epoch: int, step: int) -> None:
        rate = self.rate(epoch, step)
        fix = "lower train.optimizer.learning_rate, or set train.gradient_clip or train.scaling: standard"
        if (epoch, step, what) == (1, 0, "loss"):  # nothing was learned yet: it is the start that is wrong
            fix = "choose another train.init or a smaller train.init_scale, or set train.scaling: standard"
        raise UserError(
            MACHINE_FAULT,
            f"train: epoch {epoch}, step {step + 1}: the {what} of replica {replica} is {value} at learning rate"
            f" {rate:g}; {fix}",
        )

    def _layer_norms(self, gradients: list[Tensor]) -> Tensor:
        """Euclidean norm of weight and bias gradient together, [layers, replicas]."""
        squares = [gradient.square().sum((1, 2)) for gradient in gradients[: 2 * len(self.network.layers)]]
        return torch.stack([weight + bias for weight, bias in zip(squares[::2], squares[1::2], strict=True)]).sqrt()

    @torch.no_grad()
    def _validate(self) -> tuple[Tensor, Tensor, list[Tensor], float]:
        """Loss and accuracy [replicas] on all validation rows; unit health [replicas] of each hidden layer.

        The last one is the log loss of the mean of the replicas' probabilities, where that ships; else 0.
        """
        assert self.validation_shares is not None
        replicas, rows, of_mean = self.section.replicas, len(self.validation_x), 0.0
        loss, correct = torch.zeros(replicas, device=self.device), torch.zeros(replicas, device=self.device)
        health: list[Tensor] = []
        for start in range(0, rows, ROWS_AT_ONCE):
            x = self.validation_x[start : start + ROWS_AT_ONCE].expand(replicas, -1, -1)
            y = targets(self.validation_y[start : start + ROWS_AT_ONCE], self.outputs).expand(replicas, -1)
            share = self.validation_shares[start : start + ROWS_AT_ONCE].expand(replicas, -1)
            passed = forward(self.network, x)
            logits = unsmoothed(passed.logits, self.section.label_smoothing)
            loss += self.loss(logits, y, 0.0, share)[0]
            predicted = (logits[..., 0] >= 0) if logits.shape[2] == 1 else logits.argmax(2)
            correct += (predicted == y).sum(1)
            if self.section.ship == "mean":
                of_mean -= float((share[0] * log_mean(logits, y[0])).sum())
            if start == 0 and self.section.activation in UNIT_HEALTH:
                _, measure = UNIT_HEALTH[self.section.activation]
                health = [measure(outputs) for outputs in passed.inputs[1:]]
        return loss, correct / rows, health, of_mean

    def _close_epoch(self, fit: TrainingResult, epoch: int, losses: Tensor, norms: Tensor) -> None:
        """History, best weights and early stopping of each replica that still trains."""
        section = self.section
        loss, accuracy, health, of_mean = self._validate()
        sizes = torch.full((self.steps, 1), section.batch_size, device=self.device)
        sizes[-1] = len(self.x) - section.batch_size * (self.steps - 1)
        train_loss = (losses * sizes).sum(0) / len(self.x)
        columns = torch.stack([train_loss, loss, accuracy, *norms, *health]).cpu()
        rate = self.rate(epoch, self.steps - 1)
        improved = torch.zeros(section.replicas, dtype=torch.bool)
        finite = torch.stack([torch.isfinite(weights).flatten(1).all(1) for weights in self.parameters]).all(0).tolist()
        for replica, values in enumerate(columns.T.tolist()):
            if not self.active[replica]:
                losses[:, replica] = math.nan
                continue
            if not math.isfinite(values[1]):
                self._diverged("validation loss", values[1], replica, epoch, self.steps - 1)
            # A saturated output hides an infinite weight from the loss.
            if not finite[replica]:
                self._diverged("largest weight", math.inf, replica, epoch, self.steps - 1)
            last = [of_mean] if section.ship == "mean" else []
            fit.history.append([epoch, replica, *values[:3], rate, *values[3:], *last])
            fit.epochs[replica] = epoch
            if values[1] < fit.best_loss[replica]:
                fit.best_loss[replica], fit.best_epoch[replica] = values[1], epoch
                improved[replica] = True
            elif section.ship == "best" and self._out_of_patience(epoch, fit.best_epoch[replica]):
                self.active[replica] = False
        if section.ship == "mean":
            fit.mean_losses.append(of_mean)
            if self._out_of_patience(epoch, fit.mean_epoch):
                self.active = [False] * section.replicas
        fit.step_losses.append(losses.cpu())
        mask = improved.to(self.device)[:, None, None]
        for best, parameter in zip(fit.state.values(), self.parameters, strict=True):
            torch.where(mask, parameter.detach(), best, out=best)

    @torch.no_grad()
    def _judge(self, fit: TrainingResult) -> None:
        """The best weights, which the network has now: the loss of their mean, and warnings about them."""
        if self.section.ship == "mean":
            *_, fit.mean_loss = self._validate()
        shipped = fit.shipped
        best = fit.mean_epoch if shipped is None else fit.best_epoch[shipped]
        if best == self.section.epochs:
            _print(f"train: warning: the best epoch is the last one, {best:,}: it still improves; raise train.epochs")
        training = self._accuracy(self.x, self.y, shipped)
        validation = self._accuracy(self.validation_x, self.validation_y, shipped)
        luck = 2 * math.sqrt(validation * (1 - validation) / len(self.validation_x))
        if training - validation > OVERFITTED + luck:
            _print(
                f"train: warning: accuracy {training:.3f} on training rows and {validation:.3f} on validation rows: it"
                " learns the rows by heart; raise train.dropout or train.optimizer.weight_decay, lower train.hidden or"
                " train.bins, or bring more rows"
            )

    def _accuracy(self, x: Tensor, y: Tensor, shipped: int | None) -> float:
        """Of what ships, on some rows, which may stand in any order."""
        some = slice(None, None, math.ceil(len(x) / ROWS_AT_ONCE))
        logits = self.network(x[some].expand(self.section.replicas, -1, -1))
        probabilities = class_probabilities(logits, self.section.label_smoothing)
        answer = probabilities.mean(0) if shipped is None else probabilities[shipped]
        return float((answer.argmax(1) == y[some]).double().mean())

    def _out_of_patience(self, epoch: int, best: int) -> bool:
        return self.section.patience is not None and epoch - best >= self.section.patience

    def _warn(self, fit: TrainingResult) -> None:
        """Lines on stderr for what is wrong but not fatal: dead layers and exploding gradients."""
        for column, name in enumerate(fit.header):
            values = {(int(row[0]), int(row[1])): row[column] for row in fit.history}
            layer = name.rsplit("_", 1)[-1]
            if name.startswith("dead_"):
                replicas = [r for r, last in enumerate(fit.epochs) if values[(last, r)] == 1]
                if replicas:
                    _print(f"train: warning: every unit of hidden layer {layer} is dead in replicas {_join(replicas)}")
            if name.startswith("gradient_norm_"):
                replicas = sorted({r for (_, r), norm in values.items() if norm > EXPLODING})
                if replicas:
                    _print(
                        f"train: warning: gradient norms over {EXPLODING:g} in layer {layer},"
                        f" replicas {_join(replicas)}"
                    )


def _postfix(row: list[Any], section: Train) -> str:
    return f"train {row[2]:.4f}, validation {row[3]:.4f}, learning rate {row[5]:.3g}, {section.replicas} replicas"


def _join(replicas: list[int]) -> str:
    return ", ".join(map(str, replicas))


def _print(line: str) -> None:
    print(line, file=sys.stderr)
