"""The space of a study: which parameters of section `train` are searched, and over what.

Each is a list of values, or a range: {low: 0.01, high: 1.0, log: true}. `when` makes a parameter one of those that are
searched only together with some values of another: {choices: [...], when: {optimizer.name: [sgd]}}; elsewhere it stays
as it is in section `train`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from retrace.params.messages import rule_of, shown_value, suggest
from retrace.params.train import Train

# What is no setting to be chosen: the luck, its measure, what computes it, with how much memory, and what comes after.
FIXED = ("replicas", "ship", "seed", "device", "tf32", "window", "temperature")
KEYS_OF_RANGE, KEYS_OF_CHOICES = {"low", "high", "log", "when"}, {"choices", "when"}
# What rules between parameters are about: the validators of section `train`.
RULED = {
    *("optimizer.name", "optimizer.momentum", "optimizer.nesterov"),
    *("schedule.name", "schedule.warmup_epochs", "epochs", "architecture", "hidden"),
}

Settings = dict[str, Any]
# (key below the space, rule, the value that breaks it)
Fault = tuple[tuple[str | int, ...], str, Any]


@dataclass(frozen=True)
class Searched:
    """A searched parameter: one of `choices`, or a number from `low` to `high`.

    name: dotted, below section `train`; whole: only whole numbers; when: name of another -> the values of it with which
    this one is searched.
    """

    name: str
    choices: list[Any] | None = None
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    when: Mapping[str, list[Any]] = field(default_factory=dict)

    def is_active(self, settings: Mapping[str, Any]) -> bool:
        """With what the parameters without `when` have been set to."""
        return all(name in settings and settings[name] in values for name, values in self.when.items())

    def holds(self, value: Any) -> bool:
        if self.choices is not None:
            return any(type(value) is type(each) and value == each for each in self.choices)
        return isinstance(value, int | float) and self.low <= value <= self.high

    @property
    def ends(self) -> list[Any]:
        return self.choices if self.choices is not None else [self.low, self.high]


def searched(space: Mapping[str, Any]) -> list[Searched]:
    """The space of a section without faults, those with `when` last."""
    found = []
    for name, given in space.items():
        own = given if isinstance(given, dict) else {"choices": given}
        when = {other: value if isinstance(value, list) else [value] for other, value in own.get("when", {}).items()}
        if "choices" in own:
            # As the section has them: 0 is 0.0 there.
            choices = [_adapter(name).validate_python(value) for value in own["choices"]]
            found.append(Searched(name, choices=choices, when=when))
        else:
            whole = _is_whole(name)
            low, high = (own[key] if whole else float(own[key]) for key in ("low", "high"))
            found.append(Searched(name, None, low, high, own.get("log", False), whole, when))
    return sorted(found, key=lambda each: bool(each.when))


def grid(space: Sequence[Searched]) -> list[Settings]:
    """Every combination of lists once, the last parameter changing first."""
    found: list[Settings] = []
    for values in product(*(each.choices or [] for each in space)):
        settings: Settings = {}
        for each, value in zip(space, values, strict=True):
            if each.is_active(settings):
                settings[each.name] = value
        if settings not in found:
            found.append(settings)
    return found


def value_of(section: Train, name: str) -> Any:
    """The value of a parameter by its dotted name."""
    value: Any = section
    for part in name.split("."):
        value = getattr(value, part)
    return value


def with_settings(section: Train, settings: Mapping[str, Any]) -> Train:
    """The section with other values; raises pydantic's ValidationError where they break a rule between parameters."""
    content = section.model_dump()
    for name, value in settings.items():
        *parents, last = name.split(".")
        place = content
        for part in parents:
            place = place[part]
        place[last] = value
    return Train.model_validate(content)


def broken_combinations(space: Sequence[Searched], section: Train) -> Iterator[str]:
    """Rules between parameters that some settings of the space would break; each once."""
    seen, ruled = set(), [each for each in space if each.name in RULED]
    asked = {name for each in ruled for name in each.when}
    ruled = [each for each in space if each in ruled or each.name in asked]
    for values in product(*(each.ends for each in ruled)):
        settings: Settings = {}
        for each, value in zip(ruled, values, strict=True):
            if each.is_active(settings):
                settings[each.name] = value
        try:
            with_settings(section, settings)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                context = item.get("ctx", {})
                key = ".".join([*map(str, item["loc"]), str(context.get("key", ""))]).strip(".")
                rule = str(context.get("rule", item["msg"]))
                if (key, rule) not in seen:
                    seen.add((key, rule))
                    said = ", ".join(f"{name}: {shown_value(value)}" for name, value in settings.items())
                    yield f"train.{key} {rule}" + (f"; the space has {said}" if said else "")


def faults_of(space: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with the space, each fault once."""
    if not space:
        rule = "must name at least one parameter of section train, such as optimizer.learning_rate: [0.03, 0.1, 0.3]"
        yield (), rule, space
    for name, given in space.items():
        if name in searchable():
            yield from _faults_of_one(name, given, space)
        else:
            yield (name,), f"must be named after a parameter of section train{_hint(name)}", given


def _hint(name: str) -> str:
    if name in FIXED:
        return ", and not this one, which is no setting to choose"
    if close := suggest(name, list(searchable())):
        return close
    ends = [other for other in searchable() if other.rsplit(".", 1)[-1] == name]
    return f"; did you mean {ends[0]}?" if ends else ""


def _faults_of_one(name: str, given: Any, space: Mapping[str, Any]) -> Iterator[Fault]:
    if isinstance(given, list):
        yield from _faults_of_choices(name, (name,), given)
        return
    if not isinstance(given, dict):
        yield (name,), "must be a list of values, or a range such as {low: 0.01, high: 1.0, log: true}", given
        return
    known = KEYS_OF_CHOICES if "choices" in given else KEYS_OF_RANGE
    for key in given:
        if key not in known:
            yield (name, key), f"must be one of {', '.join(sorted(known))}, or not be there", given[key]
    if "choices" in given:
        if isinstance(given["choices"], list):
            yield from _faults_of_choices(name, (name, "choices"), given["choices"])
        else:
            yield (name, "choices"), "must be a list of values", given["choices"]
    else:
        yield from _faults_of_range(name, given)
    yield from _faults_of_when(name, given.get("when", {}), space)


def _faults_of_choices(name: str, key: tuple[str, ...], choices: list[Any]) -> Iterator[Fault]:
    if not choices:
        yield key, "must hold at least one value", choices
    for place, value in enumerate(choices):
        if not _is_valid(name, value):
            yield (*key, place), _rule(name), value
        elif value in choices[:place]:
            yield (*key, place), "must be there once", value


def _faults_of_range(name: str, given: Mapping[str, Any]) -> Iterator[Fault]:
    if not _is_number(name):
        yield (name,), "must be a list of values, since the parameter is no number", given
        return
    sound = True
    for key in ("low", "high"):
        if key not in given:
            yield (name,), f"must have {key}, an end of the range", given
            sound = False
        elif not _is_valid(name, given[key]) or given[key] is None:
            yield (name, key), _rule(name), given[key]
            sound = False
    log = given.get("log", False)
    if not isinstance(log, bool):
        yield (name, "log"), "must be true or false", log
    if sound and given["low"] > given["high"]:
        yield (name, "low"), f"must be at most high ({given['high']})", given["low"]
    elif sound and log is True and given["low"] <= 0:
        yield (name, "low"), "must be > 0 with log: true", given["low"]


def _faults_of_when(name: str, when: Any, space: Mapping[str, Any]) -> Iterator[Fault]:
    if not isinstance(when, dict):
        yield (name, "when"), "must be like {optimizer.name: [sgd]}", when
        return
    for other, values in when.items():
        given = space.get(other)
        choices = given.get("choices") if isinstance(given, dict) else given
        if not isinstance(choices, list) or (isinstance(given, dict) and "when" in given):
            yield (name, "when", other), "must be a parameter that the space has with a list, and without when", values
            continue
        for value in values if isinstance(values, list) else [values]:
            if value not in choices:
                listed = ", ".join(map(str, choices))
                yield (name, "when", other), f"must be among the values of {other} ({listed})", value


@cache
def searchable() -> dict[str, FieldInfo]:
    """Dotted name -> field, of every parameter of section `train` that can be searched."""

    def fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
        for name, found in model.model_fields.items():
            if isinstance(found.annotation, type) and issubclass(found.annotation, BaseModel):
                yield from fields(found.annotation, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", found

    return {name: found for name, found in fields(Train, "") if name not in FIXED}


def _is_valid(name: str, value: Any) -> bool:
    try:
        _adapter(name).validate_python(value)
    except ValidationError:
        return False
    return True


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    found = searchable()[name]
    rules = ConfigDict(strict=True, allow_inf_nan=False)
    return TypeAdapter(Annotated[found.annotation, found], config=rules)  # type: ignore[arg-type]


def _is_whole(name: str) -> bool:
    return not _is_valid(name, 1.5) and not _is_valid(name, 0.5)


def _is_number(name: str) -> bool:
    return any(_is_valid(name, value) for value in (0.5, 1, 2))


def _rule(name: str) -> str:
    return rule_of(Train, ("train", *name.split(".")))
