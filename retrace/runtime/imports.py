"""Which files of the project a file needs: what it imports, at any depth, also inside functions.

Three things follow from it: the code deps in dvc.yaml, the code that a recorded model brings along, and the digest of
the code that a checkpoint belongs to.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def closure(start: str, root: Path = ROOT) -> list[str]:
    """The file itself and the files of `root` that it reaches by import, sorted; paths are relative to `root`.

    Raises ValueError for a relative import, which would say nothing of where it leads.
    """
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += _imported(path, root)
    return sorted(reached)


def digest_of(files: Iterable[str], root: Path = Path()) -> str:
    """SHA-256 of the files' names and contents, in their order."""
    return _digest((file, (root / file).read_bytes()) for file in files)


def digest_as_imported(files: Iterable[str]) -> str:
    """As `digest_of` has it of those files that this process imports by these names, wherever they lie."""

    def content(file: str) -> bytes:
        spec = importlib.util.find_spec(file.removesuffix(".py").replace("/", "."))
        return Path(spec.origin).read_bytes() if spec and spec.origin else b""

    return _digest((file, content(file)) for file in files)


def _digest(files: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256 of names and contents."""
    digest = hashlib.sha256()
    for file, content in files:
        digest.update(f"{file} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _imported(path: str, root: Path) -> list[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse((root / path).read_bytes())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                raise ValueError(f"{path}:{node.lineno}: relative import; name the module from the root of the project")
            # What is imported from a package may be a module of it.
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    names = [module.replace(".", "/") for module in modules]
    packages = [f"{name[:end]}/__init__.py" for name in names for end in (*_slashes(name), len(name))]
    return [file for file in (*packages, *(f"{name}.py" for name in names)) if (root / file).is_file()]


def _slashes(name: str) -> list[int]:
    return [place for place, letter in enumerate(name) if letter == "/"]
