"""Which files that a process has read are no longer what their stage wrote.

Before it runs a stage, DVC restores what was changed since. But for a stage or a command that a person starts, or where
a disk lost some bits and the file's time is the same as before, nothing stands between a damaged file and the code that
reads it: what then goes wrong anywhere in it must come with the name of the file.
"""

from collections.abc import Iterable
from pathlib import Path

from stages.files.digest import md5_of
from stages.process.faults import BAD_DATA, RESTORE, Fault

LOCK = Path("dvc.lock")


def damaged(paths: Iterable[Path]) -> list[Path]:
    """Those that differ from what dvc.lock says that a stage wrote; none where it does not say."""
    if not (paths := list(dict.fromkeys(paths))):
        return []
    # Some tenths of a second, for which only who fails has to wait.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        stages = YAML(typ="safe").load(LOCK.read_bytes())["stages"]
        written = {Path(out["path"]): out["md5"] for stage in stages.values() for out in stage.get("outs") or ()}
    except (OSError, YAMLError, ValueError, TypeError, KeyError, AttributeError):
        return []
    return [path for path in paths if path in written and _md5(path) != written[path]]


def line(path: Path, reason: str = "") -> str:
    why = f" ({reason})" if reason else ""
    return f"{path} is not the file that {LOCK} describes{why}; {RESTORE}"


def check(path: Path) -> None:
    """Raise Fault (status 3) where the file is not what its stage wrote: before a command DVC restores nothing."""
    if damaged([path]):
        raise Fault(BAD_DATA, line(path))


def _md5(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return md5_of(file)
    except OSError:
        return ""
