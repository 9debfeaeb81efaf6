"""A finished study as the stage writes it, for tests of what reads it; losses follow a made-up landscape."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from retrace.artifacts.study import (
    Candidate,
    Fold,
    Importance,
    Interval,
    Parameter,
    Procedure,
    StudyResult,
    parameter_columns,
)
from retrace.params.space import Searched, searched

BUDGETS = (12, 34, 100)
SPACE = searched(
    {
        "optimizer.learning_rate": {"low": 0.003, "high": 3.0, "log": True},
        "init": ["he_uniform", "xavier_uniform", "normal"],
        "init_scale": {"low": 0.01, "high": 3.0, "log": True, "when": {"init": ["normal"]}},
        "activation": ["relu", "tanh", "sigmoid"],
    }
)
PRESENT = {"optimizer.learning_rate": 0.1, "init": "he_uniform", "init_scale": 1.0, "activation": "relu"}
RATE = next(each for each in SPACE if each.name == "optimizer.learning_rate")
EPOCHS = Searched("epochs", choices=[50, 100, 200])
ODD = "$x^2$ <b>&amp;\u202e \u732b\x07 `|` " + "W" * 40


def many(count: int) -> tuple[list[Searched], dict[str, Any]]:
    """A space of so many parameters, ranges of each kind and lists of each kind by turns, and the present setting."""
    kinds: list[tuple[dict[str, Any], Any]] = [
        ({"low": 1e-5, "high": 0.1, "log": True}, 0.0),
        ({"choices": [[10], [32, 32], [128, 64, 32, 16], []]}, [10]),
        ({"low": 0.0, "high": 0.5}, 0.0),
        ({"choices": [None, 1.0, 10]}, None),
        ({"low": 1, "high": 12, "whole": True}, 3),
        ({"choices": [True, False]}, False),
        ({"low": 0.1, "high": 10.0, "log": True}, None),
        ({"choices": [f"a long name of an activation {index}" for index in range(9)]}, "identity"),
    ]
    space, present = [], {}
    for index in range(count):
        kind, value = kinds[index % len(kinds)]
        name = f"section_{index}.a_parameter_with_a_long_name_{index}"
        space.append(Searched(name, **kind))
        present[name] = value
    return space, present


def draw(space: Sequence[Searched], random: np.random.Generator) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for each in space:
        if not each.is_active(settings):
            continue
        if each.choices is not None:
            settings[each.name] = each.choices[random.integers(len(each.choices))]
        elif each.log:
            settings[each.name] = float(math.exp(random.uniform(math.log(each.low), math.log(each.high))))
        else:
            settings[each.name] = float(random.uniform(each.low, each.high))
        if each.whole:
            settings[each.name] = round(settings[each.name])
    return settings


def loss(settings: Mapping[str, Any], epochs: int) -> float:
    """Log loss after so many epochs, without luck; NaN where the training diverges."""
    rate = settings.get("optimizer.learning_rate", 0.3)
    activation, init = settings.get("activation", "relu"), settings.get("init", "he_uniform")
    if rate > 1.6 and activation == "relu":
        return math.nan
    worse = 0.12 * math.log10(rate / 0.5) ** 2 + {"relu": 0.02, "tanh": 0.0, "sigmoid": 0.14}.get(activation, 0.05)
    if init == "normal":
        worse += 0.06 * math.log10(settings.get("init_scale", 1.0) / 0.4) ** 2
    for name, value in settings.items():
        if name not in PRESENT and isinstance(value, int | float):
            worse += 0.03 * value / (1 + abs(value))
    return min(0.69, 0.058 + worse * (1 + 6 / epochs) + 0.5 * math.exp(-epochs * rate / 2))


def example(
    trials: int = 64,
    replicas: int = 3,
    budgets: Sequence[int] = BUDGETS,
    space: Sequence[Searched] = SPACE,
    present: Mapping[str, Any] = PRESENT,
    all_diverge: bool = False,
    present_diverges: bool = False,
    adopts: bool = True,
    dataset: str = "circles",
    folds: int = 0,
) -> tuple[pa.Table, StudyResult]:
    """Table and result; rounds of eight trials, of which the better third trains on.

    all_diverge: but the present setting; present_diverges: also with fresh seeds.
    """
    random = np.random.default_rng(5)
    of_trial: list[dict[str, Any]] = []
    first: dict[str, Any] = {}
    for each in space:
        if each.is_active(first):
            first[each.name] = present[each.name]
    settings = [first, *(draw(space, random) for _ in range(trials - 1))]
    rows: list[dict[str, Any]] = []
    for start in range(0, trials, 8):
        alive = list(range(start, min(start + 8, trials)))
        state = dict.fromkeys(alive, "complete")
        own: list[dict[str, Any]] = []
        for rung, budget in enumerate(budgets):
            scores = {}
            for trial in alive:
                lost = present_diverges if trial == 0 else all_diverge
                centre = math.nan if lost else loss(settings[trial], budget)
                losses = centre * np.exp(0.06 * random.normal(size=replicas))
                scores[trial] = float(losses.mean())
                for replica, value in enumerate(losses):
                    best_epoch = int(budget * random.uniform(0.5, 1.0))
                    own.append(
                        {
                            **{"trial": trial, "round": start // 8, "replica": replica, "trained_epochs": budget},
                            "budget": budget * settings[trial].get("epochs", 100) // 100,
                            **{"best_epoch": best_epoch, "validation_loss": float(value), "score": scores[trial]},
                            "validation_accuracy": float(1 - value / 3),
                        }
                    )
            state |= {trial: "diverged" for trial in alive if math.isnan(scores[trial])}
            alive = sorted((trial for trial in alive if state[trial] != "diverged"), key=lambda trial: scores[trial])
            if rung < len(budgets) - 1:
                # The present setting always trains on: others are measured by it.
                kept = [trial for place, trial in enumerate(alive) if place < len(alive) / 3 or trial == 0]
                state |= {trial: "stopped" for trial in alive if trial not in kept}
                alive = kept
        of_trial += [{"trial": trial, "state": state[trial]} for trial in sorted(state)]
        rows += [each | {"state": state[each["trial"]]} for each in own]
    rows.sort(key=lambda row: (row["trial"], row["budget"], row["replica"]))
    columns = ["trial", "round", "state", "budget", "replica", "trained_epochs", "best_epoch"]
    columns += ["validation_loss", "validation_accuracy", "score"]
    table = pa.table({name: [row[name] for row in rows] for name in columns})
    for name, column in parameter_columns(space, [settings[row["trial"]] for row in rows]).items():
        # A parameter `epochs` takes the place of the column of that name, as in retrace/study/study_run.py.
        known = name in columns
        table = table.set_column(columns.index(name), name, column) if known else table.append_column(name, column)
    result = _result(rows, settings, space, present, of_trial, adopts, folds)
    options = {"dataset": dataset, "trials": trials, "seeds": replicas, "budgets": list(budgets)}
    return table, replace(result, **options)


def _result(
    rows: Sequence[Mapping[str, Any]],
    settings: Sequence[dict[str, Any]],
    space: Sequence[Searched],
    present: Mapping[str, Any],
    of_trial: Sequence[Mapping[str, Any]],
    adopts: bool,
    folds: int,
) -> StudyResult:
    last = {row["trial"]: row["score"] for row in rows}
    states = dict(Counter(each["state"] for each in of_trial))
    complete = [each["trial"] for each in of_trial if each["state"] == "complete"]
    ranked = sorted(complete, key=lambda trial: last[trial])
    chosen = [0, *[trial for trial in ranked if trial][:3]]
    candidates = []
    own = last[0] - 0.01
    compared = not math.isnan(own)
    for place, trial in enumerate(chosen):
        # Of other rows, where everything is a little easier; what was chosen loses some of its luck.
        fresh = last[trial] - 0.01 + 0.002 * place
        better = own - fresh
        width = 0.008 if adopts else 1.4 * abs(better) + 0.004
        candidates.append(
            Candidate(
                trial=trial,
                settings=settings[trial],
                search_score=last[trial],
                fresh_score=fresh,
                optimism=last[0] - last[trial] - better if trial and compared else None,
                deviation=0.004 + 0.001 * place,
                improvement=Interval(better, better - width, better + width) if trial and compared else None,
                accuracy=0.975 + 0.001 * place,
                calibration_error=0.012,
                epochs=93.5,
                work=1 + place / 4,
                over_guess=Interval(0.5, 0.4, 0.6),
            )
        )
    if not compared:
        del candidates[0]
    surely = [each.trial for each in candidates if each.improvement and each.improvement.low > 0]
    adopted = surely[0] if adopts and surely else None
    reason = "none is surely better; the present one stays"
    if not compared:
        adopted = candidates[0].trial
        reason = f"the present setting diverges, and trial {adopted} does with no fresh seed"
    elif adopted is not None:
        reason = f"trial {adopted} is surely better"
    always = [each for each in space if not each.when]
    shares = 0.6 ** np.arange(len(always))
    importance = [
        Importance(each.name, Interval(share, share * 0.8, min(1.0, share * 1.25)))
        for each, share in zip(always, shares / shares.sum(), strict=True)
    ]
    if len(complete) < 2 or len(always) < 2:
        importance = []
    procedure = None
    if folds:
        each = [Fold(settings[ranked[0]], 0.08 + 0.004 * fold, 0.1 + 0.003 * fold, 134) for fold in range(folds)]
        procedure = Procedure(each, Interval(0.018, 0.009, 0.027))
    return StudyResult(
        **{"dataset": "", "method": "tpe", "trials": 0, "seeds": 0, "fresh_seeds": 16, "confidence": 0.95, "rows": 670},
        present={f"train.{name}": value for name, value in {**present, "batch_size": 64}.items()},
        parameters=[
            Parameter(
                **{"name": each.name, "choices": each.choices, "log": each.log, "present": present[each.name]},
                low=None if each.choices is not None else float(each.low),
                high=None if each.choices is not None else float(each.high),
            )
            for each in space
        ],
        **{"budgets": [], "states": states, "best": ranked[0], "candidates": candidates, "adopted": adopted},
        **{"reason": reason, "importance": importance, "procedure": procedure},
    )


def odd() -> tuple[list[Searched], dict[str, Any]]:
    """Names and values that are markup, mathtext, orders to a terminal and long, and some that are lists or null."""
    space = [
        Searched("optimizer.learning_rate", low=0.003, high=3.0, log=True),
        Searched(ODD, choices=["<script>alert(1)</script>", "$\\frac{1}{$", "a\nb\x1b[31m", ODD, ODD + "x"]),
        Searched(f"{ODD} 2", choices=[None, [1, 2], [], True, 1, "null"]),
    ]
    return space, {"optimizer.learning_rate": 0.1, ODD: "$\\frac{1}{$", f"{ODD} 2": None}


def variants() -> dict[str, dict[str, Any]]:
    """Arguments of `example`, by what is special about them."""
    one = {"space": [RATE], "present": PRESENT}
    odd_space, odd_present = odd()
    twenty, twenty_present = many(20)
    choices = [each for each in SPACE if each.choices]
    return {
        "as it should be": {"folds": 5},
        "nothing adopted": {"adopts": False},
        "one parameter": one,
        "two trials": {"trials": 2},
        "all diverged but the present": {"trials": 16, "all_diverge": True},
        "odd names": {"space": odd_space, "present": odd_present, "dataset": ODD},
        "twenty parameters": {"space": twenty, "present": twenty_present},
        "lists only": {"space": choices, "present": PRESENT},
        "one rung, one network": {"budgets": [100], "replicas": 1, "trials": 20},
        "the present diverges": {"trials": 24, "present_diverges": True},
        "epochs are searched": {"space": [RATE, EPOCHS], "present": {**PRESENT, "epochs": 100}},
        "numbers only": {"space": [RATE, many(3)[0][2]], "present": {**PRESENT, **many(3)[1]}, "trials": 200},
    }
