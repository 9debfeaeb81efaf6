"""Stage `record`: one MLflow run for this state of the pipeline.

Reads   dvc.lock, data/schema.json, data/train.parquet, data/validation.parquet, data/test.parquet (their schemas)
        models/model.json, models/model.safetensors, models/training.json, the code that a served model runs
        the tables of retrace/tracking/state.py, and every figure that dvc.lock names
Writes  the tracking store
        .retrace/recorded, a digest of what was recorded

Stages never talk to the tracker: their files are the truth, and the run is their mirror. The same state finds its run
again, a run that was cut off is completed, and a store that was deleted is filled anew.

`retrace follow` mirrors a training run that is under way into the run that this stage later completes.
"""

from retrace.runtime.run import run

import gc
import time
from pathlib import Path

from retrace.params.gate import Gate
from retrace.params.reader import read
from retrace.params.record import Record
from retrace.runtime.atomic import write_text
from retrace.runtime.stage_log import forget
from retrace.tracking.entry import record, summary
from retrace.tracking.environment import dvc_experiment
from retrace.tracking.follow import close_orphans, delete_duplicate
from retrace.tracking.location import locate
from retrace.tracking.state import read_state
from retrace.tracking.store import connect, open_experiment, probe
from retrace.tracking.store_errors import translate_errors
from retrace.tracking.store_lock import locked
from retrace.tracking.sync import sync_run

MARKER = Path(".retrace/recorded")


def main() -> None:
    gc.disable()  # a fifth of this process would go into collecting garbage that is not there
    section = read(Record)
    store, now = locate(section.experiment), time.time_ns() // 1_000_000
    probe(store)
    entry = record(read_state(now), read(Gate), dvc_experiment(), now)
    with translate_errors(store), locked(store):
        client = connect(store)
        experiment = open_experiment(client, store)
        outcome = sync_run(client, experiment, store.experiment, entry)
        delete_duplicate(client, experiment, entry.times.started, outcome)
        close_orphans(client, experiment, store)
    # Not the fingerprint: DVC does not run this stage for a change of code that changes no result, and a clone that
    # does must write the same.
    write_text(MARKER, f"{entry.lock.content}\n")
    forget()
    for line in summary(outcome, entry, store):
        print(f"record: {line}")


if __name__ == "__main__":
    run(main)
