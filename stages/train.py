"""Stage `train`: fit the network, all replicas side by side.

Reads   data/train.parquet, data/validation.parquet, data/schema.json
Writes  models/model.json            names, widths, preprocessing, SHA-256 of both
        models/model.safetensors     weights of what ships, as torch.nn.Linear lays them out: a replica, or all, stacked
        models/replicas.safetensors  best weights of every replica, stacked along a first axis
        models/training.json         device and why, best epoch and validation loss of each replica
        models/reference.json        what the training rows were like: new ones are held against it
        reports/history.csv          a row for each epoch and replica
        reports/loss.csv             training and validation loss of what ships, for `dvc plots`
        reports/steps.parquet        training loss of every step, a column a replica
        .retrace/train.json          when and how long; DVC does not know it, since a clock is not a result
        .retrace/live.json, live.csv what is under way, for `retrace follow`; DVC does not know them either
        .checkpoints/train           from which a training run that was cut off is resumed; gone at its end
"""

from retrace.runtime.run import run

from retrace.artifacts.paths import TRAIN_LOCK
from retrace.runtime.single_instance import end_unless_alone, single_instance

ANOTHER = "train: another training run is under way in this folder; wait for it, or end it first"
# Before torch is loaded, whose seconds nobody should wait to be turned away.
# ruff: noqa: E402
if __name__ == "__main__":
    end_unless_alone(TRAIN_LOCK, ANOTHER)

import time
from datetime import UTC, datetime

from retrace.artifacts.schema import read_schema
from retrace.params.reader import read_verbatim
from retrace.params.train import Train
from retrace.training.checkpoint import Checkpoints
from retrace.training.resources import require_room
from retrace.training.result_files import summary, write_clock, write_results
from retrace.training.rows import rows_to_train
from retrace.training.training_run import set_up, train


def main() -> None:
    with single_instance(TRAIN_LOCK, ANOTHER):  # two would write the same files, and the slower one would win
        started, clock = datetime.now(UTC), time.monotonic()
        settings = set_up(*read_verbatim(Train), read_schema())
        require_room(settings.description, settings.section, settings.device)
        with rows_to_train(settings.schema, settings.section, settings.preprocessing) as (training, validation):
            print(f"train: {settings.summary}; {len(training.x):,} rows")
            checkpoints = Checkpoints(settings.fingerprint, started, clock)
            result = train(training, validation, settings, checkpoints)
            report = write_results(result, settings, validation)
        write_clock(checkpoints, settings.device)
        checkpoints.remove()
        print(f"train: {summary(result)}")
        if report.temperature:
            print(f"train: {report.temperature.words}")


if __name__ == "__main__":
    run(main, "use fewer rows or columns")
