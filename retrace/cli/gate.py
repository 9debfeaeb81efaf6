"""`make gate`: is the result surely good enough? One line; exit status 0, or 5 when it is not.

Reads reports/scores.json and the section `gate`; the rule stands in retrace/evaluation/gate_rule.py. It is not a DVC
stage: a teaching configuration that fails it must still run and be recorded. It also fails where a table of one's own
was changed after the result was made.
"""

import click

from retrace.artifacts.dvc_lock import read_lock
from retrace.artifacts.scores import SCORES, Scores
from retrace.artifacts.typed import decode
from retrace.evaluation.gate_rule import failure, gate
from retrace.params.gate import Gate
from retrace.params.reader import read
from retrace.runtime.digest import md5
from retrace.runtime.integrity import LOCK, restore


@click.command(epilog="Example: retrace gate")
def command() -> None:
    """Is the result surely good enough? One line; exit status 0, or 5 when it is not.

    The rule is the section `gate` of params.yaml."""
    section = read(Gate)
    try:
        content = SCORES.read_bytes()
        scores = decode(Scores, content)
    except FileNotFoundError:
        raise failure(f"not found; {restore(SCORES)}") from None
    except OSError as error:
        raise failure(f"cannot be read ({error.strerror}); {restore(SCORES)}") from None
    except ValueError as error:
        raise failure(f"is not what this code writes ({error}); {restore(SCORES)}") from None
    if LOCK.exists():
        lock = read_lock()
        if md5(content).hexdigest() != lock.outs.get(str(SCORES)):
            raise failure(f"is not the file that {LOCK} describes; {restore(SCORES)}")
        if lock.params.get("create.dataset") == "table":
            # DVC takes a second to import.
            from retrace.cli.rehash import edited_tables

            if edited := edited_tables():
                raise failure(f"{edited[0]} was changed since this was made of it; run: dvc repro")
    print(gate(scores, section))
