"""The same rows, whichever way they come to the model: the same answers, or a line that names the column and the row.

Tables at random with columns of every kind; asked are `predict` on CSV and on Parquet, the recorded model with the
DataFrame that pandas makes of the CSV file by its own defaults, MLflow's server with each of its formats, and ONNX.
SKEW=1000 in the environment runs as many tables.
"""

import contextlib
import importlib
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from campaigns import fuzzing
from retrace.artifacts import paths
from retrace.artifacts.schema import read_schema
from retrace.cli import export
from retrace.cli.main import invoke
from retrace.networks.model_files import load
from retrace.runtime.errors import UserError
from retrace.serving.frame import rows_of
from tests.conftest import VALUES, changed
from tests.project import TINY
from tests.serving.test_export import inputs, session
from tests.serving.test_refused_values import recorded

ROWS = 60
COUNT = int(os.environ.get("SKEW", 200))

DAYS = [f"20{10 + index % 15}-{1 + index % 12:02}-{1 + index % 28:02}" for index in range(40)]
# Texts of a column, by what it holds; one of them is a gap where a column may have some.
COLUMNS: dict[str, list[str]] = {
    "whole": [str(index - 5) for index in range(30)],
    "decimals": [f"{index / 8 - 1}" for index in range(40)],
    "signed": ["+1.5", "-2", "3e-4", ".5", "7.", "1E3", "0"],
    "large": [str(10**9 + 7 * index) for index in range(30)],
    "truth": ["true", "false"],
    "Truth": ["True", "False"],
    "yes": ["yes", "No", "YES", "no"],
    "bits": ["0", "1"],
    "town": ["Rome", "Köln", "Bern, old", 'the "Hague"', "New York", "0", "x"],
    "mixed case": ["a", "A", " b", "c  c"],
    "codes": ["007", "07", "7", "12"],
    "zip": ["01234", "98765", "12345", "00001"],
    "numbers as names": ["1", "2", "10", "-3"],
    "decimals as names": ["1.0", "1.50", "2", "2.25"],
    "plain decimals as names": ["1.5", "2.25", "-0.5"],
    "truths as names": ["True", "False", "maybe"],
    "True as names": ["True", "False", "TRUE"],
    "nothing": ["n/a", "red", "green", "-"],
    "words": ["None of it", "nano", "null island", "infinity", "nan?"],
    "day": DAYS,
    "moment": [f"{day}T{index % 24:02}:30:00" for index, day in enumerate(DAYS)],
    "blank": [f"{day} {index % 24:02}:30" for index, day in enumerate(DAYS)],
    "zoned": [f"{day}T12:30:00{zone}" for day in DAYS for zone in ("Z", "+02:00", "-05:30")],
    "slashed": [f"{1 + index % 28}/{1 + index % 12}/2020" for index in range(60)],
}
NAMES_ONLY = [name for name in COLUMNS if name.endswith("as names")]
GAPS = ["", "NA", "?", "null"]
# What a column may hold that training has not seen.
STRANGE = [
    "",
    "NA",
    "?",
    "0",
    "1",
    "1.0",
    "007",
    "True",
    "yes",
    "Atlantis",
    "n/a",
    "-",
    "2020-01-31",
    "31/12/2020",
    "1e400",
]
STRANGE += ["2020-01-31T00:00:00Z", "1,5", " 7 ", "nan", "inf", "<NA>", "3e38"]


@pytest.fixture(scope="module", autouse=True)
def quick():
    with fuzzing.many():
        yield


def drawn(random: np.random.Generator) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Texts of the columns of a table, and what params.yaml says of them."""
    names = [*random.choice(list(COLUMNS), random.integers(2, 7), replace=False), "decimals"]
    columns = {}
    for name in dict.fromkeys(names):
        values = [COLUMNS[name][index] for index in random.integers(0, len(COLUMNS[name]), ROWS)]
        if random.random() < 0.4:
            for row in np.flatnonzero(random.random(ROWS) < 0.15):
                values[row] = str(random.choice(GAPS))
        columns[name] = values
    columns["class"] = [["a", "b", "c"][index] for index in np.resize(range(random.integers(2, 4)), ROWS)]
    return columns, {
        "create.columns.categorical": [name for name in NAMES_ONLY if name in columns],
        "train.scaling": str(random.choice(["none", "standard", "quantile"])),
        "train.embed_above": int(random.choice([2, 64])),
        "train.rare_below": int(random.choice([1, 10])),
        "train.bins": int(random.choice([0, 5])),
    }


def asked(random: np.random.Generator, columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """Rows to ask: those of the table, and now and then a value that it lacks."""
    rows = {name: values[:20] for name, values in columns.items() if name != "class"}
    if random.random() < 0.7:
        name = str(random.choice(list(rows)))
        rows[name] = [*rows[name]]
        rows[name][int(random.integers(0, 20))] = str(random.choice(STRANGE))
    return rows


def text(columns: dict[str, list[str]]) -> str:
    return pd.DataFrame(columns, dtype=object).to_csv(index=False)


def answer(ask: Callable[[], pd.DataFrame], refusal: type[Exception]) -> pd.DataFrame | str:
    """What a way answers, or the line with which it refuses."""
    try:
        found = ask()
    except refusal as error:
        line = str(error)
        assert re.search(r"column .*, row \d+: |missing", line), line
        return line
    assert np.isfinite(found.iloc[:, 1:].to_numpy(np.float64)).all()
    return found


def commanded(path: str) -> pd.DataFrame:
    with contextlib.redirect_stdout(io.StringIO()):
        invoke(["predict", path, "out.parquet"])
    return pd.read_parquet("out.parquet")


def by_onnx(rows: pa.Table, kinds: dict[str, str]) -> pd.DataFrame:
    label, probabilities = session(export.EXPORTED.read_bytes()).run(["label", "probabilities"], inputs(rows, kinds))
    classes = load(paths.MODELS).description.classes
    return pd.DataFrame(
        {"label": label, **{f"probability_{name}": probabilities[:, i] for i, name in enumerate(classes)}}
    )


def answers(columns: dict[str, list[str]]) -> dict[str, pd.DataFrame | str]:
    """Of every way that leads to the model."""
    Path("new.csv").write_text(text(columns))
    frame = pd.read_csv("new.csv")
    frame.to_parquet("new.parquet")
    texts = pd.read_csv("new.csv", dtype=str, keep_default_na=False)
    model = recorded(Path("recorded"))
    schema = model.metadata.get_input_schema()

    def served(body: str, kind: str = "application/json") -> pd.DataFrame:
        found = json.loads(scoring_server.invocations(body, kind, model, schema).response)
        return pd.DataFrame(found["predictions"])

    split = json.dumps({"dataframe_split": json.loads(frame.to_json(orient="split", index=False, double_precision=15))})
    records = json.dumps({"dataframe_records": json.loads(frame.to_json(orient="records", double_precision=15))})
    told = json.dumps({"dataframe_split": texts.to_dict("split", index=False)})
    found = {
        "predict, CSV": answer(lambda: commanded("new.csv"), UserError),
        "predict, Parquet": answer(lambda: commanded("new.parquet"), UserError),
        "pandas": answer(lambda: model.predict(frame), MlflowException),
        "pandas, nullable": answer(lambda: model.predict(frame.convert_dtypes()), MlflowException),
        "pandas, texts": answer(lambda: model.predict(texts), MlflowException),
        "split": answer(lambda: served(split), MlflowException),
        "records": answer(lambda: served(records), MlflowException),
        "split, texts": answer(lambda: served(told), MlflowException),
        "text/csv": answer(lambda: served(text(columns), "text/csv"), MlflowException),
    }
    if not isinstance(found["pandas"], str):
        known = load(paths.MODELS).description
        found["ONNX"] = by_onnx(rows_of(frame, known.features, known.kinds, known.preprocessing), known.kinds)
    return found


@pytest.mark.parametrize("seed", range(COUNT))
def test_every_way_to_the_model_gives_the_same_answers(seed):
    all_ways_agree(seed)


def all_ways_agree(seed: int) -> None:
    random = np.random.default_rng(seed)
    columns, changes = drawn(random)
    with fuzzing.folder() as folder:
        Path("data/tables").mkdir(parents=True)
        Path("retrace").symlink_to(fuzzing.ROOT / "retrace")
        Path("data/tables/t.csv").write_text(text(columns))
        table = {"create.dataset": "table", "create.table.path": "data/tables/t.csv"}
        settings = {**TINY, **table, **changes}
        Path("params.yaml").write_text(json.dumps(changed(VALUES, settings)))
        for stage in ("create", "split", "train"):
            importlib.import_module(f"stages.{stage}").main()
        invoke(["export"])
        assert folder.exists()
        schema = read_schema()
        for rows in (columns, asked(random, columns), asked(random, columns)):
            found = answers({name: rows[name] for name in schema.features})
            given = {way: each for way, each in found.items() if not isinstance(each, str)}
            # The rows that it was trained on are never refused where their texts are kept.
            if rows is columns:
                for way in ("predict, CSV", "text/csv") if "nothing" not in columns else ("predict, CSV",):
                    assert way in given, found[way]
            first = next(iter(given), None)
            for way, each in given.items():
                np.testing.assert_allclose(
                    each.iloc[:, 1:].to_numpy(float), given[first].iloc[:, 1:].to_numpy(float), atol=1e-5,
                    err_msg=f"{first} and {way}",
                )  # fmt: skip
                assert each["label"].tolist() == given[first]["label"].tolist(), (first, way)
