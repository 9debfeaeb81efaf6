"""reports/study/study.html: a study on one page, for whoever decides what to do with it."""

from collections.abc import Iterator, Mapping

from retrace.artifacts.study import STUDY, Candidate, StudyResult
from retrace.figures.study.inputs import StudyTables
from retrace.report.html import Html, element, joined, listing, page, picture, table
from retrace.report.study_advice import advice
from retrace.report.study_words import (
    alternatives,
    interval,
    name_of,
    rungs,
    searched_over,
    settings_of,
    share,
    short,
)
from retrace.report.words import counted, number, signed
from retrace.runtime.text import one_line

PAGE = STUDY.with_name("study.html")

METHODS = {
    "grid": "all combinations of the lists",
    "random": "random draws",
    "quasi_random": "Sobol's points, spread evenly",
    "tpe": "TPE, which draws near earlier trials that were good",
}
VERDICT = "Right of zero is better, and the interval decides. Hollow: what the search promised."
# Heading and reading aid of each figure, in the order of the page; that of the verdict stands with its table.
CAPTIONS = {
    "history": ("The trials", "Each point is a trial; hollow ones were stopped early, at fewer epochs."),
    "importance": (
        "Which parameters matter",
        "By PED-ANOVA from the scores of the first rung, of the parameters that every trial has: what decides inside of"
        " what was searched, not in general.",
    ),
    "slices": ("Score by value", "The panels that matter most come first; lower is better."),
    "parallel": ("Settings side by side", "Follow the coloured lines: where they meet, the best trials agree."),
    "contour": (
        "The two that matter most",
        "The other parameters differ from point to point, so that neighbours may have different scores.",
    ),
    "rungs": ("Halving", "In each round the better third trains on; where lines cross, an early stop was a gamble."),
}


def study_page(tables: StudyTables, pictures: Mapping[str, bytes]) -> str:
    """The whole file. pictures: PNG of each figure, by the names of retrace/figures/study/registry.py."""
    result = tables.result
    alt = alternatives(tables)
    title = f"Study of {one_line(result.dataset, 100)}"
    parts = [
        element("h1", title),
        element("p", *_lead(tables), kind="lead"),
        *_summary(tables),
        element("h2", "What to try next"),
        listing(advice(tables)),
        element("h2", "Is a setting surely better?"),
        *_verdict(result),
        picture(
            pictures["verdict"],
            alt["verdict"],
            "Right of zero is better, and the interval decides. Hollow: what the search promised.",
        ),
        element("h2", "What was searched"),
        _searched(tables),
        element("h2", "How far the trials came"),
        _rungs(tables),
        element("h2", "Figures"),
    ]
    for name, (heading, caption) in CAPTIONS.items():
        parts += [element("h3", heading), picture(pictures[name], alt[name], caption)]
    if result.procedure:
        parts += [element("h2", "Is the search worth its time?"), *_procedure(result)]
    parts += [element("h2", "The present setting"), _present(result)]
    parts.append(
        element(
            "p",
            "Every number comes from reports/study/trials.parquet and reports/study/study.json. No row of the test"
            " was read.",
            kind="soft",
        )
    )
    return page(title, parts)


def _lead(tables: StudyTables) -> Iterator[Html]:
    result = tables.result
    reason = result.reason.rstrip(".")
    yield element("strong", f"{reason[:1].upper()}{reason[1:]}.")
    winner, present = result.winner, tables.candidate
    if winner and present:
        yield Html(" ")
        yield element(
            "span",
            f"With fresh seeds its log loss is {number(winner.fresh_score)}, and that of the present setting"
            f" {number(present.fresh_score)}.",
        )


def _summary(tables: StudyTables) -> Iterator[Html]:
    result = tables.result
    budgets = list(tables.rungs.values())
    epochs = f"{', '.join(budgets[:-1])} and {budgets[-1]}" if len(budgets) > 1 else budgets[0]
    rungs_of = f", in rungs of up to {epochs} epochs" if len(budgets) > 1 else f", for up to {epochs} epochs"
    if "rung" in epochs:
        rungs_of = f", in {counted(len(budgets), 'rung')}; epochs were searched, too"
    again = sum(each.trial > 0 for each in result.candidates)
    settings = f"The {counted(again, 'best one')} and the present setting" if again else "The present setting"
    yield element(
        "p",
        f"Searched with {METHODS.get(result.method, result.method)}. {tables.counted}. Each trained"
        f" {counted(result.seeds, 'network')}{rungs_of}. {settings} {'were' if again else 'was'} then trained"
        f" again with {result.fresh_seeds} seeds that the search did not use, and judged on {result.rows:,} rows,"
        " each by networks that were not trained on it; settings are compared by pairs of seed and row. Scores are log"
        " losses: lower is better.",
    )


def _verdict(result: StudyResult) -> Iterator[Html]:
    confidence = f"{100 * result.confidence:g}% interval"
    header = (
        *("setting", "search score", "fresh score", "optimism", "luck of a seed", f"improvement ({confidence})"),
        *("accuracy", "calibration error", "epochs", "work"),
    )
    rows = [_row(each, result) for each in result.candidates]
    chosen = next((place for place, each in enumerate(result.candidates) if each.trial == result.adopted), None)
    caption = "The present setting, and the best of the search, trained again with fresh seeds"
    yield table(header, rows, caption, chosen)
    yield listing(
        [
            "Optimism: how much more the search promised over the present setting than fresh seeds gave. The best of"
            " many trials was also lucky. (Search score and fresh score are of different rows and seeds, so that their"
            " difference alone says nothing.)",
            "Luck of a seed: standard deviation of the log loss of networks that differ in nothing but the seed.",
            "Improvement: log loss of the present setting minus that of this one. Only where the whole interval, which"
            " allows for the number of settings compared, is above zero is a setting surely better.",
            "Accuracy and calibration error: of what would ship, on the same rows as the fresh score. Work: that of a"
            " network's training, in multiples of the present setting's.",
        ]
    )


def _row(candidate: Candidate, result: StudyResult) -> list[str]:
    name: str = name_of(candidate, result)
    if changed := settings_of(candidate, result):
        lines = (element("span", each, kind="soft") for each in changed)
        name = joined([element("span", name), *lines], "<br>")
    return [
        name,
        number(candidate.search_score),
        number(candidate.fresh_score),
        signed(candidate.optimism),
        number(candidate.deviation),
        interval(candidate.improvement) if candidate.improvement else "-",
        f"{candidate.accuracy:.4f}",
        f"{candidate.calibration_error:.4f}",
        f"{candidate.epochs:.4g}",
        f"{candidate.work:.3g}",
    ]


def _searched(tables: StudyTables) -> Html:
    result, marked = tables.result, tables.marked
    shares = {each.name: each.share for each in result.importance}
    header = ["parameter", "searched over", "present value", "importance"]
    if marked:
        header.insert(3, f"in {tables.marked_as}")
    rows = []
    for each in tables.parameters:
        among = sum(each.name in trial.settings for trial in tables.trials)
        over = searched_over(each)
        if among < len(tables.trials):
            over += f"; in {among:,} of {len(tables.trials):,} trials"
        row = [
            one_line(each.name, 60),
            over,
            short(each.present),
            share(shares[each.name]) if each.name in shares else "not known",
        ]
        if marked:
            row.insert(3, short(marked.settings[each.name]) if each.name in marked.settings else "not searched")
        rows.append(row)
    return table(header, rows, kind="text")


def _rungs(tables: StudyTables) -> Html:
    header = ("epochs of a network, at most", "trials", "stopped there", "diverged there", "trained to the end")
    rows = [
        [name, f"{reached:,}", *(f"{ended[state]:,}" for state in ("stopped", "diverged", "complete"))]
        for name, reached, ended in rungs(tables)
    ]
    return table(header, rows)


def _procedure(result: StudyResult) -> Iterator[Html]:
    assert result.procedure
    folds, improvement = result.procedure.folds, result.procedure.improvement
    yield element(
        "p",
        f"The whole study was done again in each of {len(folds)} folds of the rows, without the rows of the fold, and"
        f" judged on these. What the search adopts is better than the present setting by {interval(improvement)} in log"
        f" loss, {100 * result.confidence:g}% interval.",
    )
    rows = []
    for place, fold in enumerate(folds, 1):
        adopted = ", ".join(f"{one_line(name, 60)}: {short(value)}" for name, value in fold.adopted.items())
        difference = signed(fold.present_log_loss - fold.log_loss)
        own = [adopted or "the present setting stays", f"{fold.rows:,}", number(fold.present_log_loss)]
        rows.append([f"{place}", *own, number(fold.log_loss), difference])
    yield table(("fold", "adopted", "rows", "log loss, present", "log loss, adopted", "improvement"), rows)


def _present(result: StudyResult) -> Html:
    rows = [(one_line(name, 60), short(value)) for name, value in result.present.items()]
    return table(("parameter of section train", "value"), rows, kind="text")
