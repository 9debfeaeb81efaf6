"""A lesson as a page for people, in HTML and in Markdown, and the list of all of them."""

from collections.abc import Sequence

from markdown_it import MarkdownIt

from retrace.artifacts.lesson import Found, VariantFound, Verdict
from retrace.params.lesson import Told, path_of
from retrace.report.html import Html, element, listing, page, picture, table, text
from retrace.runtime import markdown

# Without HTML, and without pictures from elsewhere: what looks like a tag in a lesson's text is shown as it is.
MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable("image")
NEXT = (
    "In the project's folder, its environment activated. The values are written into params.yaml; back again: git"
    " checkout params.yaml."
)
CAPTIONS = {
    "curves": "Lines are means over the networks, which differ in their seed only; bands are their range.",
    "dots": "A point is a network.",
    "layers": "Lines are medians over the networks, bands their range.",
    "boundaries": "One network of each, the one in the middle by accuracy; dots are validation rows.",
}


def lesson_html(told: Told, verdict: Verdict, figures: Sequence[bytes], animation: bytes | None) -> str:
    """figures: as PNG, in the order of the lesson; animation: as GIF."""
    lesson = told.lesson
    parts = [
        element("p", _link("../index.html", "All lessons"), kind="soft"),
        element("h1", f"{number_of(told.name)}. {lesson.title}"),
        element("p", lesson.claim, kind="lead"),
        element("p", element("strong", _holds(verdict)), text(f" {_measured(verdict)}")),
        element("h2", "What was seen"),
        *(
            picture(png, f"{panel.title}. {_alt(verdict)}", CAPTIONS[panel.kind])
            for panel, png in zip(lesson.figures, figures, strict=True)
        ),
    ]
    if animation:
        names = " and ".join(lesson.animation)
        said = f"The boundary of {names} epoch by epoch, from the start to the end."
        parts.append(picture(animation, said, said))
    parts += [
        element("h2", "The claim in numbers"),
        table(["expectation", "found", "must be", "margin"], map(_expectation_row, verdict.expectations)),
        table(
            ["variant", "what is set", "accuracy", "deviation", "loss", "diverged"],
            map(_variant_row, verdict.variants),
            "At the last epoch, on validation rows; means over the networks that did not diverge, and the standard"
            " deviation of their accuracies.",
            kind="text",
        ),
        element("h2", "Why"),
        _rendered(lesson.why),
        element("p", Html(f"Sources: {_inline(lesson.source)}"), kind="soft"),
        element("h2", "Questions"),
        *(
            element("details", element("summary", _inline(each.ask)), element("p", _inline(each.answer)))
            for each in lesson.questions
        ),
        element("h2", "Try next"),
        element(
            "p",
            "In the project's folder, its environment activated. The values are written into params.yaml; back again:"
            " git checkout params.yaml.",
        ),
        element("pre", element("code", Html(text(lesson.next)))),
        element("h2", "How it was made"),
        listing(_made(told, verdict)),
    ]
    return page(f"Lesson {number_of(told.name)}: {lesson.title}", parts)


def lesson_markdown(told: Told, verdict: Verdict, figures: Sequence[str]) -> str:
    """figures: names of the pictures in the folder beside the page, in the order of the lesson."""
    lesson = told.lesson
    pictures = [f"![{panel.title}](figures/{name}.png)" for panel, name in zip(lesson.figures, figures, strict=True)]
    pictures += ["![The boundary, epoch by epoch](figures/boundary.gif)"] if lesson.animation else []
    questions = [
        f"**{each.ask.strip()}**\n\n<details><summary>Answer</summary>\n\n{each.answer.strip()}\n\n</details>"
        for each in lesson.questions
    ]
    parts = [
        f"# {number_of(told.name)}. {lesson.title}",
        f"> {lesson.claim.strip()}",
        f"**{_holds(verdict)}** {_measured(verdict)}",
        *pictures,
        "## The claim in numbers",
        markdown.table(["what", "found", "must be", "margin"], map(_expectation_row, verdict.expectations)),
        markdown.table(
            ["variant", "what is set", "accuracy", "deviation", "loss", "diverged"],
            map(_variant_row, verdict.variants),
        ),
        "## Why",
        lesson.why.strip(),
        f"Sources: {lesson.source.strip()}",
        "## Questions",
        *questions,
        "## Try next",
        f"    {lesson.next.strip()}",
        "## How it was made",
        *(f"- {each}" for each in _made(told, verdict)),
    ]
    return "\n\n".join(parts) + "\n"


def index_html(lessons: Sequence[tuple[Told, Verdict]]) -> str:
    rows = []
    for told, verdict in lessons:
        link = _link(f"{told.name}/lesson.html", f"{number_of(told.name)}. {told.lesson.title}")
        rows.append([link, told.lesson.claim, _short(verdict)])
    held = sum(verdict.holds for _, verdict in lessons)
    parts = [
        element("h1", "Lessons"),
        element("p", f"{held} of {len(lessons)} hold. {INTRODUCTION}", kind="lead"),
        table(["lesson", "claim", "holds"], rows, kind="text"),
    ]
    return page("Lessons", parts)


def index_markdown(lessons: Sequence[tuple[Told, Verdict]]) -> str:
    rows = [
        [
            f"[{number_of(told.name)}. {told.lesson.title}]({told.name}/lesson.md)",
            told.lesson.claim.strip(),
            _short(verdict),
        ]
        for told, verdict in lessons
    ]
    return f"# Lessons\n\n{INTRODUCTION}\n\n{markdown.table(['lesson', 'claim', 'holds'], rows, '---')}\n"


INTRODUCTION = (
    "Each is a claim about how networks learn, trained anew on this machine, with its evidence: several networks that"
    " differ in their seed only, so that what luck does can be seen."
)


def number_of(name: str) -> str:
    return str(int(name[:2]))


def _rendered(source: str) -> Html:
    return Html(MARKDOWN.render(source))


def _inline(source: str) -> Html:
    return Html(MARKDOWN.renderInline(source.strip()))


def _link(target: str, said: str) -> Html:
    return Html(f'<a href="{text(target)}">{text(said)}</a>')


def _holds(verdict: Verdict) -> str:
    return "The claim holds." if verdict.holds else "The claim does not hold."


def _short(verdict: Verdict) -> str:
    return f"{'yes' if verdict.holds else 'NO'}, {verdict.held}"


def _measured(verdict: Verdict) -> str:
    networks = sum(each.replicas for each in verdict.variants)
    return f"{verdict.held} expectations, measured on {networks} networks."


def _alt(verdict: Verdict) -> str:
    return "; ".join(
        f"{each.name}: accuracy {_percent(each.accuracy)}, loss {_number(each.loss)}" for each in verdict.variants
    )


def _expectation_row(found: Found) -> list[str]:
    mark = "yes" if found.holds else "NO"
    return [found.says, _number(found.value), f"{found.must_be}: {mark}", _margin(found)]


def _margin(found: Found) -> str:
    """How far the number is on the right side, in its own unit."""
    if found.value is None or found.side == "equals":
        return ""
    return _number(found.value - found.bound if found.side == "above" else found.bound - found.value)


def _variant_row(each: VariantFound) -> list[str]:
    settings = ", ".join(f"{name.removeprefix('train.')}: {value}" for name, value in each.settings.items())
    diverged = f"{each.diverged} of {each.replicas}"
    return [
        each.name,
        settings or "as it is",
        _percent(each.accuracy),
        _points(each.deviation),
        _number(each.loss),
        diverged,
    ]


def _made(told: Told, verdict: Verdict) -> list[str]:
    common = ", ".join(f"{name}: {value}" for name, value in told.lesson.settings.items()) or "none"
    networks = sum(each.replicas for each in verdict.variants)
    return [
        f"Data: {verdict.dataset}; settings of all variants, over those that the project came with: {common}",
        f"{networks:,} networks, seed {verdict.seed}; the same bytes on any number of cores",
        f"The lesson is {path_of(told.name).as_posix()}; again: retrace lesson {number_of(told.name)}",
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "not finite"
    return f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def _points(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} points"
