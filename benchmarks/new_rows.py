"""How often `retrace check` calls rows unlike that are not, and how often it finds what matters.

    python -m benchmarks.new_rows FOLDER...     # projects whose stages create, split and train have run

Each time, rows are drawn from a project's test rows, as they are (whatever is found then is a false alarm) or with one
thing done to them. Prints the share of such files that raise an alarm, by what was done and by the number of rows.
"""

import contextlib
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from retrace.artifacts.paths import MODELS, TEST
from retrace.artifacts.schema import Schema, read_schema
from retrace.artifacts.tables import read_table
from retrace.cli.predict import watch_of
from retrace.evaluation.new_rows import Watch
from retrace.networks.model_files import load
from retrace.preprocessing.apply import encode
from retrace.preprocessing.description import Unusable

SIZES = (20, 200, 2000, 10**9)  # all, at the end
DRAWS = 40  # files of a size; all rows can be drawn once
Places = NDArray[np.int64]
Change = Callable[[pa.Table, Schema, np.random.Generator], pa.Table | None]


def main(folders: list[str]) -> None:
    alarms: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for folder in folders:
        with contextlib.chdir(folder):
            for name, size, alarm in project():
                alarms[name, size].append(alarm)
        false = {size: share(alarms["as they are", size]) for size in SIZES}
        print(folder.rsplit("/", 1)[-1], false, file=sys.stderr)
    print(f"| {len(folders)} tables | 20 rows | 200 | 2,000 | all test rows |\n| --- | ---: | ---: | ---: | ---: |")
    for name in dict.fromkeys(name for name, _ in alarms):
        cells = [share(alarms[name, size]) for size in SIZES]
        print(f"| {name} | {' | '.join(cells)} |")


def share(alarms: list[bool]) -> str:
    return f"{np.mean(alarms):.1%} of {len(alarms)}" if alarms else ""


def project() -> Iterator[tuple[str, int, bool]]:
    """What was done, the number of rows, and whether it was an alarm."""
    model, schema, test = load(MODELS), read_schema(), read_table(TEST)
    random = np.random.default_rng(26)
    answers = model.of_inputs(encode(model.description.preprocessing, test))
    for size in SIZES:
        if size != SIZES[-1] and size > test.num_rows:
            continue
        draws = DRAWS if size < test.num_rows else 1
        for _ in range(draws):
            rows = random.permutation(test.num_rows)[:size]
            yield "as they are", size, alarm(watch_of(model), test.take(pa.array(rows)), answers[rows])
        for name, change in CHANGES.items():
            for _ in range(max(1, draws // 4)):
                changed = change(test.take(pa.array(random.permutation(test.num_rows))), schema, random)
                if changed is None or (changed := changed.slice(0, size)).num_rows < min(size, 20):
                    continue
                try:
                    found = model.of_inputs(encode(model.description.preprocessing, changed))
                except Unusable:
                    yield name, size, True  # refused, with the column and the row
                else:
                    yield name, size, alarm(watch_of(model), changed, found)
                    if change is without_class:
                        labels = pa.array(schema.classes).take(changed.column(schema.target))
                        yield f"{name}, target known", size, alarm(watch_of(model), changed, found, labels)


def alarm(watch: Watch, rows: pa.Table, answers: NDArray[np.float64], labels: pa.Array | None = None) -> bool:
    watch.add(rows, answers, labels)
    return any(each.unlike for each in watch.differences())


def numeric(schema: Schema, test: pa.Table) -> list[str]:
    """Columns of numbers with more than ten of them."""
    wide = (name for name in schema.features if schema.kind(name) == "numeric")
    return [name for name in wide if len(test.column(name).unique()) > 10]


def replaced(test: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return test.set_column(test.column_names.index(name), name, values)


def scaled(factor: float, test: pa.Table, schema: Schema, random: np.random.Generator) -> pa.Table | None:
    names = numeric(schema, test)
    if not names:
        return None
    name = random.choice(names)
    return replaced(test, name, pa.array(test.column(name).to_numpy() * factor, from_pandas=True))


def shifted(test: pa.Table, schema: Schema, random: np.random.Generator) -> pa.Table | None:
    names = numeric(schema, test)
    if not names:
        return None
    name = random.choice(names)
    values = test.column(name).to_numpy()
    return replaced(test, name, pa.array(values + np.nanstd(values), from_pandas=True))


def swapped(test: pa.Table, schema: Schema, random: np.random.Generator) -> pa.Table | None:
    names = numeric(schema, test)
    if len(names) < 2:
        return None
    first, second = random.choice(names, 2, replace=False)
    one, other = test.column(first), test.column(second)
    return replaced(replaced(test, first, other), second, one)


def renamed(test: pa.Table, schema: Schema, random: np.random.Generator) -> pa.Table | None:
    """The most frequent category of a column has another name."""
    names = [name for name in schema.features if schema.kind(name) == "categorical"]
    if not names:
        return None
    name = random.choice(names)
    values = pd.Series(test.column(name).cast(pa.string()).to_pandas())
    return replaced(test, name, pa.array(values.replace(values.value_counts().index[0], "renamed"), pa.string()))


def lacking(test: pa.Table, schema: Schema, random: np.random.Generator) -> pa.Table:
    """Half of a column is missing."""
    name = random.choice(schema.features)
    column = test.column(name).combine_chunks()
    gone = pa.array(random.random(len(column)) < 0.5)
    return replaced(test, name, pa.compute.if_else(gone, pa.scalar(None, column.type), column))


def without_class(test: pa.Table, schema: Schema, random: np.random.Generator) -> pa.Table:
    """The most frequent class is missing."""
    target = test.column(schema.target).to_numpy()
    return test.take(pa.array(np.flatnonzero(target != np.bincount(target).argmax())))


CHANGES: dict[str, Change] = {
    "a number in another unit (times 1,000)": partial(scaled, 1000),
    "a number in another unit (times 2.54)": partial(scaled, 2.54),
    "a number moved by a standard deviation": shifted,
    "two numbers swapped": swapped,
    "the most frequent category of a column renamed": renamed,
    "half of a column missing": lacking,
    "the most frequent class missing": without_class,
}

if __name__ == "__main__":
    main(sys.argv[1:])
