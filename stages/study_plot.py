"""Stage `study_plot`: pictures of a study and its page, from what the study wrote, never from a model.

Reads   reports/study/trials.parquet, reports/study/study.json
        retrace/figures/retrace.mplstyle
Writes  reports/study/figures/NAME.png for each name in retrace/figures/study/registry.py
        reports/study/study.html
"""

from retrace.runtime.run import run

from retrace.figures.pictures import require_room
from retrace.figures.study.inputs import read_study_tables
from retrace.figures.study.registry import FOLDER, study_pictures
from retrace.report.study_page import PAGE, study_page
from retrace.runtime.atomic import write_bytes, write_text


def main() -> None:
    require_room("study_plot")
    tables = read_study_tables()
    pictures = study_pictures(tables)
    page = study_page(tables, pictures)
    for name, picture in pictures.items():
        write_bytes(FOLDER / f"{name}.png", picture)
    write_text(PAGE, page)
    print(f"study_plot: {len(pictures)} figures of {len(tables.trials):,} trials, and {PAGE}")


if __name__ == "__main__":
    run(main)
