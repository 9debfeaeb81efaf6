"""How good a classifier is and how sure that is; its probabilities, what it looks at, and how its training went."""

from retrace.evaluation.comparisons import in_words, leads
from retrace.figures.columns import numbers
from retrace.report import charts
from retrace.report.html import Html, element, table
from retrace.report.inputs import Result
from retrace.report.words import confidence, counted, number, percent, signed

# Metrics whose name is not their key.
TITLES = {"macro_f1": "macro-F1", "roc_auc": "ROC AUC", "brier_score": "Brier score"}
# Metrics of a replica by itself, and replicas in a table.
OF_REPLICAS, MOST_REPLICAS = ("accuracy", "macro_f1", "log_loss"), 100


def score_part(result: Result) -> list[Html]:
    return [charts.accuracy(result), *_comparison(result), *_metrics(result)]


def trust_part(result: Result) -> list[Html]:
    error = result.scores.calibration_error
    said = (
        "Of rows for which it says that it is 90% sure, is it right on 9 in 10? On average it is off by"
        f" {percent(error.value)} ({percent(error.low)} to {percent(error.high)}), its expected calibration error"
    )
    sure, right, rows = (numbers(result.calibration, each) for each in ("confidence", "accuracy", "rows"))
    said += f": on the whole it is {'too sure' if rows @ sure > rows @ right else 'not sure enough'}."
    return [element("p", said), charts.calibration(result)]


def importance_part(result: Result) -> list[Html]:
    said = (
        "Each column of the test rows was shuffled, and the network asked again. A column that shares what it says with"
        " another one may look useless, since the other one stays."
    )
    return [element("p", said), charts.importance(result)]


def training_part(result: Result) -> list[Html]:
    count = len(result.training.replicas)
    by_loss = ", which has the lowest validation loss" if result.training.shipped is not None else ""
    said = (
        f"{count:,} networks that differ only in their seed were trained side by side; {result.ships} ships{by_loss}."
    )
    if count == 1:
        said = "One network was trained, so that nothing is known of the luck of its seed."
    names = [each for each in OF_REPLICAS if each in result.replicas.column_names]
    rows = []
    for row in result.replicas.slice(0, MOST_REPLICAS).to_pylist():
        values = (number(row[each]) for each in ("best_validation_loss", *names))
        cells = [f"{row['best_epoch']:,.0f}", *values, "yes" if row["shipped"] else "no"]
        rows.append([f"replica {row['replica']:.0f}", *cells])
    caption = "Each replica by itself; metrics on the test rows."
    if count > len(rows):
        caption += f" {counted(count - len(rows), 'other one is', 'other ones are')} in reports/replicas.csv."
    header = ["replica", "best epoch", "validation loss", *map(_title, names), "ships"]
    return [element("p", said), charts.loss(result), table(header, rows, caption, kind="sort", named=True)]


def _comparison(result: Result) -> list[Html]:
    scores, rows = result.scores, []
    others = {in_words(title): other for title, other in scores.baseline.items()}
    others |= {"Bayes limit": scores.bayes} if scores.bayes else {}
    for title, other in sorted(others.items(), key=lambda item: -item[1].accuracy):
        cells = []
        for each in other.compared():
            cells += [number(each.value), f"{signed(each.difference)} ({signed(each.low)} to {signed(each.high)})"]
        rows.append([title, *cells])
    header = ["on the same test rows", "accuracy", "network minus it", "log loss", "network minus it"]
    caption = (
        f"Differences with paired {confidence(scores)} intervals: where one leaves out 0, they surely differ."
        " A lower log loss is better."
    )
    caption += " The Bayes limit is who knows how the data were made." if scores.bayes else ""
    said = [
        element("p", f"{lead.text[:1].upper()}{lead.text[1:]}.", kind="bad" if lead.surely else "")
        for lead in leads(scores.baseline)
    ]
    return [element("h3", "Better than what?"), *said, table(header, rows, caption, kind="sort", named=True)]


def _metrics(result: Result) -> list[Html]:
    rows = []
    for title, each in result.scores.headlines.items():
        seeds = each.deviation if each.jackknife is None else each.jackknife
        rows.append([_title(title), *map(number, (each.value, each.low, each.high, each.mean, seeds))])
    luck = "the standard error of the replicas' mean, by the jackknife"
    if result.training.shipped is not None:
        luck = "the standard deviation over the replicas"
    caption = f"{confidence(result.scores)} intervals, for the luck of the test rows; luck of the seed: {luck}."
    header = ["metric", "value", "from", "to", "replicas' mean", "luck of the seed"]
    return [element("h3", "All metrics"), table(header, rows, caption, kind="sort", named=True)]


def _title(metric: str) -> str:
    return TITLES.get(metric, in_words(metric))
