"""Other classifiers on the very rows that `split` wrote: `main` fits the one that is named, in a project's folder.

Each fits the training rows with its library's defaults, watches the validation rows where it can stop early, and gives
the probabilities of the test rows. Numbers are raw, with NaN where a value is missing; categories are categories.
Writes what was measured into peer.json.
"""

import functools
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from unittest import mock

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.quality_results import measured
from retrace.artifacts.paths import TEST, TRAIN, VALIDATION
from retrace.artifacts.schema import Schema, read_schema
from retrace.artifacts.tables import read_table
from retrace.evaluation.baselines import Rows, baseline
from retrace.evaluation.metrics import Predictions
from retrace.params.baseline import Baseline
from retrace.params.reader import read
from retrace.preprocessing.frame import Spellings, expanded, spellings
from retrace.runtime.atomic import write_json

# Of boosted trees whose fit is watched: what Holzmueller et al. 2024 (RealMLP) gave all of theirs; no result chose it.
ROUNDS, PATIENCE = 1000, 300
LIMIT = 900  # CPU seconds that a fit may take
RESULT = Path("peer.json")
PATHS = TRAIN, VALIDATION, TEST

Floats = NDArray[np.float64]


class Data(NamedTuple):
    """train, validation, test: see evaluation/baselines.py; categories: names of columns with codes of categories."""

    train: Rows
    validation: Rows
    test: Rows
    known: Spellings
    schema: Schema

    def frames(self, change: Callable[[pd.DataFrame], pd.DataFrame]) -> list[pd.DataFrame]:
        """The three parts, changed; columns are numbered, since not every library takes any name."""
        return [change(each.x).set_axis(self.names, axis=1) for each in (self.train, self.validation, self.test)]

    @property
    def names(self) -> list[str]:
        return [f"c{index}" for index in range(self.train.x.shape[1])]

    @property
    def categories(self) -> list[str]:
        return [number for number, name in zip(self.names, self.train.x, strict=True) if name in self.known]


class Fit(NamedTuple):
    """probabilities [test rows, classes]; cpu: seconds of the fit alone."""

    probabilities: Floats
    cpu: float


def load() -> Data:
    schema = read_schema()
    tables = [read_table(path) for path in PATHS]
    known = spellings(tables[0], schema)
    train, validation, test = (
        Rows(expanded(table, schema, known), table.column(schema.target).to_numpy()) for table in tables
    )
    return Data(train, validation, test, known, schema)


# --- categories and missing values, as each library takes them ------------------------------------------------------


def typed(known: Spellings, x: pd.DataFrame) -> pd.DataFrame:
    """pandas' categories, those of the training rows; any other is missing."""
    columns = {}
    for name, values in known.items():
        codes = x[name].to_numpy()
        there = np.nan_to_num(codes, nan=len(values)) < len(values)
        columns[name] = pd.Categorical.from_codes(np.where(there, codes, -1).astype(int), categories=values)
    return x.assign(**columns)


def texts(known: Spellings, x: pd.DataFrame) -> pd.DataFrame:
    """A text for each category; a missing one is a category, too."""
    return x.assign(**{name: ["none" if code != code else f"v{code:.0f}" for code in x[name]] for name in known})


def imputed(train: pd.DataFrame, known: Spellings, x: pd.DataFrame) -> pd.DataFrame:
    """For what takes no NaN, as the pipeline does it: the training rows' median, and a column that says so."""
    numbers = [name for name in x if name not in known]
    gaps = [name for name in numbers if train[name].isna().any()]
    medians = train[numbers].median().fillna(0)
    flags = pd.DataFrame({f"{name} is missing": x[name].isna().astype(float) for name in gaps}, index=x.index)
    return pd.concat([texts(known, x).assign(**x[numbers].fillna(medians)), flags], axis=1)


# --- the peers ------------------------------------------------------------------------------------------------------


def _of_baseline(name: str, fitting: str, data: Data) -> Fit:
    """One of the stage's own models; the stage fits all of them, and the time is that of one."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    kind = {each.__name__: each for each in (HistGradientBoostingClassifier, LogisticRegression)}[fitting]
    seconds: list[float] = []
    fit = kind.fit

    @functools.wraps(fit)
    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.process_time()
        model = fit(*arguments, **named)
        seconds.append(time.process_time() - started)
        return model

    with mock.patch.object(kind, "fit", timed):
        results = baseline(data.train, data.validation, data.test, data.schema, read(Baseline))
    return Fit(results[name].probabilities, sum(seconds))


def _lightgbm(data: Data) -> Fit:
    from lightgbm import LGBMClassifier, early_stopping

    train, validation, test = data.frames(functools.partial(typed, data.known))
    model = LGBMClassifier(n_estimators=ROUNDS, n_jobs=1, random_state=0, verbosity=-1)
    stop = early_stopping(PATIENCE, verbose=False)
    watch = {"eval_X": validation, "eval_y": data.validation.y, "callbacks": [stop]}
    return _fitted(model, test, lambda: model.fit(train, data.train.y, **watch))


def _xgboost(data: Data) -> Fit:
    from xgboost import XGBClassifier

    train, validation, test = data.frames(functools.partial(typed, data.known))
    model = XGBClassifier(
        n_estimators=ROUNDS, early_stopping_rounds=PATIENCE, enable_categorical=True, n_jobs=1, random_state=0
    )
    watch = {"eval_set": [(validation, data.validation.y)], "verbose": False}
    return _fitted(model, test, lambda: model.fit(train, data.train.y, **watch))


def _catboost(data: Data) -> Fit:
    from catboost import CatBoostClassifier

    train, validation, test = data.frames(functools.partial(texts, data.known))
    model = CatBoostClassifier(
        iterations=ROUNDS,
        cat_features=data.categories,
        early_stopping_rounds=PATIENCE,
        thread_count=1,
        random_seed=0,
        verbose=False,
        allow_writing_files=False,
    )
    return _fitted(model, test, lambda: model.fit(train, data.train.y, eval_set=(validation, data.validation.y)))


def _pytabkit(name: str, data: Data) -> Fit:
    from pytabkit.models.sklearn import sklearn_interfaces

    change = functools.partial(imputed, data.train.x, data.known)
    train, validation, test = (change(each.x) for each in (data.train, data.validation, data.test))
    model = getattr(sklearn_interfaces, name)(device="cpu", n_threads=1, random_state=0)
    categories = list(data.known)
    return _fitted(
        model,
        test,
        lambda: model.fit(train, data.train.y, X_val=validation, y_val=data.validation.y, cat_col_names=categories),
    )


def _fitted(model: Any, test: pd.DataFrame, fit: Callable[[], object]) -> Fit:
    started = time.process_time()
    fit()
    cpu = time.process_time() - started
    return Fit(np.asarray(model.predict_proba(test), dtype=np.float64), cpu)


class Peer(NamedTuple):
    """package: whose version decides whether a kept result is one of today; watched: whether ROUNDS and PATIENCE do."""

    package: str
    fit: Callable[[Data], Fit]
    watched: bool = False

    @property
    def stamp(self) -> dict[str, str]:
        stopping = {"rounds": f"{PATIENCE} of {ROUNDS}"} if self.watched else {}
        return {self.package: version(self.package), **stopping}


# The quick ones first.
PEERS = {
    "logistic regression": Peer(
        "scikit-learn", functools.partial(_of_baseline, "logistic_regression", "LogisticRegression")
    ),
    "gradient boosting": Peer(
        "scikit-learn", functools.partial(_of_baseline, "gradient_boosting", "HistGradientBoostingClassifier")
    ),
    "LightGBM": Peer("lightgbm", _lightgbm, watched=True),
    "XGBoost": Peer("xgboost", _xgboost, watched=True),
    "CatBoost": Peer("catboost", _catboost, watched=True),
    "RealMLP_TD": Peer("pytabkit", functools.partial(_pytabkit, "RealMLP_TD_Classifier")),
    "TabM_D": Peer("pytabkit", functools.partial(_pytabkit, "TabM_D_Classifier")),
}


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises TimeoutError when the process has used so much CPU time more."""

    def stop(signum: int, frame: object) -> NoReturn:
        raise TimeoutError(f"more than {seconds} CPU seconds")

    used = resource.getrusage(resource.RUSAGE_SELF)
    signal.signal(signal.SIGXCPU, stop)
    most = int(used.ru_utime + used.ru_stime) + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def main() -> None:
    peer, data = PEERS[sys.argv[1]], load()
    try:
        with limited(LIMIT), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            probabilities, cpu = peer.fit(data)
    except ImportError:
        raise
    except Exception as error:  # whatever a library raises is a result: it is named in the report
        reason = str(error).strip().split("\n", 1)[0]
        write_json(RESULT, {"failed": f"{type(error).__name__}: {reason}"[:200]})
        return
    verdict = Predictions(data.test.y, probabilities.argmax(1), probabilities)
    write_json(RESULT, {**measured(verdict), "cpu": round(cpu, 3)})
