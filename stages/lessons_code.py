"""Stage `lessons_code`: which code do the lessons run?

Reads   the code that stages lessons and lessons_plot import, at any depth
Writes  reports/lessons/lessons.code, reports/lessons/lessons_plot.code, the digest of each one's code

Each of the many lessons depends on a digest in place of a hundred files: so dvc.lock, which every command of DVC reads,
names them once.
"""

from retrace.runtime.run import run

from pathlib import Path

from retrace.artifacts.lesson import CODE
from retrace.runtime.atomic import write_text
from retrace.runtime.imports import closure, digest_of


def main() -> None:
    for stage, path in CODE.items():
        files = closure(f"stages/{stage}.py", Path())
        write_text(path, f"{digest_of(files)}\n")
        print(f"lessons_code: {len(files)} files of {stage}, {path}")


if __name__ == "__main__":
    run(main)
