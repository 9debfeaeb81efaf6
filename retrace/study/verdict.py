"""The verdict: which of the best settings of a search is surely better than the present one?

The search has chosen the best of many by some rows, and so in part those rows' luck and the seeds'. So the best and
the present setting are trained again, with seeds that the search never used, in each of FOLDS folds of the rows for
training and validation: every row is judged by networks that were not trained on it. Where the search was on the
validation rows, nine in ten of these rows had no say in it, and the settings that are compared here are corrected for;
where it was on folds, too, all of its trials are. Test rows have no part in it.

Two settings are compared by pairs of row and seed, in log loss. The variance of the mean difference is that of the rows
and that of the seeds (jackknife over a fold's seeds, Efron and Stein 1981), the quantile Student's with Satterthwaite's
degrees of freedom, and the confidence is Bonferroni's for the number of settings compared. A setting that is surely
better than the present one, and not than a guess by the shares of the classes, has learned nothing: it is not adopted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrace.artifacts.study import Candidate, Interval
from retrace.evaluation.metrics import Predictions, metrics
from retrace.params.space import with_settings
from retrace.params.study import Study
from retrace.params.train import Train
from retrace.study.crew import Crew
from retrace.study.live import Live
from retrace.study.measuring import Course, Floats, Judged, Measured, Task, log_loss
from retrace.study.memo import Memo
from retrace.study.search import Trial

FOLDS = 5
# The best of a search that are held against the present setting.
BEST = 3
CALIBRATION_BINS = 10


class Fresh(NamedTuple):
    """A setting with fresh seeds, in each fold: what was measured, and what its networks say of the fold's rows."""

    trial: Trial
    section: Train
    measured: list[Measured]
    judged: list[Judged]

    @property
    def diverged(self) -> bool:
        return len(self.judged) < len(self.measured)

    @property
    def epochs(self) -> float:
        """That a network trained, in the mean."""
        return float(np.mean([each.epochs for each in self.measured]))

    @property
    def work(self) -> float:
        """Of a network's training, in multiplications for a row."""
        return self.epochs * self.measured[0].weights


class Judging(NamedTuple):
    """folders: of the folds' rows; weights, actual: of the rows of each fold, their shares of its log loss, 1 in all,
    and their class indices; guesses: logarithms of their classes' shares of the training rows; groups: of rows that
    belong together, a number each; first: how many folds were before.
    """

    study: Study
    section: Train
    crew: Crew
    memo: Memo
    live: Live
    folders: Sequence[Path]
    weights: Sequence[Floats]
    actual: Sequence[NDArray[np.int64]]
    guesses: Sequence[Floats]
    groups: Sequence[NDArray[np.uint64]]
    first: int = 0

    def train(self, trials: Sequence[Trial]) -> list[Fresh]:
        """Each setting with the epochs of section `train`, not with those of the search."""
        found = []
        tasks: list[Task] = []
        for trial in trials:
            section = with_settings(self.section, trial.settings)
            found.append(Fresh(trial, section, [], []))
            tasks += [
                Task(section, self.fresh(fold), section.epochs, folder, judged=True)
                for fold, folder in enumerate(self.folders)
            ]
        done: dict[str, tuple[Measured, Judged | None]] = {}
        wanted = []
        for task in tasks:
            measured, judged = self.memo.find(task), self.memo.find_judged(task)
            if measured and (judged or measured.diverged):
                done[self.memo.key(task)] = measured, judged
                self.live.judging(sum(measured.epochs))
            else:
                wanted.append(Course(task))
        for course, measured, judged in self.crew.run(wanted):
            if judged:
                self.memo.keep_judged(course.task, judged)
            self.memo.keep(course.task, measured)
            done[self.memo.key(course.task)] = measured, judged
            self.live.judging(sum(measured.epochs))
        for place, task in enumerate(tasks):
            measured, judged = done[self.memo.key(task)]
            own = found[place // len(self.folders)]
            own.measured.append(measured)
            if judged:
                own.judged.append(judged)
        return found

    def fresh(self, fold: int) -> range:
        """The networks of a fold: neither of the search nor of another fold, whose seeds' luck would be the same."""
        start = self.study.seeds + (self.first + fold) * self.study.fresh_seeds
        return range(start, start + self.study.fresh_seeds)

    def candidate(self, fresh: Fresh, present: Fresh | None, compared: int) -> Candidate:
        """present: to be held against; compared: among how many settings the best is looked for."""
        of_mean = self.section.ship == "mean"
        own = [each.right for each in fresh.judged]
        improvement = None
        if present:
            others = [each.right for each in present.judged]
            improvement = difference(own, others, self.weights, self.groups, of_mean, self.study.confidence, compared)
        guesses = [np.tile(guess, (len(right), 1)) for guess, right in zip(self.guesses, own, strict=True)]
        over_guess = difference(own, guesses, self.weights, self.groups, of_mean, self.study.confidence, compared)
        of_folds = [np.var(right @ weights, ddof=1) for right, weights in zip(own, self.weights, strict=True)]
        score = self.score(fresh)
        accuracy, calibration_error = self._quality(fresh, of_mean)
        searched, optimism = None if fresh.trial.measured[-1].diverged else fresh.trial.score, None
        if present and improvement and searched is not None and not present.trial.measured[-1].diverged:
            optimism = present.trial.score - searched - improvement.value
        return Candidate(
            trial=fresh.trial.number,
            settings=fresh.trial.settings,
            search_score=searched,
            fresh_score=score,
            optimism=optimism,
            deviation=float(np.mean(of_folds)) ** 0.5,
            improvement=improvement,
            accuracy=accuracy,
            calibration_error=calibration_error,
            epochs=fresh.epochs,
            work=fresh.work / present.work if present else 1.0,
            over_guess=over_guess,
        )

    def score(self, fresh: Fresh) -> float:
        """Log loss over all rows of what would ship."""
        of_mean = self.section.ship == "mean"
        scores = [
            log_loss(each.right, of_mean) @ weights for each, weights in zip(fresh.judged, self.weights, strict=True)
        ]
        return float(np.average(scores, weights=list(map(len, self.weights))))

    def _quality(self, fresh: Fresh, of_mean: bool) -> tuple[float, float]:
        """Accuracy and calibration error over all rows: of the networks' mean, or of each network, and their mean."""
        probabilities = np.concatenate([each.probabilities for each in fresh.judged], 1)
        actual = np.concatenate(self.actual)
        found = []
        for each in [probabilities.mean(0)] if of_mean else probabilities:
            predicted = Predictions(actual, each.argmax(1), each)
            found.append(metrics(predicted, np.ones((1, len(actual))), CALIBRATION_BINS))
        accuracy, error = (float(np.mean([each[name] for each in found])) for name in ("accuracy", "calibration_error"))
        return accuracy, error


def difference(
    own: Sequence[Floats],
    others: Sequence[Floats],
    weights: Sequence[Floats],
    groups: Sequence[NDArray[np.uint64]],
    of_mean: bool,
    confidence: float,
    compared: int,
) -> Interval:
    """How much lower the log loss of the first is than that of the second, in the mean over all rows.

    own, others: of each fold [networks, rows], logarithms of the probability of the right class, networks paired by
    seed; weights: of its rows, 1 in all; groups: of rows that belong together, whose luck is one; of_mean: whether the
    networks' mean ships, or a single one.
    """
    from scipy.stats import t as student  # a third of a second, at the end of a study

    sizes = np.array(list(map(len, weights)), dtype=np.float64)
    shares = sizes / sizes.sum()
    rows = np.concatenate(
        [log_loss(other, of_mean) - log_loss(right, of_mean) for right, other in zip(own, others, strict=True)]
    )
    counts = np.concatenate([share * each for share, each in zip(shares, weights, strict=True)])
    value = float(counts @ rows)
    _, group = np.unique(np.concatenate(groups), return_inverse=True)
    of_groups = np.bincount(group, counts * (rows - value))
    of_rows = float((of_groups**2).sum()) * len(of_groups) / max(1, len(of_groups) - 1)
    of_seeds, seeds = 0.0, len(own[0])
    for share, each, right, other in zip(shares, weights, own, others, strict=True):
        without = [
            (log_loss(np.delete(other, seed, 0), of_mean) - log_loss(np.delete(right, seed, 0), of_mean)) @ each
            for seed in range(seeds)
        ]
        of_seeds += share**2 * (seeds - 1) * float(np.var(without))
    variance = of_rows + of_seeds
    if not variance:
        return Interval(value, value, value)
    freedom = variance**2 / (of_rows**2 / max(1, len(of_groups) - 1) + of_seeds**2 / (len(own) * (seeds - 1)))
    reach = float(student.ppf(1 - (1 - confidence) / 2 / compared, freedom)) * variance**0.5
    return Interval(value, value - reach, value + reach)


def best_trials(trials: Sequence[Trial], section: Train) -> list[Trial]:
    """The best settings of the search, other than the present one, each once."""
    seen, found = [section], list[Trial]()
    for trial in sorted(trials, key=lambda each: (each.score, each.number)):
        whole = with_settings(section, trial.settings)
        if trial.state == "complete" and whole not in seen and len(found) < BEST:
            seen.append(whole)
            found.append(trial)
    return found


def decide(
    candidates: Sequence[Candidate], present_diverged: bool, confidence: float, compared: int
) -> tuple[int | None, str]:
    """The trial to adopt, or None, and why. candidates: those that did not diverge with any fresh seed."""
    others = [each for each in candidates if each.trial]
    if not others:
        return None, "no other setting trained to the end with fresh seeds; the present one stays"
    learned = [each for each in others if each.over_guess.low > 0]
    if present_diverged and not learned:
        return None, "the present setting diverges, and no other learned more than the classes' shares; it stays"
    if present_diverged:
        best = min(learned, key=lambda each: (each.fresh_score, each.trial))
        return best.trial, f"the present setting diverges, and trial {best.trial} does with no fresh seed"
    best = max(others, key=_improvement)
    surely = [each for each in others if each.improvement and each.improvement.low > 0]
    said = best.improvement
    assert said
    sure = f"{confidence:.0%}, for {compared:,} compared"
    if not surely:
        between = f"by {abs(said.value):.4f} ({said.low:+.4f} to {said.high:+.4f}; {sure})"
        better = "better" if said.value > 0 else "worse"
        text = f"none is surely better; the best, trial {best.trial}, is {better} {between}"
        return None, f"{text}; the present one stays"
    best = max(surely, key=_improvement)
    if not (adoptable := [each for each in surely if each in learned]):
        over = best.over_guess
        text = f"trial {best.trial} is surely better than the present one, and not than a guess by the classes' shares"
        return None, f"{text} ({over.value:+.4f}; {over.low:+.4f} to {over.high:+.4f}); the present one stays"
    best = max(adoptable, key=_improvement)
    said = best.improvement
    assert said
    return (
        best.trial,
        f"trial {best.trial} is surely better: its log loss is lower by {said.value:.4f} ({said.low:.4f} to"
        f" {said.high:.4f}; {sure})",
    )


def _improvement(each: Candidate) -> float:
    return each.improvement.value if each.improvement else 0.0
