"""Lets DVC look into every file anew: the step of `make run` before `dvc repro`.

`make gate` does the same where the table is one's own.

DVC remembers a file's MD5 with its size, its time and where it lies on the disk, and does not look again while these
stay: a table in which a program wrote another number and put the time back is "up to date" to it, and so is a file in
which a bit flipped. Here it forgets all that and reads everything once more, about two seconds for each GB.
"""

import click
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo

from retrace.cli.repository import words
from retrace.runtime.errors import BAD_DATA, UserError


def edited_tables() -> list[str]:
    """What `create` read as data, where it is no longer what dvc.lock describes."""
    try:
        with Repo() as repo:
            repo.state.hashes.clear()
            stage = repo.stage.load_one(name="create")
            tables = [dep for dep in stage.deps if dep.protocol == "local" and str(dep).startswith("data/tables")]
            return [str(dep) for dep in tables if dep.changed_checksum()]
    except NotDvcRepoError:
        return []  # no pipeline that could have missed it
    except DvcException as error:
        raise UserError(BAD_DATA, f"gate: {words(error)}") from None


@click.command(epilog="Example: retrace rehash && dvc repro")
def command() -> None:
    """Let DVC look into every file anew, also into those whose size and time are as they were."""
    try:
        with Repo() as repo:
            repo.state.hashes.clear()
    except DvcException:
        return  # DVC, which is asked next, says it in its own words
