"""`make table FILE=... TARGET=...`: a table of one's own, looked through and named in params.yaml.

Prints what the stage `create` will find in it: rows, columns by kind, missing values, classes, suspicions. Then it
shows what it would change, and asks before it does so. A file from elsewhere is copied into data/tables, where the
pipeline, git and DVC see it. A table that is new to params.yaml brings a recipe for its size, and a gate; where it is
named there already, somebody may have tuned them, and they stay.
"""

import filecmp
import os
import shutil
import sys
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from retrace.cli.proposal import agreed, require_unchanged, write_params
from retrace.data.dialect import DELIMITERS
from retrace.data.kinds import CARRIED, FEATURES
from retrace.data.parquet_parts import folder_parts
from retrace.data.reading import open_own, open_source
from retrace.data.source import Source
from retrace.data.table import InspectedTable, convert, inspect
from retrace.data.values import sources
from retrace.params.create import Columns, Create, TableSource
from retrace.params.edit import Key, edited, written
from retrace.params.gate import Gate
from retrace.params.messages import PATH, suggest
from retrace.params.reader import read, read_verbatim
from retrace.params.split import Split
from retrace.params.study import Study
from retrace.params.train import Train
from retrace.runtime.atomic import write
from retrace.runtime.errors import BAD_DATA, BAD_PARAMS, UserError
from retrace.runtime.text import shown
from retrace.training.table_recipe import recipe

TABLES = Path("data/tables")
MOST_NAMES, MOST_LINES, LONGEST = 8, 12, 40  # columns of a kind, lines of a block, letters of a name in a block


# --- the file -------------------------------------------------------------------------------------------------------


def place_below_tables(file: Path) -> tuple[Path, bool]:
    """Where the file lies or shall lie below data/tables, and whether it is there and not elsewhere."""
    # A link below data/tables keeps its own name; its folders may be reached by any way.
    whole = file.parent.resolve() / file.name if file.name not in ("", "..") else file.resolve()
    root = TABLES.resolve()
    if root.is_relative_to(whole):
        raise UserError(BAD_DATA, f"{file} holds all tables; name one file, or one folder of Parquet parts")
    if whole.is_relative_to(root):
        return TABLES / whole.relative_to(root), True
    place = TABLES / whole.name
    if not whole.is_file() and not whole.is_dir():
        beside = [each.name for each in whole.parent.iterdir()] if whole.parent.is_dir() else []
        hint = f"; did you mean {place}?" if place.exists() else suggest(whole.name, beside)
        raise UserError(BAD_DATA, f"{file} not found{hint}; name a CSV or Parquet file, or a folder of Parquet parts")
    return place, False


def is_there(source: Source, place: Path) -> bool:
    """Whether the table has been copied; raises UserError where another one has its name."""
    if not place.exists() and not place.is_symlink():
        return False
    parts = {part.relative_to(source.path) for part in source.parts}
    there = {part.relative_to(place) for part in folder_parts(place)} if place.is_dir() else {Path()}
    alike = place.exists() and place.is_dir() == source.path.is_dir() and there == parts
    if not alike or not all(filecmp.cmp(source.path / part, place / part, shallow=False) for part in parts):
        raise UserError(
            BAD_DATA, f"{place} is there already and differs from {source.path}; rename one of them, or delete {place}"
        )
    return True


def copy(source: Source, place: Path) -> None:
    """The file, or the parts of a folder, whole or not at all."""
    if not source.path.is_dir():
        _copy_file(source.path, place)
        return
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        for part in source.parts:
            _copy_file(part, temporary / part.relative_to(source.path))
        temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy_file(source: Path, place: Path) -> None:
    with open(source, "rb") as file:
        write(place, lambda target: shutil.copyfileobj(file, target))


# --- params.yaml ----------------------------------------------------------------------------------------------------


def named(section: Create, place: Path, target: str) -> Create:
    """The section with this table in place of its own."""
    try:
        table = TableSource(path=place.as_posix(), target=target)
    except ValidationError:
        rule = "both must be UTF-8, and the file's name without backslash, to stand in params.yaml; rename what is not"
        raise UserError(BAD_DATA, f"{place}, {target}: {rule}") from None
    return section.model_copy(update={"dataset": "table", "table": table})


def fitted(section: Create, source: Source) -> Create:
    """The section without the kinds of columns that this table does not have; the target is none of its features."""
    features = {*source.names} - {section.table.target}
    kept = {kind: [name for name in names if name in features] for kind, names in section.columns}
    return section.model_copy(update={"columns": Columns(**kept)})


def changes(old: Create, new: Create) -> dict[Key, Any]:
    """Key -> new value, of those that differ."""
    values: dict[Key, tuple[Any, Any]] = {("create", "dataset"): (old.dataset, new.dataset)}
    for name, before, after in (("table", old.table, new.table), ("columns", old.columns, new.columns)):
        values |= {
            ("create", name, key): (value, other) for (key, value), (_, other) in zip(before, after, strict=True)
        }
    return {key: after for key, (before, after) in values.items() if before != after}


def suited(found: InspectedTable, split: Split) -> tuple[str, dict[Key, Any]]:
    """What the recipe goes by, in words, and what of train, gate and study it sets otherwise than params.yaml."""
    rows = int(sum(found.counts) * (1 - split.test_size) * (1 - split.validation_size))
    kinds = [(name, kind) for name, kind in found.kinds.items() if kind in ("numeric", "datetime")]
    numbers = sum(1 for _ in sources(kinds))
    present = (
        read_verbatim(Train)[1]
        | read_verbatim(Gate)[1]
        | {"study.seeds": read(Study).seeds, "study.space": read(Study).space}
    )
    values = {
        key: value
        for key, value in recipe(rows, numbers, len(found.classes)).items()
        if present[".".join(key)] != value
    }
    return f"about {rows:,} training rows, {numbers:,} numbers in each, and {len(found.classes):,} classes", values


# --- what a person sees ---------------------------------------------------------------------------------------------


def report(found: InspectedTable) -> Iterator[str]:
    source, rows = found.source, sum(found.counts)
    width = len(f"{rows:,}")  # of all counts
    yield f"{source.path}"
    yield f"  rows         {rows:,}"
    if not source.typed:
        sign, encoding = source.dialect
        decimal = " and ".join(source.forms.decimals) or "."
        delimiter = next(name for name, each in DELIMITERS.items() if each == sign)
        yield f"  read as      delimiter {delimiter}, encoding {encoding}, decimal sign {decimal}"
    for kind in (*FEATURES, *CARRIED):
        names = [name for name in source.names if found.kinds.get(name) == kind]
        if names:
            more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
            yield f"  {kind:<11}  {len(names):>{width},}  {', '.join(map(cut, names[:MOST_NAMES]))}{more}"
    # Nothing reads a nested column; it has been counted as missing.
    missing = {name: each.missing for name, each in found.profiles.items() if each.missing and each.typed != "nested"}
    yield from _block("missing values", missing, rows)
    yield from _block(f"classes of {cut(found.target)}", dict(zip(found.classes, found.counts, strict=True)), rows)
    yield f"  suspicions: {len(found.findings) or 'none'}"
    yield from (f"    {finding.line}" for finding in found.findings)


def _block(title: str, counts: dict[str, int], rows: int) -> Iterator[str]:
    """The largest counts with their shares, and how many more there are."""
    largest = Counter(counts).most_common()
    yield f"  {title}: {len(largest) or 'none'}"
    length = max((len(cut(name)) for name, _ in largest[:MOST_LINES]), default=0)
    for name, count in largest[:MOST_LINES]:
        yield f"    {cut(name):<{length}}  {count:>{len(f'{rows:,}')},}  {count / rows:>6.1%}"
    if rest := largest[MOST_LINES:]:
        yield f"    and {len(rest):,} more, of {rest[-1][1]:,} to {rest[0][1]:,} rows"


def cut(name: str) -> str:
    name = shown(name)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."


def table(section: Create, file: Path, target: str, yes: bool = False, anew: bool = False) -> None:
    """Look, show, ask and write; `section` is the present one. anew: the recipe also where the table is not new."""
    before = PATH.read_bytes()
    place, inside = place_below_tables(file)
    wanted = named(section, place, target)
    source = open_source(wanted) if inside else open_own(file, wanted)
    copying = not inside and not is_there(source, place)
    if not copying:
        source = open_source(wanted)
    wanted = fitted(wanted, source)
    found = inspect(wanted, source)
    deque(convert(found), maxlen=0)  # a single value may be one that `create` would refuse, by its row
    for line in report(found):
        print(shown(line))
    print()
    old, values = before.decode(), changes(section, wanted)
    size, settings = suited(found, read(Split))
    if anew or (section.dataset, section.table) != (wanted.dataset, wanted.table):
        values |= settings
        if settings:
            print(f"train: the recipe for {size}; gate: what suits your own table; study: what to search around it")
    elif settings:
        lines = ", ".join(f"{'.'.join(key)}: {written(value)}" for key, value in settings.items())
        print(f"train, gate and study stay, since {PATH} names this table already; RECIPE=1 (--recipe) writes {lines}")
    new = edited(old, values)
    if new == old and not copying:
        print(f"table: {PATH} names this table already; nothing to write")
        return
    if copying:
        size = f"{sum(part.stat().st_size for part in source.parts):,} bytes"
        print(shown(f"copy {source.path} to {place} ({size})"))
    if not agreed(old, new, "table", yes, "add YES=1 to make, or --yes"):
        return
    require_unchanged(before)
    if copying and not is_there(source, place):
        copy(source, place)
    if new != old:
        write_params(new)
    print(f"table: written; next: make run, or: dvc repro; the way back: git checkout {PATH}")


@click.command(epilog="Example: retrace table ~/penguins.csv species")
@click.argument("file")
@click.argument("target")
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
@click.option("--recipe", "anew", is_flag=True, help="Set train, gate and study also where the table is not new.")
def command(file: str, target: str, yes: bool, anew: bool) -> None:
    """Show what is in FILE; write it and a recipe for its size into params.yaml, after asking.

    FILE is a CSV or Parquet file, or a folder of Parquet parts; TARGET is the column to predict."""
    if not file or not target:
        raise UserError(BAD_PARAMS, "table: FILE and TARGET are needed: make table FILE=penguins.csv TARGET=species")
    # Not every shell knows that what follows FILE= is a path.
    place = Path(file).expanduser() if file.startswith("~/") else Path(file)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # letters that the terminal lacks
    table(read(Create), place, target, yes, anew)
