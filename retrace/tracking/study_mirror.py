"""The trials of a study in a storage of Optuna, where optuna-dashboard shows them while the study is under way.

The mirror is never the truth: the study does not read it, and whatever is wrong with the storage is one line. A trial
is there once, known by its number and by a digest of what it is. Trials of one number that differ are of two studies,
as after a change of the seed: those go into studies of their own, `retrace NAME`, `retrace NAME (2)` and so on.
"""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from retrace.artifacts.study_feed import FeedHeader, FeedParameter, FeedTrial
from retrace.runtime.errors import BAD_PARAMS, MACHINE_FAULT, UserError
from retrace.runtime.text import one_line

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

JOURNALS = (".log", ".journal")
DRIVERS = {"psycopg": "postgresql+psycopg", "psycopg2": "postgresql+psycopg2"}
CONNECT_SECONDS = 5
# A file that is locked: Optuna itself tries five times.
LOCK_SECONDS = 3
# So long a lock of a journal may stand still until it is taken for one that a killed process left.
GRACE_SECONDS = 5

# Attributes of a trial: its number, and a digest of all that is known of it; of a study: a digest of what is searched.
TRIAL, KEY, ROUND, SPACE = "retrace.trial", "retrace.key", "retrace.round", "retrace.space"
LONGEST_NAME = 200


@dataclass(frozen=True)
class Target:
    """Where to; shown: without user, password and options."""

    kind: Literal["journal", "sqlite", "postgresql"]
    url: str
    shown: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Raises UserError (status 2) for a storage of another kind."""
        scheme, separator, rest = url.partition("://")
        place = rest.rpartition("@")[2].partition("?")[0]
        shown = one_line(f"{scheme}://{place}" if separator else url, 200)
        if not separator and Path(url).suffix in JOURNALS:
            return cls("journal", url, shown)
        if scheme == "sqlite" and rest.startswith("/") and len(place) > 1:
            return cls("sqlite", url, shown)
        if scheme == "postgres" or scheme.partition("+")[0] == "postgresql":
            return cls("postgresql", url.replace("postgres://", "postgresql://", 1), shown)
        raise UserError(
            BAD_PARAMS,
            f"study: --mirror {shown} must be a journal file (its name ends with .log or .journal), sqlite:///FILE or"
            " postgresql://USER:PASSWORD@HOST/DATABASE",
        )


def fault(target: Target, error: BaseException) -> str:
    """What is wrong, in part of a line and without a password."""
    cause = error.__cause__ if type(error).__name__ == "StorageInternalError" and error.__cause__ else error
    # SQLAlchemy's has what the driver said, and then the statement and its values.
    cause = getattr(cause, "orig", None) or cause
    text = str(cause).strip() or type(cause).__name__
    for secret in (target.url, *_secrets(target)):
        text = text.replace(secret, target.shown if secret == target.url else "***")
    return one_line(text.splitlines()[0], 200)


def _secrets(target: Target) -> list[str]:
    if target.kind != "postgresql":
        return []
    head, _, options = target.url.partition("?")
    user = head.partition("://")[2].rpartition("@")[0]
    found = [user.partition(":")[2], *re.findall(r"password=([^&]+)", options)]
    return [text for each in found if each for text in (each, unquote(each))]


def open_storage(target: Target) -> "BaseStorage":
    """Raises UserError where no other try can help, and what Optuna and the driver raise where one may."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if target.kind == "journal":
        from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

        _check_journal(Path(target.url))
        lock = JournalFileSymlinkLock(target.url, grace_period=GRACE_SECONDS)
        return optuna.storages.JournalStorage(JournalFileBackend(target.url, lock))
    url, limits = target.url, {"timeout": LOCK_SECONDS}
    if target.kind == "postgresql":
        url, limits = _with_driver(target.url), {"connect_timeout": CONNECT_SECONDS}
    _check_tables(url, limits)
    options = {"connect_args": limits, "pool_pre_ping": True}
    return optuna.storages.RDBStorage(url, engine_kwargs=options)


def _check_journal(path: Path) -> None:
    """Lines of Optuna's would be put below those of another program."""
    if path.exists() and path.stat().st_size:
        with open(path, "rb") as file:
            first = file.readline()
        try:
            if "op_code" in json.loads(first):
                return
        except (ValueError, TypeError):
            pass
        raise UserError(MACHINE_FAULT, "is not a journal of Optuna; name a file that is not there yet")


def _with_driver(url: str) -> str:
    if not url.startswith("postgresql://"):
        return url
    for module, scheme in DRIVERS.items():
        if importlib.util.find_spec(module):
            return url.replace("postgresql", scheme, 1)
    raise UserError(MACHINE_FAULT, "there is no driver for PostgreSQL; install one: pip install 'psycopg[binary]'")


def _check_tables(url: str, limits: dict[str, int]) -> None:
    """MLflow and Optuna both keep the version of their tables in one of the same name, and would spoil each other's."""
    from sqlalchemy import create_engine, inspect

    try:
        engine = create_engine(url, connect_args=limits)
    except ModuleNotFoundError as error:
        raise UserError(MACHINE_FAULT, f"there is no driver {error.name}; install it with pip") from None
    try:
        tables = set(inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "alembic_version" in tables and "studies" not in tables:
        raise UserError(MACHINE_FAULT, "has the tables of another program, such as MLflow; name another database")


class StudyMirror:
    """One run of a study, and the study in the storage that mirrors it."""

    def __init__(self, storage: "BaseStorage", header: FeedHeader):
        self.storage, self.header = storage, header
        self.distributions = {each.name: _distribution(each) for each in header.parameters}
        self.space = _digest([asdict(each) for each in header.parameters])
        self.study: Study | None = None
        self.there: dict[int, str] = {}
        self.keys: list[str] = []  # of the trials of this run, in their order

    def bring(self, trials: Sequence[FeedTrial], progress: Callable[[], None]) -> None:
        """Add those that are not there.

        trials: all of this run so far, in the order of their lines; progress: called after each thing that was done.
        """
        self.keys += [_key(each) for each in trials[len(self.keys) :]]
        if self.study is None or self._differ(self.there, trials):
            self._choose(trials, progress)
        assert self.study
        for each, key in zip(trials, self.keys, strict=True):
            if each.trial not in self.there:
                self.study.add_trial(self._frozen(each, key))
                self.there[each.trial] = key
                progress()

    def _choose(self, trials: Sequence[FeedTrial], progress: Callable[[], None]) -> None:
        """The first study of this name that is of these trials, or a new one."""
        import optuna

        names, count = set(optuna.get_all_study_names(self.storage)), 1
        base = f"retrace {one_line(self.header.dataset, LONGEST_NAME)}"
        while True:
            name = base if count == 1 else f"{base} ({count})"
            if name not in names:
                study = optuna.create_study(storage=self.storage, study_name=name, load_if_exists=True)
                break
            study = optuna.load_study(storage=self.storage, study_name=name)
            progress()
            if self._is_mine(study, trials):
                break
            count += 1
        if SPACE not in study.user_attrs:
            study.set_user_attr(SPACE, self.space)
        self.study, self.there = study, _there(study)

    def _is_mine(self, study: "Study", trials: Sequence[FeedTrial]) -> bool:
        there = _there(study)
        # Without its attribute it was cut off when it was made.
        space = study.user_attrs.get(SPACE, None if there else self.space)
        return space == self.space and not self._differ(there, trials)

    def _differ(self, there: dict[int, str], trials: Sequence[FeedTrial]) -> bool:
        return any(there.get(each.trial, key) != key for each, key in zip(trials, self.keys, strict=True))

    def _frozen(self, each: FeedTrial, key: str) -> "FrozenTrial":
        from optuna.trial import TrialState, create_trial

        scores = each.by_epochs
        states = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED}
        state = states.get(each.state, TrialState.FAIL)
        params = {name: _plain(value) for name, value in each.settings.items()}
        # The present setting is tried whether or not it lies in the space.
        inside = {
            name: value
            for name, value in params.items()
            if name in self.distributions and _holds(self.distributions[name], value)
        }
        attributes = {TRIAL: each.trial, KEY: key, ROUND: each.round}
        return create_trial(
            state=state,
            value=list(scores.values())[-1] if scores and state != TrialState.FAIL else None,
            params=inside,
            distributions={name: self.distributions[name] for name in inside},
            intermediate_values=scores,
            user_attrs=attributes | {name: value for name, value in params.items() if name not in inside},
        )


def _there(study: "Study") -> dict[int, str]:
    attributes = (each.user_attrs for each in study.get_trials(deepcopy=False))
    return {each[TRIAL]: each[KEY] for each in attributes if TRIAL in each}


def _distribution(each: FeedParameter) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if each.choices is not None:
        return CategoricalDistribution([_plain(value) for value in each.choices])
    low, high = each.low or 0.0, each.high or 0.0
    if each.whole:
        return IntDistribution(int(low), int(high), log=each.log)
    return FloatDistribution(low, high, log=each.log)


def _holds(distribution: "BaseDistribution", value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False


def _plain(value: Any) -> Any:
    """Optuna's choices are numbers and texts."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _key(each: FeedTrial) -> str:
    return _digest(asdict(each))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
