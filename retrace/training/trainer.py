"""The training loop: all replicas side by side, each as if it trained alone."""

import math
from collections.abc import Sequence
from typing import Never

import torch
from torch import Tensor

from retrace.networks.initializers import initialize
from retrace.networks.layers import Embedding, InputScale, Linear
from retrace.networks.layout import folded
from retrace.networks.network import Network
from retrace.params.train import Train
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.training.batches import Batches
from retrace.training.callbacks import BestWeights, Callback, EarlyStopping, Epoch, History
from retrace.training.checkpoint import Snapshot
from retrace.training.dropout import dropout as draw_dropout
from retrace.training.losses import LOSSES, class_weights, shares
from retrace.training.optimizers import Role, grouped
from retrace.training.randomness import INITIAL, generator
from retrace.training.result import TrainingResult
from retrace.training.roots import root
from retrace.training.rows import Rows
from retrace.training.schedules import learning_rates
from retrace.training.training_warnings import warn
from retrace.training.validation import Validation, accuracy

# Steps of an epoch whose gradient norms are averaged into the history; all of them would cost a fifth of the time.
GRADIENT_SAMPLES = 8
# Asking whether a loss is finite makes a GPU wait for its queue; there it is asked once in this many steps.
CUDA_CHECK_INTERVAL = 64


def fit(
    network: Network,
    train: Rows,
    validation: Rows,
    section: Train,
    device: torch.device,
    callbacks: Sequence[Callback] = (),
    begun: Snapshot | None = None,
) -> TrainingResult:
    """Initialize and train the network; raises UserError (status 4) in the step in which a loss is no longer finite.

    begun: of the same training, which goes on from there.
    """
    draw_initial_weights(network, section)
    trainer = Trainer(network.to(device), train, validation, section, device, callbacks)
    if begun:
        trainer.resume(begun)
    return trainer.run()


def draw_initial_weights(network: Network, section: Train) -> None:
    generators = [generator(section.seed, replica, INITIAL) for replica in range(network.replicas)]
    initialize(network, section.init, section.init_scale, section.activation, generators)


def roles(network: Network, section: Train) -> list[Role]:
    """Of the network's parameters, in their order: weights decay; biases, norms and factors of inputs do not."""
    found = {}
    for module in network.modules():
        if isinstance(module, Linear | Embedding):
            found[module.weight] = Role()
        elif isinstance(module, InputScale):
            found[module.weight] = Role(decays=False, rate=section.input_scale_rate)
    return [found.get(parameter, Role(decays=False)) for parameter in network.parameters()]


class Trainer:
    """Of one training run. active: which replicas still train; epoch: the last one that is over.

    The callbacks come after each epoch in their order, after those that make up the result.
    """

    def __init__(
        self,
        network: Network,
        train: Rows,
        validation: Rows,
        section: Train,
        device: torch.device,
        callbacks: Sequence[Callback] = (),
    ):
        self.network, self.section, self.device = network, section, device
        self.parameters: list[Tensor] = list(network.parameters())
        self.rows = Rows(train.x.to(device), train.y.to(device))
        self.loss = LOSSES[section.loss]
        counts = torch.bincount(train.y.long(), minlength=max(2, network.outputs))
        weights = class_weights(section.class_weights, counts)
        self.weights = None if weights is None else weights.to(device)
        self.validation = Validation(network, validation, section, self.weights, device)
        self.optimize, self.memory = grouped(self.parameters, section.optimizer, roles(network, section))
        self.steps = math.ceil(len(train.x) / section.batch_size)
        self.rate = learning_rates(section, self.steps)
        self.check_interval = 1 if device.type == "cpu" else CUDA_CHECK_INTERVAL
        self.sampled = {self.steps - 1 - round(i * self.steps / GRADIENT_SAMPLES) for i in range(GRADIENT_SAMPLES)}
        self.batches = Batches(*self.rows, network.outputs, section)
        self.active = [True] * section.replicas
        self.epoch = 0
        self.history, self.best = History(network, section), BestWeights(network, section)
        self.stopping = EarlyStopping(self.best, section)
        self.own: list[Callback] = [self.history, self.best, self.stopping]
        self.callbacks = [*self.own, *callbacks]
        self.initial = [parameter.detach().clone() for parameter in self.parameters]

    def run(self) -> TrainingResult:
        """Train to the end; raises UserError (status 4) where a loss is not finite, or where nothing is learned."""
        while self.epoch < self.section.epochs and any(self.active):
            epoch = self._closed(self.epoch + 1, *self.train_epoch(self.epoch + 1))
            self.epoch = epoch.number
            for callback in self.callbacks:
                callback.after_epoch(self, epoch)
        if all(torch.equal(old, new) for old, new in zip(self.initial, self.parameters, strict=True)):
            raise UserError(
                MACHINE_FAULT,
                "train: no weight changed in the whole training: every gradient was zero;"
                " choose another train.init or train.activation, or a larger train.optimizer.learning_rate",
            )
        return self._result()

    def _result(self) -> TrainingResult:
        result = TrainingResult.of(self.history, self.best, self.stopping, self.steps)
        self.network.load_state_dict(result.state)
        if result.shipped is None:
            result.mean_loss = self.validation.judge().of_mean
        rows, others = self.rows, self.validation.rows
        training, validation = (accuracy(self.network, some, result.shipped, self.section) for some in (rows, others))
        warn(result, self.section, training, validation, len(others.x))
        result.state = folded({name: tensor.cpu() for name, tensor in result.state.items()})
        return result

    def snapshot(self) -> Snapshot:
        """All that the next epoch needs and that cannot be derived."""
        facts = {"epoch": self.epoch, "active": self.active}
        for callback in self.own:
            facts |= callback.facts()
        return Snapshot(facts, {**self._tensors(), **self.history.grown()})

    def _tensors(self) -> dict[str, Tensor]:
        """What changes in place from epoch to epoch."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for callback in self.own:
            tensors |= callback.tensors()
        remembered = self.memory.items()
        return tensors | {f"optimizer.{name}.{i}": each for name, some in remembered for i, each in enumerate(some)}

    def resume(self, begun: Snapshot) -> None:
        """Be what it was when the snapshot was taken; raises UserError where this is of another training."""
        try:
            for name, tensor in self._tensors().items():
                if begun.tensors[name].shape != tensor.shape:
                    raise ValueError(f"{name} has another shape")
                tensor.copy_(begun.tensors[name])
            for callback in self.own:
                callback.resume(begun.facts, begun.tensors)
            self.active, self.epoch = list(begun.facts["active"]), int(begun.facts["epoch"])
        except (KeyError, TypeError, ValueError) as error:
            raise begun.unfit(error) from None

    @torch.no_grad()
    def train_epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """One pass over the training rows: step losses [steps, replicas], mean gradient norms [layers, replicas]."""
        section, network = self.section, self.network
        dropout = draw_dropout(self.section, epoch, self.device)
        losses = torch.empty(self.steps, section.replicas, device=self.device)
        norms = []
        for step, (x, y) in enumerate(self.batches.of(epoch)):
            passed = network.forward_pass(x, dropout)
            loss, gradient = self.loss(passed.logits, y, section.label_smoothing, shares(self.weights, y))
            losses[step] = loss
            if (step + 1) % self.check_interval == 0 or step == self.steps - 1:
                self._check_finite(losses, epoch, step)
            gradients = passed.backward(gradient)
            if section.gradient_clip is not None:
                self._clip(gradients, epoch, step)
            if step in self.sampled:
                norms.append(self._layer_norms(gradients))
            self.optimize(gradients, self.rate(epoch, step))
        return losses, torch.stack(norms).mean(0)

    def _closed(self, epoch: int, losses: Tensor, norms: Tensor) -> Epoch:
        """Judge the epoch on the validation rows; raises UserError where a replica is no longer finite."""
        loss, accuracy, health, of_mean = self.validation.judge()
        sizes = torch.full((self.steps, 1), self.section.batch_size, device=self.device)
        sizes[-1] = len(self.rows.x) - self.section.batch_size * (self.steps - 1)
        train_loss = (losses * sizes).sum(0) / len(self.rows.x)
        values = torch.stack([train_loss, loss, accuracy, *norms, *health]).cpu().T.tolist()
        finite = torch.stack([torch.isfinite(weights).flatten(1).all(1) for weights in self.parameters]).all(0).tolist()
        closed = Epoch(epoch, list(self.active), self.rate(epoch, self.steps - 1), losses, values, of_mean)
        for replica in range(self.section.replicas):
            if self.active[replica] and not math.isfinite(closed.validation_loss(replica)):
                self._diverged("validation loss", closed.validation_loss(replica), replica, epoch, self.steps - 1)
            # A saturated output hides an infinite weight from the loss.
            if self.active[replica] and not finite[replica]:
                self._diverged("largest weight", math.inf, replica, epoch, self.steps - 1)
        return closed

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
        norms = root(torch.stack([gradient.square().sum((1, 2)) for gradient in gradients]).sum(0))
        if not math.isfinite(norms.sum().item()):
            for replica, norm in enumerate(norms.tolist()):
                if not math.isfinite(norm) and self.active[replica]:
                    self._diverged("gradient norm", norm, replica, epoch, step)
        factors = (self.section.gradient_clip / (norms + 1e-6)).clamp(max=1.0)[:, None, None]
        torch._foreach_mul_(gradients, [factors] * len(gradients))

    def _diverged(self, what: str, value: float, replica: int, epoch: int, step: int) -> Never:
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
        return root(torch.stack([weight + bias for weight, bias in zip(squares[::2], squares[1::2], strict=True)]))
