"""Does a lesson hold by luck? Each with 20 other seeds: `python -m benchmarks.lessons`, or with numbers of lessons.

A lesson's own run is one seed; here each expectation is judged with others, and the report has the worst number that
any of them gave. What was measured is kept in lessons.json beside this file; a lesson whose settings change is measured
again.
"""

from retrace.runtime.run import run

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from retrace.lessons.lesson_run import teach
from retrace.params.lesson import lesson_names, read_lesson
from retrace.params.shipped import shipped
from retrace.runtime.atomic import write_json, write_text
from retrace.runtime.markdown import table

KEPT, REPORT = Path("benchmarks/lessons.json"), Path("benchmarks/lessons.md")
SEEDS = range(1001, 1021)
# A lesson that holds less often is one of luck.
FEWEST = 19


def measure(name: str) -> dict[str, Any]:
    """With how many seeds each expectation held, and the number that was nearest to the wrong side or deepest in it."""
    found = [teach(name, seed).verdict for seed in SEEDS]
    expectations = []
    for place, first in enumerate(found[0].expectations):
        each = [verdict.expectations[place] for verdict in found]
        values = [one.value for one in each if one.value is not None]
        worst = min(values) if first.side == "above" else max(values)
        expectations.append(
            {
                "says": first.says,
                "bound": f"{first.side} {first.bound:g}",
                "worst": worst if len(values) == len(each) else None,
                "held": sum(one.holds for one in each),
            }
        )
    return {"state": state_of(name), "held": sum(verdict.holds for verdict in found), "expectations": expectations}


def state_of(name: str) -> str:
    lesson = read_lesson(name).lesson
    content = [lesson.settings, lesson.variants, [each.model_dump() for each in lesson.expect], shipped()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def report(found: dict[str, Any]) -> str:
    rows = []
    for name, each in sorted(found.items()):
        for place, one in enumerate(each["expectations"]):
            first = [name, f"{each['held']} of {len(SEEDS)}"] if place == 0 else ["", ""]
            worst = "none" if one["worst"] is None else f"{one['worst']:.3g}"
            rows.append([*first, one["says"], one["bound"], worst, f"{one['held']}"])
    lucky = [name for name, each in found.items() if each["held"] < FEWEST]
    return (
        f"# Lessons with other seeds\n\nWritten by `python -m benchmarks.lessons`: each lesson with {len(SEEDS)} other"
        f" seeds of its networks. Held by fewer than {FEWEST} of them: {', '.join(lucky) or 'none'}.\n\n"
        + table(["lesson", "all of it held", "expectation", "must be", "worst", "held"], rows)
        + "\n"
    )


def main() -> None:
    found: dict[str, Any] = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    names = lesson_names()
    chosen = [name for name in names if name[:2] in sys.argv[1:] or len(sys.argv) == 1]
    for name in chosen:
        if found.get(name, {}).get("state") != state_of(name):
            found[name] = measure(name)
            write_json(KEPT, found)
        print(f"{name}: {found[name]['held']} of {len(SEEDS)}", flush=True)
    found = {name: found[name] for name in names if name in found}
    write_text(REPORT, report(found))


if __name__ == "__main__":
    run(main)
