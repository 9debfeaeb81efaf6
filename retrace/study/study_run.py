"""One study: its settings, and what is written of it."""

import math
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from retrace.artifacts.paths import TRAIN, VALIDATION
from retrace.artifacts.schema import SCHEMA, Schema
from retrace.artifacts.study import TRIALS, Parameter, Procedure, StudyResult, parameter_columns
from retrace.data.splitting import method_of
from retrace.networks.arithmetic import is_portable, is_small, set_portable
from retrace.params.reader import fault
from retrace.params.space import Searched, broken_combinations, searched, value_of
from retrace.params.split import Split
from retrace.params.study import Study
from retrace.params.train import Train
from retrace.runtime.cluster import joined
from retrace.runtime.errors import BAD_PARAMS, UserError
from retrace.study.crew import CODE_OF_STUDIES, Crew, seconds_of, workers_worth_having
from retrace.study.importance import importance
from retrace.study.inquiry import FOLDERS, Finding, Inquiry
from retrace.study.live import Live
from retrace.study.memo import Memo
from retrace.study.prepared import Preparation
from retrace.study.search import Trial, budget, counts, planned_epochs, shortened
from retrace.study.verdict import BEST, FOLDS
from retrace.training.checkpoint import fingerprint
from retrace.training.device import choose, make_deterministic
from retrace.training.node_check import NodeCheck
from retrace.training.rows import Rows, fit_preprocessing
from retrace.training.training_run import broken_by_weights, describe

DATA = TRAIN.parent


def run_study(
    study: Study, section: Train, params: Mapping[str, Any], split: Split, schema: Schema
) -> tuple[pa.Table, StudyResult]:
    """All trials, and what follows from them; params: section `train` by dotted name, as params.yaml has it.

    Settings of torch are this process's own. Raises UserError for a space whose settings break a rule of section
    `train`, and where all trials diverge.
    """
    section = section.model_copy(update={"seed": seed_of_networks(study.seed)})
    space = searched(study.space)
    require_sound(space, section, study, schema)
    set_portable(_all_small(space, section, schema))
    device, _ = choose(section)
    make_deterministic(device, section.tf32)
    by_time = method_of(split, schema) == "time"
    if by_time and study.folds:
        raise fault(Study, "folds", "must be null with split.method: time, by which there are no folds")
    preparation, number = Preparation(schema, section, device), sum(counts(study, space))
    judged = (BEST + 1) * (1 if by_time else FOLDS) * study.fresh_seeds
    epochs = planned_epochs(study, space, shortened(study, section)) + judged * section.epochs
    prepared = preparation(section, DATA)
    seconds = seconds_of(prepared, section, epochs)
    workers = workers_worth_having(seconds, device)
    assert isinstance(prepared.data.training, Rows)
    check = NodeCheck.of(CODE_OF_STUDIES, section, prepared.describe(section), prepared.data.training, device)
    criterion = f"{section.class_weights} {is_portable()}"
    memo = Memo(fingerprint("study", {}, criterion, (TRAIN, VALIDATION, SCHEMA), device))
    if known := len(memo.tasks):
        print(f"study: {known:,} trainings were measured before, and are not measured again")
    procedure = None
    with (
        Live(schema.dataset, space, number, (1 + (study.folds or 0)) * epochs) as live,
        joined("study", seconds / workers, check, device.type == "cuda") as cluster,
        Crew(preparation, device, workers, cluster) as crew,
    ):
        inquiry = Inquiry(study, section, space, schema, split, by_time, crew, memo, live)
        finding = inquiry.find(DATA, FOLDERS)
        if study.folds:
            live.within = True
            procedure = inquiry.judge_the_search(DATA)
    memo.forget_judged()
    shutil.rmtree(FOLDERS, ignore_errors=True)  # whole copies of the rows
    rows = len(prepared.data.validation.y) + (0 if by_time else len(prepared.data.training.y))
    return table_of(finding.trials, study, space), result_of(
        finding, procedure, study, section, space, params, schema, rows
    )


def seed_of_networks(seed: int) -> int:
    """Another one than that of section `train`: what is chosen by the luck of a seed must not be shipped with it."""
    return int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])


def require_sound(space: Sequence[Searched], section: Train, study: Study, schema: Schema) -> None:
    """Raise UserError with a line for each rule of section `train` that settings of the space break."""
    if lines := list(broken_combinations(space, shortened(study, section))):
        raise UserError(BAD_PARAMS, *(f"params.yaml: study.space: {line}" for line in lines))
    tried = next((each.choices for each in space if each.name == "class_weights"), None) or [section.class_weights]
    for weights in tried:
        if rule := broken_by_weights(weights, schema.classes):
            own = weights is section.class_weights
            where, key = (Train, "class_weights") if own else (Study, "space.class_weights")
            raise fault(where, key, rule)


def _all_small(space: Sequence[Searched], section: Train, schema: Schema) -> bool:
    """Whether the networks of all widths are so small that they get the same bytes on every processor."""
    preprocessing = fit_preprocessing(TRAIN, schema, section)
    widths = next((each.choices for each in space if each.name == "hidden"), None) or [list(section.hidden)]
    sections = [section.model_copy(update={"hidden": hidden}) for hidden in widths]
    return all(is_small(describe(schema, each, preprocessing)) for each in sections)


def table_of(trials: Sequence[Trial], study: Study, space: Sequence[Searched]) -> pa.Table:
    """See TRIALS."""
    rows: list[tuple[Any, ...]] = []
    settings = []
    for trial in trials:
        for end, each in zip(trial.budgets, trial.measured, strict=True):
            for replica in range(study.seeds):
                found = (each.losses[replica], each.accuracies[replica], each.score)
                settings.append(trial.settings)
                rows.append(
                    (
                        *(trial.number, trial.round, trial.state, end, replica),
                        *(each.epochs[replica], each.best_epochs[replica]),
                        *([math.nan] * len(found) if each.diverged else found),
                    )
                )
    types = [pa.int64(), pa.int64(), pa.string(), *[pa.int64()] * 4, *[pa.float64()] * 3]
    columns = {
        name: pa.array(values, kind)
        for name, values, kind in zip(TRIALS.columns, zip(*rows, strict=True), types, strict=True)
    }
    return pa.table(columns | parameter_columns(space, settings))


def result_of(
    finding: Finding,
    procedure: Procedure | None,
    study: Study,
    section: Train,
    space: Sequence[Searched],
    params: Mapping[str, Any],
    schema: Schema,
    rows: int,
) -> StudyResult:
    """rows: by which the candidates were judged."""
    trials = finding.trials
    complete = [trial for trial in trials if trial.state == "complete"]
    return StudyResult(
        dataset=schema.dataset,
        method=study.method,
        trials=len(trials),
        seeds=study.seeds,
        fresh_seeds=study.fresh_seeds,
        confidence=study.confidence,
        rows=rows,
        present=dict(params),
        parameters=[_parameter(each, section) for each in space],
        budgets=[budget(shortened(study, section), rung, study.rungs) for rung in range(study.rungs)],
        states=dict(Counter(trial.state for trial in trials)),
        best=min(complete, key=lambda trial: (trial.score, trial.number)).number,
        candidates=finding.candidates,
        adopted=finding.adopted,
        reason=finding.reason,
        importance=importance(trials, space, study.seed),
        procedure=procedure,
    )


def _parameter(each: Searched, section: Train) -> Parameter:
    present = value_of(section, each.name)
    if each.choices is not None:
        return Parameter(each.name, each.choices, None, None, False, present)
    return Parameter(each.name, None, float(each.low), float(each.high), each.log, present)
