"""Stage `lessons_plot`, once for each lesson: its figures and its page, from what stage `lessons` wrote.

Reads   lessons/NAME.yaml, reports/lessons/NAME/verdict.json and the tables beside it
Writes  reports/lessons/NAME/figures/*.png, and boundary.gif where the lesson asks for an animation
        reports/lessons/NAME/lesson.html and lesson.md
"""

from retrace.runtime.run import run

import sys

from retrace.artifacts.lesson import page_files
from retrace.figures.lesson.animation import animation
from retrace.figures.lesson.inputs import read_lesson_tables
from retrace.figures.lesson.panels import pictures
from retrace.figures.pictures import require_room
from retrace.report.lesson_page import lesson_html, lesson_markdown
from retrace.runtime.atomic import write_bytes, write_text


def main() -> None:
    require_room("lessons_plot")
    name = sys.argv[1]
    tables = read_lesson_tables(name)
    drawn = pictures(tables)
    moving = animation(tables) if tables.told.lesson.animation else None
    files = page_files(name)
    for each, picture in drawn.items():
        write_bytes(files.figures / f"{each}.png", picture)
    if moving:
        write_bytes(files.figures / "boundary.gif", moving)
    write_text(files.html, lesson_html(tables.told, tables.verdict, list(drawn.values()), moving))
    write_text(files.markdown, lesson_markdown(tables.told, tables.verdict, list(drawn)))
    print(f"lessons_plot: {len(drawn)} figures, and {files.html}")


if __name__ == "__main__":
    run(main)
