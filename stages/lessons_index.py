"""Stage `lessons_index`: the list of all lessons, and whether each holds.

Reads   lessons/*.yaml, reports/lessons/*/verdict.json
Writes  reports/lessons/index.html, reports/lessons/index.md
"""

from retrace.runtime.run import run

from retrace.artifacts.lesson import INDEX, INDEX_MARKDOWN, read_verdict
from retrace.params.lesson import lesson_names, read_lesson
from retrace.report.lesson_page import index_html, index_markdown
from retrace.runtime.atomic import write_text


def main() -> None:
    lessons = [(read_lesson(name), read_verdict(name)) for name in lesson_names()]
    write_text(INDEX, index_html(lessons))
    write_text(INDEX_MARKDOWN, index_markdown(lessons))
    held = sum(verdict.holds for _, verdict in lessons)
    print(f"lessons_index: {held} of {len(lessons)} lessons hold; {INDEX}")


if __name__ == "__main__":
    run(main)
