"""What a table from a stranger may hold, and a file that leaves a canary where it is unpickled."""

import csv
import random
from pathlib import Path

# Markup, formulas, mathtext, orders to a terminal, paths, and letters that hide or turn what stands beside them.
TEXTS = (
    "$x_$",
    r"\frac{",
    "long " + "x" * 300,
    "漢字",
    "a\u202eb",
    "zero\u200bwidth",
    '=HYPERLINK("http://127.0.0.1:9/","y")',
    "+1",
    "-1+1",
    "@SUM(A1)",
    "\tta\tb",
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<img src=http://127.0.0.1:9/x onerror=alert(3)>",
    "[a](javascript:alert(4))",
    "![p](http://127.0.0.1:9/x.png)",
    "`b` | c",
    "\x1b[31mred\x1b[0m\x1b]0;owned\x07",
    "\x9b31mC1",
    "../../x",
    "${HOME}",
    "a\nb",
)
TARGET = "=target|<b>"


def write_table(path: Path) -> None:
    """Each text as a label, as a category, and in the name of a column."""
    draw = random.Random(0)
    names = [f"{text} number" if index % 2 else text for index, text in enumerate(TEXTS)]
    with open(path, "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow([*names, TARGET])
        for row in range(20 * len(TEXTS)):
            label = row % len(TEXTS)
            numbers = [f"{draw.gauss(label % (index + 2), 1):.4f}" for index in range(len(TEXTS))]
            texts = [TEXTS[draw.choice([draw.randrange(len(TEXTS)), label])] for _ in TEXTS]
            cells = [numbers[index] if index % 2 else texts[index] for index in range(len(TEXTS))]
            lines.writerow([*cells, TEXTS[label]])


class Canary:
    """A pickle that leaves this file behind where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)
