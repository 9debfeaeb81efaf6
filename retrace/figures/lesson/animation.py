"""The boundary of variants over the epochs, as an animated GIF: the same state gives the same bytes."""

from io import BytesIO

import pyarrow.compute as pc
from PIL import Image

from retrace.figures.lesson.inputs import LessonTables
from retrace.figures.lesson.panels import LONGEST, draw_plane
from retrace.figures.pictures import png
from retrace.figures.style import clean, new_figure, styled

# Of a frame, in milliseconds, and of the last one.
PACE, REST = 220, 2_500
# One palette for all frames keeps colours from flickering, and the file small.
COLOURS = 96


def animation(tables: LessonTables) -> bytes:
    chosen = tables.told.lesson.animation
    own = tables.plane.filter(pc.equal(tables.plane.column("variant"), chosen[0]))
    epochs = sorted(set(own.column("epoch").to_pylist()))
    frames = []
    for epoch in epochs:
        with styled():
            figure = new_figure(3.4 * len(chosen), 3.7, tables.verdict.dataset, f"after epoch {epoch}")
            figure.set_dpi(90)
            for axes, name in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
                draw_plane(axes, tables, name, epoch)
                axes.set_title(clean(name, LONGEST))
        frames.append(Image.open(BytesIO(png(figure))).convert("RGB"))
    palette = frames[-1].quantize(COLOURS)
    drawn = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    target = BytesIO()
    pace = [PACE] * (len(drawn) - 1) + [REST]
    drawn[0].save(target, "GIF", save_all=True, append_images=drawn[1:], duration=pace, loop=0, optimize=False)
    return target.getvalue()
