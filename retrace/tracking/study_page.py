"""The run of a study in words: its name, and the Markdown that stands on its page."""

from urllib.parse import quote

from retrace.artifacts.dvc_lock import show
from retrace.artifacts.study import Candidate, StudyResult
from retrace.evaluation import study_words
from retrace.runtime.text import escape
from retrace.tracking.run_page import LONGEST, header, row, short_names

# Of a study's figures, those that its page shows.
SHOWN = ("verdict.png", "history.png", "importance.png")


def name(result: StudyResult) -> str:
    """What it adopts and what that gains, or that the present setting stays."""
    if result.winner is None:
        return f"{result.dataset}: the present setting stays, {result.trials:,} trials"
    short = short_names([each.name for each in result.parameters])
    new = result.winner.settings
    changed = [
        f"{short[each.name]}={show(new[each.name])}"
        for each in result.parameters
        if each.name in new and new[each.name] != each.present
    ]
    found = result.winner.improvement
    gain = f"log loss better by {found.value:.4f}" if found else "where the present setting diverges"
    return f"{', '.join(changed)}, {gain}"


def description(run_id: str, result: StudyResult, figures: list[str]) -> str:
    """The run page. figures: names of those that the run has. MLflow folds all but the first lines away."""
    winner = result.winner
    if winner:
        verdict = f"**{escape(study_words.settings(result, winner))}**"
        by = "by " if winner.improvement else ""
        gain = f"Surely better: {by}{escape(study_words.improvement(result, winner))}."
    else:
        verdict, gain = "**The present setting stays.**", escape(result.reason)
    seen = " ".join(
        f"![{each.removesuffix('.png')}](get-artifact?path={quote(f'figures/{each}', safe='')}&run_uuid={run_id})"
        for each in SHOWN
        if each in figures
    )
    lines = []
    if winner:
        lines.append(f"What else it changes: {escape(study_words.costs(result, winner))}.")
    if lead := study_words.leading(result):
        lines.append(f"Of trial {lead.trial} {escape(study_words.optimism(lead))}.")
    if result.importance:
        lines.append(f"What mattered: {escape(study_words.mattered(result))}.")
    if told := study_words.procedure(result):
        lines.append(f"The search itself gains {escape(told)}.")
    often = sorted(result.states.items(), key=lambda item: -item[1])
    states = ", ".join(f"{count:,} {state}" for state, count in often)
    lines.append(f"{result.trials:,} trials ({escape(states)}) of {result.seeds} networks each, in trials.parquet.")
    details = "\n".join(f"- {line}" for line in lines)
    return "\n\n".join(part for part in (verdict, gain, seen, _candidates(result), details) if part)[:LONGEST]


def _candidates(result: StudyResult) -> str:
    titles = ("with fresh seeds", "log loss", "better than now by", "in the search", "accuracy", "calibration error")
    return "\n".join([*header(*titles), *(_candidate(result, each) for each in result.candidates)])


def _candidate(result: StudyResult, each: Candidate) -> str:
    found = each.improvement
    title = f"trial {each.trial}: {study_words.settings(result, each)}" if found else "the present setting"
    return row(
        escape(title),
        f"{each.fresh_score:.4f}",
        escape(study_words.interval(found, result.confidence)) if found else "",
        "diverged" if each.search_score is None else f"{each.search_score:.4f}",
        f"{each.accuracy:.4f}",
        f"{each.calibration_error:.4f}",
    )
