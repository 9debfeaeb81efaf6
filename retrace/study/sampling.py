"""What a study tries next: Optuna's samplers, asked round by round.

A round is asked of a study that is filled anew, in memory, with what was measured before, by a sampler that is seeded
by (seed, round): a study that goes on after it was cut off asks for the same as one that was not, which a reloaded
storage with a sampler that is seeded once does not (docs/LOG.md).
"""

import json
import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from retrace.params.space import Searched, Settings, grid

# Trials of a round of tpe: they train side by side, and know nothing of each other. With half as many, a study of the
# circles takes twice as long: as many steps a round, in narrower packs. And at most so many rounds, since cores wait at
# the end of each: a large study is one for many.
ROUND, MOST_ROUNDS = 16, 8
# Of a number that is drawn from a range.
DIGITS = 3


class Told(NamedTuple):
    """A trial that is over. scores: after each rung that it reached; complete: whether that was the last one."""

    settings: Settings
    scores: list[float]
    complete: bool


def rounds(method: str, trials: int) -> list[int]:
    """How many trials each round has; only tpe learns from the rounds before."""
    if method != "tpe":
        return [trials]
    size = max(ROUND, math.ceil(trials / MOST_ROUNDS))
    return [min(size, trials - start) for start in range(0, trials, size)]


def ask(
    space: Sequence[Searched], method: str, seed: int, place: int, told: Sequence[Told], count: int
) -> list[Settings]:
    """The settings of so many trials; place: of the round, from 0. For `grid`: all combinations, whatever the count."""
    if method == "grid":
        return grid(space)
    study = study_of(space, told, _sampler(method, seed, place, any(each.when for each in space)))
    asked = []
    for _ in range(count):
        trial = study.ask()
        settings: Settings = {}
        for each in space:
            if each.is_active(settings):
                settings[each.name] = suggested(trial, each)
        asked.append(settings)
    return asked


def study_of(space: Sequence[Searched], told: Sequence[Told], sampler: BaseSampler | None = None) -> optuna.Study:
    """A study of Optuna in memory that has these trials; one that lies outside of the space is left out."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler or RandomSampler(0))
    study.add_trials([_frozen(space, each) for each in told if _lies_within(space, each.settings)])
    return study


def distribution(each: Searched) -> BaseDistribution:
    if each.choices is not None:
        return CategoricalDistribution([_encoded(each, value) for value in each.choices])
    if each.whole:
        return IntDistribution(int(each.low), int(each.high), log=each.log)
    return FloatDistribution(each.low, each.high, log=each.log)


def suggested(trial: optuna.Trial, each: Searched) -> Any:
    if each.choices is not None:
        return json.loads(trial.suggest_categorical(each.name, [_encoded(each, value) for value in each.choices]))
    if each.whole:
        return trial.suggest_int(each.name, int(each.low), int(each.high), log=each.log)
    value = trial.suggest_float(each.name, each.low, each.high, log=each.log)
    # What a person will read in params.yaml one day.
    return min(max(float(f"{value:.{DIGITS}g}"), each.low), each.high)


def _encoded(each: Searched, value: Any) -> Any:
    """Optuna's categories are texts and numbers, and no lists; 1 and true would be one."""
    return json.dumps(value) if each.choices is not None else value


def _lies_within(space: Sequence[Searched], settings: Settings) -> bool:
    return all(each.holds(settings[each.name]) for each in space if each.name in settings)


def _frozen(space: Sequence[Searched], told: Told) -> FrozenTrial:
    own = [each for each in space if each.name in told.settings]
    return create_trial(
        params={each.name: _encoded(each, told.settings[each.name]) for each in own},
        distributions={each.name: distribution(each) for each in own},
        state=TrialState.COMPLETE if told.complete else TrialState.PRUNED,
        value=told.scores[-1] if told.complete else None,
        intermediate_values=dict(enumerate(told.scores)),
    )


def _sampler(method: str, seed: int, place: int, conditional: bool) -> BaseSampler:
    own = int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
    if method == "random":
        return RandomSampler(own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if method == "quasi_random":
            return QMCSampler(scramble=True, seed=own, warn_asynchronous_seeding=False, warn_independent_sampling=False)
        return TPESampler(seed=own, multivariate=True, group=conditional)
