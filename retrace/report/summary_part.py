"""The top of the page of a result: what matters in three sentences, and in five cards."""

from retrace.evaluation.comparisons import in_words
from retrace.report.confusion import worst_pair
from retrace.report.html import Html, element
from retrace.report.inputs import Result
from retrace.report.origin_part import changed, made_of
from retrace.report.words import confidence, counted, enumerated, number, percent


def summary_part(result: Result) -> list[Html]:
    scores, own = result.scores, result.scores.accuracy
    said = (
        f" ({scores.correct:,} of {scores.rows:,}), which it did not see in training. With {confidence(result.scores)}"
        f" confidence its accuracy on such rows is between {percent(own.low)} and {percent(own.high)}. "
    )
    right = element("strong", f"Right on {percent(own.value)} of the test rows")
    return [element("p", right, said, _against(result), kind="lead"), _cards(result)]


def _against(result: Result) -> str:
    """Whether it is better than simple models, and how far from the best that is possible."""
    standing: dict[str, list[str]] = {"surely more": [], "not surely more": [], "surely less": []}
    for title, other in result.scores.baseline.items():
        how = "surely more" if other.difference_low > 0 else "not surely more"
        how = "surely less" if other.difference_high < 0 else how
        standing[how].append("always naming the majority class" if title == "majority" else in_words(title))
    said = [f"{how[0].upper()}{how[1:]} accurate than {enumerated(each)}." for how, each in standing.items() if each]
    if bayes := result.scores.bayes:
        surely = "surely" if bayes.difference_high < 0 else "not surely"
        said.append(
            f"The best that is possible there is {percent(bayes.accuracy)}; the network is {surely} below that."
        )
    return " ".join(said)


def _cards(result: Result) -> Html:
    scores, own = result.scores, result.scores.accuracy
    title, best = max(scores.baseline.items(), key=lambda item: item[1].accuracy)
    differing = len(changed(result))
    settings = f"{counted(differing, 'setting differs', 'settings differ')} from the shipped ones."
    settings = settings if differing else "All settings as shipped."
    points = [f"{100 * value:+.2f}" for value in (best.difference, best.difference_low, best.difference_high)]
    how = element("span", "not surely different")
    if best.difference_low > 0 or best.difference_high < 0:
        how = element("span", "surely better", kind="good") if best.difference > 0 else _bad("surely worse")
    balanced = f"Macro-F1 {number(scores.macro_f1.value)}: a rare class counts as much as a frequent one."
    interval = f"{100 * own.low:.1f}\N{EN DASH}{percent(own.high)}"
    against = f"against {in_words(title)}, the best simple model"
    wrong, trained = f"{scores.rows - scores.correct:,} of {scores.rows:,}", f"{int(result.rows[0].sum()):,}"
    return element(
        "ul",
        _card("How good?", percent(own.value), "accuracy", balanced),
        _card("How sure?", interval, f"{confidence(scores)} interval", _luck(result)),
        _card("Better than what?", f"{points[0]} points", against, how, f": {points[1]} to {points[2]}."),
        _card("Where wrong?", wrong, "test rows", *worst_pair(result)),
        _card("How made?", trained, "training rows", f"{made_of(result)}. {settings}"),
        kind="cards",
    )


def _bad(said: str) -> Html:
    return element("span", said, kind="bad")


def _luck(result: Result) -> str:
    own, replicas = result.scores.accuracy, result.scores.training.replicas
    if own.jackknife is not None:
        return f"The luck of the seeds: a deviation of {100 * own.jackknife:.2f} points."
    if own.deviation is not None:
        return f"The luck of a seed: {counted(replicas, 'replica')} deviate by {100 * own.deviation:.2f} points."
    return "One network: the luck of its seed is not known."


def _card(question: str, big: str, of: str, *more: str) -> Html:
    lines = [element("p", question, kind="q"), element("p", big, kind="big"), element("p", of, kind="soft")]
    return element("li", *lines, element("p", *more))
