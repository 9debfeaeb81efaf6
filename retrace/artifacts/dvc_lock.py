"""dvc.lock: what the result on disk was made of, and the fingerprint that names this state of the pipeline.

`dvc repro` writes a stage's entry as soon as the stage has run, so that `record`, the last stage, sees all others.
All that read the file do it here, but for retrace/runtime/integrity.py: each writer of a text asks it for one MD5, and
must not wait for a reader of YAML.
"""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from retrace.artifacts.tables import opened, read_bytes
from retrace.params.reader import leaves
from retrace.runtime.digest import md5, md5_of
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import LOCK, restore

# `validate` makes no result: its entry changes with any line of params.yaml, also with those that nothing depends on.
WITHOUT_RESULT = ("validate", "record")


@dataclass(frozen=True)
class Lock:
    """The entries of dvc.lock, by stage name. made: of all stages; stages: of those that make a result."""

    made: dict[str, dict[str, Any]]

    @functools.cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        return {name: entry for name, entry in self.made.items() if name not in WITHOUT_RESULT}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what the result depends on and what it is; the same state, whenever and wherever it was made."""
        return _digest({name: self.state(name) for name in self.stages})

    @property
    def content(self) -> str:
        """SHA-256 over what the result is, whatever it was made by."""
        return _digest(self.outs)

    def state(self, name: str) -> dict[str, Any]:
        """What one stage depends on and what it made; empty where there is no such stage."""
        if (entry := self.stages.get(name)) is None:
            return {}
        return {
            "cmd": entry.get("cmd"),
            "deps": _hashes(entry, "deps"),
            "params": self._params(name),
            "outs": _hashes(entry, "outs"),
        }

    @property
    def params(self) -> dict[str, Any]:
        """Every parameter that went into the result, by dotted name; a list is one value."""
        return {key: value for name in self.stages for key, value in self._params(name).items()}

    @property
    def outs(self) -> dict[str, str]:
        """Path -> hash of all results."""
        return {path: value for entry in self.stages.values() for path, value in _hashes(entry, "outs").items()}

    @property
    def files(self) -> dict[str, str]:
        """Path -> hash of all that the stages made, their receipts among it."""
        return {path: value for entry in self.made.values() for path, value in _hashes(entry, "outs").items()}

    @property
    def code(self) -> dict[str, str]:
        """Path -> hash of what the stages read and no stage made: the code, and a user's own files."""
        made = self.files
        read = {path: value for entry in self.stages.values() for path, value in _hashes(entry, "deps").items()}
        return {path: value for path, value in read.items() if path not in made and Path(path).suffix != ".ok"}

    def check(self, path: Path) -> bytes:
        """The content of a file that a stage made or read, if it is as dvc.lock describes it; else raises UserError."""
        content = read_bytes(path)
        self._compare(path, md5(content).hexdigest())
        return content

    def check_large(self, path: Path) -> None:
        """As `check`, for a file that is read in pieces."""
        with opened(path) as file:
            self._compare(path, md5_of(file))

    def _compare(self, path: Path, digest: str) -> None:
        expected = self._files.get(path.as_posix())
        if expected is None:
            raise UserError(BAD_DATA, f"{path} is not in {LOCK}, so nobody knows what it was made of; run: dvc repro")
        if digest != expected:
            # Code that a person changed stays.
            fix = restore(path) if path.as_posix() in self.outs else "run: dvc repro"
            raise UserError(BAD_DATA, f"{path} is not the file that {LOCK} describes; {fix}")

    @functools.cached_property
    def _files(self) -> dict[str, str]:
        return {**self.code, **self.outs}

    def _params(self, name: str) -> dict[str, Any]:
        files = self.stages[name].get("params") or {}
        return {key: value for values in files.values() for key, value in leaves(values)}


@dataclass(frozen=True)
class Changes:
    """What differs between two states.

    params: as (old, new) texts, None where there is none; code: paths.
    """

    params: dict[str, tuple[str | None, str | None]]
    code: list[str]


def read_lock() -> Lock:
    return parse(read_bytes(LOCK).decode(errors="replace"))


# The committed state is often the previously recorded one: the same text is not read twice.
@functools.lru_cache
def parse(text: str) -> Lock:
    """Raises UserError when the text is not a dvc.lock."""
    try:
        # YAML 1.2, as DVC itself reads and writes it; a reader of 1.1 takes 1e-05 for a text and no for false.
        stages = YAML(typ="safe").load(text)["stages"]
        lock = Lock({name: entry for name, entry in stages.items() if entry.items()})
        # Of a file that was cut off the last entry may lack its path or hash; better here than where it is asked for.
        for entry in lock.made.values():
            for kind in ("deps", "outs"):
                _hashes(entry, kind)
        return lock
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(getattr(error, "problem", None) or error).split())[:100]
        # Without HEAD git would refuse a file that is in conflict.
        raise UserError(
            BAD_DATA, f"{LOCK} cannot be read ({reason}); restore it with: git checkout HEAD {LOCK}"
        ) from None


def compare(old: Lock, new: Lock) -> Changes:
    # As texts, so that 1, 1.0 and true differ here as they do in params.yaml.
    before, after = ({key: show(value) for key, value in lock.params.items()} for lock in (old, new))
    params = {
        key: (before.get(key), after.get(key)) for key in sorted({*before, *after}) if before.get(key) != after.get(key)
    }
    code_before, code_after = old.code, new.code
    paths = sorted({*code_before, *code_after})
    return Changes(params, [path for path in paths if code_before.get(path) != code_after.get(path)])


def show(value: Any) -> str:
    """A parameter's value as params.yaml has it: true, null, [10, 10], a bare text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _hashes(entry: dict[str, Any], kind: str) -> dict[str, str]:
    """Path -> hash of the entry's deps or outs; the name of the hash stands under `hash` (md5 for local files)."""
    return {item["path"]: str(item[item.get("hash", "md5")]) for item in entry.get(kind) or ()}
