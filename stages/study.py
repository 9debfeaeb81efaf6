"""Stage `study`: which settings of section `train` are better, and is it sure? In a graph of its own, study/dvc.yaml.

Reads   data/train.parquet, data/validation.parquet, data/schema.json; sections study, train and split
Writes  reports/study/trials.parquet  every trial, rung and network
        reports/study/study.json      the best settings, trained again with fresh seeds, and the verdict
        .retrace/study.jsonl          trials that have ended, for `retrace study --mirror`; DVC does not know it
        .checkpoints/study            what was measured, from which a study that was cut off goes on

The rows of the test are not read.
"""

from retrace.runtime.run import run

from retrace.artifacts.schema import read_schema
from retrace.artifacts.study import STUDY_LOCK, TRIALS, write_study
from retrace.params.reader import read, read_verbatim
from retrace.params.split import Split
from retrace.params.study import Study
from retrace.params.train import Train
from retrace.runtime.single_instance import single_instance
from retrace.study.study_run import run_study

ANOTHER = "study: another study is under way in this folder; wait for it, or end it first"


def main() -> None:
    with single_instance(STUDY_LOCK, ANOTHER):
        table, result = run_study(read(Study), *read_verbatim(Train), read(Split), read_schema())
        TRIALS.write(table)
        write_study(result)
        print(f"study: {result.trials:,} trials; {result.reason}")


if __name__ == "__main__":
    run(main, "lower train.batch_size, or leave wide networks out of study.space")
