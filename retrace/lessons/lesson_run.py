"""One lesson: its variants trained, its tables written, and whether what it claims holds."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from retrace.artifacts.lesson import HISTORY, PLANE, POINTS, START, Found, VariantFound, Verdict
from retrace.lessons.measures import Measures, faults_of_expression
from retrace.lessons.training import ACCURACY, FIXED, LOSS, Observed, Prepared, observe, prepare, rows_shown
from retrace.params.edit import written
from retrace.params.lesson import Expectation, Told, path_of, read_lesson
from retrace.runtime.errors import BAD_PARAMS, UserError

# Where rows lie while a lesson is under way.
SCRATCH = Path(".retrace")


class Taught(NamedTuple):
    """verdict: of the lesson; tables: by the names of retrace/artifacts/lesson.py."""

    verdict: Verdict
    tables: dict[str, pa.Table]


def teach(name: str, seed: int | None = None) -> Taught:
    """Train a lesson's variants and judge its expectations; seed: of the networks, where another one is to be tried.

    Raises UserError with a line for each fault of the file. Settings of torch are this process's own.
    """
    told = read_lesson(name)
    _require_sound(told)
    variants = told.variants
    if seed is not None:
        variants = [each._replace(train=each.train.model_copy(update={"seed": seed})) for each in variants]
    lesson, names = told.lesson, [each.name for each in variants]
    drawn = {name for panel in lesson.figures if panel.kind == "boundaries" for name in panel.variants or names}
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH, prefix="lesson-") as folder:
        prepared = prepare(variants, Path(folder))
        _require_plane(told, prepared, drawn | set(lesson.animation))
        _require_numbers(told, prepared)
        observed = observe(prepared, sorted(drawn), lesson.animation)
    measures = Measures(observed)
    found = [_found(told, each, measures) for each in lesson.expect]
    verdict = Verdict(
        name=told.name,
        holds=all(each.holds for each in found),
        seed=variants[0].train.seed,
        dataset=prepared[0].schema.dataset,
        expectations=found,
        variants=[_variant_found(each, told, observed[each.variant.name]) for each in prepared],
    )
    return Taught(verdict, _tables(prepared, observed))


def _require_sound(told: Told) -> None:
    lines = [
        f"{path_of(told.name)}: expect[{place}].value {rule}"
        for place, each in enumerate(told.lesson.expect)
        for rule in faults_of_expression(each.value, told.lesson.variants)
    ]
    if lines:
        raise UserError(BAD_PARAMS, *lines)


def _require_numbers(told: Told, prepared: Sequence[Prepared]) -> None:
    """Raise UserError, before anything is trained, where an expectation would give no number."""
    measures = Measures({each.variant.name: each.untrained() for each in prepared})
    for each in told.lesson.expect:
        _found(told, each, measures)


def _require_plane(told: Told, prepared: Sequence[Prepared], drawn: set[str]) -> None:
    for each in prepared:
        if each.variant.name in drawn and each.description.widths[0] != 2:
            rule = (
                f"variant {each.variant.name} has {each.description.widths[0]} inputs, and a boundary is drawn over two"
            )
            raise UserError(BAD_PARAMS, f"{path_of(told.name)}: {rule}; name others in the figure's variants")


def _found(told: Told, expectation: Expectation, measures: Measures) -> Found:
    try:
        value = measures.value(expectation.value)
    except ValueError as error:
        place = told.lesson.expect.index(expectation)
        rule = f"expect[{place}].value must give one number ({error})"
        raise UserError(BAD_PARAMS, f"{path_of(told.name)}: {rule}; got {expectation.value}") from None
    side, bound = next(
        (side, bound) for side in ("above", "below", "equals") if (bound := getattr(expectation, side)) is not None
    )
    holds = {"above": value > bound, "below": value < bound, "equals": value == bound}[side]
    return Found(expectation.says, value if math.isfinite(value) else None, side, float(bound), bool(holds))


def _variant_found(prepared: Prepared, told: Told, seen: Observed) -> VariantFound:
    variant = prepared.variant
    last = seen.values[:, -1]
    whole = np.isfinite(seen.values[..., :FIXED]).all((1, 2))
    kept = last[whole]
    own = told.lesson.variants[variant.name]
    return VariantFound(
        name=variant.name,
        settings={key: written(value) for key, value in own.items()},
        replicas=variant.train.replicas,
        epochs=variant.train.epochs,
        accuracy=float(kept[:, ACCURACY].mean()) if len(kept) else None,
        loss=float(kept[:, LOSS].mean()) if len(kept) else None,
        deviation=float(kept[:, ACCURACY].std(ddof=1)) if len(kept) > 1 else None,
        diverged=int((~whole).sum()),
    )


def _tables(prepared: Sequence[Prepared], observed: dict[str, Observed]) -> dict[str, pa.Table]:
    layers = max(each.layers for each in observed.values())
    watched = max(each.values.shape[2] - FIXED - each.layers for each in observed.values())
    header = [*HISTORY, *(f"gradient_layer_{layer}" for layer in range(1, layers + 1))]
    header += [f"health_layer_{layer}" for layer in range(1, watched + 1)]
    return {
        "history": _table(header, _history_rows(observed, layers, watched)),
        "start": _table(START, _start_rows(observed)),
        "plane": _table(PLANE, _plane_rows(observed)),
        "points": _table(POINTS, _point_rows(prepared, observed)),
    }


def _table(header: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    kinds = {"variant": pa.string(), **dict.fromkeys(("replica", "epoch", "layer", "class"), pa.int64())}
    return pa.table(
        {name: pa.array(column, kinds.get(name, pa.float32())) for name, column in zip(header, columns, strict=True)}
    )


def _history_rows(observed: dict[str, Observed], layers: int, watched: int) -> Iterator[tuple[Any, ...]]:
    for name, seen in observed.items():
        own = seen.values.shape[2] - FIXED - seen.layers
        for replica, epochs in enumerate(seen.values):
            for epoch, values in enumerate(epochs, start=1):
                gradients = [*values[FIXED : FIXED + seen.layers], *[math.nan] * (layers - seen.layers)]
                health = [*values[FIXED + seen.layers :], *[math.nan] * (watched - own)]
                yield name, replica, epoch, *values[:FIXED], *gradients, *health


def _start_rows(observed: dict[str, Observed]) -> Iterator[tuple[Any, ...]]:
    for name, seen in observed.items():
        for replica, loss in enumerate(seen.start_loss):
            for layer in range(seen.layers):
                found = seen.start_gradient[replica, layer], seen.start_activation[replica, layer]
                yield name, replica, layer + 1, loss, *found


def _plane_rows(observed: dict[str, Observed]) -> Iterator[tuple[Any, ...]]:
    for name, seen in observed.items():
        for epoch, values in seen.plane.items():
            for (x, y), value in zip(seen.points, values, strict=True):
                yield name, epoch, x, y, value


def _point_rows(prepared: Sequence[Prepared], observed: dict[str, Observed]) -> Iterator[tuple[Any, ...]]:
    for each in prepared:
        if observed[each.variant.name].plane:
            for (x, y), own in zip(*rows_shown(each.data), strict=True):
                yield each.variant.name, x, y, int(own)
