"""reports/report.html: a result on one page, for someone who never saw the project.

Each question has a place: how good, how sure, better than what, where wrong, how made.
"""

from pathlib import Path

from retrace.params.report import Report
from retrace.report.data_part import data_part
from retrace.report.error_part import error_part
from retrace.report.html import element, joined, page
from retrace.report.inputs import Result
from retrace.report.origin_part import card_part, origin_part
from retrace.report.score_part import importance_part, score_part, training_part, trust_part
from retrace.report.summary_part import summary_part
from retrace.report.words import name, plain

STYLE = Path(__file__).with_name("page.css")
SCRIPT = Path(__file__).with_name("page.js")
# Id and heading of each part, in the order of the page.
PARTS = {
    "result": "How good, and how sure",
    "errors": "Where it is wrong",
    "trust": "Can its probabilities be trusted?",
    "importance": "What it looks at",
    "data": "The data",
    "training": "The training",
    "made": "How it was made, and how to make it again",
    "card": "Model card and limits",
}
ENDING = (
    "Every number comes from files of the pipeline, in data/, models/ and reports/. This page asks nothing of another"
    " machine."
)


def result_page(result: Result, section: Report) -> str:
    """The whole file. The same result and section give the same bytes."""
    content = {
        "result": score_part(result),
        "errors": error_part(result),
        "trust": trust_part(result),
        "importance": importance_part(result),
        "data": data_part(result),
        "training": training_part(result),
        "made": origin_part(result),
        "card": card_part(result, section),
    }
    links = joined((element("li", element("a", heading, href=f"#{place}")) for place, heading in PARTS.items()), "")
    head = [
        element("p", "Retrace · report of a trained classifier", kind="kicker"),
        element("h1", name(result.schema.dataset), ": predicting ", name(result.schema.target)),
        *summary_part(result),
        element("nav", element("ul", links), aria_label="Parts of this page"),
    ]
    parts = [element("header", joined(head))]
    for place, heading in PARTS.items():
        inside = [element("h2", heading, id=place), *content[place]]
        parts.append(element("section", joined(inside), aria_labelledby=place))
    parts.append(element("footer", element("p", ENDING, kind="soft")))
    title = f"{plain(result.schema.dataset)}: predicting {plain(result.schema.target)}"
    return page(title, parts, STYLE.read_text("utf-8"), SCRIPT.read_text("utf-8"))
