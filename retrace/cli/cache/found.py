"""What there is, in the workspace and in DVC's cache: files by their hashes, hashed anew whatever DVC remembers."""

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from dvc.repo import Repo
from dvc.utils import dict_sha256
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from retrace.runtime.digest import md5, md5_of

MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
SHA256 = re.compile(r"[0-9a-f]{64}")


class FoundFile(NamedTuple):
    """What a file or folder holds; error: why it cannot be read."""

    digest: str
    size: int
    error: str = ""


def hash_file(path: Path) -> FoundFile | None:
    """Piece by piece; None where there is no file."""
    try:
        with open(path, "rb") as file:
            return FoundFile(md5_of(file), file.tell())
    except FileNotFoundError:
        return None
    except OSError as error:
        return FoundFile("", 0, str(error.strerror))


def hash_folder(folder: Path, files: dict[Path, FoundFile | None]) -> FoundFile | None:
    """As DVC hashes the list of a folder's files."""
    if not folder.is_dir():
        return hash_file(folder)
    digests = {path.relative_to(folder).as_posix(): found.digest for path, found in files.items() if found}
    text = json.dumps([{"md5": digest, "relpath": path} for path, digest in sorted(digests.items())])
    return FoundFile(md5(text.encode()).hexdigest(), sum(found.size for found in files.values() if found))


def holds(found: FoundFile | None, digest: str) -> bool:
    return found is not None and found.digest == digest.removesuffix(".dir")


def files_in(repo: Repo, folder: Path) -> list[Path]:
    """The files of a folder, but for those that .dvcignore leaves out."""
    return sorted(relative(path) for path in repo.dvcignore.find(repo.fs, str(folder.absolute())))


def objects_in(cache: Path) -> dict[str, Path]:
    """Digest -> path of all objects, by their names; what is unfinished there has a name of another kind."""
    names = sorted(path.parent.name + path.name for path in cache.glob("??/*"))
    return {name: object_path(cache, name) for name in names if MD5.fullmatch(name)}


def object_path(cache: Path, digest: str) -> Path:
    return cache / digest[:2] / digest[2:]


def run_cache_entries(cache: Path) -> list[Path]:
    return [path for path in (cache.parents[1] / "runs").glob("*/*/*") if SHA256.fullmatch(path.name)]


def is_whole(entry: Path) -> bool:
    """An entry of the run cache is called after the hash of what it says."""
    try:
        content = YAML(typ="safe").load(entry.read_bytes())
        return bool(dict_sha256(content, exclude=["size", "nfiles"]) == entry.name)
    except (YAMLError, ValueError, TypeError, AttributeError, OSError):
        return False


def relative(path: str | Path) -> Path:
    """To the project's folder, where it lies in there."""
    return Path(os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path)
