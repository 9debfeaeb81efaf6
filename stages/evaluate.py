"""Stage `evaluate`: how good, and how sure?

Reads   models/model.json, models/model.safetensors, models/replicas.safetensors, models/training.json
        data/test.parquet, data/train.parquet (for the plane of the pictures only), data/schema.json
        reports/baseline.parquet
Writes  reports/metrics.json              every number of the result: small, rounded, sorted, in git
        reports/predictions.parquet       class, prediction, probabilities and place in the plane of each test row
        reports/replicas.csv              the metrics of each replica; shipped: 1 for the model, or each of its mean
        reports/slices.csv                accuracy for each value of the columns that `slices` names, the worst first
        reports/importance.csv            what the model loses when a column is shuffled, the column it needs most first
        reports/classification_report.txt scikit-learn's
        reports/confusion_matrix.csv, classes.csv, roc.csv, precision_recall.csv, calibration.csv
        reports/boundary.parquet, projection.parquet, plane.json  what `plot` draws: the surface, training rows, axes

The model is read as a user would read it, from its files, and given raw rows: what is tested is what is served.
"""

# First, so that a library that cannot be loaded is one line, too.
from retrace.runtime.run import run  # isort: split

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from sklearn.metrics import classification_report, confusion_matrix, precision_recall_curve, roc_curve

from retrace.artifacts.schema import Schema, read_schema
from retrace.artifacts.tables import count_rows, read_first, read_json, read_table, write_table
from retrace.data.densities import bayes_probabilities
from retrace.evaluation import plane as planes
from retrace.evaluation.comparisons import leads, training_of_shipped
from retrace.evaluation.importance import importance
from retrace.evaluation.intervals import wilson
from retrace.evaluation.metrics import Verdict, calibration, class_scores, log_losses, metrics, resamples
from retrace.evaluation.plane import Plane, grid, plane, space
from retrace.evaluation.slices import Slice, slices
from retrace.networks.model import Model, decide
from retrace.networks.model_files import load
from retrace.params.evaluate import Evaluate
from retrace.params.reader import fault, read, suggest
from retrace.preprocessing.apply import Unusable, encode, sure
from retrace.runtime.atomic import write_csv, write_json, write_text
from retrace.runtime.disk import prepare
from retrace.runtime.errors import BAD_DATA, Fault
from retrace.runtime.memory import need
from retrace.runtime.text import listed, shown

MODELS = Path("models")
TRAINING = Path("models/training.json")
TRAIN = Path("data/train.parquet")
TEST = Path("data/test.parquet")
BASELINE = Path("reports/baseline.parquet")
METRICS = Path("reports/metrics.json")
PREDICTIONS = Path("reports/predictions.parquet")
REPLICAS = Path("reports/replicas.csv")
SLICES = Path("reports/slices.csv")
IMPORTANCE = Path("reports/importance.csv")
REPORT = Path("reports/classification_report.txt")
CONFUSION = Path("reports/confusion_matrix.csv")
CLASSES = Path("reports/classes.csv")
ROC = Path("reports/roc.csv")
PRECISION_RECALL = Path("reports/precision_recall.csv")
CALIBRATION = Path("reports/calibration.csv")
BOUNDARY = Path("reports/boundary.parquet")
PROJECTION = Path("reports/projection.parquet")
PLANE = Path("reports/plane.json")

DIGITS = 6
LESS_THAN = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
# Training rows that are drawn, at most, and that the principal components are those of.
MOST_DRAWN = 100_000


class Evaluation(NamedTuple):
    """metrics: the content of metrics.json; replicas: each replica's metrics by name, [replicas]."""

    metrics: dict[str, Any]
    replicas: dict[str, NDArray[np.float64]]


class Other(NamedTuple):
    """Another classifier on the same rows: predicted class indices [rows], and its log loss at each [rows]."""

    predicted: NDArray[np.int64]
    losses: NDArray[np.float64]


def evaluate(
    verdict: Verdict,
    replicas: list[Verdict],
    others: dict[str, Other],
    schema: Schema,
    section: Evaluate,
    of_mean: bool = False,
) -> Evaluation:
    """Score what ships on the test rows, with intervals, beside single replicas and other classifiers.

    of_mean: what ships is the mean of the replicas.
    """
    rows = len(verdict.actual)
    once = np.ones((1, rows))
    values = {name: float(value[0]) for name, value in metrics(verdict, once, section.calibration_bins).items()}
    each = [metrics(replica, once, section.calibration_bins) for replica in replicas]
    spread = {name: np.array([scores[name][0] for scores in each]) for name in values}
    hit = (verdict.predicted == verdict.actual).astype(np.float64)
    losses = log_losses(verdict.probabilities, verdict.actual)
    gaps = {}
    for name, other in others.items():
        gaps[f"{name}.difference"] = hit - (other.predicted == verdict.actual)
        gaps[f"{name}.log_loss_difference"] = losses - other.losses
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in (*values, *gaps)}
    for weights in resamples(rows, section.resamples, section.seed):
        for name, sample in metrics(verdict, weights, section.calibration_bins).items():
            drawn[name].append(sample)
        for name, gap in gaps.items():
            drawn[name].append(weights @ gap / rows)
    tail = (1 - section.confidence) / 2
    bounds = {name: np.quantile(np.concatenate(samples), [tail, 1 - tail]) for name, samples in drawn.items()}
    # A proportion has an interval of its own, which also holds at the ends of the scale.
    correct = int(hit.sum())
    bounds["accuracy"] = np.array(wilson(correct, rows, section.confidence))

    content: dict[str, Any] = {
        "rows": rows,
        "correct": correct,
        "confidence": section.confidence,
        "threshold": section.threshold,
    }
    errors = jackknife(replicas, section) if of_mean and len(replicas) > 1 else {}
    for name, value in values.items():
        low, high = bounds[name]
        content[name] = {
            "value": value,
            "low": low,
            "high": high,
            "mean": spread[name].mean(),
            "deviation": spread[name].std(ddof=1) if len(replicas) > 1 else None,
            "jackknife": errors.get(name),
        }
    scores = class_scores(verdict, once)
    content["classes"] = {
        name: {
            "precision": scores["precision"][0, index],
            "recall": scores["recall"][0, index],
            "f1": scores["f1"][0, index],
            "rows": int(scores["rows"][0, index]),
        }
        for index, name in enumerate(schema.classes)
    }
    comparisons = {}
    for name, other in others.items():
        gap = gaps[f"{name}.difference"]
        comparisons[name] = {
            "accuracy": values["accuracy"] - gap.mean(),
            "correct": correct - round(gap.sum()),
            "log_loss": other.losses.mean(),
        }
        for key in ("difference", "log_loss_difference"):
            low, high = bounds[f"{name}.{key}"]
            comparisons[name] |= {key: gaps[f"{name}.{key}"].mean(), f"{key}_low": low, f"{key}_high": high}
    content["bayes"] = comparisons.pop("bayes", None)
    content["baseline"] = comparisons
    return Evaluation(content, spread)


def jackknife(replicas: list[Verdict], section: Evaluate) -> dict[str, float]:
    """Standard error of each metric of the replicas' mean, by leaving out one of them at a time (Efron 1982, ch. 3).

    It says how much of a metric is the luck of these seeds: about how far the mean of as many other replicas would be
    from this one, on the same rows. The interval beside it is about the luck of the rows.
    """
    count, actual = len(replicas), replicas[0].actual
    total = np.sum([replica.probabilities for replica in replicas], axis=0)
    left_out = []
    for replica in replicas:
        probabilities = ((total - replica.probabilities) / (count - 1)).clip(0, 1)
        rest = Verdict(actual, decide(probabilities, section.threshold), probabilities)
        left_out.append(metrics(rest, np.ones((1, len(actual))), section.calibration_bins))
    return {
        name: float(np.sqrt((count - 1) * np.var([scores[name][0] for scores in left_out]))) for name in left_out[0]
    }


def verdicts(model: Model, inputs: NDArray[np.float32], actual: NDArray[np.int64], threshold: float) -> list[Verdict]:
    """Each replica's verdict; with two classes the second one is predicted from `threshold` on, else the likeliest."""
    return [
        Verdict(actual, decide(probabilities, threshold), probabilities) for probabilities in model.of_replicas(inputs)
    ]


def sliced(test: pa.Table, schema: Schema, section: Evaluate) -> dict[str, pa.ChunkedArray]:
    """The columns that `slices` names; raises Fault where one is not there."""
    there = [*schema.features, *schema.carried]
    for name in section.slices:
        if name not in there:
            hint = suggest(name, there) or f" ({listed(there)})"
            raise fault(Evaluate, "slices", f"must name columns of the data set; {name!r} is none{hint}")
    return {name: test.column(name) for name in section.slices}


def rounded(content: Any) -> Any:
    """The same with every float at DIGITS decimals."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    return round(float(content), DIGITS) if isinstance(content, float) else content


def written(schema: Schema, section: Evaluate, rows: int) -> int:
    """Bytes of what this stage writes, about: predictions, curves in text, the surface of the picture."""
    classes, longest = len(schema.classes), max(map(len, schema.classes))
    # A curve has a point where the class changes: over all classes, of both curves, hardly more than two a row.
    points = 2 * (longest + 26)
    return rows * (32 + 4 * classes + 2 * (longest + 1) + points) + 28 * section.grid**2


def main() -> None:
    section = read(Evaluate)
    schema = read_schema()
    # As in training: many small products are faster so, and the sums do not depend on the machine's number of cores.
    torch.set_num_threads(1)
    model, replicas = load(MODELS), load(MODELS, "replicas")
    training = read_json(TRAINING)
    few = "use fewer test rows (split.test_size)"
    count, width, classes = count_rows(TEST), model.description.preprocessing.width, len(schema.classes)
    prepare([METRICS], written(schema, section, count), few)
    # Inputs, and the probabilities of all replicas.
    size = 4 * count * (width + classes * (1 + len(training["replicas"])))
    need(size, f"evaluate: {count:,} test rows of {width:,} columns", few)
    test, baseline = read_table(TEST), read_table(BASELINE)
    drawn, training_rows = read_first(TRAIN, MOST_DRAWN, [*schema.features, schema.target]), count_rows(TRAIN)
    columns = sliced(test, schema, section)
    actual = test.column(schema.target).to_numpy()
    # Once for all that look at the test rows.
    preprocessing = model.description.preprocessing
    try:
        inputs = encode(preprocessing, test)
        probabilities = sure(preprocessing, test, model.of_inputs(inputs))
        all_verdicts = verdicts(replicas, inputs, actual, section.threshold)
        for each in all_verdicts:
            sure(preprocessing, test, each.probabilities)
    except Unusable as error:
        raise Fault(
            BAD_DATA,
            f"{TEST}: column {error.column}, row {error.row + 1:,}: {error.value} {error.rule}; mend it in the"
            " table, or leave the row out",
        ) from None
    verdict = Verdict(actual, decide(probabilities, section.threshold), probabilities)
    others = {
        name: Other(baseline.column(name).to_numpy(), baseline.column(f"{name}_log_loss").to_numpy())
        for name in baseline.column_names
        if f"{name}_log_loss" in baseline.column_names
    }
    if schema.density is not None:
        rows = np.column_stack([test.column(name).to_numpy() for name in schema.features])
        chances = bayes_probabilities(schema.density, rows)
        others["bayes"] = Other(chances.argmax(1), log_losses(chances, actual))
    shipped = training["shipped"]
    content, spread = evaluate(verdict, all_verdicts, others, schema, section, of_mean=shipped is None)
    chosen = training_of_shipped(training)
    content["training"] = {
        "replicas": len(all_verdicts),
        "shipped": shipped,
        "best_epoch": chosen["best_epoch"],
        "best_validation_loss": chosen["best_validation_loss"],
    }
    each_replica = [
        [index, int(shipped in (index, None)), item["best_epoch"], item["best_validation_loss"], *map(float, values)]
        for index, (item, *values) in enumerate(zip(training["replicas"], *spread.values(), strict=True))
    ]

    write_curves(verdict, schema, section)
    by_value = slices(columns, verdict.predicted == verdict.actual, section.confidence)
    write_csv(SLICES, Slice._fields, by_value)
    write_importance(model, inputs, actual, section)
    points, shown = space(model, drawn), space(model, test, inputs)
    surface = plane(points, model.description)
    write_boundary(model, surface, shown, section)
    write_predictions(verdict, surface.coordinates(shown))
    x, y = surface.coordinates(points).T
    write_table(PROJECTION, pa.table({"actual": drawn.column(schema.target), "x": x.copy(), "y": y.copy()}))
    write_json(PLANE, {**surface.content(), "training_rows": training_rows})
    write_csv(REPLICAS, ["replica", "shipped", "best_epoch", "best_validation_loss", *spread], each_replica)
    write_json(METRICS, rounded(content))
    accuracy = content["accuracy"]
    print(
        f"evaluate: accuracy {accuracy['value']:.4f} ({accuracy['low']:.4f} to {accuracy['high']:.4f}), macro-F1"
        f" {content['macro_f1']['value']:.4f} on {test.num_rows:,} test rows; {content['correct']:,} correct"
    )
    if by_value:
        worst = by_value[0]
        print(
            f"evaluate: worst of {len(by_value)} slices: {worst.column!r} is {worst.value!r}, accuracy"
            f" {worst.accuracy:.4f} ({worst.low:.4f} to {worst.high:.4f}) on {worst.rows:,} test rows"
        )
    for lead in leads(content["baseline"]):
        print(f"evaluate: {lead.text}")


def write_curves(verdict: Verdict, schema: Schema, section: Evaluate) -> None:
    """The tables behind the confusion matrix, ROC, precision-recall and calibration figures, and the report."""
    indices = list(range(len(schema.classes)))
    matrix = confusion_matrix(verdict.actual, verdict.predicted, labels=indices)
    write_csv(CONFUSION, ["actual", *schema.classes], ([schema.classes[i], *map(int, matrix[i])] for i in indices))
    # `dvc plots show` writes these into the script of its page as they stand, where `</script>` would end it.
    names = np.array([shown(name).replace("<", LESS_THAN) for name in schema.classes])
    write_csv(CLASSES, ["actual", "predicted"], zip(names[verdict.actual], names[verdict.predicted], strict=True))
    roc, precision_recall = [], []
    # With two classes the second one's curves say all; with more, each class stands against the rest.
    for index in indices[1:] if len(indices) == 2 else indices:
        positive, score = verdict.actual == index, verdict.probabilities[:, index]
        false, true, _ = roc_curve(positive, score)
        roc += [(schema.classes[index], float(x), float(y)) for x, y in zip(false, true, strict=True)]
        precision, recall, _ = precision_recall_curve(positive, score, drop_intermediate=True)
        precision_recall += [
            (schema.classes[index], float(x), float(y)) for x, y in zip(recall, precision, strict=True)
        ]
    write_csv(ROC, ["class", "false_positive_rate", "true_positive_rate"], roc)
    write_csv(PRECISION_RECALL, ["class", "recall", "precision"], precision_recall)
    bins = calibration(verdict, section.calibration_bins)
    write_csv(CALIBRATION, ["low", "high", "confidence", "accuracy", "rows"], bins)
    write_text(
        REPORT,
        classification_report(
            verdict.actual,
            verdict.predicted,
            labels=indices,
            target_names=[shown(name) for name in schema.classes],
            digits=4,
            zero_division=0,
        ),
    )


def write_importance(model: Model, inputs: NDArray[np.float32], actual: NDArray[np.int64], section: Evaluate) -> None:
    found, rows = importance(model, inputs, actual, section)
    header = ["column"]
    for name in ("accuracy_drop", "log_loss_increase"):
        header += [name, f"{name}_low", f"{name}_high"]
    write_csv(IMPORTANCE, [*header, "rows"], ([each.column, *each.accuracy, *each.log_loss, rows] for each in found))


def write_boundary(model: Model, surface: Plane, test: NDArray[np.float64], section: Evaluate) -> None:
    points = grid(surface.coordinates(test), section.grid)
    chances = planes.probabilities(model, surface.points(points))
    predicted = decide(chances, section.threshold)
    shown = chances[:, 1] if chances.shape[1] == 2 else chances.max(1)
    table = {"x": points[:, 0], "y": points[:, 1], "predicted": predicted, "probability": shown.astype(np.float32)}
    write_table(BOUNDARY, pa.table(table))


def write_predictions(verdict: Verdict, coordinates: NDArray[np.float64]) -> None:
    columns: dict[str, NDArray[Any]] = {"actual": verdict.actual, "predicted": verdict.predicted}
    columns |= {f"probability_{index}": column for index, column in enumerate(verdict.probabilities.T)}
    columns |= {"x": coordinates[:, 0], "y": coordinates[:, 1]}
    write_table(PREDICTIONS, pa.table({name: np.ascontiguousarray(column) for name, column in columns.items()}))


if __name__ == "__main__":
    run(main, "use fewer test rows (split.test_size), or lower evaluate.resamples")
