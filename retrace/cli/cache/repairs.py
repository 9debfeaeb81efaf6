"""A line for each file that does not hold what it should: what is wrong with it, and the command that repairs it.

The lines come in an order in which the commands can be run. Nothing is changed here.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

from dvc.exceptions import DvcException

from retrace.artifacts.dvc_lock import parse
from retrace.cli.cache.expected import Expected, ExpectedFile
from retrace.cli.cache.found import FoundFile, holds, relative
from retrace.runtime.digest import md5
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import LOCK

CONFLICT = re.compile(r"^(<<<<<<<|=======|>>>>>>>)( |$)", re.MULTILINE)


class Lines(NamedTuple):
    """What repairs by removing, what by copying, and what must be made again: of files that were copied by then."""

    removed: list[str]
    copied: list[str]
    made: list[str]


def repairs(
    expected: Expected, objects: dict[str, Path], damaged_runs: list[Path], found: dict[Path, FoundFile | None]
) -> list[str]:
    """objects: of the cache, by digest; damaged_runs: entries of the run cache; found: of all files and objects."""
    lines = Lines([], [], [])
    bad = [each for each in expected.files if not holds(found[each.path], each.digest)]
    lost = _objects(expected.files, bad, objects, found, lines)
    _files(bad, lost, objects, found, lines)
    return [
        *(_without_hash(file, paths) for file, paths in expected.without_hash.items()),
        *(
            f"{path} is not among the files of {folder}; repair: rm -f {_quote(path)}"
            for path, folder in expected.unlisted
        ),
        *(f"{relative(path)} is damaged; repair: rm -f {_quote(path)}" for path in damaged_runs),
        *(lines.removed + lines.copied + lines.made),
    ]


def _objects(
    files: list[ExpectedFile],
    bad: list[ExpectedFile],
    objects: dict[str, Path],
    found: dict[Path, FoundFile | None],
    lines: Lines,
) -> set[str]:
    """Adds the lines of the cache's objects; the digests of those that are lost, whose files join the bad ones."""
    whole = {each.digest: each for each in files if each not in bad}
    lost = set()
    for digest, path in objects.items():
        if holds(found[path], digest):
            continue
        copy = whole.get(digest)
        user = copy or next((each for each in files if each.digest == digest and each.cached), None)
        what = f"{relative(path)} ({user.path if user else 'of an older state'}) is {_how(found[path], user)}"
        if copy and not digest.endswith(".dir"):
            folder = [] if path.parent.is_dir() else [f"mkdir -p {_quote(path.parent)}"]
            command = _command([path], *folder, f"install -m 444 {_quote(copy.path)} {_quote(path)}")
            lines.copied.append(f"{what}, {copy.path} is whole; repair: {command}")
        elif copy and copy.brought:
            command = _command([path], f"dvc add {_quote(copy.path)}")
            lines.copied.append(f"{what}, {copy.path} is whole; repair: {command}")
        elif user:
            lost.add(digest)
            bad += [copy] if copy else []
        else:
            lines.removed.append(f"{what}; repair: {_command([path])}")
    return lost


def _files(
    bad: list[ExpectedFile],
    lost: set[str],
    objects: dict[str, Path],
    found: dict[Path, FoundFile | None],
    lines: Lines,
) -> None:
    """Adds the lines of the bad files; lost: what the cache does not have either."""
    for each in bad:
        what = f"{each.path} is {_how(found[each.path], each)}"
        if each.out is None:
            what += f" since {each.lock} was written"
            if _is_committed(each):
                command = _command([each.path], f"git checkout HEAD {_quote(each.path)}")
                lines.copied.append(f"{what}; repair: {command}, or, if the change is meant: {_repro(each.lock)}")
            elif not any(each.path in other.path.parents for other in bad):
                lines.made.append(f"{what}; repair: {_take_in(each)}")
        elif each.digest in lost:
            path = objects[each.digest]
            what += f", its object {relative(path)} is {_how(found[path], each)}"
            lines.made.append(f"{what}; repair: {_make(each, path)}")
        elif each.cached:
            command = _command([each.path], f"dvc checkout {_quote(each.out)}")
            lines.copied.append(f"{what}, the cache has it; repair: {command}")
        elif _is_committed(each):
            command = _command([each.path], f"git checkout HEAD {_quote(each.path)}")
            lines.copied.append(f"{what}, git has it; repair: {command}")
        else:
            lines.made.append(f"{what}; repair: {_command([each.path], _repro(each.lock))}")


def _how(found: FoundFile | None, should: ExpectedFile | None) -> str:
    if found is None:
        return "missing"
    if found.error:
        return f"unreadable ({found.error})"
    if should and holds(found, should.digest):
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


def _make(each: ExpectedFile, path: Path) -> str:
    """Where neither the workspace nor the cache has it."""
    assert each.out
    if each.brought and not each.remote:
        return f"put the original back, then: {_command([path], f'dvc add {_quote(each.out)}')}"
    pull = [f"dvc pull {_quote(each.out)}"] if each.remote else []
    return _command([each.path, path], " || ".join(pull + [_repro(each.lock)] * (not each.brought)))


def _take_in(each: ExpectedFile) -> str:
    """Of what is only read, and as nobody else has it."""
    path = each.path
    if not path.exists():
        return f"put it back, then: {_repro(each.lock)}"
    # Otherwise DVC would not look into a file whose size and time are as they were.
    touch = f"find {_quote(path)} -exec touch {{}} +" if path.is_dir() else f"touch {_quote(path)}"
    return f"{touch} && {_repro(each.lock)}"


def _repro(lock: Path) -> str:
    """What runs the graph that a lock is of."""
    return "dvc repro" if lock == LOCK else f"dvc repro {_quote(lock.with_suffix('.yaml'))}"


def unreadable(error: DvcException) -> UserError:
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
    restore = _restore_lock(path) if path.name == LOCK.name else f"git checkout HEAD {_quote(path)}, or fix it by hand"
    return UserError(BAD_DATA, f"{reason}; repair: {restore}")


def _without_hash(file: Path, paths: list[Path]) -> str:
    if not paths:
        return f"{file} names no file; repair: git checkout HEAD {_quote(file)}"
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    repair = _restore_lock(file) if file.name == LOCK.name else f"dvc add {_quote(paths[0])}"
    return f"{file} has no MD5 of {paths[0]}{more}; repair: {repair}"


def _restore_lock(lock: Path) -> str:
    """By git where it has more of the file, else by DVC, which looks into the run cache before it runs anything."""
    content = lock.read_bytes() if lock.exists() else b""
    committed = _committed(lock)
    try:
        parse(content.decode())
        readable = True
    except (UserError, UnicodeDecodeError):
        readable = False
    if committed and committed != content and (not readable or committed.startswith(content)):
        return f"git checkout HEAD {lock}"  # without HEAD it would refuse a file that is in conflict
    return _repro(lock) if readable else f"rm -f {lock} && {_repro(lock)}"


def _is_committed(each: ExpectedFile) -> bool:
    content = _committed(each.path)
    return content is not None and md5(content).hexdigest() == each.digest


def _committed(path: Path) -> bytes | None:
    try:
        done = subprocess.run(["git", "show", f"HEAD:./{path}"], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout


def _quote(path: Path) -> str:
    return shlex.quote(str(relative(path)))
