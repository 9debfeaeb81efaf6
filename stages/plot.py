"""Stage `plot`: pictures, drawn from tables only, never from the model.

Reads   data/schema.json
        models/training.json         which replica ships, its best epoch, steps an epoch
        reports/history.csv, reports/steps.parquet
        reports/scores.json, reports/predictions.parquet, reports/plane.json, reports/projection.parquet,
        reports/boundary.parquet
        reports/roc.csv, reports/precision_recall.csv, reports/calibration.csv, reports/replicas.csv,
        reports/importance.csv
        retrace/figures/retrace.mplstyle
Writes  reports/figures/NAME.png for each name in retrace/figures/registry.py
"""

from retrace.runtime.run import run

from retrace.artifacts.paths import FIGURES
from retrace.figures.drawing import plot
from retrace.figures.inputs import read_tables
from retrace.figures.pictures import png, require_room
from retrace.params.plot import Plot
from retrace.params.reader import read
from retrace.runtime.atomic import write_bytes


def main() -> None:
    section = read(Plot)
    require_room("plot")
    tables = read_tables()
    pictures = {name: png(figure) for name, figure in plot(tables, section).items()}
    for name, picture in pictures.items():
        write_bytes(FIGURES / f"{name}.png", picture)
    size = sum(map(len, pictures.values()))
    print(f"plot: {len(pictures)} figures of {tables.scores.rows:,} test rows, {size / 1000:,.0f} kB")


if __name__ == "__main__":
    run(main, "lower plot.dpi")
