"""What a study says where its present setting diverges: there is a winner, and nothing to hold it against."""

from dataclasses import replace

from retrace.cli.study_summary import summary_lines
from retrace.tracking import study_page
from tests.small_study import study_result


def test_a_winner_over_a_present_setting_that_diverges():
    whole = study_result()
    others = [replace(each, improvement=None, optimism=None) for each in whole.candidates if each.trial]
    result = replace(whole, candidates=others, reason="the present setting diverges, and trial 3 does not")
    said = "\n".join(summary_lines(result))
    assert "Surely better      by the present setting" not in said
    assert "the present setting diverges; log loss" in said
    assert "retrace adopt" in said
    assert "(now" not in said.partition("With it")[2].partition("\n")[0]
    assert study_page.name(result).endswith("where the present setting diverges")
    page = study_page.description("run", result, [])
    assert "the present setting diverges" in page
    assert "it diverged in the search" not in page
