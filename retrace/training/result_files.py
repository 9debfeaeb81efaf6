"""What the files say of a training run that has come to its end."""

import hashlib
import platform
from dataclasses import replace

import pyarrow as pa
import torch

from retrace.artifacts.paths import MODELS, WEIGHTS
from retrace.artifacts.training import HISTORY, LOSS, STEPS, Clock, Trained, TrainingReport, write_training_report
from retrace.artifacts.training import write_clock as write_clock_file
from retrace.networks.arithmetic import is_portable
from retrace.networks.model_files import save, shipped_model
from retrace.preprocessing.reference import write_reference
from retrace.training.checkpoint import Checkpoints
from retrace.training.reference import reference_of
from retrace.training.result import TrainingResult
from retrace.training.rows import AnyRows
from retrace.training.temperature import find_temperature
from retrace.training.training_run import TrainingRun


def write_results(result: TrainingResult, settings: TrainingRun, validation: AnyRows) -> TrainingReport:
    """The outs of the stage: models/, the history, the losses of what ships and of every step."""
    description, found = settings.description, None
    if settings.section.temperature == "validation":
        model = shipped_model(description, result.state, result.shipped)
        found = find_temperature(model, validation, settings.section.seed)
        description = replace(description, temperature=found.temperature)
    save(MODELS, description, result.state, result.shipped)
    model = shipped_model(description, result.state, result.shipped)
    write_reference(reference_of(model, validation.x))
    told = replace(report(result, settings), temperature=found)
    write_training_report(told)
    HISTORY.write(result.history, result.header)
    LOSS.write(losses_of_shipped(result))
    steps = torch.cat(result.step_losses).T
    STEPS.write(pa.table({f"replica_{index}": column.numpy() for index, column in enumerate(steps)}))
    return told


def report(result: TrainingResult, settings: TrainingRun) -> TrainingReport:
    replicas = zip(result.best_epoch, result.best_loss, result.epochs, strict=True)
    return TrainingReport(
        device=str(settings.device),
        device_reason=settings.reason,
        precision="tf32" if settings.section.tf32 else "float32",
        portable=is_portable() and settings.device.type == "cpu",
        shipped=result.shipped,
        steps_per_epoch=result.steps_per_epoch,
        replicas=[Trained(*each) for each in replicas],
        # The loss is that of the best weights.
        mean=Trained(result.mean_epoch, result.mean_loss, len(result.mean_losses)) if result.shipped is None else None,
    )


def losses_of_shipped(result: TrainingResult) -> list[tuple[int | float, ...]]:
    """Epoch, training and validation loss; of the mean: the mean of the training losses, and the loss of the mean."""
    if result.shipped is not None:
        return [(row[0], row[2], row[3]) for row in result.history if row[1] == result.shipped]
    training: dict[int, list[float]] = {}
    for row in result.history:
        training.setdefault(int(row[0]), []).append(row[2])
    return [
        (epoch, sum(losses) / len(losses), of_mean)
        for (epoch, losses), of_mean in zip(training.items(), result.mean_losses, strict=True)
    ]


def write_clock(checkpoints: Checkpoints, device: torch.device) -> None:
    """When the training run began, and how long all its parts took; to be called when its model is written."""
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
    model = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    write_clock_file(Clock(checkpoints.started, round(checkpoints.seconds, 3), machine, model))


def summary(result: TrainingResult) -> str:
    """One line: how long it trained, and what ships."""
    shipped = result.shipped
    if shipped is None:
        ships, epoch, loss = f"the mean of {len(result.epochs)} replicas", result.mean_epoch, result.mean_loss
    else:
        ships, epoch, loss = f"replica {shipped}", result.best_epoch[shipped], result.best_loss[shipped]
    steps = f"{max(result.epochs)} epochs of {result.steps_per_epoch} steps"
    return f"{steps}; {ships} ships, best epoch {epoch}, validation loss {loss:.4f}"
