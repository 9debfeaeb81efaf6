"""`make gate`: is the result surely good enough? One line; exit status 0, or 5 when it is not.

Reads reports/metrics.json and the section `gate`; the rule stands in retrace/evaluation/gate_rule.py. It is not a DVC
stage: a teaching configuration that fails it must still run and be recorded. It also fails where a table of one's own
was changed after the result was made.
"""

import json

import click

from retrace.artifacts.dvc_lock import read_lock
from retrace.artifacts.paths import METRICS
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
        content = METRICS.read_bytes()
        metrics = json.loads(content)
    except FileNotFoundError:
        raise failure(f"not found; {restore(METRICS)}") from None
    except OSError as error:
        raise failure(f"cannot be read ({error.strerror}); {restore(METRICS)}") from None
    except (ValueError, RecursionError) as error:
        raise failure(f"is not valid JSON ({error}); {restore(METRICS)}") from None
    if LOCK.exists():
        lock = read_lock()
        if md5(content).hexdigest() != lock.outs.get(str(METRICS)):
            raise failure(f"is not the file that {LOCK} describes; {restore(METRICS)}")
        if lock.params.get("create.dataset") == "table":
            # DVC takes a second to import.
            from retrace.cli.rehash import edited_tables

            if edited := edited_tables():
                raise failure(f"{edited[0]} was changed since this was made of it; run: dvc repro")
    print(gate(metrics, section))
