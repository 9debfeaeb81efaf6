"""`retrace adopt`: the setting that a study found surely better, written into section `train` of params.yaml."""

from pathlib import Path

import click

from retrace.artifacts.dvc_lock import parse
from retrace.artifacts.study import STUDY, StudyResult, read_study
from retrace.artifacts.tables import read_bytes
from retrace.cli.proposal import agreed, require_unchanged, write_params
from retrace.params.edit import edited
from retrace.params.messages import PATH
from retrace.params.reader import read_verbatim
from retrace.params.train import Train
from retrace.runtime.digest import md5
from retrace.runtime.errors import BAD_DATA, UserError
from retrace.runtime.integrity import lock_of

AGAIN = "run: make study, or: dvc repro study/dvc.yaml"


def adopt(yes: bool) -> None:
    before = PATH.read_bytes()
    result = read_study()
    require_of_today(result)
    winner = result.winner
    if winner is None:
        print(f"adopt: the default stays: {result.reason}")
        return
    values = {
        ("train", *name.split(".")): value
        for name, value in winner.settings.items()
        if result.present[f"train.{name}"] != value
    }
    old = before.decode()
    new = edited(old, values)
    print(f"adopt: {result.reason}")
    if agreed(old, new, "adopt", yes, "add --yes"):
        require_unchanged(before)
        write_params(new)
        print(f"adopt: written; next: make run, or: dvc repro; the way back: git checkout {PATH}")


def require_of_today(result: StudyResult) -> None:
    """Raise UserError where the study was made of another section `train`, or of other rows."""
    _, present = read_verbatim(Train)
    for name, value in present.items():
        if result.present.get(name) != value:
            then = f"{name} was {result.present.get(name)} for {STUDY}, and is {value} now"
            raise UserError(BAD_DATA, f"{PATH}: {then}, so that the study says nothing of it; {AGAIN}")
    lock = lock_of(STUDY)
    if lock.exists():
        state = parse(read_bytes(lock).decode(errors="replace")).state("study")
        for path, digest in (state.get("deps", {}) | state.get("outs", {})).items():
            if path.startswith(("data/t", "data/v", "reports/")) and md5(read_bytes(Path(path))).hexdigest() != digest:
                raise UserError(BAD_DATA, f"{path} is not the file that {lock} describes; {AGAIN}")


@click.command(epilog="Example: retrace adopt")
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
def command(yes: bool) -> None:
    """Write the setting that the last study found surely better into params.yaml, after asking; comments stay."""
    adopt(yes)
