"""Stage `study_record`: one MLflow run for this state of the study, its trials a table of it.

Reads   reports/study/trials.parquet, reports/study/study.json, the study's page and figures where they are there
Writes  the tracking store, in it the experiment retrace-studies
        .retrace/study_recorded, a digest of what was recorded

As in stages/record.py the files are the truth and the run is their mirror: the same study finds its run again, a run
that was cut off is completed, and a store that was deleted is filled anew.
"""

from retrace.runtime.run import run

import gc
import time
from pathlib import Path

from retrace.runtime.atomic import write_text
from retrace.tracking.location import locate_studies
from retrace.tracking.store import connect, open_experiment, probe
from retrace.tracking.store_errors import translate_errors
from retrace.tracking.store_lock import locked
from retrace.tracking.study_run import read_study_run, summary, sync_study

MARKER = Path(".retrace/study_recorded")


def main() -> None:
    gc.disable()  # as in stages/record.py
    store = locate_studies()
    probe(store)
    entry = read_study_run(time.time_ns() // 1_000_000)
    with translate_errors(store), locked(store):
        client = connect(store)
        outcome = sync_study(client, open_experiment(client, store), entry)
    write_text(MARKER, f"{entry.fingerprint}\n")
    print(f"study_record: {summary(outcome, entry, store)}")


if __name__ == "__main__":
    run(main)
