"""A search among some rows and the verdict on what it found; or, in folds, on the search itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from retrace.artifacts.paths import TRAIN, VALIDATION
from retrace.artifacts.schema import Schema
from retrace.artifacts.study import Candidate, Fold, Procedure
from retrace.artifacts.tables import count_rows, read_table
from retrace.data.groups import Hashes
from retrace.params.reader import fault
from retrace.params.space import Searched
from retrace.params.split import Split
from retrace.params.study import Study
from retrace.params.train import Train
from retrace.runtime.errors import MACHINE_FAULT, UserError
from retrace.study.crew import Crew
from retrace.study.folds import fold_of_each, groups_of, read_rows, write_fold
from retrace.study.live import Live
from retrace.study.measuring import Floats
from retrace.study.memo import Memo
from retrace.study.prepared import shares
from retrace.study.search import Search, Trial
from retrace.study.verdict import FOLDS, Judging, best_trials, decide, difference

# Of the rows in folds, which DVC does not know.
FOLDERS = Path(".retrace/study")
# So many validation rows tell settings apart; fewer are not asked alone.
ENOUGH = 2_000
# One row in so many is for validation, where a search is made without the rows of a fold.
INNER = 9


class Finding(NamedTuple):
    """candidates: the present setting first, unless it diverged; adopted: a trial's number, or None; reason: for it."""

    trials: list[Trial]
    candidates: list[Candidate]
    adopted: int | None
    reason: str


@dataclass(frozen=True)
class Inquiry:
    """section: `train`, the present setting; by_time: whether the split is, so that there are no folds."""

    study: Study
    section: Train
    space: list[Searched]
    schema: Schema
    split: Split
    by_time: bool
    crew: Crew
    memo: Memo
    live: Live

    def find(self, folder: Path, folders: Path) -> Finding:
        """folder: of the rows; folders: where those of its folds may be written.

        Raises UserError where all trials diverge.
        """
        parts = self._parts(folder, folders)
        trials = Search(self.study, self.section, self.space, self.crew, self.memo, self.live, parts).run()
        best = best_trials(trials, self.section)
        if not any(trial.state == "complete" for trial in trials):
            raise UserError(
                MACHINE_FAULT,
                f"study: all {len(trials):,} trials diverged, the present setting with them; lower the learning rates"
                " of study.space, or set train.scaling: standard or train.gradient_clip",
            )
        places = [folder] if self.by_time else list(self._write_folds(folder, folders / "verdict", self.study.seed + 1))
        judging = self._judging(places)
        present, *others = judging.train([trials[0], *best])
        # Rows that had a say in the choice among all trials cannot judge three of them as if there were no others.
        anew = parts[0][0] == folder and not self.by_time
        compared = max(1, len(best) if anew else len(trials) - 1)
        candidates = [] if present.diverged else [judging.candidate(present, None, compared)]
        reference = None if present.diverged else present
        candidates += [judging.candidate(each, reference, compared) for each in others if not each.diverged]
        adopted, reason = decide(candidates, present.diverged, self.study.confidence, compared)
        return Finding(trials, candidates, adopted, reason)

    def judge_the_search(self, folder: Path) -> Procedure:
        """The whole inquiry without the rows of a fold, and its result on these, for each fold."""
        rows, folds = read_rows(folder), self.study.folds or 0
        places = fold_of_each(rows, self.schema, self.split, folds, self.study.seed)
        if (there := int(places.max()) + 1) < folds:
            raise fault(Study, "folds", f"must be at most {there}, the groups of rows that there are")
        found, own, others, weights = list[Fold](), list[Floats](), list[Floats](), list[Floats]()
        groups = list[Hashes]()
        of_mean = self.section.ship == "mean"
        for fold in range(folds):
            outer = FOLDERS / f"without-{fold}"
            kept = rows.filter(places != fold)
            inner = fold_of_each(kept, self.schema, self.split, INNER, self.study.seed) == 0
            finding = self.find(write_fold(kept, inner, outer / "search"), outer)
            judging = self._judging([write_fold(rows, places == fold, outer / "whole")], first=FOLDS)
            trial = finding.trials[finding.adopted or 0]
            present, adopted = judging.train([finding.trials[0], trial])
            if present.diverged or adopted.diverged:
                raise UserError(MACHINE_FAULT, f"study: fold {fold}: {self._diverged(present.diverged)}")
            right = [each.judged[0].right for each in (adopted, present)]
            own.append(right[0])
            others.append(right[1])
            weights.extend(judging.weights)
            groups.extend(judging.groups)
            settings = trial.settings if finding.adopted else {}
            rows_here = int((places == fold).sum())
            found.append(Fold(settings, judging.score(adopted), judging.score(present), rows_here))
        return Procedure(found, difference(own, others, weights, groups, of_mean, self.study.confidence, 1))

    def _diverged(self, present: bool) -> str:
        which = "the present setting" if present else "what the search adopted"
        return f"{which} diverged, so that there is no judging the search; lower the learning rates of study.space"

    def _parts(self, folder: Path, folders: Path) -> list[tuple[Path, range]]:
        """On which rows each network of a trial is trained and judged.

        Where validation rows are few, what is chosen by them is their luck: then each network has another fold.
        """
        seeds = self.study.seeds
        if self.by_time or count_rows(folder / VALIDATION.name) >= ENOUGH:
            return [(folder, range(seeds))]
        places = [*self._write_folds(folder, folders / "search", self.study.seed)][:seeds]
        ends = [round(part * seeds / len(places)) for part in range(len(places) + 1)]
        return [(place, range(*pair)) for place, pair in zip(places, pairwise(ends), strict=True)]

    def _write_folds(self, folder: Path, folders: Path, seed: int) -> Iterator[Path]:
        rows = read_rows(folder)
        places = fold_of_each(rows, self.schema, self.split, FOLDS, seed)
        for fold in range(int(places.max()) + 1):  # fewer than FOLDS where there are fewer groups
            yield write_fold(rows, places == fold, folders / f"fold-{fold}")

    def _judging(self, folders: list[Path], first: int = 0) -> Judging:
        weights, actual, guesses, groups = [], [], [], []
        for folder in folders:
            of_training, of_validation = (
                read_table(folder / path.name, [self.schema.target]).column(0).to_numpy().astype(np.int64)
                for path in (TRAIN, VALIDATION)
            )
            counts = torch.from_numpy(np.bincount(of_training, minlength=len(self.schema.classes)))
            weights.append(shares(self.section, counts, torch.from_numpy(of_validation)))
            actual.append(of_validation)
            # What each class counts in the training rows, as the criterion weighs it.
            each_class = shares(self.section, counts, torch.arange(len(counts))) * counts.numpy()
            share = each_class / each_class.sum()
            guesses.append(np.log(np.maximum(share, np.finfo(np.float64).eps))[of_validation])
            groups.append(groups_of(read_table(folder / VALIDATION.name), self.schema, self.split))
        within = (self.crew, self.memo, self.live, folders)
        return Judging(self.study, self.section, *within, weights, actual, guesses, groups, first)
