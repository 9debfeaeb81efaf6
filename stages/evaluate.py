"""Stage `evaluate`: how good, and how sure?

Reads   models/model.json, models/model.safetensors, models/replicas.safetensors, models/training.json
        data/test.parquet, data/schema.json, reports/baseline.parquet; data/train.parquet for the pictures' plane only,
        data/validation.parquet for a threshold only that is to be found there
Writes  reports/scores.json               every number of the result, rounded and sorted
        reports/metrics.json              a few of them, for DVC's own tables; in git
        reports/predictions.parquet       class, prediction, probabilities and place in the plane of each test row
        reports/plane.json, and the other tables of retrace/artifacts/evaluation.py
The model is read as a user would read it, from its files, and given raw rows: what is tested is what is served.
"""

from retrace.runtime.run import run

from retrace.artifacts.baseline import read_baseline_rows
from retrace.artifacts.metrics import metrics_of, write_metrics
from retrace.artifacts.paths import MODELS, TEST, TRAIN
from retrace.artifacts.schema import read_schema
from retrace.artifacts.scores import write_scores
from retrace.artifacts.tables import read_first, read_table
from retrace.artifacts.training import read_training_report
from retrace.evaluation import reports
from retrace.evaluation.predictions import others, predict, require_room
from retrace.evaluation.scoring import evaluate, summary
from retrace.evaluation.slices import sliced, slices
from retrace.evaluation.threshold import settle
from retrace.networks.arithmetic import compute_as_in_training
from retrace.networks.model_files import load
from retrace.params.evaluate import Evaluate
from retrace.params.reader import read

# Training rows drawn, at most; the principal components are computed from them.
MOST_DRAWN = 100_000


def main() -> None:
    wanted, schema = read(Evaluate), read_schema()
    training = read_training_report()
    compute_as_in_training(training.portable)
    model, replicas = load(MODELS), load(MODELS, "replicas")
    require_room(model, len(training.replicas), schema, wanted)
    section, choice = settle(model, schema, wanted)
    test, baseline = read_table(TEST), read_baseline_rows()
    drawn = read_first(TRAIN, MOST_DRAWN, [*schema.features, schema.target])
    columns = sliced(test, schema, section)
    inputs, verdict, each = predict(model, replicas, test, schema, section)
    scores, spread = evaluate(verdict, each, others(baseline, test, schema), schema, section, training, choice)
    reports.write_curves(verdict, schema, section)
    by_value = slices(columns, verdict.predicted == verdict.actual, section.confidence)
    reports.write_slices(by_value)
    reports.write_importance(model, inputs, verdict.actual, section)
    reports.write_plane(model, drawn, test, inputs, verdict, section)
    reports.write_replicas(spread, training)
    write_scores(scores)
    write_metrics(metrics_of(scores))
    print("\n".join(f"evaluate: {line}" for line in summary(scores, by_value)))


if __name__ == "__main__":
    run(main, "use fewer test rows (split.test_size), or lower evaluate.resamples")
