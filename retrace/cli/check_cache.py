"""`retrace check-cache`: does every file hold what it should? Exit status 0, or 3 with a line for each that does not.

DVC never looks into a protected object of its cache, nor into a file of the workspace whose size and time are as they
were: what was flipped, cut or emptied there it restores without a word, and calls up to date. So everything is hashed
anew here: in the workspace what dvc.lock and the .dvc files name, in the cache every object, also those of older
states, and every entry of the run cache, from which `dvc repro` would bring an older state back.

Each line ends with the command that repairs the file. Nothing is changed here.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import click
from dvc.exceptions import DvcException
from dvc.repo import Repo

from retrace.cli.cache.expected import read_expected
from retrace.cli.cache.found import (
    files_in,
    hash_file,
    hash_folder,
    is_whole,
    object_path,
    objects_in,
    run_cache_entries,
)
from retrace.cli.cache.repairs import repairs, unreadable
from retrace.runtime.errors import BAD_DATA, UserError


class CacheReport(NamedTuple):
    """How much was hashed, and a line for each fault, in an order in which the repairs can be run."""

    files: int
    objects: int
    runs: int
    faults: list[str]


def check() -> CacheReport:
    """Raises UserError where DVC itself cannot begin."""
    try:
        with Repo() as repo:
            return _check(repo)
    except DvcException as error:
        raise unreadable(error) from None


def _check(repo: Repo) -> CacheReport:
    cache = Path(repo.cache.local.path)
    expected = read_expected(repo, cache)
    objects = objects_in(cache)
    objects |= {each.digest: object_path(cache, each.digest) for each in expected.files if each.cached}
    folders = {each.path: files_in(repo, each.path) for each in expected.files if each.digest.endswith(".dir")}
    files = {each.path for each in expected.files if each.path not in folders}.union(*folders.values())
    with ThreadPoolExecutor() as pool:  # other threads run while one hashes
        both = [*files, *objects.values()]
        found = dict(zip(both, pool.map(hash_file, both), strict=True))
    found |= {folder: hash_folder(folder, {path: found[path] for path in paths}) for folder, paths in folders.items()}
    runs = run_cache_entries(cache)
    damaged_runs = [path for path in runs if not is_whole(path)]
    return CacheReport(len(files), len(objects), len(runs), repairs(expected, objects, damaged_runs, found))


@click.command(epilog="Example: retrace check-cache")
def command() -> None:
    """Hash what is here and every object of DVC's cache; exit status 0, or 3 with a line for each that is damaged.

    Each line ends with the command that repairs the file. Nothing is changed."""
    report = check()
    hashed = f"{report.files:,} files here, {report.objects:,} objects and {report.runs:,} runs in the cache"
    print(f"check-cache: hashed {hashed}: {len(report.faults) or 'no'} faults")
    if report.faults:
        raise UserError(BAD_DATA, *report.faults)
