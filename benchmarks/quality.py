"""`make bench-quality`: how good is what `make table` gives, against the best tools for tables, on the same rows?

For each table and each seed of the split: a project of its own with the shipped params.yaml and what `retrace table`
writes into it, the pipeline's own stages, and the peers (benchmarks/peers.py) on the rows that `split` wrote. All in
processes of their own, one thread each, on the CPU. What was measured is kept (see quality_results.py), so that only
what has changed is measured again, and a run that was cut off is resumed. The report is benchmarks/quality.md.

    python -m benchmarks.quality                              # whatever is stale or missing, then the report
    python -m benchmarks.quality --large                      # the two large tables, one split
    python -m benchmarks.quality --tables german --contestants CatBoost Retrace
    python -m benchmarks.quality --contestants                # measure nothing, write the report
    python -m benchmarks.quality --again --contestants CatBoost Retrace    # CPU seconds, on a machine that is idle
"""

from retrace.runtime.run import run

import argparse
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from benchmarks.measure import stage
from benchmarks.peers import PEERS, RESULT
from benchmarks.quality_board import Board
from benchmarks.quality_report import report
from benchmarks.quality_results import MEASURES, Entry, Results, is_fresh, rows_right, split_digest
from benchmarks.quality_tables import BUNDLED, LARGE, SOURCES, Source
from retrace.artifacts.scores import read_scores
from retrace.artifacts.tables import read_json, read_table
from retrace.runtime.atomic import write_text
from retrace.runtime.cluster import Cluster
from retrace.runtime.cluster_address import ADDRESS
from retrace.runtime.cluster_work import Request, Tasks
from retrace.runtime.digest import md5

OWN = "Retrace"
SEEDS = (26, 27, 28)
CONTESTANTS = (OWN, *PEERS)
FOLDER = Path(".quality")
REPORT = Path("benchmarks/quality.md")
PEERS_RESULTS, OWN_RESULTS = Path("benchmarks/peers.json"), Path("benchmarks/network.json")
THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")


# A contestant, what was measured of it, and else why it could not be.
Found = tuple[str, Entry, str]


class Task(NamedTuple):
    """A table, a seed of its split, and who is measured on it."""

    table: str
    source: Source
    seed: int
    contestants: tuple[str, ...]


BESIDE = (OWN, "logistic regression")  # on the tables that come with scikit-learn
ANCHORS = (OWN, "logistic regression", "gradient boosting", "LightGBM", "CatBoost")  # on the large tables
TASKS = [
    *(Task(name, source, seed, CONTESTANTS) for seed in SEEDS for name, source in SOURCES.items()),
    *(Task(name, source, seed, BESIDE) for seed in SEEDS for name, source in BUNDLED.items()),
]
LARGE_TASKS = [Task(name, source, SEEDS[0], ANCHORS) for name, source in LARGE.items()]


class Project(NamedTuple):
    """code: digest of what the pipeline's results follow from beside the rows; split: digest of the rows."""

    folder: Path
    code: str
    split: str


def code_digest(root: Path) -> str:
    digest = md5()
    code = [path for folder in ("retrace", "stages") for path in sorted((root / folder).rglob("*.py"))]
    for path in (*code, root / "params.yaml"):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def project(root: Path, task: Task, code: str) -> Project:
    """A folder with the table as `make table` names it, split; made anew when the code has changed."""
    folder = root / FOLDER / f"{task.table}-{task.seed}"
    made = folder / "made.json"
    if made.exists() and (found := read_json(made))["code"] == code:
        return Project(folder, code, found["split"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(root / "params.yaml", folder)
    file = task.source.write(folder, task.table)
    stage(root, folder, "retrace.cli.table", "--yes", file.name, task.source.target)
    file.unlink()
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    params["split"]["seed"] = task.seed
    yaml.dump(params, folder / "params.yaml")
    for name in ("create", "split"):
        stage(root, folder, f"stages.{name}")
    done = Project(folder, code, split_digest(folder))
    made.write_text(json.dumps({"code": code, "split": done.split}))
    return done


def own(root: Path, folder: Path) -> Entry:
    """The pipeline's result, as its stages write it; cpu: of the process of `train`, imports included."""
    stage(root, folder, "stages.baseline")
    train = stage(root, folder, "stages.train")
    stage(root, folder, "stages.evaluate")
    scores = read_scores(folder)
    predictions = read_table(folder / "reports" / "predictions.parquet", ["actual", "predicted"])
    actual, predicted = (predictions.column(name).to_numpy() for name in ("actual", "predicted"))
    return {
        **{name: scores.headlines[name].value for name in MEASURES},
        **rows_right(actual == predicted),
        "cpu": round(train.cpu, 3),
        "cpu_without_imports": round(train.inside_cpu, 3),
        "wall": round(train.seconds, 3),
    }


def peer(root: Path, folder: Path, name: str) -> Entry:
    (folder / RESULT).unlink(missing_ok=True)
    stage(root, folder, "benchmarks.peers", name)
    entry: Entry = read_json(folder / RESULT)
    return entry


def measure(root: Path, tasks: Sequence[Task], contestants: Sequence[str], again: bool) -> None:
    """Whatever is stale or missing, or all of it again, a table and split after the other.

    Or on the nodes of a cluster (RAY_ADDRESS), side by side. There, too, this repository must lie at `root`, in an
    environment that the nodes were started from; CPU seconds are then those of the node.
    """
    kept = {OWN: Results(OWN_RESULTS), **dict.fromkeys(PEERS, Results(PEERS_RESULTS))}
    code = code_digest(root)
    requests = []
    for task in tasks:
        place = task.table, task.seed
        asked = {each: kept[each].known(*place, each) for each in contestants if each in task.contestants}
        requests.append((root, task, asked, again, code))

    def put(task: Task, found: Iterable[Found]) -> None:
        for contestant, entry, fault in found:
            place = f"quality: {task.table}, split {task.seed}"
            if fault:
                print(f"{place}: {fault}", file=sys.stderr, flush=True)
                continue
            kept[contestant].put(task.table, task.seed, contestant, entry)
            seen = entry.get("failed") or f"accuracy {entry['accuracy']:.4f}, {entry['cpu']:.1f} CPU seconds"
            print(f"{place}, {contestant}: {seen}", flush=True)

    if not os.environ.get(ADDRESS):
        for request in requests:
            put(request[1], found_of(*request))
        return
    does = [f"quality: {task.table}, split {task.seed}" for task in tasks]
    with Cluster("quality", partial(facts, root)) as cluster:
        # CPU seconds differ: what is asked for twice is not compared.
        answers = Tasks(cluster, all_found_of, lambda answer: "").each(requests, does, Request)
        for number, found in answers:
            put(tasks[number], found)


def facts(root: Path) -> dict[str, str]:
    """What a node must have as this machine has it."""
    one_thread_no_gpu()
    return {f"the code in {root}": code_digest(root)}


def all_found_of(*request: Any) -> list[Found]:
    return list(found_of(*request))


def found_of(root: Path, task: Task, asked: dict[str, Entry | None], again: bool, code: str) -> Iterator[Found]:
    """(contestant, what was measured, or else why it could not be) of those that are stale or missing.

    asked: contestants with what is known of them; code: digest of the pipeline's.
    """
    for contestant, known in asked.items():
        try:
            done = project(root, task, code)
            of = PEERS[contestant].stamp if contestant in PEERS else {"code": code}
            stamp = {"split": done.split, **of}
            if not again and is_fresh(known, stamp):
                continue
            entry = own(root, done.folder) if contestant == OWN else peer(root, done.folder, contestant)
        except RuntimeError as error:
            yield contestant, {}, (str(error).strip().splitlines() or ["ended by the system"])[-1]
            return
        yield contestant, {**entry, "stamp": stamp, "machine": machine()}, ""


def machine() -> str:
    """What CPU seconds depend on; they can be compared on the same one only."""
    cpu = Path("/proc/cpuinfo")
    model = re.search(r"(?m)^model name\s*: (.*)$", cpu.read_text()) if cpu.exists() else None
    return f"{platform.machine()}, {model[1] if model else platform.processor() or platform.system()}"


def board(sources: Iterable[str], seeds: Sequence[int], contestants: Sequence[str]) -> Board:
    kept = Results(OWN_RESULTS).entries | Results(PEERS_RESULTS).entries
    return Board(kept, list(sources), seeds, contestants)


def one_thread_no_gpu() -> None:
    """For the processes that are started: before a library is loaded there."""
    os.environ |= {f"{name}_NUM_THREADS": "1" for name in THREADS} | {"CUDA_VISIBLE_DEVICES": ""}


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks.quality", description="The network against other classifiers.")
    parser.add_argument("--large", action="store_true", help="the large tables in place of the fifteen")
    parser.add_argument("--tables", nargs="*", help="measure on these only")
    parser.add_argument("--contestants", nargs="*", choices=CONTESTANTS, default=CONTESTANTS, help="and these only")
    parser.add_argument("--again", action="store_true", help="measure also what is known, for instance CPU seconds")
    given = parser.parse_args()
    one_thread_no_gpu()
    tasks = LARGE_TASKS if given.large else TASKS
    if given.tables is not None:
        tasks = [task for task in tasks if task.table in given.tables]
    measure(Path.cwd(), tasks, given.contestants, given.again)
    boards = board(SOURCES, SEEDS, CONTESTANTS), board(BUNDLED, SEEDS, BESIDE), board(LARGE, SEEDS[:1], ANCHORS)
    write_text(REPORT, report(*boards, SEEDS))
    print(f"quality: {REPORT}")


if __name__ == "__main__":
    run(main)
