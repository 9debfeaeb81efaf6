"""The last lines of `retrace study`: its result for a person, from reports/study/study.json."""

from collections.abc import Sequence

from retrace.artifacts.study import StudyResult
from retrace.evaluation import study_words

WIDTH = 18


def summary_lines(result: StudyResult, advice: Sequence[str] = ()) -> list[str]:
    """A title and what belongs to it, a line each. advice: what to try next, as the study's page has it."""
    winner, lead = result.winner, study_words.leading(result)
    lines = []
    if winner:
        lines.append(("Winner", f"trial {winner.trial}: {study_words.settings(result, winner)}"))
        gain = study_words.improvement(result, winner)
        lines.append(("Surely better", f"by {gain}" if winner.improvement else gain))
        lines.append(("With it", study_words.costs(result, winner)))
    else:
        lines.append(("Default stays", result.reason))
        if lead:
            lines.append(("Nearest", f"trial {lead.trial}: {study_words.settings(result, lead)}"))
            lines.append(("Its gain", study_words.improvement(result, lead)))
    if lead:
        lines.append(("Optimism", study_words.optimism(lead)))
    if result.importance:
        lines.append(("What mattered", study_words.mattered(result)))
    if told := study_words.procedure(result):
        lines.append(("The search gains", told))
    lines += [("Try next", step) for step in advice]
    lines.append(("All of it", "reports/study/, and in make ui the experiment retrace-studies"))
    if winner:
        lines.append(("Take it over", "retrace adopt"))
    return ["", *(f"{title:<{WIDTH}} {text}" for title, text in lines)]
