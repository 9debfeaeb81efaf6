"""A lesson of lessons/: what it claims, which settings show it, and the numbers that must hold."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from retrace.params.create import Create
from retrace.params.document import Document, parse
from retrace.params.messages import Key, dotted_key, place_of, rule_of, shown_value, suggest
from retrace.params.section import Section, broken
from retrace.params.shipped import shipped
from retrace.params.split import Split
from retrace.params.train import Train
from retrace.runtime.errors import BAD_PARAMS, UserError

FOLDER = Path("lessons")
SECTIONS: tuple[type[Section], ...] = (Create, Split, Train)
# What figures of a kind may be of.
OF: dict[str, list[str]] = {
    "curves": ["accuracy", "loss", "train_loss", "health"],
    "dots": ["accuracy", "loss", "train_loss", "start_loss"],
    "layers": ["gradient", "activation"],
    "boundaries": [],
}
PREFIXES = tuple(f"{section.section_name()}." for section in SECTIONS)
NAME = re.compile(r"[0-9]{2}-[a-z0-9-]+")

Text = Annotated[str, Field(min_length=1)]


class Expectation(Section):
    """A number, and on which side of another it must be. value: an expression, see retrace/lessons/measures.py."""

    says: Text
    value: Text
    above: float | None = None
    below: float | None = None
    equals: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if sum(each is not None for each in (self.above, self.below, self.equals)) != 1:
            raise broken("value", "must have one of above, below and equals beside it")
        return self


class Panel(Section):
    """A figure. of: what it shows; variants: of which, all where nothing is said."""

    kind: Literal["curves", "dots", "layers", "boundaries"]
    title: Text
    of: Literal["accuracy", "loss", "train_loss", "start_loss", "gradient", "activation", "health"] | None = None
    variants: list[str] | None = None
    log: bool = False


class Question(Section):
    ask: Text
    answer: Text


class Lesson(Section):
    """A file of lessons/.

    why, source: Markdown. settings: of all variants, over the shipped ones, by dotted name; variants: name -> its own,
    over these. animation: variants whose boundary is shown over the epochs. next: a command to go on with.
    """

    title: Text
    claim: Text
    why: Text
    source: Text
    settings: dict[str, Any]
    variants: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    expect: Annotated[list[Expectation], Field(min_length=1)]
    figures: Annotated[list[Panel], Field(min_length=1)]
    animation: list[str]
    questions: Annotated[list[Question], Field(min_length=1)]
    next: Text


class Variant(NamedTuple):
    """settings: in which it differs from what was shipped, by dotted name."""

    name: str
    settings: dict[str, Any]
    create: Create
    split: Split
    train: Train


class Told(NamedTuple):
    """A lesson as its file has it, and its variants ready to be trained. name: of the file, as in 01-a-line-cannot."""

    name: str
    lesson: Lesson
    variants: list[Variant]


def lesson_names(root: Path = Path()) -> list[str]:
    return sorted(path.stem for path in (root / FOLDER).glob("*.yaml") if NAME.fullmatch(path.stem))


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.yaml"


def read_lesson(name: str) -> Told:
    """Raises UserError (status 2) with a line for each fault of the file."""
    document = parse(path_of(name), "a lesson (title, claim, why, ...)")
    faults = dict(document.faults)
    lesson = _validated(document, faults)
    variants = list(_variants(lesson, document, faults)) if lesson else []
    if lesson:
        _check_names(lesson, document, faults)
    if faults or lesson is None:
        raise UserError(BAD_PARAMS, *faults.values())
    return Told(name, lesson, variants)


def _validated(document: Document, faults: dict[Key, str]) -> Lesson | None:
    try:
        return Lesson.model_validate(document.values)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            key: Key = item["loc"]
            place = place_of(key, document.lines, document.path)
            if item["type"] == "extra_forbidden":
                known = Lesson.model_fields if len(key) == 1 else ()
                line = f"{place} is no part of a lesson{suggest(str(key[-1]), list(known)) or '; delete it'}"
            elif item["type"] == "missing":
                line = f"{document.path}: {dotted_key(key)} is missing; {rule_of(Lesson, ('lesson', *key))}"
            elif item["type"] == "rule":
                line = f"{place} {item['ctx']['rule']}"
            else:
                while len(key) > 1 and key not in document.lines:
                    key = key[:-1]
                rule = rule_of(Lesson, ("lesson", *key))
                line = f"{place_of(key, document.lines, document.path)} {rule}; got {shown_value(item['input'])}"
            faults.setdefault(key, line)
        return None


def _variants(lesson: Lesson, document: Document, faults: dict[Key, str]) -> Iterator[Variant]:
    known = {name: value for name, value in shipped().items() if name.startswith(PREFIXES)}
    for name, own in lesson.variants.items():
        settings = lesson.settings | own
        unknown = [setting for setting in settings if setting not in known]
        for setting in unknown:
            key: Key = ("variants", name, setting) if setting in own else ("settings", setting)
            hint = suggest(setting, list(known)) or "; delete it"
            place = place_of(key, document.lines, document.path)
            faults.setdefault(key, f"{place} must be a parameter of section create, split or train{hint}")
        values = known | {setting: value for setting, value in settings.items() if setting in known}
        if (sections := _validated_sections(values, name, own, document, faults)) and not unknown:
            yield Variant(name, settings, *sections)


def _validated_sections(
    values: Mapping[str, Any], name: str, own: Mapping[str, Any], document: Document, faults: dict[Key, str]
) -> tuple[Create, Split, Train] | None:
    """The sections of a variant; None, with a line for each fault, where they are not sound.

    values: of all parameters, by dotted name; own: those that this variant says itself.
    """
    found: list[Any] = []
    for section in SECTIONS:
        try:
            found.append(section.model_validate(_nested(values)[section.section_name()]))
        except ValidationError as error:
            for item in error.errors(include_url=False):
                broken_rule = item["ctx"] if item["type"] == "rule" else {}
                path = (section.section_name(), *item["loc"], *str(broken_rule.get("key", "")).split("."))
                dotted = ".".join(str(part) for part in path if part != "")
                setting = next(each for each in values if f"{dotted}.".startswith(f"{each}."))
                rule = broken_rule.get("rule") or rule_of(section, tuple(setting.split(".")))
                key: Key = ("variants", name, setting) if setting in own else ("settings", setting)
                where = place_of(key, document.lines, document.path)
                faults.setdefault(key, f"{where} {rule}; got {shown_value(values[setting])}")
    if len(found) < len(SECTIONS):
        return None
    create, split, train = found
    if create.dataset == "table":
        setting = "create.dataset"
        key = ("variants", name, setting) if setting in own else ("settings", setting)
        where = place_of(key, document.lines, document.path)
        faults.setdefault(key, f"{where} must be made or come with scikit-learn: a lesson has no table beside it")
    if train.patience is not None or train.ship != "best" or train.temperature != "none":
        key = ("variants", name)
        where = place_of(key, document.lines, document.path)
        faults.setdefault(
            key, f"{where} must leave train.patience, ship and temperature as they are: no epoch is left out"
        )
    return create, split, train


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for dotted, value in values.items():
        *parents, last = dotted.split(".")
        place = found
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return found


def _check_names(lesson: Lesson, document: Document, faults: dict[Key, str]) -> None:
    """Variants that a figure or the animation names, and that are not there."""
    asked: list[tuple[Key, list[str]]] = [(("animation",), lesson.animation)]
    asked += [(("figures", place, "variants"), panel.variants or []) for place, panel in enumerate(lesson.figures)]
    for key, names in asked:
        for name in names:
            if name not in lesson.variants:
                place = place_of(key, document.lines, document.path)
                known = ", ".join(lesson.variants)
                faults.setdefault(key, f"{place} must name variants of the lesson ({known}); got {shown_value(name)}")
    for number, panel in enumerate(lesson.figures):
        known_of = OF[panel.kind]
        if (panel.of is None) == bool(known_of) or (panel.of and panel.of not in known_of):
            key = ("figures", number)
            rule = f"must be of one of {', '.join(known_of)}" if known_of else "must be of nothing"
            where = place_of(key, document.lines, document.path)
            faults.setdefault(key, f"{where} is of kind {panel.kind}, and {rule}; got {shown_value(panel.of)}")


def unknown_lesson(asked: str) -> UserError:
    names = lesson_names()
    return UserError(BAD_PARAMS, f"{FOLDER}/ has no lesson {shown_value(asked)}; it has {', '.join(names)}")
