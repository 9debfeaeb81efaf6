"""What the run of a state holds: params, points, tags, files, its name and its page."""

from retrace.artifacts.dvc_lock import Changes, show
from retrace.artifacts.evaluation import PREDICTIONS
from retrace.artifacts.findings import Finding
from retrace.artifacts.paths import FIGURES, TEST
from retrace.artifacts.result_page import RESULT_PAGE
from retrace.evaluation.comparisons import leads, what_ships
from retrace.evaluation.gate_rule import gate
from retrace.params.gate import Gate
from retrace.params.messages import PATH as PARAMS
from retrace.runtime.errors import UserError
from retrace.runtime.integrity import LOCK
from retrace.runtime.text import escape, one_line
from retrace.tracking import run_page
from retrace.tracking.environment import machine, packages
from retrace.tracking.location import Store
from retrace.tracking.points import MOST_POINTS, epoch_points, headline_points, safe_key, safe_keys, step_points
from retrace.tracking.registry import Candidate, Registered
from retrace.tracking.run_files import PICTURES
from retrace.tracking.run_page import Previous, RunPlace
from retrace.tracking.run_parts import FINGERPRINT, Outcome
from retrace.tracking.state import State
from retrace.tracking.study_link import TRAIN, StudyLink, train_digest
from retrace.tracking.sync import EXPERIMENTS, RunContent

LONGEST_TAG = 500


def record(state: State, bar: Gate, experiment: str, now: int) -> RunContent:
    """All that the run of this state holds. experiment: DVC's name for it, or ""; now: milliseconds since 1970.

    bar: the gate's as it stands now; whether the model passes is decided once, and a new bar changes no old decision.
    """
    names = safe_keys(state.scores.classes)
    points = [
        *headline_points(state.scores, names),
        *epoch_points(state.header, state.history, state.training.shipped),
        *step_points(state.steps),
    ]
    params = {safe_key(key): show(value) for key, value in state.lock.params.items()}
    pictures = [name for name in ("loss", "confusion_matrix") if FIGURES / f"{name}.png" in state.figures]
    facts = _facts(state)

    def name(changes: Changes | None) -> str:
        return run_page.run_name(state.schema.dataset, state.scores, state.lock.params, changes, experiment)

    def description(run: RunPlace, previous: Previous | None, registered: Registered, study: StudyLink | None) -> str:
        lines = [*facts, study.line] if study else facts
        page = RESULT_PAGE.name if state.page else None
        return run_page.description(
            run, state.schema.dataset, state.scores, state.training, previous, registered, lines, pictures, page
        )

    return RunContent(
        lock=state.lock,
        committed=state.git.committed,
        params=params,
        points=points,
        tags=_tags(state, names, experiment),
        times=state.times,
        now=now,
        served=state.served,
        candidate=_candidate(state, bar),
        files=[
            *((path, "figures") for path in state.figures),
            *((path, "tables") for path in (*state.tables, PREDICTIONS.path)),
            (PARAMS, ""),
            (LOCK, ""),
        ],
        texts={
            "environment/packages.txt": packages(),
            "environment/machine.json": machine(state.training.device, state.training.precision),
            **({RESULT_PAGE.name: state.page} if state.page else {}),
        },
        pictures=[path for path in state.figures if path.stem in PICTURES],
        datasets=state.datasets,
        ran=state.ran,
        name=name,
        description=description,
    )


def _candidate(state: State, bar: Gate) -> Candidate:
    try:
        passed, line = True, gate(state.scores, bar)
    except UserError as fault:
        passed, line = False, str(fault)
    return Candidate(
        passed=passed,
        gate=line,
        test=state.lock.outs[TEST.as_posix()],
        hits=state.hits,
        confidence=state.scores.confidence,
        remarks=_remarks(state, line),
        tags={FINGERPRINT: state.lock.fingerprint},
    )


def _remarks(state: State, gate_line: str) -> list[str]:
    """That the model is a mean, and which baselines are better, unless the gate's line has it already."""
    better = [lead.text for lead in leads(state.scores.baseline) if lead.text not in gate_line]
    shipped, replicas = state.training.shipped, len(state.training.replicas)
    mean = [f"The model is {what_ships(shipped, replicas)}."] if shipped is None else []
    return [*mean, *(f"On the same test rows {text}." for text in better)]


def _tags(state: State, names: dict[str, str], experiment: str) -> dict[str, str]:
    tags = {
        "retrace.dataset": state.schema.dataset,
        "retrace.device": f"{state.training.device} ({state.training.device_reason})",
        "retrace.times": "of the training" if state.times.of_training else "of the recording",
        TRAIN: train_digest(state.lock.params),
        "mlflow.source.name": "dvc repro",
        "mlflow.source.type": "LOCAL",
        **{f"retrace.class.{key}": name for name, key in names.items() if key != name},
        **_finding_tags(state.findings),
    }
    if state.git.commit:
        tags["mlflow.source.git.commit"] = state.git.commit
        tags["retrace.uncommitted_changes"] = "true" if state.git.uncommitted else "false"
    if experiment:
        tags[EXPERIMENTS] = experiment
    return tags


def _finding_tags(findings: list[Finding]) -> dict[str, str]:
    """How many, and of each kind what was found, cut where it is long: the run's tables/data.md has the whole."""
    texts: dict[str, list[str]] = {}
    for finding in findings:
        texts.setdefault(safe_key(finding.kind), []).append(finding.text)
    kinds = {f"data.finding.{kind}": one_line("; ".join(each), LONGEST_TAG) for kind, each in texts.items()}
    return {"data.findings": str(len(findings)), **kinds}


def _facts(state: State) -> list[str]:
    training = state.training
    facts = [f"For it ran: {', '.join(state.ran)}."] if state.ran else []
    facts += [f"Trained on {escape(training.device)} ({escape(training.device_reason)})."]
    if state.findings:
        count = "One thing" if len(state.findings) == 1 else f"{len(state.findings):,} things"
        facts.append(f"{count} to know about the data, in tables/data.md.")
    if not state.times.of_training:
        facts.append("Start and duration are those of the recording: those of the training are not known here.")
    if len(state.steps) > MOST_POINTS:
        every = -(-len(state.steps) // MOST_POINTS)
        facts.append(f"train/step_loss shows one of {every} steps; reports/steps.parquet has all {len(state.steps):,}.")
    return facts


def summary(outcome: Outcome, entry: RunContent, store: Store) -> list[str]:
    """Lines: what happened to the run of this state, and to the model."""
    run_name = f"run '{outcome.name}' ({outcome.run_id[:8]}) of experiment {store.experiment}"
    if outcome.happened == "found":
        return [f"this state is recorded already: {run_name}"]
    if outcome.happened == "refilled":
        return [f"this state is recorded already; its files were gone from the store and are back: {run_name}"]
    counts = f"{len(entry.params)} params, {len(entry.points):,} points, {len(entry.files) + len(entry.texts)} files"
    lines = [f"{outcome.happened} {run_name}: {counts}; {store.shown}"]
    if outcome.registered:
        lines.append(f"version {outcome.registered.version} of the model: {outcome.registered.reason}")
    return lines
