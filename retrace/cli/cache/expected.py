"""What there should be: the files that the graphs' locks and the .dvc files name, each with its hash."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

from retrace.cli.cache.found import MD5, files_in, hash_file, holds, object_path, relative
from retrace.runtime.integrity import LOCK


@dataclass(frozen=True)
class ExpectedFile:
    """A file or folder that dvc.lock or a .dvc file names.

    digest: its MD5; of a folder, that of DVC's list of its files, with .dir behind it
    out: the output that it is, or lies in; None where it is only read
    brought: by a person, as `dvc add` takes it in; remote: DVC may fetch it from somewhere
    lock: that names it, where none brought it
    """

    path: Path
    digest: str
    size: int | None
    out: Path | None = None
    cached: bool = False
    brought: bool = False
    remote: bool = False
    lock: Path = LOCK


class Expected(NamedTuple):
    """without_hash: dvc.lock or a .dvc file -> what it has no hash of; nothing where it names no file at all.

    unlisted: files that lie in a folder and are not on DVC's list of it, as (file, folder).
    """

    files: list[ExpectedFile]
    without_hash: dict[Path, list[Path]]
    unlisted: list[tuple[Path, Path]]


def read_expected(repo: Repo, cache: Path) -> Expected:
    """A folder in the cache as the files on its list, if that is good; raises DvcException."""
    named, without_hash = _named(repo)
    files, unlisted = [], []
    for each in named:
        path = object_path(cache, each.digest)
        if not (each.cached and each.digest.endswith(".dir") and holds(hash_file(path), each.digest)):
            files.append(each)
            continue
        listed = {each.path / file["relpath"]: file["md5"] for file in json.loads(path.read_bytes())}
        files += [replace(each, path=path, digest=digest, size=None) for path, digest in listed.items()]
        unlisted += [(path, each.path) for path in files_in(repo, each.path) if path not in listed]
    return Expected(files, without_hash, unlisted)


def _named(repo: Repo) -> tuple[list[ExpectedFile], dict[Path, list[Path]]]:
    named: dict[tuple[Path, str], ExpectedFile] = {}
    without_hash: dict[Path, list[Path]] = {}
    # What a person brought comes first: the rest is made of it.
    for stage in sorted(repo.index.stages, key=lambda stage: not stage.is_data_source):
        brought, lock = stage.is_data_source, relative(stage.path).parent / LOCK
        if not brought and lock != LOCK and not lock.exists():
            continue  # of a graph beside the pipeline's, that nobody has run
        if brought and not stage.outs:  # emptied; DVC does not mind
            without_hash[relative(stage.path)] = []
        deps = [] if brought else [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
        for item in (*stage.outs, *deps):
            path, digest = relative(item.fs_path), str(item.hash_info.value)
            size = None if digest.endswith(".dir") else item.meta.size
            if item.hash_info.name != "md5" or not MD5.fullmatch(digest):
                without_hash.setdefault(relative(stage.path) if brought else lock, []).append(path)
            elif item in stage.outs:
                remote = bool(item.remote or repo.config["core"].get("remote") or stage.is_import)
                named[path, digest] = ExpectedFile(path, digest, size, path, item.use_cache, brought, remote, lock)
            else:
                named.setdefault((path, digest), ExpectedFile(path, digest, size, lock=lock))
    return list(named.values()), without_hash
