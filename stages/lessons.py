"""Stage `lessons`, once for each lesson: do the numbers say what it claims?

Reads   lessons/NAME.yaml, and retrace/params/shipped.json, from which its settings differ
Writes  reports/lessons/NAME/verdict.json      its expectations with their numbers, and each variant's result
        reports/lessons/NAME/history.parquet   a row for each variant, replica and epoch
        reports/lessons/NAME/start.parquet     a row for each variant, replica and layer, before the first step
        reports/lessons/NAME/plane.parquet     what a network says of points of the plane, where that is drawn
        reports/lessons/NAME/points.parquet    rows that are drawn upon it
"""

from retrace.runtime.run import run

import sys

from retrace.artifacts.lesson import tables_of, write_verdict
from retrace.lessons.lesson_run import teach


def main() -> None:
    name = sys.argv[1]
    verdict, tables = teach(name)
    for each, file in tables_of(name).items():
        file.write(tables[each])
    write_verdict(verdict)
    print(f"lessons: {name}: {'holds' if verdict.holds else 'DOES NOT HOLD'}, {verdict.held}")


if __name__ == "__main__":
    run(main)
