"""The repository that the project lies in, and a fresh copy of its last commit.

The project's folder may be one of many in a bigger git repository, or a worktree of one; its tables may be in DVC's
cache or remote only (`dvc add`, `dvc import-url`).
"""

import contextlib
import shlex
import subprocess
from pathlib import Path

from dvc.exceptions import CheckoutError, DvcException
from dvc.repo import Repo
from dvc.stage import Stage

from retrace.runtime.errors import BAD_DATA, MACHINE_FAULT, UserError


def git(folder: Path, *arguments: str, may_fail: bool = False) -> str:
    """What git prints; raises UserError with git's own words, or with may_fail returns ""."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        raise UserError(MACHINE_FAULT, "git is not installed") from None
    if done.returncode and not may_fail:
        lines = (line.strip() for line in done.stderr.decode(errors="replace").splitlines())
        raise UserError(MACHINE_FAULT, f"git {arguments[0]} failed in {folder}: {' '.join(filter(None, lines))}")
    return "" if done.returncode else done.stdout.decode(errors="replace")


def clone(root: Path, folder: Path, *options: str) -> Path:
    """Clone the whole repository into `folder`; returns the project's folder in it."""
    top, inside = git(root, "rev-parse", "--show-toplevel", "--show-prefix").split("\n")[:2]
    if not git(root, "rev-parse", "--verify", "--quiet", "HEAD", may_fail=True):
        raise UserError(BAD_DATA, f"{top}: nothing is committed yet; commit it after: git add --all")
    # Whether another owner's folder is trusted was asked by the line above; a clone would ask for one more setting.
    trusting = "--upload-pack=git -c safe.directory='*' upload-pack"
    git(root, "clone", "--quiet", "--no-local", trusting, *options, top, str(folder))
    return folder / inside


def bring_sources(root: Path, project: Path) -> None:
    """Put into a clone what DVC has of its commit and no stage makes, and give it an empty cache of its own."""
    try:
        with Repo(str(root)) as own:
            settings = own.config
            # All of them: a remote may be named in settings that git does not have, and relative to their place.
            cache = {**settings["cache"], "dir": own.cache.local_cache_dir, "type": ["copy"]}
        with contextlib.chdir(project):
            # At first without a remote: it need not answer where the cache has all.
            for core in ({**settings["core"], "remote": ""}, settings["core"]):
                with Repo(config={**settings, "cache": cache, "core": core}) as repo:
                    missing = [line for source in sources(repo) if (line := _pull(repo, source))]
                if not missing:
                    break
        if missing:
            raise UserError(BAD_DATA, *missing)
        # A shared one, named in the committed settings or in those of the user or the machine, is not empty.
        (project / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n", "utf-8")
        with contextlib.chdir(project), Repo() as repo, repo.lock:
            for source in sources(repo):
                source.commit()  # else DVC would ask where an imported one came from, which may be gone
    except DvcException as error:
        raise UserError(BAD_DATA, f"the last commit: {words(error)}") from None


def sources(repo: Repo) -> list[Stage]:
    """The .dvc files of what the stages of dvc.yaml read; others are left alone.

    What was imported with --no-download has no hash yet: DVC itself fetches it when it is needed.
    """
    graph = repo.index.graph
    read = {each for stage in graph if not stage.is_data_source for each in graph.successors(stage)}
    known = (each for each in read if each.is_data_source and not each.is_partial_import)
    return sorted(known, key=lambda each: str(each.addressing))


def words(error: Exception) -> str:
    """What DVC or a storage said, in one line."""
    if "requires 'dvc-s3'" in str(error):
        return "what DVC needs for a bucket is not installed: make setup EXTRAS=s3"
    return (str(error).splitlines() or [type(error).__name__])[0]


def _pull(repo: Repo, source: Stage) -> str:
    """Where nobody has its files, a line that says so."""
    name, reason = source.addressing, ""
    try:
        repo.pull(targets=[name])
        return ""
    except CheckoutError:
        pass
    except Exception as error:  # each kind of storage has its own
        reason = f" ({words(error)})"
    again = f", or: dvc update {shlex.quote(name)}" if source.is_import else ""
    return (
        f"{name}: its data are neither in DVC's cache nor in a remote{reason}; put them in their place and run:"
        f" dvc commit {shlex.quote(name)}{again}"
    )
