"""Which parameters decide whether a trial is good: PED-ANOVA (Watanabe et al. 2023), with its doubt."""

import warnings
from collections.abc import Sequence

import numpy as np
from optuna.importance import PedAnovaImportanceEvaluator

from retrace.artifacts.study import Importance, Interval
from retrace.params.space import Searched
from retrace.study.sampling import Told, study_of
from retrace.study.search import Trial

# Of the trials with replacement (bootstrap); the range is that of the middle nine tenths.
RESAMPLES = 20
# Fewer say nothing.
FEWEST = 8


def importance(trials: Sequence[Trial], space: Sequence[Searched], seed: int) -> list[Importance]:
    """Of the parameters that every trial has, by what the first rung said, which all have reached; the largest first.

    Empty where there are too few trials, or nothing to tell apart.
    """
    told = [Told(each.settings, each.scores[:1], complete=True) for each in trials if not each.measured[0].diverged]
    always = [each for each in space if not each.when]
    if len(told) < FEWEST or len(always) < 2:
        return []
    whole = _shares(told, always)
    if not any(whole):
        return []
    random = np.random.default_rng(seed)
    resampled = [
        _shares([told[place] for place in random.integers(len(told), size=len(told))], always) for _ in range(RESAMPLES)
    ]
    found = []
    for place, each in enumerate(always):
        low, high = np.quantile([shares[place] for shares in resampled], [0.05, 0.95])
        found.append(
            Importance(each.name, Interval(whole[place], min(float(low), whole[place]), max(float(high), whole[place])))
        )
    return sorted(found, key=lambda each: (-each.share.value, each.name))


def _shares(told: Sequence[Told], space: Sequence[Searched]) -> list[float]:
    """Adding up to 1, or all 0."""
    own = [Told({each.name: one.settings[each.name] for each in space}, one.scores, True) for one in told]
    study = study_of(space, own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is new, and that trials are few or alike
        found = PedAnovaImportanceEvaluator().evaluate(study)
    total = sum(found.values())
    return [found.get(each.name, 0.0) / total if total > 0 else 0.0 for each in space]
