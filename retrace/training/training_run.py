"""One training run: what it is determined by, its live history, and the checkpoints from which it is resumed."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from retrace.artifacts.live import Live, LiveTraining
from retrace.artifacts.paths import TRAIN, VALIDATION
from retrace.artifacts.schema import Schema
from retrace.networks.arithmetic import is_small, set_portable
from retrace.networks.model import Description
from retrace.params.reader import fault
from retrace.params.train import Train
from retrace.preprocessing.description import Preprocessing
from retrace.runtime.cluster import Cluster, joined
from retrace.runtime.cluster_address import ADDRESS
from retrace.runtime.cores import cores
from retrace.runtime.memory import memory_errors
from retrace.runtime.processes import born
from retrace.runtime.signals import DeferredSignals
from retrace.runtime.text import listed
from retrace.training.callbacks import Checkpointing, LiveHistory, Progress
from retrace.training.checkpoint import Checkpoints, fingerprint
from retrace.training.cluster_packs import CODE_OF_PACKS, Nodes
from retrace.training.device import choose, make_deterministic
from retrace.training.gradients import shards_of
from retrace.training.members import members_of
from retrace.training.node_check import NodeCheck
from retrace.training.pack_runner import seconds_an_epoch
from retrace.training.resources import fewer, require_room_to_fit
from retrace.training.result import TrainingResult
from retrace.training.rows import AnyRows, Rows, fit_preprocessing
from retrace.training.trainer import fit

INTERRUPTED = "train: ends after this epoch, which is saved; again, and it ends at once"


@dataclass(frozen=True)
class TrainingRun:
    """What a training run is determined by, but for its rows.

    params: the section by dotted name, as params.yaml has it; reason: for the device.
    """

    section: Train
    params: dict[str, Any]
    schema: Schema
    device: torch.device
    reason: str
    preprocessing: Preprocessing
    description: Description

    @property
    def fingerprint(self) -> str:
        return fingerprint("train", self.params, self.description.content(), (TRAIN, VALIDATION), self.device)

    @property
    def summary(self) -> str:
        widths = " - ".join(map(str, self.description.widths))
        kind = "" if self.description.architecture == "mlp" else f"{self.description.architecture} "
        return f"on {self.device} ({self.reason}); {self.section.replicas} {kind}replicas of {widths}"


def set_up(section: Train, params: dict[str, Any], schema: Schema) -> TrainingRun:
    """Choose the device, and fit the preprocessing to the training rows. Settings of torch are this process's own."""
    cores()  # that RETRACE_WORKERS is no such number is said before the work
    require_room_to_fit(schema, section)
    preprocessing = fit_preprocessing(TRAIN, schema, section)
    description = describe(schema, section, preprocessing)
    set_portable(is_small(description))
    device, reason = choose(section)
    make_deterministic(device, section.tf32)
    return TrainingRun(section, params, schema, device, reason, preprocessing, description)


def describe(schema: Schema, section: Train, preprocessing: Preprocessing) -> Description:
    """The model that the section asks for, for this data."""
    return Description(
        features=schema.features,
        kinds=schema.kinds,
        target=schema.target,
        classes=schema.classes,
        hidden=list(section.hidden),
        activation=section.activation,
        embedding_width=section.embedding_width if preprocessing.embedded else 0,
        preprocessing=preprocessing,
        label_smoothing=section.label_smoothing,
        architecture=section.architecture,
    )


def _joined(
    settings: TrainingRun, training: AnyRows, validation: AnyRows, done: int
) -> AbstractContextManager[Cluster | None]:
    """A cluster, where one is named and the rest is worth it; done: epochs that are over."""
    section, description = settings.section, settings.description
    if not isinstance(training, Rows):  # they lie in a file of this machine
        return nullcontext()
    rows = len(training.x), len(validation.x)
    epoch = seconds_an_epoch(description.weights, section.replicas, *rows, section.batch_size)
    parts = section.replicas * shards_of(description.weights, min(section.batch_size, rows[0]), settings.device)
    if parts == 1:
        if os.environ.get(ADDRESS):
            why = "GPUs share no steps" if settings.device.type == "cuda" else "its steps are too small to be shared"
            print(f"train: a single replica is trained here: {why}")
        return nullcontext()
    seconds = (section.epochs - done) * epoch / min(cores(), parts)
    check = NodeCheck.of(CODE_OF_PACKS, section, description, training, settings.device)
    return joined("train", seconds, check, on_gpus=settings.device.type == "cuda")


def broken_by_weights(weights: str | Sequence[float], classes: Sequence[str]) -> str:
    """The rule that these class weights break; "" where they suit the classes."""
    if isinstance(weights, str) or len(weights) == len(classes):
        return ""
    return f"must hold a weight for each of the {len(classes)} classes ({listed(classes)})"


def train(training: AnyRows, validation: AnyRows, settings: TrainingRun, checkpoints: Checkpoints) -> TrainingResult:
    """Fit the network to the training rows, judged on the validation rows after each epoch; or go on with that.

    An interrupt waits for the end of the epoch, and for its checkpoint. Raises UserError where class_weights do not
    suit the classes, and as `fit` does.
    """
    section, description = settings.section, settings.description
    if rule := broken_by_weights(section.class_weights, description.classes):
        raise fault(Train, "class_weights", rule)
    pid = os.getpid()
    on = f"{settings.device} ({settings.reason})"
    facts = LiveTraining(checkpoints.started, pid, born(pid), settings.params, settings.schema.dataset, on)
    with (
        Live(facts) as live,
        # While it is joined an interrupt need not wait for the end of an epoch.
        _joined(settings, training, validation, checkpoints.epoch) as cluster,
        DeferredSignals(INTERRUPTED) as signals,
        memory_errors("train", fewer(section)),
        Progress(section, done=checkpoints.epoch) as progress,
    ):
        network = description.network(section.replicas, scaled=section.input_scale_rate > 0)
        callbacks = [LiveHistory(live), progress, Checkpointing(checkpoints, signals)]
        nodes = Nodes(cluster, description) if cluster else None
        members = members_of(section)
        return fit(network, training, validation, members, settings.device, callbacks, checkpoints.snapshot, nodes)
