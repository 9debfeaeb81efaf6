"""The files that a process has read of what stages hand on: where it fails, one may be why (see damage.py)."""

from pathlib import Path

READ: list[Path] = []
