"""Stage `plot`: pictures, drawn from tables only, never from the model.

Reads   data/schema.json
        models/training.json         which replica ships, its best epoch, steps an epoch
        reports/history.csv, reports/steps.parquet
        reports/metrics.json, reports/predictions.parquet, reports/plane.json, reports/projection.parquet,
        reports/boundary.parquet
        reports/roc.csv, reports/precision_recall.csv, reports/calibration.csv, reports/replicas.csv,
        reports/importance.csv
        retrace/figures/retrace.mplstyle
Writes  reports/figures/NAME.png for each name in retrace/figures/registry.py
"""

# First, so that a library that cannot be loaded is one line, too.
from retrace.runtime.run import run  # isort: split

from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retrace.artifacts.schema import read_schema
from retrace.artifacts.tables import read_csv, read_json, read_table
from retrace.figures.registry import FIGURES
from retrace.figures.style import styled
from retrace.figures.tables import Tables
from retrace.params.plot import Plot
from retrace.params.reader import read
from retrace.runtime.atomic import write_bytes
from retrace.runtime.memory import need
from retrace.runtime.preflight import RAISE

TRAINING = Path("models/training.json")
HISTORY = Path("reports/history.csv")
STEPS = Path("reports/steps.parquet")
METRICS = Path("reports/metrics.json")
PREDICTIONS = Path("reports/predictions.parquet")
PLANE = Path("reports/plane.json")
PROJECTION = Path("reports/projection.parquet")
BOUNDARY = Path("reports/boundary.parquet")
ROC = Path("reports/roc.csv")
PRECISION_RECALL = Path("reports/precision_recall.csv")
CALIBRATION = Path("reports/calibration.csv")
REPLICAS = Path("reports/replicas.csv")
IMPORTANCE = Path("reports/importance.csv")
FOLDER = Path("reports/figures")

# What fonts take when the first figure is drawn.
DRAWING = 64 << 20


def plot(tables: Tables, section: Plot) -> dict[str, Figure]:
    """Every figure of the registry by name, at `section.dpi`; nothing is drawn before `png` asks for it."""
    figures = {}
    with styled():
        for name, draw in FIGURES.items():
            figures[name] = draw(tables, section)
            figures[name].set_dpi(section.dpi)
    return figures


def png(figure: Figure) -> bytes:
    """The picture, without date or software version: the same figure gives the same bytes."""
    target = BytesIO()
    with styled():
        # `Figure.savefig` would draw everything twice to find the layout.
        FigureCanvasAgg(figure).print_png(target, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return target.getvalue()


def read_tables() -> Tables:
    return Tables(
        schema=read_schema(),
        training=read_json(TRAINING),
        metrics=read_json(METRICS),
        plane=read_json(PLANE),
        projection=read_table(PROJECTION),
        history=read_csv(HISTORY),
        steps=read_table(STEPS),
        predictions=read_table(PREDICTIONS),
        boundary=read_table(BOUNDARY),
        roc=read_csv(ROC, text=["class"]),
        precision_recall=read_csv(PRECISION_RECALL, text=["class"]),
        calibration=read_csv(CALIBRATION),
        replicas=read_csv(REPLICAS),
        importance=read_csv(IMPORTANCE, text=["column"]),
    )


def main() -> None:
    section = read(Plot)
    need(DRAWING, "plot: drawing", RAISE)
    tables = read_tables()
    figures = plot(tables, section)
    pictures = {name: png(figure) for name, figure in figures.items()}
    for name, picture in pictures.items():
        write_bytes(FOLDER / f"{name}.png", picture)
    size = sum(map(len, pictures.values()))
    print(f"plot: {len(pictures)} figures of {tables.metrics['rows']:,} test rows, {size / 1000:,.0f} kB")


if __name__ == "__main__":
    run(main, "lower plot.dpi")
