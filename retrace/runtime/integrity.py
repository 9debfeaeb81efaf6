"""Whether a text that a stage hands on is still what a stage wrote, and the command that brings a file back.

Before it runs a stage, DVC restores what was changed since; but not before a stage or command that a person starts,
nor where a disk lost some bits, and size and time are as before. Parquet and models carry checksums of their own; JSON
and CSV have none, so they are compared when they are read. Not when something fails over them: by then a digit may
have become another number without a word, and nobody could tell the damage from a bug, whose traceback must be seen.

A stage that a person runs by hand writes what dvc.lock does not know, and damages nothing: so each stage leaves a note
of what it wrote.
"""

import configparser
import functools
import os
import re
import shlex
from contextlib import suppress
from pathlib import Path

from retrace.runtime.digest import md5, md5_of
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.stage_log import running_stage

LOCK = Path("dvc.lock")
# What another graph than the pipeline's makes, by its folder: where that graph and its lock lie.
GRAPHS = {Path("reports/study"): Path("study"), Path("reports/lessons"): Path("lessons")}
# Side files that DVC does not know: of each text the MD5 that its stage wrote last.
NOTES = Path(".retrace/written")
# As DVC writes a value that holds a # or quotes.
_QUOTED = re.compile("('''|\"\"\"|['\"])(.*)\\1")
_OUTS = re.compile(r"^    outs:\n((?:    [- ] .*\n)+)", re.MULTILINE)
_OUT = re.compile(r"^    - path: (.+)\n(?:      .*\n)*?      md5: (\w+)$", re.MULTILINE)


def note(path: Path, content: bytes) -> None:
    """To be called before a text takes its place."""
    if not running_stage() or path.is_absolute() or path.parts[0] == NOTES.parts[0]:
        return
    # Where it cannot be written, dvc.lock has the last word.
    with suppress(OSError):
        (NOTES / path).parent.mkdir(parents=True, exist_ok=True)
        (NOTES / path).unlink(missing_ok=True)
        (NOTES / path).write_text(md5(content).hexdigest(), "utf-8")


def check(path: Path, content: bytes) -> None:
    """Raise UserError (status 3) where a text is neither what its stage wrote here last nor what dvc.lock describes."""
    if path.is_absolute():
        return  # of a model that a person took elsewhere
    digest, noted = md5(content).hexdigest(), ""
    with suppress(OSError, ValueError):
        noted = (NOTES / path).read_text("utf-8")
    if digest != noted and digest != (described := described_in_lock(path)) and (noted or described):
        raise UserError(
            BAD_DATA, f"{path} is neither what its stage wrote nor what {lock_of(path)} describes; {restore(path)}"
        )


def described_in_lock(path: Path) -> str:
    """The MD5 that its lock has of what a stage wrote; "" where it does not say."""
    try:
        return _outs(lock_of(path).read_bytes()).get(path, "")
    except OSError:
        return ""


def lock_of(path: Path) -> Path:
    """Which lock describes a file that a stage writes."""
    graph = _graph_of(path)
    return graph / LOCK if graph else LOCK


def _graph_of(path: Path) -> Path | None:
    return next((graph for folder, graph in GRAPHS.items() if folder in path.parents), None)


@functools.lru_cache(2)
def _outs(lock: bytes) -> dict[Path, str]:
    """As DVC lays the file out: a reader of YAML would take some tenths of a second."""
    entries = "".join(_OUTS.findall(lock.decode(errors="replace")))
    return {Path(path): digest for path, digest in _OUT.findall(entries)}


def restore(path: Path) -> str:
    """What to do about a file that a stage writes. DVC takes one of the same size and time for whole, and every object
    of its cache: what is there and not right goes first. The rest is `dvc repro`, not `dvc checkout`, which would put
    the file of an earlier state beside what a stage wrote by hand since.
    """
    if path.is_absolute():  # of a model that a person took elsewhere, which no stage here makes
        return "take the model from its store again"
    if path.suffix == ".py":  # of the code that a recorded model brings
        return f"bring it back with: git checkout HEAD {shlex.quote(str(path))}"
    gone = [path] if os.path.lexists(path) else []
    if digest := described_in_lock(path):
        copy = cache() / "files/md5" / digest[:2] / digest[2:]
        with suppress(OSError), open(copy, "rb") as file:
            gone += [copy] if md5_of(file) != digest else []
    remove = f"rm -{'r' * path.is_dir()}f {' '.join(shlex.quote(str(each)) for each in gone)} && " if gone else ""
    graph = _graph_of(path)
    return f"bring it back with: {remove}dvc repro{f' {graph}/dvc.yaml' if graph else ''}"


def cache() -> Path:
    """DVC's, which takes a copy of every output; a person may have it on another file system (`dvc cache dir`)."""
    # That of an experiment in a temporary folder is the project's own.
    root = Path(os.environ.get("DVC_ROOT") or ".") / ".dvc"
    found = root / "cache"
    # DVC itself takes a second to import. What is configured for the user or the machine is not looked at.
    for name in ("config", "config.local"):
        config = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            config.read(root / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # DVC says so
        if value := config.get("cache", "dir", fallback=""):
            quoted = _QUOTED.match(value)
            found = root / (quoted[2] if quoted else value.partition("#")[0].rstrip())
    return found
