"""Stage `report`: the result on one page, for a person; from tables only, never from the model or its pictures.

Reads   data/decisions.json, data/schema.json
        data/train.parquet, data/validation.parquet, data/test.parquet
        models/model.json, models/training.json
        reports/data.json, reports/history.csv, reports/scores.json, reports/predictions.parquet, reports/plane.json,
        reports/boundary.parquet, reports/confusion_matrix.csv, reports/calibration.csv, reports/replicas.csv,
        reports/slices.csv, reports/importance.csv
        retrace/params/shipped.json, retrace/report/page.css and page.js
Writes  reports/report.html

The same state gives the same bytes: no commit, date or machine is in it (retrace/artifacts/result_page.py).
"""

from retrace.runtime.run import run

from retrace.artifacts.result_page import RESULT_PAGE
from retrace.params.reader import read
from retrace.params.report import Report
from retrace.report.inputs import read_result
from retrace.report.result_page import result_page
from retrace.runtime.atomic import write_text


def main() -> None:
    section = read(Report)
    page = result_page(read_result(section), section)
    write_text(RESULT_PAGE, page)
    print(f"report: {RESULT_PAGE}, {len(page.encode()) / 1000:,.0f} kB")


if __name__ == "__main__":
    run(main)
