"""`retrace backfill`: one run for each state of the pipeline that git remembers, oldest first.

A state is a dvc.lock of HEAD, of any branch or tag, of the commits before them, or of a DVC experiment. Each is put
together in a temporary clone, from its commit and from DVC's cache or remote, and recorded from there by today's
`record` into the project's store; the workspace and its marker stay as they are. A state whose files are gone, or that
today's `record` cannot read, is skipped with a line that says why.
"""

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from dvc.repo import Repo
from ruamel.yaml import YAML

from retrace.artifacts.dvc_lock import parse, read_lock
from retrace.artifacts.paths import FIGURES
from retrace.cli.repository import clone, git, words
from retrace.params.reader import read
from retrace.params.record import Record
from retrace.runtime.errors import BAD_DATA, MACHINE_FAULT, UserError
from retrace.runtime.integrity import LOCK
from retrace.tracking.location import Store, exists, locate
from retrace.tracking.mlflow_internals.buckets import limit_bucket_time
from retrace.tracking.mlflow_internals.limits import time_limit
from retrace.tracking.run_parts import COMPLETE, FINGERPRINT
from retrace.tracking.store import connect, probe
from retrace.tracking.store_errors import translate_errors
from retrace.tracking.store_lock import locked

GRAPH = Path("dvc.yaml")
# Those of DVC's own references that hold a result: refs/exps/BASELINE[:2]/BASELINE[2:]/NAME.
EXPERIMENTS = "refs/exps/??/*/*"

REMOTE_SECONDS = 15  # for DVC's remote to say that it is there

RECORDED, THERE, SKIPPED = "recorded", "already there", "skipped"


@dataclass(frozen=True)
class Commit:
    """experiment: DVC's name for it, or ""."""

    revision: str
    subject: str
    experiment: str


def history(root: Path) -> tuple[Counter[str], set[str]]:
    """Record every state, with a line for each; returns what happened how often, and all fingerprints."""
    counts: Counter[str] = Counter()
    fingerprints: set[str] = set()
    # The remotes of today: DVC would ask those that an older commit names, and none where it named none.
    settings = Repo(str(root)).config
    repository = Repo(str(root), config={key: settings[key] for key in ("core", "remote")})
    needed = read_needed(root)
    with tempfile.TemporaryDirectory(prefix="retrace history ") as folder:
        options = ["--no-checkout", "--config", "remote.origin.fetch=+refs/exps/*:refs/exps/*"]
        copy = Path(folder) / "clone"
        project = clone(root, copy, *options)
        for commit in commits(root):
            text = git(root, "show", f"{commit.revision}:./{LOCK}", may_fail=True)
            if not text:
                continue  # the commit that deleted it
            try:
                fingerprint = parse(text).fingerprint
                if fingerprint in fingerprints:
                    continue
                fingerprints.add(fingerprint)
                git(copy, "checkout", "--quiet", "--force", "--detach", commit.revision)
                git(copy, "clean", "--quiet", "-ffdx")
                happened, why = _replay(root, project, commit, text, needed, repository), ""
            except UserError as fault:
                if fault.status == MACHINE_FAULT:  # of the store or of git: the other states would meet the same
                    raise
                happened, why = SKIPPED, f": {_short(str(fault))}"
            counts[happened] += 1
            title = f"experiment {commit.experiment}" if commit.experiment else commit.subject
            print(f"{commit.revision[:8]} {_cut(title, 60)}: {happened}{why}", flush=True)
    return counts, fingerprints


def commits(root: Path) -> list[Commit]:
    """Every commit that may have changed dvc.lock, parents before children."""
    listed = git(root, "for-each-ref", "--format=%(objectname) %(refname:lstrip=4)", EXPERIMENTS)
    experiments = dict(line.split(" ", 1) for line in listed.splitlines())
    # Without --full-history git leaves out a branch whose changes a merge has dropped again.
    options = ["--reverse", "--date-order", "--full-history", "--format=%H %s"]
    log = git(root, "log", *options, "HEAD", "--branches", "--tags", *experiments, "--", str(LOCK))
    lines = (line.partition(" ") for line in log.splitlines())
    return [Commit(revision, subject, experiments.get(revision, "")) for revision, _, subject in lines]


def read_needed(root: Path) -> set[str]:
    """What today's `record` depends on."""
    deps: list[str] = YAML(typ="safe").load(root / GRAPH)["stages"]["record"]["deps"]
    return set(deps)


def _replay(root: Path, project: Path, commit: Commit, text: str, needed: set[str], repository: Any) -> str:
    lock = parse(text)
    with contextlib.chdir(project):
        name = read(Record).experiment
    store = locate(name)
    if is_recorded(store, lock.fingerprint):
        return THERE
    # A figure that today's graph does not have belongs to its own state all the same.
    files = {path: digest for path, digest in lock.outs.items() if path in needed or Path(path).parent == FIGURES}
    restore(project, commit.revision, files, repository)
    record(root, project, commit.experiment, store)
    return RECORDED


def is_recorded(store: Store, fingerprint: str) -> bool:
    """Whether the store has this state's complete run and its files. Raises UserError (4) when it is unusable."""
    probe(store)
    if store.database and not exists(store.database):
        return False
    with translate_errors(store), locked(store):
        client = connect(store)
        experiment = client.get_experiment_by_name(store.experiment)
        if experiment is None:
            return False
        if experiment.lifecycle_stage == "deleted":
            raise UserError(BAD_DATA, f"its experiment {store.experiment} is in MLflow's trash")
        limit_bucket_time(experiment.artifact_location)
        query = f"tags.`{FINGERPRINT}` = '{fingerprint}' AND tags.`{COMPLETE}` = 'true'"
        runs = client.search_runs([experiment.experiment_id], query, max_results=1)
        # Their folder may have been deleted; which files it lacks is for the recording to find.
        return bool(runs) and bool(client.list_artifacts(runs[0].info.run_id))


def restore(project: Path, revision: str, files: dict[str, str], repository: Any) -> None:
    """Bring the files that the commit has not, as links into DVC's cache; what that lacks is asked of its remote."""
    wanted = {path: digest for path, digest in files.items() if not (project / path).exists()}
    missing, reason = [path for path, digest in wanted.items() if not cached(repository, digest)], ""
    if missing and repository.config["core"].get("remote") and not (reason := unreachable(repository)):
        try:
            repository.fetch(targets=missing, revs=[revision], workspace=False)
        except Exception as error:  # each kind of storage has its own; what it could not bring is named below
            reason = f" ({words(error)})"
    for path, digest in wanted.items():
        source = cached(repository, digest)
        if source is None:
            raise UserError(BAD_DATA, f"{path} is neither in the commit nor in DVC's cache or remote{reason}")
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).symlink_to(source)


@functools.lru_cache(maxsize=1)
def unreachable(repository: Any) -> str:
    """Why DVC's remote cannot be asked, "" where it can. Asked once: DVC itself tries for minutes, state by state."""
    try:
        with time_limit(REMOTE_SECONDS):
            remote = repository.cloud.get_remote_odb()
            remote.fs.exists(remote.path)
        return ""
    except Exception as error:  # each kind of storage has its own
        return f" ({words(error)})"


def cached(repository: Any, digest: str) -> Path | None:
    # The second one is where DVC before 3.0 kept its files.
    places = (Path(cache.oid_to_path(digest)) for cache in (repository.cache.local, repository.cache.legacy))
    return next((place for place in places if place.is_file()), None)


def record(root: Path, project: Path, experiment: str, store: Store) -> None:
    """Today's `record` in its clone; -P keeps the clone's own stages out of its reach."""
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "DVC_ROOT": str(root), "DVC_EXP_NAME": experiment}
    command = [sys.executable, "-P", "-m", "stages.record"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        is_recorded(store, "")  # raises when the fault is the store's and not the state's
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise UserError(BAD_DATA, f"today's `record` cannot read it: {lines[-1]}")


def _short(text: str) -> str:
    """A fault's first line, without its advice: that is for the present state."""
    return _cut(text.partition("\n")[0].partition(";")[0], 160)


def _cut(text: str, length: int) -> str:
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= length else f"{line[: length - 3]}..."


@click.command(epilog="Example: MLFLOW_TRACKING_URI=http://127.0.0.1:5000 retrace backfill")
def command() -> None:
    """Record every state that git's history and DVC's cache or remote still have into a store, oldest first."""
    counts, fingerprints = history(Path.cwd())
    print(f"backfill: {', '.join(f'{counts[each]} {each}' for each in (RECORDED, THERE, SKIPPED))}")
    present = read_lock().fingerprint if LOCK.exists() else None
    # (Recorded already, it is among no commits either.)
    if present and present not in fingerprints and not is_recorded(locate(read(Record).experiment), present):
        print("backfill: the present state is not committed, so not among them; to record it: make record")
