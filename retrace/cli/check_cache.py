"""`retrace check-cache`: does every file hold what it should? Exit status 0, or 3 with a line for each that does not.

DVC never looks into a protected object of its cache, nor into a file of the workspace whose size and time are as they
were: what was flipped, cut or emptied there it restores without a word, and calls up to date. So everything is hashed
anew here: in the workspace what dvc.lock and the .dvc files name, in the cache every object, also those of older
states, and every entry of the run cache, from which `dvc repro` would bring an older state back.

Each line ends with the command that repairs the file. Nothing is changed here.
"""

import json
import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import click
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils import dict_sha256
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from retrace.artifacts.dvc_lock import parse
from retrace.runtime.digest import md5, md5_of
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import LOCK

MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
SHA256 = re.compile(r"[0-9a-f]{64}")
CONFLICT = re.compile(r"^(<<<<<<<|=======|>>>>>>>)( |$)", re.MULTILINE)


@dataclass(frozen=True)
class Named:
    """A file or folder that dvc.lock or a .dvc file names.

    digest: its MD5; of a folder, that of DVC's list of its files, with .dir behind it
    out: the output that it is, or lies in; None where it is only read
    brought: by a person, as `dvc add` takes it in; remote: DVC may fetch it from somewhere
    """

    path: Path
    digest: str
    size: int | None
    out: Path | None = None
    cached: bool = False
    brought: bool = False
    remote: bool = False


class Found(NamedTuple):
    """What a file or folder holds; error: why it cannot be read."""

    digest: str
    size: int
    error: str = ""


class Verdict(NamedTuple):
    """How much was hashed, and a line for each fault, in an order in which the repairs can be run."""

    files: int
    objects: int
    runs: int
    faults: list[str]


def verify() -> Verdict:
    try:
        with Repo() as repo:
            return _verify(repo)
    except DvcException as error:
        raise _unreadable(error) from None


def _verify(repo: Repo) -> Verdict:
    cache = Path(repo.cache.local.path)
    named, faults = _named(repo)
    named, strangers = _opened(repo, named, cache)
    objects = {digest: _object(cache, digest) for digest in _digests(cache)}
    objects |= {each.digest: _object(cache, each.digest) for each in named if each.cached}
    folders = {each.path: _inside(repo, each.path) for each in named if each.digest.endswith(".dir")}
    files = {each.path for each in named if each.path not in folders}.union(*folders.values())
    with ThreadPoolExecutor() as pool:  # other threads run while one hashes
        both = [*files, *objects.values()]
        found = dict(zip(both, pool.map(_hash, both), strict=True))
    found |= {folder: _hash_list(folder, {path: found[path] for path in paths}) for folder, paths in folders.items()}
    runs = [path for path in (cache.parents[1] / "runs").glob("*/*/*") if SHA256.fullmatch(path.name)]
    faults += strangers
    faults += [f"{_show(path)} is damaged; repair: rm -f {_quote(path)}" for path in runs if not _is_whole(path)]
    faults += _judge(named, objects, found)
    return Verdict(len(files), len(objects), len(runs), faults)


# --- what there should be -------------------------------------------------------------------------------------------


def _named(repo: Repo) -> tuple[list[Named], list[str]]:
    """What dvc.lock and the .dvc files name, and a line for each of these files that says less than it should."""
    named: dict[tuple[Path, str], Named] = {}
    unsaid: dict[Path, list[Path]] = {}
    # What a person brought comes first: the rest is made of it.
    for stage in sorted(repo.index.stages, key=lambda stage: not stage.is_data_source):
        brought = stage.is_data_source
        if brought and not stage.outs:  # emptied; DVC does not mind
            unsaid[Path(_show(stage.path))] = []
        deps = [] if brought else [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
        for item in (*stage.outs, *deps):
            path, digest = Path(_show(item.fs_path)), str(item.hash_info.value)
            size = None if digest.endswith(".dir") else item.meta.size
            if item.hash_info.name != "md5" or not MD5.fullmatch(digest):
                unsaid.setdefault(Path(_show(stage.path)) if brought else LOCK, []).append(path)
            elif item in stage.outs:
                remote = bool(item.remote or repo.config["core"].get("remote") or stage.is_import)
                named[path, digest] = Named(path, digest, size, path, item.use_cache, brought, remote)
            else:
                named.setdefault((path, digest), Named(path, digest, size))
    return list(named.values()), [_unsaid(file, paths) for file, paths in unsaid.items()]


def _opened(repo: Repo, named: list[Named], cache: Path) -> tuple[list[Named], list[str]]:
    """A folder in the cache as the files on its list, if that is good; and a line for each file that is on no list."""
    opened, strangers = [], []
    for each in named:
        path = _object(cache, each.digest)
        if not (each.cached and each.digest.endswith(".dir") and _same(_hash(path), each.digest)):
            opened.append(each)
            continue
        files = {each.path / file["relpath"]: file["md5"] for file in json.loads(path.read_bytes())}
        opened += [replace(each, path=path, digest=digest, size=None) for path, digest in files.items()]
        strangers += [
            f"{path} is not among the files of {each.path}; repair: rm -f {_quote(path)}"
            for path in _inside(repo, each.path)
            if path not in files
        ]
    return opened, strangers


def _inside(repo: Repo, folder: Path) -> list[Path]:
    """The files of a folder, but for those that .dvcignore leaves out."""
    return sorted(Path(_show(path)) for path in repo.dvcignore.find(repo.fs, str(folder.absolute())))


def _digests(cache: Path) -> list[str]:
    """Of all objects in the cache, by their names; what is unfinished there has a name of another kind."""
    names = (path.parent.name + path.name for path in cache.glob("??/*"))
    return sorted(name for name in names if MD5.fullmatch(name))


def _object(cache: Path, digest: str) -> Path:
    return cache / digest[:2] / digest[2:]


# --- what there is --------------------------------------------------------------------------------------------------


def _hash(path: Path) -> Found | None:
    """Piece by piece; None where there is no file."""
    try:
        with open(path, "rb") as file:
            return Found(md5_of(file), file.tell())
    except FileNotFoundError:
        return None
    except OSError as error:
        return Found("", 0, str(error.strerror))


def _hash_list(folder: Path, files: dict[Path, Found | None]) -> Found | None:
    """As DVC hashes the list of a folder's files."""
    if not folder.is_dir():
        return _hash(folder)
    digests = {path.relative_to(folder).as_posix(): found.digest for path, found in files.items() if found}
    text = json.dumps([{"md5": digest, "relpath": path} for path, digest in sorted(digests.items())])
    return Found(md5(text.encode()).hexdigest(), sum(found.size for found in files.values() if found))


def _same(found: Found | None, digest: str) -> bool:
    return found is not None and found.digest == digest.removesuffix(".dir")


def _is_whole(entry: Path) -> bool:
    """An entry of the run cache is called after the hash of what it says."""
    try:
        content = YAML(typ="safe").load(entry.read_bytes())
        return bool(dict_sha256(content, exclude=["size", "nfiles"]) == entry.name)
    except (YAMLError, ValueError, TypeError, AttributeError, OSError):
        return False


def _is_committed(each: Named) -> bool:
    content = _committed(each.path)
    return content is not None and md5(content).hexdigest() == each.digest


def _committed(path: Path) -> bytes | None:
    try:
        done = subprocess.run(["git", "show", f"HEAD:./{path}"], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout


# --- what is wrong, and what repairs it -----------------------------------------------------------------------------


def _judge(named: list[Named], objects: dict[str, Path], found: dict[Path, Found | None]) -> list[str]:
    """In the order of what they need: what must be made again is made of files that were copied by then."""
    bad = [each for each in named if not _same(found[each.path], each.digest)]
    whole = {each.digest: each for each in named if each not in bad}
    removed, copied, made, lost = [], [], [], set()
    for digest, path in objects.items():
        if _same(found[path], digest):
            continue
        copy = whole.get(digest)
        user = copy or next((each for each in named if each.digest == digest and each.cached), None)
        what = f"{_show(path)} ({user.path if user else 'of an older state'}) is {_how(found[path], user)}"
        if copy and not digest.endswith(".dir"):
            folder = [] if path.parent.is_dir() else [f"mkdir -p {_quote(path.parent)}"]
            command = _command([path], *folder, f"install -m 444 {_quote(copy.path)} {_quote(path)}")
            copied.append(f"{what}, {copy.path} is whole; repair: {command}")
        elif copy and copy.brought:
            copied.append(f"{what}, {copy.path} is whole; repair: {_command([path], f'dvc add {_quote(copy.path)}')}")
        elif user:
            lost.add(digest)
            bad += [copy] if copy else []
        else:
            removed.append(f"{what}; repair: {_command([path])}")
    for each in bad:
        what = f"{each.path} is {_how(found[each.path], each)}"
        if each.out is None:
            what += f" since {LOCK} was written"
            if _is_committed(each):
                command = _command([each.path], f"git checkout HEAD {_quote(each.path)}")
                copied.append(f"{what}; repair: {command}, or, if the change is meant: dvc repro")
            elif not any(each.path in other.path.parents for other in bad):
                made.append(f"{what}; repair: {_take_in(each.path)}")
        elif each.digest in lost:
            path = objects[each.digest]
            what += f", its object {_show(path)} is {_how(found[path], each)}"
            made.append(f"{what}; repair: {_make(each, path)}")
        elif each.cached:
            command = _command([each.path], f"dvc checkout {_quote(each.out)}")
            copied.append(f"{what}, the cache has it; repair: {command}")
        elif _is_committed(each):
            command = _command([each.path], f"git checkout HEAD {_quote(each.path)}")
            copied.append(f"{what}, git has it; repair: {command}")
        else:
            made.append(f"{what}; repair: {_command([each.path], 'dvc repro')}")
    return [*removed, *copied, *made]


def _how(found: Found | None, should: Named | None) -> str:
    if found is None:
        return "missing"
    if found.error:
        return f"unreadable ({found.error})"
    if should and _same(found, should.digest):
        return "whole"
    if not found.size:
        return "empty"
    if should is None or should.size in (None, found.size):
        return "altered"
    if found.size < should.size:
        return f"cut to {found.size:,} of {should.size:,} bytes"
    return f"{found.size:,} bytes long instead of {should.size:,}"


def _command(removed: list[Path], *commands: str) -> str:
    """What is there goes first: DVC and git would take it for whole."""
    there = [path for path in removed if os.path.lexists(path)]
    option = "-rf" if any(path.is_dir() for path in there) else "-f"
    remove = [f"rm {option} {' '.join(map(_quote, there))}"] if there else []
    return " && ".join([*remove, *commands])


def _make(each: Named, path: Path) -> str:
    """Where neither the workspace nor the cache has it."""
    assert each.out
    if each.brought and not each.remote:
        return f"put the original back, then: {_command([path], f'dvc add {_quote(each.out)}')}"
    pull = [f"dvc pull {_quote(each.out)}"] if each.remote else []
    return _command([each.path, path], " || ".join(pull + ["dvc repro"] * (not each.brought)))


def _take_in(path: Path) -> str:
    """Of what is only read, and as nobody else has it."""
    if not path.exists():
        return "put it back, then: dvc repro"
    # Otherwise DVC would not look into a file whose size and time are as they were.
    touch = f"find {_quote(path)} -exec touch {{}} +" if path.is_dir() else f"touch {_quote(path)}"
    return f"{touch} && dvc repro"


def _unreadable(error: DvcException) -> UserError:
    """DVC cannot begin: dvc.lock, dvc.yaml, params.yaml or a .dvc file is not YAML, or not what it should be."""
    reason = str(error).splitlines()[0]
    quoted = re.search(r"'(?:\./)?([^']+)'", reason)
    path = Path(quoted[1]) if quoted else None
    if path is None or not path.is_file():
        return UserError(BAD_DATA, f"check-cache: {reason}")
    text = path.read_text("utf-8", "replace")
    if not text:
        reason = f"{path} is empty"
    elif conflict := CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        reason = f"{path} has merge-conflict markers at line {line}"
    restore = _restore_lock() if path == LOCK else f"git checkout HEAD {_quote(path)}, or fix it by hand"
    return UserError(BAD_DATA, f"{reason}; repair: {restore}")


def _unsaid(file: Path, paths: list[Path]) -> str:
    if not paths:
        return f"{file} names no file; repair: git checkout HEAD {_quote(file)}"
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    repair = _restore_lock() if file == LOCK else f"dvc add {_quote(paths[0])}"
    return f"{file} has no MD5 of {paths[0]}{more}; repair: {repair}"


def _restore_lock() -> str:
    """By git where it has more of the file, else by DVC, which looks into the run cache before it runs anything."""
    content = LOCK.read_bytes() if LOCK.exists() else b""
    committed = _committed(LOCK)
    try:
        parse(content.decode())
        readable = True
    except (UserError, UnicodeDecodeError):
        readable = False
    if committed and committed != content and (not readable or committed.startswith(content)):
        return f"git checkout HEAD {LOCK}"  # without HEAD it would refuse a file that is in conflict
    return "dvc repro" if readable else f"rm -f {LOCK} && dvc repro"


def _show(path: str | Path) -> str:
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else str(path)


def _quote(path: Path) -> str:
    return shlex.quote(_show(path))


@click.command(epilog="Example: retrace check-cache")
def command() -> None:
    """Hash what is here and every object of DVC's cache; exit status 0, or 3 with a line for each that is damaged.

    Each line ends with the command that repairs the file. Nothing is changed."""
    verdict = verify()
    hashed = f"{verdict.files:,} files here, {verdict.objects:,} objects and {verdict.runs:,} runs in the cache"
    print(f"check-cache: hashed {hashed}: {len(verdict.faults) or 'no'} faults")
    if verdict.faults:
        raise UserError(BAD_DATA, *verdict.faults)
